//! Repositories below the checkout, with a configuration that nobody has looked at: git is not let into them.

use std::fs;

use orchestrator::rehearsal::Server;
use serde_json::{Value, json};

use crate::RUNTIMES;
use crate::policy::record;
use crate::support::{Scene, codex, wait_for};
use crate::tricks::{Insistent, Trick, trick};

const TABLE: &str = "\
version: 1
runtime: RUNTIME
triggers:
  - name: test
    on: post-commit
    role: tester
    debounce: 0s
policy:
  roles:
    tester:
      sandbox: workspace-write
      commands: [git status, git diff, git log, git show, ls, make test, make fill]
      limits: { wall: 2m, idle: 60s, attempts: 1 }
";

/// Makes a repository out of `$(1)` whose every driver leaves a trace in the file `ran`.
const MAKEFILE: &str = "\
define plant
	@git init -q $(1) && echo one > $(1)/file && git -C $(1) add file
	@git -C $(1) -c user.name=x -c user.email=x@x commit -qm one
	@for key in filter.x.clean filter.x.process diff.x.textconv diff.x.command diff.external core.sshCommand; do \\
	  git -C $(1) config $$key \"echo $$key >> '$(CURDIR)/ran'; cat\"; done
	@mkdir -p $(1)/.git/info && printf '* filter=x diff=x\\n' > $(1)/.git/info/attributes
	@echo two > $(1)/file
endef
test:
	$(call plant,vendor/other)
	@ln -s vendor/other link
	@echo planted
fill:
	$(call plant,module)
	@echo planted
";

/// What is asked for when there is another repository in `vendor/other`, and a link to it.
const INSIDE: &[&str] = &[
    "git -C vendor/other status",
    "cd vendor/other && git status --short",
    "cd vendor && git -C other diff",
    "git -C vendor -C other log -p -1",
    "git -C link status",
    "cd link && git diff",
    "ls && cd vendor/other && git show HEAD",
    "bash -c 'cd vendor/other && git status'",
    "timeout 5 git -C vendor/other status",
    "git status -- vendor/other",
];

/// What is asked for when the place of a submodule holds one: git goes into it by itself.
const ABOVE: &[&str] = &["git status --short", "git diff", "git diff --submodule=log HEAD", "git -C module log -1"];

fn asked(runtime: &str, lines: impl IntoIterator<Item = &'static str>) -> Option<(Scene, Vec<Value>)> {
    let codex = codex()?;
    let line = |line: &'static str| trick(line, "exec_command", json!({ "cmd": line }));
    let tricks: Vec<Trick> = lines.into_iter().map(line).collect();
    let server = Server::in_background(Insistent::new(&tricks, false, 1, "no answer")).unwrap();
    let scene = Scene::new().with_codex(&codex, server.url());
    scene.write("triggers.yaml", &TABLE.replace("RUNTIME", runtime));
    scene.write("Makefile", MAKEFILE);
    scene.write(".gitignore", "vendor/\nran\nlink\n");
    scene.write(".gitmodules", "[submodule \"m\"]\n\tpath = module\n\turl = https://host.invalid/m\n\tignore = none\n");
    scene.git(&["add", "."]);
    scene.git(&["commit", "--quiet", "-m", "start"]);
    let entry = format!("160000,{},module", scene.git(&["rev-parse", "HEAD"]).trim());
    scene.git(&["update-index", "--add", "--cacheinfo", &entry]);
    scene.install();
    scene.git(&["commit", "--quiet", "-m", "a submodule"]);
    scene.wait();
    wait_for("every process to end", || scene.processes().is_empty().then_some(()));
    let record = record(&scene, &scene.newest());
    Some((scene, record))
}

fn decisions(record: &[Value]) -> Vec<(&str, &str, &str)> {
    let decided = record.iter().filter(|activity| activity["type"] == "decided");
    decided
        .map(|activity| {
            let text = |pointer: &str| activity.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            (text("/action/line"), text("/decision/verdict"), text("/decision/rule"))
        })
        .collect()
}

#[test]
fn git_is_not_let_into_a_repository_below_the_checkout() {
    for runtime in RUNTIMES {
        let lines = ["git log -1", "make test"].into_iter().chain(INSIDE.iter().copied()).chain(["git log -1"]);
        let Some((scene, record)) = asked(runtime, lines) else { return };
        let decided = decisions(&record);
        assert_eq!(decided.len(), INSIDE.len() + 3, "{runtime}: {record:#?}");
        for (line, verdict, rule) in &decided {
            let expected = if INSIDE.contains(line) { ("escalate", "other-repository") } else { ("allow", *rule) };
            assert_eq!((*verdict, *rule), expected, "{runtime}: {line}");
        }
        let top = scene.top.join(".git/orchestrator/worktrees/tester");
        assert!(top.join("vendor/other/.git").exists(), "{runtime}: {record:#?}");
        assert!(!top.join("ran").exists(), "{runtime}: {:?}", fs::read_to_string(top.join("ran")));
        // It was no harmless one.
        scene.git_in(&top.join("vendor/other"), &["status"]);
        assert!(top.join("ran").exists(), "nothing was planted");
    }
}

#[test]
fn a_submodule_that_a_run_fills_is_not_looked_into() {
    for runtime in RUNTIMES {
        let lines = ["git status", "make fill"].into_iter().chain(ABOVE.iter().copied());
        let Some((scene, record)) = asked(runtime, lines) else { return };
        let decided = decisions(&record);
        assert_eq!(decided.len(), ABOVE.len() + 2, "{runtime}: {record:#?}");
        for (line, verdict, rule) in &decided {
            let expected = if ABOVE.contains(line) { ("escalate", "other-repository") } else { ("allow", *rule) };
            assert_eq!((*verdict, *rule), expected, "{runtime}: {line}");
        }
        let top = scene.top.join(".git/orchestrator/worktrees/tester");
        assert!(!top.join("ran").exists(), "{runtime}: {:?}", fs::read_to_string(top.join("ran")));
        scene.git_in(&top, &["status"]);
        assert!(top.join("ran").exists(), "nothing was planted");
    }
}
