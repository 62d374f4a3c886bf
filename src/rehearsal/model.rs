//! Who answers: the question as the client sent it, and everything a provider may reply, its failures included.
//!
//! Knows the items of the Responses API, not how they travel: that is `sse`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::runtime::Usage;

/// Decides what is said. Called once for each request to `/v1/responses`, one request at a time.
pub trait Model: Send {
    /// The reply to this request.
    fn reply(&mut self, request: &Request) -> Reply;
}

/// The body of a request to `/v1/responses`, read tolerantly: what is missing or of another type counts as absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    body: Value,
}

impl Request {
    /// A request with this body.
    pub fn new(body: Value) -> Self {
        Self { body }
    }

    /// The body as it came.
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// Whether the client asked for a stream of events.
    pub fn streams(&self) -> bool {
        self.body.get("stream").and_then(Value::as_bool) == Some(true)
    }

    /// The model the client asked for.
    pub fn model(&self) -> &str {
        self.body.get("model").and_then(Value::as_str).unwrap_or("rehearsal")
    }

    /// The items of the conversation, oldest first. An `input` that is a plain string has none; see
    /// [`Request::messages`].
    pub fn items(&self) -> &[Value] {
        self.body.get("input").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// The messages of the person's side with the number of their item, oldest first, each with its text parts joined.
    pub fn messages(&self) -> Vec<(usize, String)> {
        if let Some(text) = self.body.get("input").and_then(Value::as_str) {
            return vec![(0, text.to_owned())];
        }
        let is_user = |item: &Value| item.get("role").and_then(Value::as_str) == Some("user");
        self.items()
            .iter()
            .enumerate()
            .filter(|(_, item)| is_user(item))
            .map(|(at, item)| (at, content(item)))
            .collect()
    }

    /// The schema the answer has to fit, where the client sent one.
    pub fn schema(&self) -> Option<&Value> {
        self.body.pointer("/text/format/schema").filter(|schema| schema.is_object())
    }

    /// The parameters of the function tool of this name, if the client offers it.
    ///
    /// Newer clients move the tools into an input item of type `additional_tools`; both places are read.
    pub fn tool(&self, name: &str) -> Option<&Value> {
        static NONE: Value = Value::Null;
        let direct = self.body.get("tools").and_then(Value::as_array);
        let moved = self.items().iter().filter(|item| item.get("type") == Some(&json!("additional_tools")));
        let moved = moved.filter_map(|item| item.get("tools").and_then(Value::as_array));
        direct
            .into_iter()
            .chain(moved)
            .flatten()
            .find(|tool| {
                tool.get("type").and_then(Value::as_str) == Some("function")
                    && tool.get("name").and_then(Value::as_str) == Some(name)
            })
            .map(|tool| tool.get("parameters").unwrap_or(&NONE))
    }

    /// How many function calls the conversation holds. The next call's id is made of it, so that no id comes twice,
    /// even where a conversation goes on with another server.
    pub(super) fn calls(&self) -> usize {
        self.items().iter().filter(|item| item.get("type").and_then(Value::as_str) == Some("function_call")).count()
    }
}

/// The text of a message or of a tool's output: a string, or parts with a `text` each.
pub(super) fn content(item: &Value) -> String {
    let content = item.get("content").or_else(|| item.get("output"));
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// One thing a model says or asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A message.
    Message {
        /// Its text.
        text: String,
    },
    /// A function call.
    Call {
        /// The function.
        name: String,
        /// Its arguments, an object.
        arguments: Value,
    },
    /// A summary of what it thought.
    Reasoning {
        /// The summary.
        summary: String,
    },
    /// Any other item, sent as it is.
    Other(Value),
}

impl Item {
    /// A message.
    pub fn message(text: impl Into<String>) -> Self {
        Self::Message { text: text.into() }
    }

    /// A command, by the tool that Codex and the built-in runtime offer.
    pub fn command(line: impl Into<String>) -> Self {
        Self::Call { name: "exec_command".to_owned(), arguments: json!({ "cmd": line.into() }) }
    }

