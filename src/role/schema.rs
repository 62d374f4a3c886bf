//! Derives the published schemas from the Rust types, and proves that both say the same. Exists in tests only: the
//! binary embeds the files.
//!
//! Servers that enforce a schema accept a subset of JSON Schema: every property required, no additional ones, no
//! `oneOf`, no `format` or bounds, no keyword beside a `$ref`. What `schemars` writes is brought into that subset here;
//! definitions are inlined, so that no `$ref` is left.

use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The strict schema of `T` as the file holds it.
pub(crate) fn strict_schema<T: JsonSchema>() -> String {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    make_strict(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).unwrap();
    text.push('\n');
    text
}

fn make_strict(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    for noise in ["$schema", "title", "format", "minimum", "maximum", "default"] {
        map.remove(noise);
    }
    join_enum(map);
    if let Some(Value::String(description)) = map.get_mut("description") {
        *description = description.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(make_strict);
        let names: Vec<Value> = properties.keys().map(|name| json!(name)).collect();
        map.insert("required".into(), Value::Array(names));
        map.insert("additionalProperties".into(), json!(false));
    }
    if let Some(items) = map.get_mut("items") {
        make_strict(items);
    }
    for keyword in ["anyOf", "prefixItems"] {
        if let Some(Value::Array(variants)) = map.get_mut(keyword) {
            variants.iter_mut().for_each(make_strict);
        }
    }
}

/// `oneOf` over documented constants becomes `enum`, with what each word means in the description.
fn join_enum(map: &mut Map<String, Value>) {
    let Some(variants) = map.get("oneOf").and_then(Value::as_array) else { return };
    if !variants.iter().all(|variant| variant.get("const").is_some()) {
        // A tagged enum: `anyOf` means the same, since the tags differ.
        let variants = map.remove("oneOf").unwrap();
        map.insert("anyOf".into(), variants);
        return;
    }
    let words: Vec<Value> = variants.iter().filter_map(|variant| variant.get("const").cloned()).collect();
    let meanings = variants.iter().filter_map(|variant| {
        Some(format!("`{}`: {}", variant.get("const")?.as_str()?, variant.get("description")?.as_str()?))
    });
    let head = map.get("description").and_then(Value::as_str).map(str::to_owned);
    let description = head.into_iter().chain(meanings).collect::<Vec<_>>().join(" ");
    map.remove("oneOf");
    map.insert("type".into(), json!("string"));
    map.insert("enum".into(), Value::Array(words));
    map.insert("description".into(), json!(description));
}

/// Compares the schema of `T` with the file at `path` below the top of the crate; with `UPDATE_SCHEMAS=1` in the
/// environment it is written instead.
pub(crate) fn check_file<T: JsonSchema>(path: &str) {
    let derived = strict_schema::<T>();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        crate::files::write(&file, derived.as_bytes()).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == derived, "{path} is stale: run `UPDATE_SCHEMAS=1 cargo test --lib schema`");
}

/// The keywords that every strict server accepts.
const ALLOWED: &[&str] = &["type", "description", "properties", "required", "additionalProperties", "items", "enum"];

