//! The cases of `kinds.toml`, and what holds for any text.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::kinds::KINDS;
use super::*;

/// Text in which fragments of secrets are likely.
fn spiced() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        any::<String>(),
        "[A-Za-z0-9+/=_-]{0,80}",
        "[a-z ]{0,12}",
        prop::sample::select(vec![
            "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----",
            "-----BEGIN ",
            "PRIVATE KEY",
            "-----",
            "\n",
            "\\n",
            "+",
            "\r\n",
            "ghp_",
            "sk-",
            "AKIA",
            "xoxb-",
            "eyJ",
            ".eyJ",
            "://",
            "@",
            ":",
            "password",
            "secret",
            "=",
            "\"",
            "'",
            "token",
            "Authorization: Bearer ",
            "[redacted: ",
            "]",
            "[redacted: known secret]",
            "key",
            "hunter2hunter2",
            "AIza",
            "machine a login b password ",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

#[test]
fn every_kind_has_cases_that_hold() {
    assert!(KINDS.all.len() > 35, "{:?}", kinds::read().err());
    let mut wrong = Vec::new();
    for kind in &KINDS.all {
        assert!(kind.regex().is_some(), "{} does not compile: {:?}", kind.name, regex::Regex::new(&kind.pattern));
        assert!(kind.name.len() <= NAME_MAX && !kind.finds.is_empty() && !kind.leaves.is_empty(), "{}", kind.name);
        for parts in &kind.finds {
            let text = format!("before {} after", parts.concat());
            let secret = &parts[1];
            let mut found = Vec::new();
            kinds::find(&text, &mut found);
            let is_own = found.iter().any(|found| *found.kind == kind.name);
            let clean = redacted(&text);
            if !is_own || clean.contains(secret.as_str()) || !clean.contains(MARK) {
                wrong.push(format!("{}: {clean}", kind.name));
            }
        }
        for text in &kind.leaves {
            let clean = redacted(text);
            if clean != text.as_str() {
                wrong.push(format!("{} stays: {clean}", kind.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

const BODY: &str = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nMzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu\nNMoSfm76oqFvAp8Gy0iz5sxjZmSnXyCdPEovGhLa0VzMaQ8s+CLOyS56YyCFGeJZ\n";

#[test]
fn a_private_key_goes_whole_or_in_part_and_its_lines_stay() {
    for title in [
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
    ] {
        let whole = format!("-----BEGIN {title}-----\n{BODY}-----END {title}-----\n");
        let in_diff = format!("+{}\n", whole.trim_end().replace('\n', "\n+"));
        let in_string = format!("{{\"key\": \"{}\"}}", whole.replace('\n', "\\n"));
        let head: String = whole.chars().take(170).collect();
        let tail: String = whole.chars().skip(60).collect();
        let in_code = format!("    \"{}\\n\"\n", whole.trim_end().replace('\n', "\\n\"\n    \""));
        let legacy = whole.replacen('\n', "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF\n\n", 1);
        for text in [whole, in_diff, in_string, head, tail, in_code, legacy] {
            let text = format!("fn before() {{}}\n{text}\nfn after() {{}}\n");
            let clean = redacted(&text);
            for secret in ["MIIEvQ", "C7VJTUt9Us8cKj", "MzEfYyji", "ictGeurT8jNb", "NMoSfm76", "CFGeJZ"] {
                assert!(!clean.contains(secret), "{secret}: {clean}");
            }
            assert_eq!(clean.lines().count(), text.lines().count(), "{clean}");
            assert!(clean.starts_with("fn before() {}\n") && clean.ends_with("fn after() {}\n"), "{clean}");
        }
    }
    for text in [
        "let a = \"-----BEGIN PRIVATE KEY-----\";\nlet b = \"-----END PRIVATE KEY-----\";\n",
        "if line == \"-----BEGIN RSA PRIVATE KEY-----\" {\n    return parse(line);\n}\n",
        "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----\n",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn what_a_name_calls_secret_goes_if_it_looks_the_part() {
    assert!(assignment::is_secret("DB_PASSWORD", "kJ8mN2pQ9x"));
    for (text, secret) in [
        ("password = \"Tr0ub4dor&3x\"", "Tr0ub4dor"),
        ("DB_PASSWORD=kJ8mN2pQ9x", "kJ8mN2pQ9x"),
        ("+  api_key: 9f86d081884c7d659a2feaa0c55ad015", "9f86d081884c7d659a2feaa0c55ad015"),
        ("let secret: &str = \"a1b2c3d4e5f6\";", "a1b2c3d4e5f6"),
        ("\"client_secret\": \"zX9-yW8_vU7tS6\",", "zX9-yW8_vU7tS6"),
        (r#"{\"token\":\"a1b2c3d4e5f6g7\"}"#, "a1b2c3d4e5f6g7"),
        ("config['auth_token'] = 'a1b2c3d4e5f6g7'", "a1b2c3d4e5f6g7"),
        ("os.environ.setdefault(\"SECRET_KEY\", \"a1b2c3d4e5f6g7\")", "a1b2c3d4e5f6g7"),
        ("jdbc:x://h;user=sa;password=Abc12345xY;", "Abc12345xY"),
        ("<password>Tr0ub4d0r3x9k</password>", "Tr0ub4d0r3x9k"),
        ("export SIGNING_KEY=b7Jq9Zp2Lw4Xk8Nc", "b7Jq9Zp2Lw4Xk8Nc"),
        ("spring.datasource.password: S3cr3t!P4ss", "S3cr3t!P4ss"),
    ] {
        let clean = redacted(text);
        assert!(!clean.contains(secret) && clean.contains("[redacted: "), "{text}: {clean}");
        assert_eq!(redacted(&clean), clean);
    }
    for text in [
        "let token = self.next_token2();",
        "password: Option<String>,",
        "token_type = \"oauth2-token1\"",
        "let key = \"some-long-name-of-a-key-12\";",
        "SECRET=${SECRET_1234}",
        "password = os.environ['DB_PASSWORD_1']",
        "\"password\": \"********\"",
        "max_tokens: 4096",
        "fn token(&self) -> Token2 {",
        "password: your-password-here-1",
        "secret_path = \"/run/secrets/db1\"",
        "tokens: [a1, b2]",
        "api_key = \"my-api-key\"",
    ] {
        assert_eq!(redacted(text), text);
    }
    let mut value =
        serde_json::json!({ "password": "Tr0ub4dor&3x", "user": "ada", "list": [{ "api_key": "a1b2c3d4e5f6" }] });
    let mut counts = Counts::new();
    redact_value(&mut value, &mut counts);
    assert_eq!(counts.values().sum::<u32>(), 2, "{value}");
    let once = value.clone();
    redact_value(&mut value, &mut counts);
    assert_eq!((value, counts.values().sum::<u32>()), (once, 2));
}

#[test]
fn random_words_go_and_ids_stay() {
    let key = "q7Lr2XkV9bTz4NcY8mWd3HsJ6fPg1Re5";
    for text in [format!("x {key} y"), format!("curl https://host/{key}"), format!("\"{key}+a8B/Zq1==\"")] {
        assert!(!redacted(&text).contains("Lr2XkV9b"), "{text}");
    }
    for text in [
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "123e4567-e89b-12d3-a456-426614174000",
        "\"integrity\": \"sha512-q7Lr2XkV9bTz4NcY8mWd3HsJ6fPg1Re5aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5hJ7kL9mN1pQ3sT5vW==\"",
        "github.com/a/b v1.0.0 h1:q7Lr2XkV9bTz4NcY8mWd3HsJ6fPg1Re5aB3dE5gH7jK=",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada@host",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        "aVeryLongCamelCaseIdentifierWithManyWords2",
        "A_CONSTANT_WITH_A_LONG_NAME_AND_NUMBERS_1234",
        "src/parser/tests/fixtures/case_0012/expected_output.json",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn counts_tell_the_kinds() {
    let mut counts = Counts::new();
    let token = format!("ghp_{}", "16C7e42F292c6912E7710c838347Ae178B4a");
    let text = redact(&format!("{token} and {token}"), &mut counts).into_owned();
    assert_eq!(text, "[redacted: GitHub token] and [redacted: GitHub token]");
    assert_eq!(counts, Counts::from([("GitHub token".to_owned(), 2)]));
}

#[test]
fn time_grows_with_the_length() {
    // Texts made to be slow: words of every shape with nothing behind them, beginnings without an end.
    let marks: String = KINDS.all.iter().flat_map(|kind| &kind.marks).map(String::as_str).collect();
    for unit in [
        marks.as_str(),
        "-----BEGIN PRIVATE KEY-----\n",
        "-----END PRIVATE KEY-----\n",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        "password=\"a",
        "eyJaaaaaaaaaaaa.",
        "a:b@://",
        "[redacted: ",
        "\n\\n",
        "machine a login b password ",
    ] {
        let mut times = Vec::new();
        for size in [1 << 15, 1 << 18] {
            let text = unit.repeat(size / unit.len());
            let begun = Instant::now();
            redacted(&text);
            times.push(begun.elapsed());
        }
        // Eight times the length; the machine may be busy, so that only a square shows (64 times).
        let limit = times[0] * 30 + Duration::from_millis(500);
        assert!(times[1] < limit, "{unit:.40}: {times:?}");
    }
}

proptest! {
    #[test]
    fn twice_is_once(text in spiced()) {
        let once = redacted(&text).into_owned();
        prop_assert_eq!(redacted(&once), once.as_str());
        prop_assert_eq!(once.lines().count(), text.lines().count());
    }

    #[test]
    fn pieces_make_no_difference_to_a_secret(before in "[a-z \n]{0,40}", after in "[a-z \n]{0,40}", sizes in prop::collection::vec(1_usize..40, 1..40)) {
        let token = format!("ghp_{}", "16C7e42F292c6912E7710c838347Ae178B4a");
        let key = format!("-----BEGIN {0}-----\n{BODY}-----END {0}-----", "PRIVATE KEY");
        let text = format!("{before}\n{token}\n{key}\n{after} {token}");
        let mut stream = Stream::default();
        let mut out = String::new();
        let mut rest = text.as_bytes();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, tail) = rest.split_at((*size).min(rest.len()));
            out.push_str(&stream.push(piece));
            rest = tail;
        }
        out.push_str(&stream.finish());
        prop_assert!(!out.contains("16C7e42F") && !out.contains("MzEfYyji") && !out.contains("NMoSfm76"), "{}", out);
        prop_assert_eq!(out.lines().count(), text.lines().count());
    }
}

#[test]
fn a_line_without_end_is_told_in_pieces() {
    let token = format!("ghp_{}", "16C7e42F292c6912E7710c838347Ae178B4a");
    let text = format!("{}{token}{}", "é ".repeat(40_000), " x".repeat(60_000));
    let mut stream = Stream::default();
    let mut out = String::new();
    for piece in text.as_bytes().chunks(4_097) {
        out.push_str(&stream.push(piece));
    }
    assert!(out.len() > 100_000);
    out.push_str(&stream.finish());
    assert!(out == text.replace(&token, "[redacted: GitHub token]"));
}
