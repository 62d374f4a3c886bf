//! Rows about rebases.

use crate::table::{Place, Row, everywhere, row, run};

pub(crate) const ROWS: &[Row] = &[
    everywhere(
        "a rebase",
        "git switch -q topic",
        "git rebase -q main",
        &["post-rewrite main..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    everywhere(
        "rebase --apply",
        "git switch -q topic",
        "git rebase -q --apply main",
        &["post-rewrite main..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    row(
        "a rebase of another branch",
        "",
        "git rebase -q main topic",
        &["post-rewrite main..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    row(
        "rebase --apply of another branch",
        "",
        "git rebase -q --apply main topic",
        &["post-rewrite main..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    row(
        "rebase --onto",
        "git switch -q topic",
        "git rebase -q --onto side topic~2",
        &["post-rewrite side..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    row(
        "a rebase of a detached HEAD",
        "git switch -q --detach topic; git branch -q -D topic",
        "git rebase -q main",
        &["post-rewrite main..HEAD - HEAD(ORIG_HEAD..HEAD)"],
    ),
    row("a rebase that is a fast-forward", "git switch -q -c f root", "git rebase -q topic", &[]),
    row("rebase --apply that is a fast-forward", "git switch -q -c f root", "git rebase -q --apply topic", &[]),
    row(
        "rebase --apply without a reflog",
        "git config core.logAllRefUpdates false; git switch -q topic; git tag old",
        "git rebase -q --apply main",
        &["post-rewrite main..topic topic refs/heads/topic(old..topic)"],
    ),
    row("a rebase of what is up to date", "git switch -q topic", "git rebase -q root", &[]),
    everywhere(
        "a rebase that stops and goes on",
        "git switch -q clash; c x",
        "fails git rebase -q main; echo both >m; git add m; git rebase --continue >/dev/null",
        &["post-rewrite main..clash clash refs/heads/clash(clash@{1}..clash)"],
    ),
    row(
        "rebase --apply that stops and goes on",
        "git switch -q clash; c x",
        "fails git rebase -q --apply main; echo both >m; git add m; git rebase --continue >/dev/null",
        &["post-rewrite main..clash clash refs/heads/clash(clash@{1}..clash)"],
    ),
    row(
        "rebase --skip of the first",
        "git switch -q clash; c x",
        "fails git rebase -q main; git rebase --skip >/dev/null",
        &["post-rewrite main..clash clash refs/heads/clash(clash@{1}..clash)"],
    ),
    row(
        "rebase --skip of the last",
        "git switch -q side; git cherry-pick clash >/dev/null",
        "fails git rebase -q main; git rebase --skip >/dev/null",
        &["post-rewrite main..side side refs/heads/side(side@{1}..side)"],
    ),
    row(
        "rebase --skip of all",
        "git switch -q clash",
        "fails git rebase -q main; git rebase --skip >/dev/null",
        &["post-rewrite none clash refs/heads/clash(clash@{1}..clash)"],
    ),
    row(
        "rebase --apply, --skip of the first",
        "git switch -q clash; c x",
        "fails git rebase -q --apply main; git rebase --skip >/dev/null",
        &["post-rewrite main..clash clash refs/heads/clash(clash@{1}..clash)"],
    ),
    row("rebase --abort", "git switch -q clash", "fails git rebase -q main; git rebase --abort", &[]),
    row("rebase --apply, --abort", "git switch -q clash", "fails git rebase -q --apply main; git rebase --abort", &[]),
    row(
        "a checkout and a commit while a rebase waits",
        "git switch -q clash",
        "fails git rebase -q main; git checkout -q -f --detach main; c y",
        &[],
    ),
    everywhere(
        "a squash and a reword",
        "git switch -q topic",
        "edited '2s/^pick/squash/;3s/^pick/reword/'; git rebase -q -i main",
        &["post-rewrite main..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    row(
        "a fixup by --autosquash",
        "git switch -q topic; echo 2 >t1; git commit -q -a --fixup topic~2",
        "GIT_SEQUENCE_EDITOR=true git rebase -q -i --autosquash main",
        &["post-rewrite main..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    row(
        "a reword of the last only",
        "git switch -q topic",
        "edited '3s/^pick/reword/'; printf '#!/bin/sh\\necho typed >\"$1\"\\n' >$BASE/typist; chmod +x $BASE/typist; GIT_EDITOR=$BASE/typist git rebase -q -i root",
        &["post-rewrite topic~1..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    row(
        "a commit that is dropped",
        "git switch -q topic",
        "edited '1s/^pick/drop/'; git rebase -q -i main",
        &["post-rewrite main..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    row(
        "a commit that is edited",
        "git switch -q topic",
        "edited '1s/^pick/edit/'; git rebase -q -i main 2>/dev/null; echo 2 >t1; git commit -q -a --amend -m e; c between; git rebase --continue >/dev/null 2>&1",
        &["post-rewrite main..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    row(
        "rebase --exec",
        "git switch -q topic",
        "git rebase -q --exec true main 2>/dev/null",
        &["post-rewrite main..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    row(
        "rebase --root",
        "git switch -q topic",
        "edited '1s/^pick/reword/'; printf '#!/bin/sh\\necho typed >\"$1\"\\n' >$BASE/typist; chmod +x $BASE/typist; GIT_EDITOR=$BASE/typist git rebase -q -i --root",
        &["post-rewrite -..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    row(
        "rebase --rebase-merges",
        "git switch -q topic; git merge -q --no-edit side",
        "git rebase -q --rebase-merges main",
        &["post-rewrite main..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    row(
        "rebase --rebase-merges with a strategy",
        "git switch -q topic; git merge -q --no-edit side",
        "git rebase -q --rebase-merges -s resolve main >/dev/null 2>&1",
        &["post-rewrite main..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
    row(
        "a rebase with changes put aside",
        "git switch -q topic; echo 2 >t1",
        "git rebase -q --autostash main 2>/dev/null",
        &["post-rewrite main..topic topic refs/heads/topic(topic@{1}..topic)"],
    ),
];

#[test]
fn rebases() {
    run(ROWS, Place::Main);
}
