//! The same in every kind of worktree, and however git is called.

use crate::table::{Place, Row, row, run};
use crate::{checkouts, commits, merges, pushes, rebases};

const ROWS: &[Row] = &[
    row("from a subdirectory", "mkdir sub", "cd sub; c x", &["post-commit main~1..main main refs/heads/main"]),
    row(
        "git -C",
        "echo 2 >m; top=$PWD; mkdir -p $BASE/away",
        "top=$PWD; cd $BASE/home; git -C $top commit -q -a -m x",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    row(
        "GIT_DIR and GIT_WORK_TREE",
        "echo 2 >m",
        "top=$PWD; cd $BASE/home; GIT_DIR=$top/.git GIT_WORK_TREE=$top git commit -q -a -m x",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    row(
        "GIT_DIR alone",
        "echo 2 >m",
        "GIT_DIR=.git git commit -q -a -m x",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    row(
        "--git-dir and --work-tree",
        "echo 2 >m",
        "top=$PWD; cd $BASE/home; git --git-dir=$top/.git --work-tree=$top commit -q -a -m x",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    row(
        "--git-dir and --work-tree from within",
        "echo 2 >m; mkdir sub",
        "cd sub; git --git-dir=../.git --work-tree=.. commit -q -a -m x",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    row(
        "a merge with GIT_DIR and GIT_WORK_TREE",
        "",
        "export GIT_DIR=$PWD/.git GIT_WORK_TREE=$PWD; cd $BASE/home; git merge -q --no-edit side",
        &["pre-merge-commit root..side main MERGE_HEAD(-..side)", "post-merge main~1..main main refs/heads/main"],
    ),
    row(
        "a push and a checkout with --git-dir",
        "",
        "top=$PWD; cd $BASE/home; git --git-dir=$top/.git --work-tree=$top push -q server main; git --git-dir=$top/.git --work-tree=$top switch -q topic",
        &[
            "pre-push -..main main refs/heads/main",
            "post-receive -..main main refs/heads/main in:server.git",
            "post-checkout main..topic topic HEAD",
        ],
    ),
    row(
        "an index of one's own",
        "echo 2 >m",
        "GIT_INDEX_FILE=$PWD/.git/other git read-tree HEAD; GIT_INDEX_FILE=$PWD/.git/other git commit -q -m x -- m",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    row(
        "a client without PATH, HOME and standard streams",
        "echo 2 >m",
        "\
        git=$(command -v git)\n\
        env -i XDG_STATE_HOME=$HOME/.local/state GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 PATH=/usr/bin:/bin $git -c user.name=Ada -c user.email=a@b commit -q -a -m x <&- >&- 2>&-\n\
        env -i XDG_STATE_HOME=$HOME/.local/state GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 PATH=/usr/bin:/bin $git push -q server main <&- >&- 2>&-",
        &[
            "post-commit main~1..main main refs/heads/main",
            "pre-push -..main main refs/heads/main",
            "post-receive -..main main refs/heads/main in:server.git",
        ],
    ),
];

#[test]
fn however_git_is_called() {
    run(ROWS, Place::Main);
}

fn everywhere(place: Place) {
    for rows in [commits::ROWS, merges::ROWS, rebases::ROWS, checkouts::ROWS, pushes::ROWS] {
        run(rows, place);
    }
}

#[test]
fn in_a_linked_worktree() {
    everywhere(Place::Linked);
}

#[test]
fn in_a_submodule() {
    everywhere(Place::Submodule);
}

#[test]
fn in_a_worktree_of_a_bare_repository() {
    everywhere(Place::OfBare);
}
