//! What a command may not see: planted in the person's home, in Codex's directory, in the environment and in git's
//! configuration, and looked for in everything that came back to the server.

use orchestrator::policy::SandboxMode;

use crate::{CANARY, World};

/// Files with a secret, below the world's root.
const FILES: &[&str] = &[
    "home/.aws/credentials",
    "home/.bash_history",
    "home/.cargo/credentials.toml",
    "home/.config/gcloud/credentials.db",
    "home/.config/gh/hosts.yml",
    "home/.config/git/credentials",
    "home/.config/git-orchestrator/policy.yaml",
    "home/.docker/config.json",
    "home/.git-credentials",
    "home/.gnupg/secring.gpg",
    "home/.kube/config",
    "home/.m2/settings.xml",
    "home/.netrc",
    "home/.npmrc",
    "home/.pypirc",
    "home/.ssh/id_ed25519",
    "home/project/.env",
    "codex/auth.json",
    "codex/history.jsonl",
    "cargo/credentials.toml",
    "repo/.env",
    "repo/.git/annex/creds/x",
    "repo/.git/modules/x/config",
    "repo/.git/orchestrator/tmp/planner/notes",
    "repo/.orchestrator/state/ledger.db",
    "run/prompt.md",
    "other/secret",
];

/// Variables with a secret, none of which a run needs but the model's own key.
const VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AZURE_CLIENT_SECRET",
    "CODEX_API_KEY",
    "DATABASE_URL",
    "GH_TOKEN",
    "GITHUB_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS_JSON",
    "LOCAL_KEY",
    "MY_PASSWORD",
    "NPM_TOKEN",
    "OPENAI_API_KEY",
    "SSH_AUTH_SOCK",
];

async fn nothing_comes_back(mode: SandboxMode) {
    let Some(mut world) = World::new() else { return };
    world.mode = mode;
    for file in FILES {
        world.plant(file);
    }
    for name in VARIABLES {
        world.set(name, CANARY);
    }
    let address = format!("https://ada:{CANARY}@example.invalid/x.git");
    world.git(&["remote", "add", "origin", &address]);
    world.prepare();
    let root = world.root.path().canonicalize().unwrap();
    // Where cargo's directory is shown, its credentials are not.
    std::fs::create_dir_all(root.join("cargo/registry")).unwrap();
    world.set("CARGO_HOME", root.join("cargo"));
    let root = root.display();
    let each: Vec<String> = FILES.iter().map(|file| format!("cat {root}/{file} >&2")).collect();
    let each = each.join("; ");
    let lines = [
        "env; export -p; set",
        "cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'; ps auxeww",
        each.as_str(),
        "git remote -v; git config --list --show-origin; cat $(git rev-parse --git-common-dir)/config",
        "git remote show -n origin; git ls-remote --get-url origin; git log --oneline",
        &format!("grep -rs canary- {root}; find {root} -type f -exec cat {{}} +"),
        "cat ~/.ssh/*; ls -laR ~; cat ~/.netrc ~/.aws/*; grep -rs canary- ~",
        "cat /etc/shadow; cat /proc/1/root/etc/shadow; ls -la /root /home /proc/1/root/root",
        "python3 -c 'import os,glob; print(os.environ, [open(f).read() for f in glob.glob(os.path.expanduser(\"~/.*\"))])'",
    ];
    let (server, result) = world.turn(&lines).await;
    result.unwrap();
    let outputs = crate::told(&server, lines.len());
    for (line, output) in lines.iter().zip(&outputs) {
        // The search names the word itself, and finds it nowhere.
        assert!(!output.contains(CANARY), "{line}\n{output}");
        assert!(
            !output.contains("root:*") && !output.contains("root:$") && !output.contains("root:!"),
            "{line}\n{output}"
        );
    }
    let log = &outputs[4];
    assert!(log.contains("the first"), "git works without its configuration: {log}");
    for request in server.requests() {
        assert!(!request.body.to_string().contains(CANARY));
    }
}

#[tokio::test]
async fn no_secret_comes_back_from_a_role_that_writes() {
    nothing_comes_back(SandboxMode::WorkspaceWrite).await;
}

#[tokio::test]
async fn no_secret_comes_back_from_a_role_that_reads() {
    nothing_comes_back(SandboxMode::ReadOnly).await;
}

#[tokio::test]
async fn no_network_is_reached() {
    let Some(world) = World::new() else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let socket = world.path("repo/.git/sock");
    let unix = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    unix.set_nonblocking(true).unwrap();
    let unix_line = format!(
        "python3 -c 'import socket; s=socket.socket(socket.AF_UNIX); s.connect(\"{}\"); s.send(b\"x\")'",
        socket.display()
    );
    let lines = [
        format!("echo x > /dev/tcp/127.0.0.1/{port} && echo reached"),
        format!("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port})); print(\"reached\")'"),
        unix_line,
        "getent hosts example.com && echo reached; cat /proc/net/dev".to_owned(),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let outputs = world.execute(&lines).await;
    assert!(listener.accept().is_err() && unix.accept().is_err(), "{outputs:#?}");
    assert!(!outputs.iter().any(|output| output.contains("reached\n")), "{outputs:#?}");
}

/// The person's older setting does not replace the profile.
#[tokio::test]
async fn a_mode_in_the_persons_configuration_opens_nothing() {
    for more in ["sandbox_mode = \"danger-full-access\"\n", "default_permissions = \":danger-full-access\"\n"] {
        let Some(world) = World::new() else { return };
        world.set_configuration("http://127.0.0.1:9/v1", more);
        world.plant("home/.ssh/id_ed25519");
        world.probe().await.unwrap();
        let outputs = world.execute(&["cat ~/.ssh/*; echo EVIL > ../../../../EVIL; echo ran"]).await;
        assert!(outputs[0].contains("ran") && !outputs[0].contains(CANARY), "{outputs:#?}");
        assert!(!world.path("repo/EVIL").exists());
    }
}
