//! Rows about checkouts, new worktrees and clones.

use crate::table::{Place, Row, everywhere, row, run};

pub(crate) const ROWS: &[Row] = &[
    everywhere("switch", "", "git switch -q topic", &["post-checkout main..topic topic HEAD"]),
    row("checkout", "", "git checkout -q topic", &["post-checkout main..topic topic HEAD"]),
    row("the same branch again", "", "git checkout -q main", &["post-checkout none main HEAD(main..main)"]),
    everywhere("a new branch", "", "git switch -q -c new", &["post-checkout none new HEAD(main..main)"]),
    row("a new branch at another commit", "", "git checkout -q -b new topic", &["post-checkout main..topic new HEAD"]),
    row("--detach", "", "git switch -q --detach", &["post-checkout none - HEAD(main..main)"]),
    everywhere("--detach at another commit", "", "git switch -q --detach topic", &["post-checkout main..topic - HEAD"]),
    row("checkout of a file", "echo 2 >m", "git checkout -q -- m; git checkout -q topic -- t1", &[]),
    row("restore", "echo 2 >m; git add m", "git restore --staged m; git restore m", &[]),
    row(
        "an orphan branch, and back",
        "",
        "git switch -q --orphan fresh; git switch -q main",
        &["post-checkout none fresh HEAD(main..-)", "post-checkout -..main main HEAD"],
    ),
    row(
        "checkout --force over changes",
        "echo 2 >m",
        "git checkout -q -f topic",
        &["post-checkout main..topic topic HEAD"],
    ),
    row(
        "no reflog",
        "git config core.logAllRefUpdates false",
        "git switch -q --detach topic",
        &["post-checkout main..topic - HEAD"],
    ),
    everywhere(
        "a bisection",
        "git switch -q topic",
        "git bisect start HEAD root >/dev/null; git bisect good >/dev/null; git bisect reset >/dev/null 2>&1",
        &[],
    ),
    row(
        "after a bisection",
        "git switch -q topic; git bisect start HEAD root; git bisect reset",
        "git switch -q main",
        &["post-checkout topic..main main HEAD"],
    ),
    everywhere(
        "worktree add -b",
        "",
        "git worktree add -q -b new $BASE/added topic",
        &["post-checkout -..topic new HEAD in:added"],
    ),
    row(
        "worktree add --detach",
        "",
        "git worktree add -q --detach ../added topic",
        &["post-checkout -..topic - HEAD in:added"],
    ),
    row(
        "a commit in a new worktree",
        "git worktree add -q -b new ../added",
        "cd ../added; c x",
        &["post-commit new~1..new new refs/heads/new in:added"],
    ),
    row(
        "worktree add --no-checkout, and remove",
        "",
        "git worktree add -q --no-checkout --detach ../added; git worktree remove -f ../added; git worktree prune",
        &[],
    ),
    row(
        "clone with hooks",
        "",
        "git clone -q -c core.hooksPath=$PWD/.git/hooks . ../cloned",
        &["post-checkout -..main main HEAD in:cloned"],
    ),
    row(
        "clone with hooks of a template",
        "mkdir -p $BASE/template; cp -r .git/hooks $BASE/template",
        "git clone -q --template $BASE/template . ../cloned",
        &["post-checkout -..main main HEAD in:cloned"],
    ),
    row(
        "a shallow clone",
        "",
        "git clone -q --depth 1 -b topic -c core.hooksPath=$PWD/.git/hooks file://$PWD ../cloned",
        &["post-checkout -..topic topic HEAD in:cloned"],
    ),
    row("clone -n", "", "git clone -q -n -c core.hooksPath=$PWD/.git/hooks . ../cloned", &[]),
    row("clone --bare", "", "git clone -q --bare -c core.hooksPath=$PWD/.git/hooks . ../cloned", &[]),
    row(
        "submodule update",
        "git init -q -b main ../super; cd ../super; git submodule --quiet add $BASE/work sub; git commit -q -m sub\n\
         git -C sub checkout -q --detach HEAD~1; cp $BASE/work/.git/hooks/* .git/modules/sub/hooks",
        "cd ../super; git submodule --quiet update",
        &["post-checkout root..main - HEAD in:super/sub"],
    ),
    row(
        "a commit in a submodule, and of it",
        "git init -q -b main ../super; cd ../super; git submodule --quiet add $BASE/work sub; git commit -q -m sub\n\
         cp $BASE/work/.git/hooks/* .git/modules/sub/hooks; cp $BASE/work/.git/hooks/* .git/hooks",
        "cd ../super/sub; c x; git push -q --no-verify $BASE/work HEAD:refs/fetched/sub; cd ..; git commit -q -a -m moved\n\
         git push -q --no-verify $BASE/work HEAD:refs/fetched/super",
        &[
            "post-commit main..refs/fetched/sub main refs/heads/main in:super/sub",
            "post-receive main..refs/fetched/sub - refs/fetched/sub(-..refs/fetched/sub)",
            "post-commit refs/fetched/super~1..refs/fetched/super main refs/heads/main in:super",
            "post-receive -..refs/fetched/super - refs/fetched/super",
        ],
    ),
];

#[test]
fn checkouts() {
    run(ROWS, Place::Main);
}
