//! Brings an answer into the form of a schema: what the schema does not know is left out, what it requires and the
//! answer lacks is filled with the emptiest value that fits.
//!
//! Knows the subset of JSON Schema that strict structured output uses (types, `properties`, `required`, `items`,
//! `enum`, `const`, `anyOf`, local `$ref`). It follows the schema to a fixed depth, so one that refers to itself ends.

use serde_json::{Map, Value, json};

/// How deep a schema is followed. The roles' schemas are four deep.
const DEPTH: usize = 24;

/// `draft`, brought into the form of `schema`.
pub(super) fn conform(draft: &Value, schema: &Value) -> Value {
    fit(Some(draft), schema, schema, DEPTH)
}

fn fit(draft: Option<&Value>, schema: &Value, root: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    let schema = resolved(schema, root);
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let same = draft.filter(|draft| words.contains(draft));
        return same.or(words.first()).cloned().unwrap_or(Value::Null);
    }
    let variants = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(key).and_then(Value::as_array));
    if let Some(variants) = variants {
        let fitting = variants.iter().find(|variant| draft.is_some_and(|draft| suits(draft, resolved(variant, root))));
        return fitting.or(variants.first()).map_or(Value::Null, |variant| fit(draft, variant, root, depth - 1));
    }
    let Some(name) = type_for(draft, schema) else {
        return draft.cloned().unwrap_or(Value::Null);
    };
    let draft = draft.filter(|draft| is_of(draft, name));
    match name {
        "object" => object(draft, schema, root, depth),
        "array" => {
            let items = draft.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            match schema.get("items") {
                Some(of) => items.iter().map(|item| fit(Some(item), of, root, depth - 1)).collect(),
                None => json!(items),
            }
        }
        "string" => draft.cloned().unwrap_or_else(|| json!("")),
        "integer" | "number" => draft.or(schema.get("minimum")).cloned().unwrap_or_else(|| json!(0)),
        "boolean" => draft.cloned().unwrap_or(Value::Bool(false)),
        _ => Value::Null,
    }
}

fn object(draft: Option<&Value>, schema: &Value, root: &Value, depth: usize) -> Value {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return draft.cloned().unwrap_or_else(|| json!({}));
    };
    let required = schema.get("required").and_then(Value::as_array);
    let mut out = Map::new();
    for (name, property) in properties {
        let given = draft.and_then(|draft| draft.get(name));
        let needed = required.is_some_and(|names| names.iter().any(|required| required == name));
        if given.is_some() || needed {
            out.insert(name.clone(), fit(given, property, root, depth - 1));
        }
    }
    Value::Object(out)
}

/// The schema that a local `$ref` names, or the schema itself.
fn resolved<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

/// The type to write: the one the draft has, if the schema allows it; else null, if allowed; else the first one.
fn type_for<'a>(draft: Option<&Value>, schema: &'a Value) -> Option<&'a str> {
    let names: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ if schema.get("properties").is_some() => vec!["object"],
        _ => return None,
    };
    let same = names.iter().find(|name| draft.is_some_and(|draft| is_of(draft, name)));
    same.or_else(|| names.iter().find(|name| **name == "null")).or(names.first()).copied()
}

fn suits(draft: &Value, schema: &Value) -> bool {
    type_for(Some(draft), schema).is_none_or(|name| is_of(draft, name))
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_filled_and_what_is_unknown_left_out() {
        let schema = json!({
            "type": "object", "additionalProperties": false,
            "required": ["s", "n", "list", "word", "maybe", "either", "inner", "flag", "one"],
            "properties": {
                "s": {"type": "string"}, "n": {"type": "integer", "minimum": 1}, "flag": {"type": "boolean"},
                "list": {"type": "array", "items": {"$ref": "#/$defs/entry"}},
                "word": {"type": "string", "enum": ["a", "b"]}, "maybe": {"type": ["string", "null"]},
                "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "one": {"const": 1},
                "inner": {"$ref": "#/$defs/entry"}, "optional": {"type": "string"},
            },
            "$defs": {"entry": {"type": "object", "additionalProperties": false, "required": ["name"],
                "properties": {"name": {"type": "string"}}}},
        });
        let validator = jsonschema::validator_for(&schema).unwrap();
        for draft in [
            json!({}),
            json!(null),
            json!({"s": 1, "n": "x", "list": [{"name": "a", "more": 1}, {}, 3], "word": "c", "maybe": 1, "either": "x"}),
            json!({"s": "x", "n": 4, "list": {}, "word": "b", "maybe": "m", "either": 3, "inner": {"name": "i"}}),
        ] {
            let fitted = conform(&draft, &schema);
            assert!(validator.is_valid(&fitted), "{fitted}");
        }
        let kept = json!({"s": "x", "n": 4, "list": [{"name": "a"}], "word": "b", "maybe": null, "either": 3,
            "inner": {"name": "i"}, "flag": true, "one": 1});
        assert_eq!(conform(&kept, &schema), kept);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#"}}});
        assert!(conform(&json!({}), &schema).is_object());
        assert_eq!(conform(&json!({"a": 1}), &json!({})), json!({"a": 1}));
    }
}
