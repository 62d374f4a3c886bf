//! Responses as they travel: the JSON object, and the stream of events that builds it up.
//!
//! The event names, their order and their fields are those of the Responses API's streaming reference. Clients need
//! few of them (Codex acts on `output_item.done` and the terminal event), but a client that reads them all finds them.

use serde_json::{Value, json};

use super::model::{Item, Request};
use crate::runtime::Usage;

/// How long a piece of text in one `delta` event is, in characters.
const DELTA_CHARACTERS: usize = 400;

/// How a response ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End<'a> {
    /// `response.completed`.
    Completed(Usage),
    /// `response.failed`.
    Failed {
        /// The error's code.
        code: &'a str,
        /// The error's sentence.
        message: &'a str,
    },
    /// `response.incomplete`.
    Incomplete {
        /// Why.
        reason: &'a str,
    },
    /// There is no terminal event.
    Cut,
}

/// One response: its head, its output and its end.
pub(super) struct Response<'a> {
    /// The response's id.
    pub(super) id: String,
    /// Seconds since the epoch.
    pub(super) created_at: u64,
    /// What it answers.
    pub(super) request: &'a Request,
    /// What is said.
    pub(super) items: &'a [Item],
    /// How it ends.
    pub(super) end: End<'a>,
}

impl Response<'_> {
    /// The object, as a request without `stream` gets it.
    pub(super) fn object(&self) -> Value {
        let output: Vec<Value> = (0..).zip(self.items).map(|(at, item)| self.item(at, item)).collect();
        let mut object = self.head("completed", &output);
        match self.end {
            End::Completed(usage) => object["usage"] = usage_object(usage),
            End::Failed { code, message } => {
                object["status"] = json!("failed");
                object["error"] = json!({ "code": code, "message": message });
            }
            End::Incomplete { reason } => {
                object["status"] = json!("incomplete");
                object["incomplete_details"] = json!({ "reason": reason });
            }
            End::Cut => object["status"] = json!("in_progress"),
        }
        object
    }

    /// The stream, each element one event ready to be sent.
    pub(super) fn events(&self) -> Vec<String> {
        let mut events = Events::default();
        let head = self.head("in_progress", &[]);
        events.push("response.created", json!({ "response": head }));
        events.push("response.in_progress", json!({ "response": head }));
        for (at, item) in (0..).zip(self.items) {
            self.item_events(at, item, &mut events);
        }
        let terminal = match self.end {
            End::Completed(_) => "response.completed",
            End::Failed { .. } => "response.failed",
            End::Incomplete { .. } => "response.incomplete",
            End::Cut => return events.lines,
        };
        events.push(terminal, json!({ "response": self.object() }));
        events.lines
    }

    fn head(&self, status: &str, output: &[Value]) -> Value {
        json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "status": status,
            "error": null,
            "incomplete_details": null,
            "model": self.request.model(),
            "output": output,
            "parallel_tool_calls": true,
            "store": false,
            "usage": null,
        })
    }

    /// The finished item with its ids. `at` is its place in the output.
    fn item(&self, at: usize, item: &Item) -> Value {
        let id = |prefix: &str| format!("{prefix}_{}_{at}", self.id);
        match item {
            Item::Message { text } => json!({
                "type": "message", "id": id("msg"), "role": "assistant", "status": "completed",
                "content": [{ "type": "output_text", "text": text, "annotations": [] }],
            }),
            Item::Call { name, arguments } => json!({
                "type": "function_call", "id": id("fc"), "call_id": self.call_id(at), "name": name,
                "arguments": arguments.to_string(), "status": "completed",
            }),
            Item::Reasoning { summary } => json!({
                "type": "reasoning", "id": id("rs"),
                "summary": [{ "type": "summary_text", "text": summary }],
            }),
            Item::Other(value) => value.clone(),
        }
    }

    fn call_id(&self, at: usize) -> String {
        format!("call_{}_{at}", self.request.calls())
    }

    fn item_events(&self, at: usize, item: &Item, events: &mut Events) {
        let done = self.item(at, item);
        let id = done.get("id").cloned().unwrap_or(Value::Null);
        let mut added = done.clone();
        match item {
            Item::Message { .. } => {
                added["status"] = json!("in_progress");
                added["content"] = json!([]);
            }
            Item::Call { .. } => {
                added["status"] = json!("in_progress");
                added["arguments"] = json!("");
            }
            Item::Reasoning { .. } => added["summary"] = json!([]),
            Item::Other(_) => {}
        }
        events.push("response.output_item.added", json!({ "output_index": at, "item": added }));
        match item {
            Item::Message { text } => {
                let place = json!({ "item_id": id, "output_index": at, "content_index": 0 });
                let part = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [] });
                events.push("response.content_part.added", with(&place, "part", part("")));
                for delta in pieces(text) {
                    events.push("response.output_text.delta", with(&place, "delta", json!(delta)));
                }
                events.push("response.output_text.done", with(&place, "text", json!(text)));
                events.push("response.content_part.done", with(&place, "part", part(text)));
            }
            Item::Call { arguments, .. } => {
                let place = json!({ "item_id": id, "output_index": at });
                let text = arguments.to_string();
                for delta in pieces(&text) {
                    events.push("response.function_call_arguments.delta", with(&place, "delta", json!(delta)));
                }
                events.push("response.function_call_arguments.done", with(&place, "arguments", json!(text)));
            }
            Item::Reasoning { summary } => {
                let place = json!({ "item_id": id, "output_index": at, "summary_index": 0 });
                let part = |text: &str| json!({ "type": "summary_text", "text": text });
                events.push("response.reasoning_summary_part.added", with(&place, "part", part("")));
                for delta in pieces(summary) {
                    events.push("response.reasoning_summary_text.delta", with(&place, "delta", json!(delta)));
                }
                events.push("response.reasoning_summary_text.done", with(&place, "text", json!(summary)));
                events.push("response.reasoning_summary_part.done", with(&place, "part", part(summary)));
            }
            Item::Other(_) => {}
        }
        events.push("response.output_item.done", json!({ "output_index": at, "item": done }));
    }
}

