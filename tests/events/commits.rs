//! Rows about commits: `git commit`, cherry-pick, revert, am.

use crate::table::{Place, Row, everywhere, row, run};

pub(crate) const ROWS: &[Row] = &[
    everywhere("a commit", "", "c x", &["post-commit main~1..main main refs/heads/main"]),
    row(
        "the first commit of a repository",
        "git checkout -q --detach; git branch -q -D main topic side clash; git symbolic-ref HEAD refs/heads/main\n\
         git rm -q -r --cached .",
        "c x",
        &["post-commit -..main main refs/heads/main"],
    ),
    everywhere(
        "the root commit of an orphan branch",
        "git switch -q --orphan fresh",
        "c x",
        &["post-commit -..fresh fresh refs/heads/fresh"],
    ),
    row("commit -a", "", "echo 2 >m; git commit -q -a -m x", &["post-commit main~1..main main refs/heads/main"]),
    row(
        "a commit of a path",
        "echo 2 >m",
        "git commit -q -m x -- m",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    row("an empty commit", "", "git commit -q --allow-empty -m x", &["post-commit main~1..main main refs/heads/main"]),
    row(
        "commit --no-verify",
        "echo 2 >m",
        "git commit -q -a --no-verify -m x",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    row(
        "a commit with an editor",
        "echo 2 >m; printf '#!/bin/sh\\necho typed >\"$1\"\\n' >$BASE/typist; chmod +x $BASE/typist",
        "GIT_EDITOR=$BASE/typist git commit -q -a",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    row(
        "a message from standard input",
        "echo 2 >m",
        "echo x | git commit -q -a -F -",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    row("a fixup", "echo 2 >m", "git commit -q -a --fixup HEAD", &["post-commit main~1..main main refs/heads/main"]),
    row("a commit of nothing", "", "fails git commit -q -m x", &[]),
    row("a commit on a detached HEAD", "git switch -q --detach", "c x", &["post-commit HEAD~1..HEAD - HEAD"]),
    row(
        "a commit in a shallow clone",
        "",
        "git clone -q --depth 1 file://$PWD $BASE/shallow; cd $BASE/shallow; cp $BASE/work/.git/hooks/post-commit* .git/hooks; c x; git -C $BASE/work fetch -q $PWD main:refs/fetched/x",
        &[
            // The commit below it is there, what is below that is not.
            "post-commit main..refs/fetched/x main refs/heads/main in:shallow",
        ],
    ),
    everywhere(
        "amend",
        "c x",
        "git commit -q --amend -m y",
        &[
            "post-commit main~1..main main refs/heads/main",
            "post-rewrite main~1..main main refs/heads/main(main@{1}..main)",
        ],
    ),
    row(
        "amend of a root commit",
        "git switch -q --orphan fresh; c x",
        "git commit -q --amend -m y",
        &[
            "post-commit -..fresh fresh refs/heads/fresh",
            "post-rewrite -..fresh fresh refs/heads/fresh(fresh@{1}..fresh)",
        ],
    ),
    row(
        "amend --no-post-rewrite",
        "",
        "git commit -q --amend --no-post-rewrite -m y",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    everywhere(
        "cherry-pick",
        "",
        "git cherry-pick topic >/dev/null",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    everywhere(
        "cherry-pick of several",
        "",
        "git cherry-pick root..topic >/dev/null",
        &[
            "post-commit main~3..main~2 main refs/heads/main",
            "post-commit main~2..main~1 main refs/heads/main",
            "post-commit main~1..main main refs/heads/main",
        ],
    ),
    row("cherry-pick -n", "", "git cherry-pick -n topic", &[]),
    row(
        "cherry-pick that stops and goes on",
        "",
        "fails git cherry-pick clash; echo both >m; git add m; git cherry-pick --continue >/dev/null",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    row("cherry-pick that is given up", "", "fails git cherry-pick clash; git cherry-pick --abort", &[]),
    row(
        "cherry-pick of two, the first skipped",
        "",
        "fails git cherry-pick clash topic; git cherry-pick --skip >/dev/null",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    everywhere(
        "revert",
        "",
        "git revert --no-edit HEAD >/dev/null",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    row(
        "revert of several",
        "git switch -q topic",
        "git revert --no-edit HEAD~2..HEAD >/dev/null",
        &["post-commit topic~2..topic~1 topic refs/heads/topic", "post-commit topic~1..topic topic refs/heads/topic"],
    ),
    row("revert --no-commit", "", "git revert --no-commit HEAD", &[]),
    everywhere(
        "am",
        "git format-patch -q --stdout topic~1..topic >$BASE/patch",
        "git am -q $BASE/patch",
        &["post-applypatch main~1..main main refs/heads/main"],
    ),
    everywhere(
        "am of a series",
        "git format-patch -q --stdout root..topic >$BASE/patch",
        "git am -q $BASE/patch",
        &["post-applypatch main~3..main main refs/heads/main"],
    ),
    row(
        "am that stops and goes on",
        "git format-patch -q --stdout clash~1..clash >$BASE/p; git format-patch -q --stdout root..topic >>$BASE/p",
        "fails git am -q $BASE/p; git am -q --skip",
        &["post-applypatch main~3..main main refs/heads/main"],
    ),
    // Git calls nothing at the end of these; `doctor` reads the reflog.
    row(
        "am whose last patch is skipped, or that is left",
        "git format-patch -q --stdout root..topic >$BASE/p; git format-patch -q --stdout clash~1..clash >>$BASE/p",
        "fails git am -q $BASE/p; git am -q --skip; git reset -q --hard HEAD~3; fails git am -q $BASE/p; git am --quit",
        &[],
    ),
    row(
        "am that is given up",
        "git format-patch -q --stdout clash~1..clash >$BASE/p",
        "fails git am -q $BASE/p; git am --abort",
        &[],
    ),
    row(
        "am on a branch without a commit",
        "git format-patch -q --stdout root..topic >$BASE/p; git switch -q --orphan fresh",
        "git am -q $BASE/p",
        &["post-applypatch -..fresh fresh refs/heads/fresh"],
    ),
    row(
        "stash, branches, tags, notes, refs, resets",
        "",
        "\
        echo 2 >m; git stash -q; git stash pop -q; git branch b; git branch -m b b2; git branch -f b2 topic\n\
        git branch -q -D b2; git tag t; git tag -a -m t t2; git notes add -m n; git update-ref refs/x/y HEAD\n\
        git add m; git rm -q --cached root; git status >/dev/null; git reset -q --hard HEAD~1; git gc -q",
        &[],
    ),
];

#[test]
fn commits() {
    run(ROWS, Place::Main);
}
