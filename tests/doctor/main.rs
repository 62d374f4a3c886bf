//! `doctor`: each fault is made for real, found by its code, mended where that is safe, and gone on a second look.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::disallowed_methods, reason = "faults are made with whatever makes them")]

mod hooks;
mod missed;
mod queue;
mod state;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::{PROGRAM, Scene, TESTER_ON_COMMIT, text};

/// A Codex that has everything, and whose turns never end.
const CODEX: &str = r#"#!/bin/sh
case "$1" in
--version) echo codex-cli 0.169.0 ;;
sandbox) echo works ;;
login) exit 0 ;;
app-server)
    for argument; do
        case $argument in default_permissions=*) profile=${argument#*=} ;; esac
    done
    printf '{"id":2,"result":{"approvalPolicy":"untrusted","approvalsReviewer":"user",'
    printf '"activePermissionProfile":{"id":%s},' "$profile"
    case "$*" in *'"."="write"'*) mode=workspaceWrite ;; *) mode=readOnly ;; esac
    printf '"sandbox":{"type":"%s","networkAccess":false}}}\n' "$mode"
    cat > /dev/null ;;
*) exec sleep 1000 ;;
esac
"#;

/// A repository in which nothing is wrong.
fn sound() -> Scene {
    let mut scene = Scene::new();
    scene.write("triggers.yaml", TESTER_ON_COMMIT);
    codex(&mut scene, CODEX);
    symlink(PROGRAM, scene.path("bin/git-orchestrator")).unwrap();
    scene.install();
    scene
}

/// Has this script be the Codex.
fn codex(scene: &mut Scene, script: &str) {
    let program = scene.path("bin/codex-script");
    Scene::script(&program, script);
    scene.set("GIT_ORCHESTRATOR_CODEX", program);
}

/// Makes something wrong.
type Fault = fn(&Scene);

/// What `doctor --json` found, and its exit code.
struct Seen {
    code: i32,
    findings: Vec<Value>,
}

impl Seen {
    fn of(output: &Output) -> Self {
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let value: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
        let seen =
            Self { code: output.status.code().unwrap(), findings: value["findings"].as_array().unwrap().clone() };
        // Whatever is found, the next step stands beside it, and the exit code follows from what is left.
        let needs_fix =
            |finding: &&Value| !matches!(finding["level"].as_str(), Some("ok")) && finding["code"] != "macos";
        assert!(seen.findings.iter().filter(needs_fix).all(|finding| finding["fix"].is_string()), "{seen:?}");
        let problems = seen.findings.iter().any(|finding| finding["level"] == "problem" && finding["fixed"] == false);
        assert_eq!(seen.code, i32::from(problems), "{seen:?}");
        seen
    }

    /// The codes of what is left and not as it should be.
    fn left(&self) -> Vec<&str> {
        let left = self.findings.iter().filter(|finding| finding["level"] != "ok" && finding["fixed"] == false);
        left.map(|finding| finding["code"].as_str().unwrap()).collect()
    }

    fn fixed(&self) -> Vec<&str> {
        let fixed = self.findings.iter().filter(|finding| finding["fixed"] == true);
        fixed.map(|finding| finding["code"].as_str().unwrap()).collect()
    }

