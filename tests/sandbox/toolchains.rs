//! What has to go on working in the sandbox.

use crate::World;

const CRATE: &[(&str, &str)] = &[
    ("Cargo.toml", "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
    ("Cargo.lock", "version = 3\n\n[[package]]\nname = \"tiny\"\nversion = \"0.1.0\"\n"),
    (
        "src/lib.rs",
        "#[test]\nfn writes() {\n    let path = std::env::temp_dir().join(\"x\");\n    std::fs::write(&path, b\"x\").unwrap();\n\
         std::fs::remove_file(path).unwrap();\n}\n",
    ),
    ("test.js", "console.log('node ' + (1 + 1));\n"),
];

#[tokio::test]
async fn cargo_builds_and_tests() {
    let Some(world) = World::with(CRATE) else { return };
    let outputs = world.execute(&["cargo --version", "cargo test --offline 2>&1"]).await;
    assert!(outputs[0].contains("cargo 1."), "{outputs:#?}");
    assert!(outputs[1].contains("1 passed"), "{outputs:#?}");
}

#[tokio::test]
async fn git_reads_and_shells_do_what_they_do() {
    let Some(world) = World::with(CRATE) else { return };
    let outputs = world
        .execute(&[
            "git log --oneline && git show --stat HEAD && git status --porcelain && echo end",
            "echo changed >> test.js; git diff --stat; git diff HEAD -- test.js | tail -1",
            "cat <<END\nhere\nEND",
            "printf 'b\\na\\n' | sort | tr -d '\\n'; mktemp; : 2>&1 >/dev/null; sed -n 1p Cargo.toml",
            "rg --version | head -1; node test.js; python3 -c 'print(\"python\", 1 + 1)'",
        ])
        .await;
    // No placeholder of a protected file is seen by git.
    assert!(outputs[0].contains("the first") && outputs[0].ends_with("\nend\n"), "{outputs:#?}");
    assert!(!outputs[0].contains("?? "), "{outputs:#?}");
    assert!(outputs[1].contains("1 file changed") && outputs[1].contains("+changed"), "{outputs:#?}");
    assert!(
        outputs[2].contains("here") && outputs[3].contains("ab") && outputs[3].contains("[package]"),
        "{outputs:#?}"
    );
    assert!(outputs[4].contains("ripgrep") && outputs[4].contains("python 2"), "{outputs:#?}");
}