/// Every node of a schema that is sent to a model is in the subset that strict servers accept.
fn assert_strict(schema: &Value, place: &str) {
    let Value::Object(map) = schema else { panic!("{place} is no object") };
    for key in map.keys() {
        assert!(ALLOWED.contains(&key.as_str()), "{place} holds `{key}`");
    }
    if let Some(properties) = map.get("properties").and_then(Value::as_object) {
        assert_eq!(map["additionalProperties"], json!(false), "{place}");
        let required: Vec<&str> = map["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(required, properties.keys().collect::<Vec<_>>(), "{place}");
        for (name, property) in properties {
            assert!(property.get("description").is_some(), "{place}/{name} is not described");
            assert_strict(property, &format!("{place}/{name}"));
        }
    } else {
        assert_ne!(map.get("type"), Some(&json!("object")), "{place} is an object without properties");
    }
    if let Some(items) = map.get("items") {
        assert_strict(items, &format!("{place}[]"));
    }
}

mod tests {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::role::answer::{ArchitectAnswer, PlannerAnswer, TesterAnswer};
    use crate::role::{ROLES, Role};

    #[test]
    fn the_answer_schemas_are_those_of_the_types() {
        check_file::<PlannerAnswer>("skills/planner/answer.schema.json");
        check_file::<ArchitectAnswer>("skills/architect/answer.schema.json");
        check_file::<TesterAnswer>("skills/tester/answer.schema.json");
    }

    #[test]
    fn the_answer_schemas_are_strict() {
        for role in ROLES {
            let schema = role.schema_value();
            assert_eq!(schema["type"], "object");
            assert_strict(&schema, role.name);
        }
    }

    /// Takes a good answer apart: without any one of its properties, with one more, and with a value of another type in
    /// each place, type and schema have to refuse it alike.
    fn agrees<T: DeserializeOwned + Serialize>(role: &str, good: &Value) {
        let schema = Role::find(role).unwrap().schema_value();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let check = |candidate: &Value| {
            let by_schema = validator.is_valid(candidate);
            let by_type = serde_json::from_value::<T>(candidate.clone()).is_ok();
            assert_eq!(by_schema, by_type, "{role}: {candidate}");
            by_type
        };
        assert!(check(good), "{role}: the example does not fit");
        let round = serde_json::to_value(serde_json::from_value::<T>(good.clone()).unwrap()).unwrap();
        assert_eq!(&round, good);
        let mut pointers = Vec::new();
        collect(good, String::new(), &mut pointers);
        let mut refused = 0;
        for pointer in &pointers {
            for replacement in [json!(null), json!(7), json!("x"), json!([]), json!({}), json!([1]), json!(true)] {
                let mut bad = good.clone();
                *bad.pointer_mut(pointer).unwrap() = replacement;
                refused += usize::from(!check(&bad));
            }
            let names: Vec<String> = match good.pointer(pointer) {
                Some(Value::Object(map)) => map.keys().cloned().collect(),
                _ => continue,
            };
            for name in names {
                let mut bad = good.clone();
                bad.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(&name);
                assert!(!check(&bad), "{role} without {pointer}/{name}");
            }
            let mut bad = good.clone();
            bad.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert("extra".into(), json!(1));
            assert!(!check(&bad), "{role} with more at {pointer}");
        }
        assert!(refused > pointers.len(), "most replacements are wrong");
    }

    fn collect(value: &Value, at: String, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(name, value)| collect(value, format!("{at}/{name}"), out)),
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(i, value)| collect(value, format!("{at}/{i}"), out));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        out.push(at);
    }

    #[test]
    fn types_and_schemas_accept_the_same_answers() {
        agrees::<PlannerAnswer>(
            "planner",
            &json!({"summary": "s", "goals": ["g"], "assumptions": [], "out_of_scope": ["o"],
                "steps": [{"title": "t", "files": ["a"], "acceptance": ["b"], "risk": "low", "risk_why": "w"}],
                "blocking_questions": [{"question": "q", "why": "w", "options": ["a", "b"]}]}),
        );
        agrees::<ArchitectAnswer>(
            "architect",
            &json!({"verdict": "revise", "summary": "s",
                "findings": [{"severity": "high", "title": "t", "file": "f", "line_start": 1, "line_end": 2,
                    "quote": "q", "harm": "h", "suggestion": "s"}],
                "decisions": [{"title": "t", "context": "c", "decision": "d", "consequences": "e"}],
                "risks": [{"level": "medium", "what": "w", "mitigation": "m"}]}),
        );
        agrees::<TesterAnswer>(
            "tester",
            &json!({"verdict": "fail", "summary": "s",
                "ran": [{"command": "c", "exit_code": 101, "showed": "s"}],
                "failures": [{"test": "t", "file": "f", "line": 3, "quote": "q", "why": "w"}],
                "gaps": [{"file": "f", "what": "w", "harm": "h"}],
                "proposed_tests_patch": null}),
        );
    }
}