fn usage_object(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input_tokens,
        "input_tokens_details": { "cached_tokens": usage.cached_input_tokens },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
    })
}

fn with(object: &Value, key: &str, value: Value) -> Value {
    let mut object = object.clone();
    object[key] = value;
    object
}

/// The text in pieces of [`DELTA_CHARACTERS`].
fn pieces(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(DELTA_CHARACTERS).map(|piece| piece.iter().collect()).collect()
}

/// Numbers the events and puts them into their lines.
#[derive(Default)]
struct Events {
    lines: Vec<String>,
}

impl Events {
    fn push(&mut self, name: &str, fields: Value) {
        let mut event = fields;
        event["type"] = json!(name);
        event["sequence_number"] = json!(self.lines.len());
        // JSON text holds no raw newline, so an event is always one `data` line.
        self.lines.push(format!("event: {name}\ndata: {event}\n\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(items: &[Item], end: End<'_>) -> Vec<Value> {
        let request = Request::new(json!({ "model": "m" }));
        let response = Response { id: "resp_1".into(), created_at: 1, request: &request, items, end };
        response
            .events()
            .iter()
            .map(|event| {
                let (name, data) = event.split_once('\n').unwrap();
                let value: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap().trim()).unwrap();
                assert_eq!(name, format!("event: {}", value["type"].as_str().unwrap()));
                value
            })
            .collect()
    }

    #[test]
    fn a_response_is_built_up_event_by_event() {
        let long = "ä\n".repeat(300);
        let items = [Item::reasoning("look"), Item::command("ls"), Item::message(long.clone())];
        let events =
            parsed(&items, End::Completed(Usage { input_tokens: 5, cached_input_tokens: 2, output_tokens: 3 }));
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], number);
        }
        let of = |name: &str| events.iter().filter(|e| e["type"] == name).collect::<Vec<_>>();
        assert_eq!(of("response.output_item.added").len(), 3);
        let text: String =
            of("response.output_text.delta").iter().map(|e| e["delta"].as_str().unwrap()).collect::<Vec<_>>().concat();
        assert_eq!(text, long);
        let call = &of("response.output_item.done")[1]["item"];
        assert_eq!(call["call_id"], "call_0_1");
        assert_eq!(call["arguments"], r#"{"cmd":"ls"}"#);
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.completed");
        assert_eq!(last["response"]["usage"]["total_tokens"], 8);
        assert_eq!(last["response"]["output"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn each_end_has_its_event() {
        let last = |end| parsed(&[], end).pop().unwrap();
        let failed = last(End::Failed { code: "server_is_overloaded", message: "busy" });
        assert_eq!(failed["type"], "response.failed");
        assert_eq!(failed["response"]["error"]["code"], "server_is_overloaded");
        let incomplete = last(End::Incomplete { reason: "max_output_tokens" });
        assert_eq!(incomplete["response"]["incomplete_details"]["reason"], "max_output_tokens");
        assert_eq!(last(End::Cut)["type"], "response.in_progress");
    }
}
