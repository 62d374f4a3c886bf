//! Rows about pushes, of both sides.

use crate::table::{Ground, Place, Row, everywhere, generous, row, run};

pub(crate) const ROWS: &[Row] = &[
    everywhere(
        "a push to an empty repository",
        "",
        "git push -q server main",
        &["pre-push -..main main refs/heads/main", "post-receive -..main main refs/heads/main in:server.git"],
    ),
    everywhere(
        "a push of two commits",
        "git push -q server main; c x; c y",
        "git push -q server main",
        &["pre-push main~2..main main refs/heads/main", "post-receive main~2..main main refs/heads/main in:server.git"],
    ),
    row(
        "a new branch",
        "git push -q server main",
        "git push -q server topic",
        &[
            "pre-push root..topic topic refs/heads/topic(-..topic)",
            "post-receive root..topic topic refs/heads/topic(-..topic) in:server.git",
        ],
    ),
    row(
        "a push --force",
        "git push -q server main; git reset -q --hard HEAD~1; c x",
        "git push -q --force server main",
        &[
            "pre-push root..main main refs/heads/main(main@{2}..main)",
            "post-receive root..main main refs/heads/main(main@{2}..main) in:server.git",
        ],
    ),
    row(
        "a push that is no fast-forward",
        "git push -q server main; git reset -q --hard HEAD~1; c x",
        "fails git push -q server main",
        &[],
    ),
    row("a branch that is set back", "git push -q server main", "git push -q --force server root:main", &[]),
    row("a new branch at a commit that is there", "git push -q server main", "git push -q server main:other", &[]),
    row("a push of nothing", "git push -q server main", "git push -q server main", &[]),
    row("a deletion", "git push -q server main topic", "git push -q server --delete topic", &[]),
    everywhere(
        "several branches",
        "",
        "git push -q server main topic side",
        &[
            "pre-push -..main main refs/heads/main",
            "pre-push -..topic topic refs/heads/topic",
            "pre-push -..side side refs/heads/side",
            "post-receive -..main main refs/heads/main in:server.git",
            "post-receive -..topic topic refs/heads/topic in:server.git",
            "post-receive -..side side refs/heads/side in:server.git",
        ],
    ),
    row(
        "a branch, a deletion, and branches that bring nothing",
        "git push -q server main side; git branch rest root",
        "git push -q server topic :side rest",
        &[
            "pre-push root..topic topic refs/heads/topic(-..topic)",
            "post-receive root..topic topic refs/heads/topic(-..topic) in:server.git",
        ],
    ),
    row(
        "a branch and a tag of its tip",
        "git tag -a -m v1 v1",
        "git push -q server main v1",
        &[
            "pre-push -..main main refs/heads/main,refs/tags/v1(-..v1^{tag})",
            "post-receive -..main main refs/heads/main,refs/tags/v1(-..v1^{tag}) in:server.git",
        ],
    ),
    row(
        "a tag alone",
        "git push -q server main; git tag v1 topic",
        "git push -q server v1",
        &[
            "pre-push root..topic - refs/tags/v1(-..topic)",
            "post-receive root..topic - refs/tags/v1(-..topic) in:server.git",
        ],
    ),
    row(
        "a tag of what is there",
        "git push -q server main; git tag v1",
        "git push -q server v1",
        &[
            "pre-push main..main - refs/tags/v1(-..main)",
            "post-receive main..main - refs/tags/v1(-..main) in:server.git",
        ],
    ),
    row("a tag of a file", "git tag blob main:m", "git push -q server blob", &[]),
    row("notes", "git push -q server main; git notes add -m n", "git push -q server refs/notes/commits", &[]),
    row(
        "a ref for review",
        "git push -q server main",
        "git push -q server topic:refs/for/main",
        &[
            "pre-push root..topic - refs/for/main(-..topic)",
            "post-receive root..topic - refs/for/main(-..topic) in:server.git",
        ],
    ),
    row(
        "HEAD~1:ref",
        "",
        "git push -q server HEAD~1:refs/heads/x",
        &["pre-push -..root x refs/heads/x", "post-receive -..root x refs/heads/x in:server.git"],
    ),
    row(
        "a push to a URL",
        "git push -q server main; c x",
        "git push -q $BASE/server.git HEAD:main",
        &["pre-push main~1..main main refs/heads/main", "post-receive main~1..main main refs/heads/main in:server.git"],
    ),
    row("push --dry-run", "", "git push -q --dry-run server main", &["pre-push -..main main refs/heads/main"]),
    row(
        "push --no-verify",
        "",
        "git push -q --no-verify server main",
        &["post-receive -..main main refs/heads/main in:server.git"],
    ),
    row(
        "push --mirror",
        "git push -q server main; git update-ref refs/remotes/x/y topic",
        "git push -q --mirror server",
        &[
            "pre-push root..clash clash refs/heads/clash(-..clash)",
            "pre-push root..side side refs/heads/side(-..side)",
            "pre-push root..topic topic refs/heads/topic(-..topic)",
            "pre-push root..root - refs/tags/root(-..root)",
            "post-receive root..clash clash refs/heads/clash(-..clash) in:server.git",
            "post-receive root..side side refs/heads/side(-..side) in:server.git",
            "post-receive root..topic topic refs/heads/topic(-..topic) in:server.git",
            "post-receive root..root - refs/tags/root(-..root) in:server.git",
        ],
    ),
    row(
        "a push into a repository with a worktree",
        "git init -q -b main ../nonbare; cp .git/hooks/* ../nonbare/.git/hooks",
        "git push -q --no-verify ../nonbare topic",
        &["post-receive -..topic topic refs/heads/topic in:nonbare"],
    ),
    row(
        "a push into the branch that is checked out there",
        "git init -q -b main ../nonbare; cp .git/hooks/* ../nonbare/.git/hooks; git -C ../nonbare config receive.denyCurrentBranch updateInstead",
        "git push -q --no-verify ../nonbare main",
        &["post-receive -..main main refs/heads/main in:nonbare"],
    ),
    row("a branch without a commit", "git switch -q --orphan fresh", "fails git push -q server fresh", &[]),
];

#[test]
fn pushes() {
    run(ROWS, Place::Main);
}

#[test]
fn a_push_of_very_many_refs_is_looked_at_up_to_a_number() {
    let ground = Ground::new(Place::Main, &generous()).with_server(&generous());
    let refs = "for i in $(seq 1000); do echo create refs/tags/v$i $(git rev-parse topic); done | git update-ref --stdin\n\
                for i in $(seq 40); do git branch b$i; done";
    ground.script(refs, true);
    let output = ground.script("git push -q server 'refs/heads/b*:refs/heads/b*' 'refs/tags/v*:refs/tags/v*'", false);
    for observation in ground.observations() {
        assert_eq!((observation.events.len(), observation.left_out), (32, 1008));
    }
    assert_eq!(ground.jobs(&ground.top).len(), 32);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let said: Vec<&str> = stderr.lines().filter(|line| line.contains("git-orchestrator: ")).collect();
    assert_eq!(said.len(), 2, "{stderr}");
    assert!(said.iter().all(|line| line.contains("more; 1008 refs left out")), "{stderr}");
}