    fn finding(&self, code: &str) -> &Value {
        self.findings.iter().find(|finding| finding["code"] == code).unwrap_or_else(|| panic!("{code}: {self:?}"))
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "exit {}", self.code)?;
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

fn look(scene: &Scene) -> Seen {
    Seen::of(&scene.run(&["doctor", "--json"]))
}

fn fix(scene: &Scene) -> Seen {
    Seen::of(&scene.run(&["doctor", "--fix", "--json"]))
}

/// Finds exactly this, mends it, and finds nothing any more.
#[track_caller]
fn mended(scene: &Scene, code: &str) {
    let seen = look(scene);
    assert_eq!(seen.left(), [code], "{seen:?}");
    assert_eq!(seen.finding(code)["fixable"], true, "{seen:?}");
    let seen = fix(scene);
    assert_eq!((seen.fixed().as_slice(), seen.left().len()), ([code].as_slice(), 0), "{seen:?}");
    let seen = look(scene);
    assert!(seen.left().is_empty() && seen.code == 0, "{seen:?}");
}

/// Finds exactly this at this level, says what to do, and leaves it alone.
#[track_caller]
fn told(scene: &Scene, code: &str, level: &str) {
    let seen = look(scene);
    assert_eq!(seen.left(), [code], "{seen:?}");
    let finding = seen.finding(code);
    assert_eq!((finding["level"].as_str().unwrap(), &finding["fixable"]), (level, &Value::Bool(false)), "{seen:?}");
    assert!(finding["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{seen:?}");
    assert_eq!(seen.code, i32::from(level == "problem"), "{seen:?}");
    let again = fix(scene);
    assert_eq!((again.left(), again.fixed().len()), (vec![code], 0), "{again:?}");
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn hook(scene: &Scene, name: &str) -> std::path::PathBuf {
    scene.top.join(".git/hooks").join(name)
}

/// What a person sees, with what differs from machine to machine made equal.
fn page(scene: &Scene, output: &Output) -> String {
    let page = format!("exit {}\n{}{}", output.status.code().unwrap(), text(&output.stdout), text(&output.stderr));
    let page = page.replace(&scene.path("").display().to_string(), "[scene]/").replace(PROGRAM, "[program]");
    let directory = Path::new(PROGRAM).parent().unwrap().display().to_string();
    let page = page.replace(&directory, "[directory]");
    [
        (r"git \d\S* at [^\s,]+(, runs hooks from configuration too)?", "git [version] at [path]"),
        (r"\d+(\.\d)? [KMG]iB free", "[space] free"),
        (r"\b[0-9a-f]{8}\b", "[run]"),
        (r"\b[0-9a-f]{7}\b", "[commit]"),
        (r"\d+m\d\ds", "[time]"),
        (r"\d{4}-\d\d-\d\d", "[date]"),
    ]
    .into_iter()
    .fold(page, |page, (pattern, name)| regex::Regex::new(pattern).unwrap().replace_all(&page, name).into_owned())
}

#[test]
fn a_sound_repository() {
    let scene = sound();
    insta::assert_snapshot!(page(&scene, &scene.run(&["doctor"])));
    let before = fs::read_dir(scene.top.join(".orchestrator/state")).unwrap().count();
    let output = scene.run(&["doctor", "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["schema"], 1);
    for finding in value["findings"].as_array().unwrap() {
        let mut keys: Vec<_> = finding.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["code", "fix", "fixable", "fixed", "level", "message", "section"]);
        assert_eq!(finding["level"], "ok", "{finding}");
    }
    assert_eq!(fs::read_dir(scene.top.join(".orchestrator/state")).unwrap().count(), before, "looking makes nothing");
    assert_eq!(scene.run(&["doctor", "--nonsense"]).status.code(), Some(2));
}

#[test]
fn outside_a_repository_and_before_install() {
    let mut scene = Scene::new();
    insta::assert_snapshot!(page(&scene, &scene.run(&["doctor"])));
    codex(&mut scene, CODEX);
    let seen = look(&scene);
    assert_eq!((seen.left(), seen.code), (vec!["not-installed", "not-on-path"], 0), "{seen:?}");
    assert!(
        !fix(&scene).findings.is_empty() && !scene.top.join(".orchestrator").exists(),
        "installing is for a person"
    );
    let outside = scene.command(PROGRAM).current_dir("/").arg("doctor").output().unwrap();
    insta::assert_snapshot!(page(&scene, &outside));
}

#[test]
fn what_a_person_sees_of_faults_and_of_their_mending() {
    let scene = sound();
    fs::remove_file(hook(&scene, "post-commit")).unwrap();
    mode(&scene.top.join(".orchestrator/state"), 0o777);
    scene.write("triggers.yaml", "version: 1\ntriggers: [}\n");
    insta::assert_snapshot!(page(&scene, &scene.run(&["doctor"])));
    scene.write("triggers.yaml", TESTER_ON_COMMIT);
    insta::assert_snapshot!(page(&scene, &scene.run(&["doctor", "--fix"])));
}

#[test]
fn git_itself() {
    let scene = sound();
    let run =
        |path: &str| Seen::of(&scene.command(PROGRAM).env("PATH", path).args(["doctor", "--json"]).output().unwrap());
    let seen = run("/nonexistent");
    assert_eq!((seen.finding("git-missing")["level"].as_str().unwrap(), seen.code), ("problem", 1));
    let other = scene.path("other");
    fs::create_dir(&other).unwrap();
    let usual = std::env::var("PATH").unwrap();
    let path = format!("{}:{}:{usual}", other.display(), scene.path("bin").display());
    let says = |version: &str| {
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = --version ] && echo git version {version} && exit\nPATH='{usual}' exec git \"$@\"\n"
        );
        Scene::script(&other.join("git"), &script);
    };
    says("2.20.1");
    let seen = run(&path);
    assert_eq!((seen.left(), seen.code), (vec!["git-too-old"], 1), "{seen:?}");
    says("2.40.0");
    assert_eq!(run(&path).left(), [] as [&str; 0]);
    fs::create_dir(scene.top.join(".git/reftable")).unwrap();
    assert_eq!(run(&path).left(), ["git-without-reftable"]);
    scene.git(&["config", "extensions.nonsense", "1"]);
    scene.git(&["config", "core.repositoryFormatVersion", "1"]);
    let seen = run(&path);
    assert!(seen.left().contains(&"repository-unreadable") && seen.code == 1, "{seen:?}");
}

#[test]
fn the_table() {
    let scene = sound();
    let row =
        |more: &str| format!("version: 1\ntriggers:\n  - name: test\n    on: post-commit\n    role: tester\n{more}");
    scene.write("triggers.yaml", "version: 1\ntriggers:\n  - nam: x\n");
    told(&scene, "table-broken", "problem");
    assert!(look(&scene).finding("table-broken")["message"].as_str().unwrap().starts_with("triggers.yaml:3:"));
    scene.write("triggers.yaml", "version: 1\ntriggers: []\n");
    scene.trust();
    told(&scene, "table-empty", "note");
    scene.write("triggers.yaml", &row("policy: { autonomy: observe }\n"));
    scene.trust();
    told(&scene, "autonomy-observe", "note");
    scene.write("triggers.yaml", &row("policy: { roles: { planner: {} } }\n"));
    scene.trust();
    told(&scene, "role-not-listed", "note");
    fs::remove_file(scene.top.join("triggers.yaml")).unwrap();
    told(&scene, "table-missing", "warning");
    assert!(!scene.top.join("triggers.yaml").exists(), "a table starts agents: a person writes it");
    fs::create_dir(scene.top.join("triggers.yaml")).unwrap();
    let seen = look(&scene);
    assert_eq!((seen.left(), seen.code), (vec!["table-unreadable"], 1), "{seen:?}");
}

#[test]
fn codex_in_all_its_states() {
    let mut scene = sound();
    for (script, code, level) in [
        ("#!/bin/sh\necho codex-cli 0.100.0\n", "codex-version", "problem"),
        ("#!/bin/sh\necho hello\n", "codex-version", "problem"),
        (&CODEX.replace("login) exit 0", "login) exit 1"), "codex-login", "problem"),
        (&CODEX.replace("sandbox) echo works", "sandbox) echo no namespaces >&2; exit 1"), "codex-sandbox", "problem"),
        (&CODEX.replace("0.169.0", "0.170.1"), "codex-newer", "note"),
    ] {
        codex(&mut scene, script);
        scene.trust();
        told(&scene, code, level);
    }
    // An older one is held by its hooks, and by nothing that hides a file.
    codex(&mut scene, &CODEX.replace("0.169.0", "0.167.0"));
    scene.trust();
    let seen = look(&scene);
    assert_eq!((seen.left(), seen.code), (vec!["codex-hides-nothing", "codex-does-not-ask"], 0), "{seen:?}");
    let finding = seen.finding("codex-hides-nothing");
    assert_eq!(finding["level"], "warning", "{finding}");
    assert!(finding["message"].as_str().unwrap().contains("Codex's own login (auth.json) included"), "{finding}");
    // Nothing waits for ever for a Codex that hangs.
    codex(&mut scene, &CODEX.replace("sandbox) echo works", "sandbox) exec sleep 1000"));
    scene.trust();
    let seen = look(&scene);
    assert_eq!((seen.left(), seen.code), (vec!["codex-slow"], 1), "{seen:?}");
    codex(&mut scene, CODEX);
    told(&scene, "trust-changed", "problem");
    scene.trust();
    let home = scene.path("codex");
    scene.set("CODEX_HOME", scene.path("not-there"));
    told(&scene, "codex-setup", "problem");
    scene.set("CODEX_HOME", home);
    scene.unset("GIT_ORCHESTRATOR_CODEX");
    told(&scene, "codex-missing", "problem");
    scene.write("triggers.yaml", &TESTER_ON_COMMIT.replace("version: 1\n", "version: 1\nruntime: built-in\n"));
    scene.trust();
    told(&scene, "codex-missing", "note");
}

#[test]
fn variables() {
    let scene = sound();
    for (name, value, code, level) in [
        ("GIT_ORCHESTRATOR_SKIP", "1", "skip-set", "warning"),
        ("GIT_ORCHESTRATOR_RUN", "1", "run-marker-set", "warning"),
        ("GIT_ORCHESTRATOR_QUIET", "1", "quiet-set", "note"),
        ("GIT_ORCHESTRATOR_REHEARSAL", "http://127.0.0.1:9/v1", "rehearsal-set", "warning"),
        ("GIT_DIR", ".git", "git-variable-set", "note"),
    ] {
        let seen = Seen::of(&scene.command(PROGRAM).args(["doctor", "--json"]).env(name, value).output().unwrap());
        assert_eq!((seen.left(), seen.code), (vec![code], 0), "{seen:?}");
        let finding = seen.finding(code);
        assert_eq!(
            (finding["level"].as_str(), finding["fix"].as_str()),
            (Some(level), Some(&*format!("unset {name}")))
        );
    }
    let quiet = scene.command(PROGRAM).args(["doctor", "--json"]).env("GIT_ORCHESTRATOR_SKIP", "0").output().unwrap();
    assert_eq!(Seen::of(&quiet).left(), [] as [&str; 0]);
    fs::remove_file(scene.path("bin/git-orchestrator")).unwrap();
    told(&scene, "not-on-path", "note");
}

#[test]
fn other_repositories() {
    // Bare, without reflogs; and one whose branches are unborn.
    let scene = sound();
    let bare = scene.path("bare.git");
    scene.git(&["init", "--quiet", "--bare", bare.to_str().unwrap()]);
    fs::write(bare.join("triggers.yaml"), TESTER_ON_COMMIT).unwrap();
    let run = |arguments: &[&str], directory: &Path| {
        scene.command(PROGRAM).current_dir(directory).args(arguments).output().unwrap()
    };
    assert_eq!(scene.at_terminal(&bare, &["install"], support::terminal::yes).code, 0);
    let seen = Seen::of(&run(&["doctor", "--json"], &bare));
    assert_eq!((seen.left().len(), seen.code), (0, 0), "{seen:?}");
    // A linked worktree has the hooks and the state of the main one.
    scene.ok(&["pause"]);
    scene.commit("a", "1", "add a");
    let linked = scene.path("linked");
    scene.git(&["worktree", "add", "--quiet", "-b", "linked", linked.to_str().unwrap()]);
    let seen = Seen::of(&run(&["doctor", "--json"], &linked));
    assert_eq!(seen.left(), ["queue-paused"], "{seen:?}");
}

#[test]
fn a_terminal_of_80_columns_is_never_overrun() {
    let scene = sound();
    fs::remove_file(hook(&scene, "post-commit")).unwrap();
    let shell = format!("stty cols 80; {PROGRAM} doctor");
    let output = Command::new("script")
        .args(["-qec", &shell, "/dev/null"])
        .env_clear()
        .envs(scene_environment(&scene))
        .current_dir(&scene.top)
        .output();
    let Ok(output) = output else { return };
    let page = text(&output.stdout);
    assert!(page.contains("hook") && !page.contains('\u{1b}'), "{page}");
    for line in page.lines().filter(|line| !line.contains("fix: ")) {
        let longest = line.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
        assert!(line.trim_end().chars().count() <= 80.max(longest + 13), "{line}");
    }
}

fn scene_environment(scene: &Scene) -> Vec<(String, String)> {
    let output = scene.command("env").arg("-0").output().unwrap();
    text(&output.stdout)
        .split('\0')
        .filter_map(|entry| entry.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}
