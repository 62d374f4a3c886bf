//! Rows about merges and pulls.

use crate::table::{Place, Row, everywhere, row, run};

pub(crate) const ROWS: &[Row] = &[
    everywhere(
        "a merge by fast-forward",
        "git switch -q -c f root",
        "git merge -q topic",
        &["post-merge root..topic f refs/heads/f"],
    ),
    everywhere(
        "a merge",
        "",
        "git merge -q --no-edit side",
        &["pre-merge-commit root..side main MERGE_HEAD(-..side)", "post-merge main~1..main main refs/heads/main"],
    ),
    row(
        "merge --no-ff",
        "git switch -q -c f root",
        "git merge -q --no-ff --no-edit topic",
        &["pre-merge-commit root..topic f MERGE_HEAD(-..topic)", "post-merge f~1..f f refs/heads/f"],
    ),
    row(
        "merge --no-verify",
        "",
        "git merge -q --no-verify --no-edit side",
        &["post-merge main~1..main main refs/heads/main"],
    ),
    everywhere(
        "an octopus",
        "",
        "git merge -q --no-edit topic side >/dev/null",
        &[
            "pre-merge-commit root..topic main MERGE_HEAD(-..topic),MERGE_HEAD(-..side)",
            "post-merge main~1..main main refs/heads/main",
        ],
    ),
    row(
        "an octopus in the other order",
        "",
        "git merge -q --no-edit side topic >/dev/null",
        &[
            "pre-merge-commit root..side main MERGE_HEAD(-..side),MERGE_HEAD(-..topic)",
            "post-merge main~1..main main refs/heads/main",
        ],
    ),
    row(
        "a merge of what another one holds, and of what is there",
        "",
        "git merge -q --no-edit topic~1 root topic >/dev/null",
        &["pre-merge-commit root..topic main MERGE_HEAD(-..topic)", "post-merge main~1..main main refs/heads/main"],
    ),
    row(
        "a merge of a history without a common commit",
        "git switch -q --orphan other; c o; git switch -q main",
        "git merge -q --no-edit --allow-unrelated-histories other",
        &["pre-merge-commit -..other main MERGE_HEAD", "post-merge main~1..main main refs/heads/main"],
    ),
    row(
        "a merge on a detached HEAD",
        "git switch -q --detach",
        "git merge -q --no-edit side",
        &["pre-merge-commit root..side - MERGE_HEAD(-..side)", "post-merge HEAD~1..HEAD - HEAD"],
    ),
    row("merge --squash", "", "git merge -q --squash side >/dev/null", &["post-merge none main -"]),
    row(
        "the commit after merge --squash",
        "git merge -q --squash side",
        "git commit -q -m x",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    everywhere(
        "a merge that stops, and the commit that ends it",
        "",
        "fails git merge -q clash; echo both >m; git add m; git commit -q -m x",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    row(
        "merge --continue",
        "",
        "git merge -q --no-commit side; git merge --continue >/dev/null",
        &["post-commit main~1..main main refs/heads/main"],
    ),
    row("merge --abort", "", "fails git merge -q clash; git merge --abort", &[]),
    row("nothing to merge", "", "git merge -q root", &[]),
    row("a merge into a branch without a commit", "git switch -q --orphan fresh", "git merge -q topic", &[]),
    row(
        "a merge that a hook refuses",
        "printf '#!/bin/sh\\nexit 7\\n' >refuse; sed 1d .git/hooks/pre-merge-commit >>refuse; cat refuse >.git/hooks/pre-merge-commit",
        "fails git merge -q --no-edit side",
        &[],
    ),
    everywhere(
        "pull --ff-only",
        "git switch -q -c f root",
        "git pull -q --ff-only . topic",
        &["post-merge root..topic f refs/heads/f"],
    ),
    row(
        "pull --no-rebase",
        "",
        "git pull -q --no-rebase --no-edit . side",
        &["pre-merge-commit root..side main MERGE_HEAD(-..side)", "post-merge main~1..main main refs/heads/main"],
    ),
    row(
        "a pull of two branches",
        "",
        "git pull -q --no-rebase --no-edit . topic side >/dev/null",
        &[
            "pre-merge-commit root..topic main MERGE_HEAD(-..topic),MERGE_HEAD(-..side)",
            "post-merge main~1..main main refs/heads/main",
        ],
    ),
    everywhere(
        "pull --rebase",
        "git switch -q topic",
        "git pull -q --rebase . side",
        &["post-rewrite side..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    row(
        "pull --rebase with nothing of one's own",
        "git switch -q -c f root",
        "git pull -q --rebase . topic",
        &["post-merge root..topic f refs/heads/f"],
    ),
];

#[test]
fn merges() {
    run(ROWS, Place::Main);
}