    /// A summary of what it thought.
    pub fn reasoning(summary: impl Into<String>) -> Self {
        Self::Reasoning { summary: summary.into() }
    }
}

/// What the server does with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The items, then the end of the response.
    Items {
        /// What is said, in order.
        items: Vec<Item>,
        /// The tokens it is said to have cost; `None`: estimated from the lengths of the request and of the items.
        usage: Option<Usage>,
    },
    /// Completed, with no output at all.
    Empty,
    /// Another HTTP status than 200.
    Status {
        /// The status. One that HTTP does not know is sent as 500.
        code: u16,
        /// Headers beside `content-type`, such as `retry-after`. One that HTTP cannot carry is left out.
        headers: Vec<(String, String)>,
        /// The body; JSON, for a real provider.
        body: String,
    },
    /// `response.failed`.
    Failed {
        /// Such as `context_length_exceeded`, `server_is_overloaded`, `rate_limit_exceeded`.
        code: String,
        /// The sentence.
        message: String,
    },
    /// `response.incomplete`, after a message that breaks off.
    Incomplete {
        /// `max_output_tokens` or `content_filter`.
        reason: String,
    },
    /// The items, and then the connection breaks.
    CutStream {
        /// What is still said.
        after: Vec<Item>,
    },
    /// The headers, and then nothing until the client goes.
    Silence,
    /// Nothing at all until the client goes.
    NoHeaders,
    /// Bytes that are no event stream, sent as one.
    Garbage(Vec<u8>),
    /// The reply, this much later.
    Delayed(Duration, Box<Reply>),
}

impl Reply {
    /// These items, their tokens estimated.
    pub fn items(items: Vec<Item>) -> Self {
        Self::Items { items, usage: None }
    }

    /// A message and nothing else.
    pub fn message(text: impl Into<String>) -> Self {
        Self::items(vec![Item::message(text)])
    }

    /// A command and nothing else.
    pub fn command(line: impl Into<String>) -> Self {
        Self::items(vec![Item::command(line)])
    }

    /// An HTTP error in the form providers give it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({ "error": { "message": message, "type": code, "param": null, "code": code } });
        Self::Status { code: status, headers: Vec::new(), body: body.to_string() }
    }

    /// The reply with one more header, where it is a [`Reply::Status`].
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Status { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The reply, this much later.
    #[must_use]
    pub fn delayed(self, by: Duration) -> Self {
        Self::Delayed(by, Box::new(self))
    }
}

/// Tokens that a request of this many bytes and these items would cost, at four bytes a token: a rule of thumb for
/// English and code, not a measure.
pub(super) fn estimate(request_bytes: usize, items: &[Item]) -> Usage {
    let output: usize = items
        .iter()
        .map(|item| match item {
            Item::Message { text } => text.len(),
            Item::Call { name, arguments } => name.len() + arguments.to_string().len(),
            Item::Reasoning { summary } => summary.len(),
            Item::Other(value) => value.to_string().len(),
        })
        .sum();
    let tokens = |bytes: usize| u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX);
    Usage { input_tokens: tokens(request_bytes), cached_input_tokens: 0, output_tokens: tokens(output) }
}

/// Plays a list of replies, one for each request; the last one is repeated.
#[derive(Clone, Debug)]
pub struct Sequence {
    replies: Vec<Reply>,
    next: usize,
}

impl Sequence {
    /// These replies. With none, every request gets [`Reply::Empty`].
    pub fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self { replies: replies.into_iter().collect(), next: 0 }
    }
}

impl Model for Sequence {
    fn reply(&mut self, _request: &Request) -> Reply {
        let reply = self.replies.get(self.next).or(self.replies.last());
        self.next = self.next.saturating_add(1);
        reply.cloned().unwrap_or(Reply::Empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_repeats_its_last_reply() {
        let mut model = Sequence::new([Reply::message("one"), Reply::Silence]);
        let request = Request::new(json!({}));
        assert_eq!(model.reply(&request), Reply::message("one"));
        assert_eq!(model.reply(&request), Reply::Silence);
        assert_eq!(model.reply(&request), Reply::Silence);
        assert_eq!(Sequence::new([]).reply(&request), Reply::Empty);
    }

    #[test]
    fn requests_of_any_shape_are_read() {
        for body in [json!(null), json!([]), json!({"input": 3, "tools": {}}), json!({"input": [1, {"role": 2}, null]})]
        {
            let request = Request::new(body);
            assert!(request.messages().is_empty());
            assert!(request.tool("exec_command").is_none() && request.schema().is_none() && !request.streams());
        }
        let request = Request::new(json!({"input": "hello"}));
        assert_eq!(request.messages(), [(0, "hello".to_owned())]);
        let request = Request::new(json!({"input": [
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "rules"}]},
            {"type": "additional_tools", "tools": [{"type": "function", "name": "f", "parameters": {"a": 1}}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}, {"text": "b"}]},
        ]}));
        assert_eq!(request.messages(), [(2, "a\nb".to_owned())]);
        assert_eq!(request.tool("f"), Some(&json!({"a": 1})));
    }
}
