//! The rehearsal server, as its client sees it: one URL on this machine, HTTP/1.1, a stream of events.
//!
//! Reads the subset of the Responses API's events that a turn needs and turns every way it can fail into a class.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::task::JoinSet;

use super::super::{Class, Failure, Usage};
use super::stalled;
use crate::runtime::{REHEARSAL, REHEARSAL_VARIABLE};

/// The largest error body and list of models that is read.
const SMALL_BODY: usize = 64 << 10;

/// The longest wait a provider can ask for: a day. More is as good as never.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// A port on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    address: SocketAddr,
}

/// What one request brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Response {
    /// The finished items.
    pub(super) items: Vec<Value>,
    /// The tokens.
    pub(super) usage: Usage,
}

impl Endpoint {
    /// Accepts `http://127.0.0.1:PORT/v1` and nothing else: no name that could be resolved elsewhere.
    pub(super) fn parse(url: &str) -> Result<Self, Failure> {
        let port = url
            .trim_end_matches('/')
            .strip_prefix("http://127.0.0.1:")
            .and_then(|rest| rest.strip_suffix("/v1"))
            .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|port| port.parse::<u16>().ok())
            .filter(|port| *port != 0);
        let Some(port) = port else {
            let shown = crate::text::one_line(&crate::text::clipped(url, 200));
            return Err(Failure::new(
                Class::Protocol,
                format!(
                    "{REHEARSAL_VARIABLE} is `{shown}`: the built-in runtime takes `http://127.0.0.1:PORT/v1` only"
                ),
            ));
        };
        Ok(Self { address: (Ipv4Addr::LOCALHOST, port).into() })
    }

    /// Makes sure that whoever listens is the rehearsal server: it offers one model, of this name.
    pub(super) async fn verify(&self) -> Result<(), Failure> {
        let mut driver = JoinSet::new();
        let response = self.send(&mut driver, Method::GET, "/v1/models", Bytes::new()).await?;
        let body = Limited::new(response.into_body(), SMALL_BODY).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let list: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let text = |pointer: &str| list.pointer(pointer).and_then(Value::as_str);
        if text("/data/0/id") == Some(REHEARSAL) && text("/data/0/owned_by") == Some("git-orchestrator") {
            return Ok(());
        }
        let port = self.address.port();
        Err(Failure::new(Class::Protocol, format!("what listens on port {port} is not the rehearsal server")))
    }

    /// Sends a request for a response and reads it to its end. `received` counts the bytes, `left` is how many there
    /// may be, `idle` how long there may be none.
    pub(super) async fn respond(
        &self,
        body: &Value,
        idle: Duration,
        left: u64,
        received: &mut u64,
    ) -> Result<Response, Failure> {
        let mut driver = JoinSet::new();
        let sent = self.send(&mut driver, Method::POST, "/v1/responses", body.to_string().into());
        let response = tokio::time::timeout(idle, sent).await.map_err(|_| stalled(idle))??;
        let (parts, mut body) = response.into_parts();
        if parts.status != StatusCode::OK {
            let body = tokio::time::timeout(idle, Limited::new(body, SMALL_BODY).collect());
            let body = body.await.map_err(|_| stalled(idle))?;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Err(refusal(parts.status, &parts.headers, &body));
        }
        let mut events = Events::default();
        let mut reading = Reading::default();
        loop {
            let frame = tokio::time::timeout(idle, body.frame()).await.map_err(|_| stalled(idle))?;
            let Some(frame) = frame else { return Err(reading.ended()) };
            let frame = frame.map_err(|error| broken(&error))?;
            let Ok(bytes) = frame.into_data() else { continue };
            *received = received.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            if *received > left {
                return Err(Failure::new(Class::Output, "the model wrote more than the run's output limit"));
            }
            for data in events.push(&bytes) {
                if reading.take(&data)? {
                    return Ok(reading.response);
                }
            }
        }
    }

    /// Connects and sends. The connection is driven by a task in `driver` and ends with it.
    async fn send(
        &self,
        driver: &mut JoinSet<()>,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<hyper::Response<Incoming>, Failure> {
        let stream = tokio::net::TcpStream::connect(self.address).await.map_err(|error| {
            Failure::new(Class::Network, format!("the rehearsal server cannot be reached: {error}"))
                .fix("git orchestrator demo")
        })?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| broken(&error))?;
        driver.spawn(async move {
            // What goes wrong is told to whoever reads the response.
            connection.await.ok();
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "text/event-stream, application/json")
            .body(Full::new(body))
            .map_err(|error| Failure::new(Class::Internal, format!("the request cannot be made: {error}")))?;
        sender.send_request(request).await.map_err(|error| broken(&error))
    }
}

fn broken(error: &hyper::Error) -> Failure {
    Failure::new(Class::Network, format!("the connection to the model broke: {error}"))
}

/// Another status than 200.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let class = match status.as_u16() {
        401 | 403 => Class::Auth,
        408 => Class::Network,
        413 => Class::ContextTooLarge,
        429 => by_code(text("/error/code")).unwrap_or(Class::RateLimited),
        500..=599 => Class::Overloaded,
        _ => by_code(text("/error/code")).unwrap_or(Class::Protocol),
    };
    let said = crate::text::one_line(&crate::text::clipped(text("/error/message"), 300));
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let mut failure = Failure::new(class, format!("the model's server answered {status}{said}"));
    failure.retry_after = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim().parse::<u64>().ok())
        .map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
    failure
}

/// The class of an error code of the API.
fn by_code(code: &str) -> Option<Class> {
    match code {
        "insufficient_quota" | "usage_limit_reached" => Some(Class::Quota),
        "rate_limit_exceeded" => Some(Class::RateLimited),
        "server_is_overloaded" | "slow_down" | "server_error" => Some(Class::Overloaded),
        "context_length_exceeded" => Some(Class::ContextTooLarge),
        "invalid_api_key" => Some(Class::Auth),
        _ => None,
    }
}

/// A response on its way.
#[derive(Default)]
struct Reading {
    response: Response,
    understood: bool,
}

impl Reading {
    /// Takes an event's data. `true`: the response is complete.
    fn take(&mut self, data: &str) -> Result<bool, Failure> {
        let event: Value = serde_json::from_str(data)
            .map_err(|error| Failure::new(Class::Protocol, format!("the model's server sent no JSON: {error}")))?;
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        self.understood |= event.get("type").is_some();
        let failed = |code: &str, message: &str| {
            let class = by_code(code).unwrap_or(Class::Protocol);
            let (code, message) = (crate::text::one_line(code), crate::text::one_line(message));
            Failure::new(class, format!("the model's server gave up ({code}): {message}"))
        };
        match text("/type") {
            "response.output_item.done" => {
                if let Some(item) = event.get("item").filter(|item| item.is_object()) {
                    self.response.items.push(item.clone());
                }
                Ok(false)
            }
            "response.completed" => {
                let count = |pointer: &str| event.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
                self.response.usage = Usage {
                    input_tokens: count("/response/usage/input_tokens"),
                    cached_input_tokens: count("/response/usage/input_tokens_details/cached_tokens"),
                    output_tokens: count("/response/usage/output_tokens"),
                };
                Ok(true)
            }
            "response.failed" => Err(failed(text("/response/error/code"), text("/response/error/message"))),
            "error" => Err(failed(text("/code"), text("/message"))),
            "response.incomplete" => {
                let reason = crate::text::one_line(text("/response/incomplete_details/reason"));
                Err(Failure::new(Class::Protocol, format!("the model's answer breaks off: {reason}")))
            }
            _ => Ok(false),
        }
    }

    /// The stream ended before the response did.
    fn ended(&self) -> Failure {
        if self.understood {
            Failure::new(Class::Network, "the model's answer broke off: the stream closed before its end")
        } else {
            Failure::new(Class::Protocol, "the model's server sent no event")
        }
    }
}

/// Cuts a byte stream into the data of its server-sent events.
#[derive(Default)]
struct Events {
    line: Vec<u8>,
    data: String,
}

impl Events {
    /// The data of the events that `bytes` completes.
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut complete = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if !part.ends_with(b"\n") {
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).trim_end_matches(['\n', '\r']).to_owned();
            self.line.clear();
            if line.is_empty() {
                if !self.data.is_empty() {
                    complete.push(std::mem::take(&mut self.data));
                }
            } else if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
            }
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_port_of_this_machine_is_accepted() {
        assert_eq!(Endpoint::parse("http://127.0.0.1:8080/v1").unwrap().address.port(), 8080);
        assert!(Endpoint::parse("http://127.0.0.1:8080/v1/").is_ok());
        for url in [
            "",
            "http://127.0.0.1/v1",
            "http://127.0.0.1:0/v1",
            "http://127.0.0.1:80@example.org:80/v1",
            "http://127.0.0.1:99999/v1",
            "http://localhost:80/v1",
            "https://127.0.0.1:80/v1",
            "http://127.0.0.1:80/v1?x",
            "http://127.0.0.10:80/v1",
            "http://127.0.0.1:+80/v1",
            "http://example.org:80/v1",
        ] {
            assert_eq!(Endpoint::parse(url).unwrap_err().class, Class::Protocol, "{url}");
        }
    }

    #[test]
    fn events_are_cut_wherever_the_bytes_are() {
        let stream = "event: a\r\ndata: {\"x\":\r\ndata: \"ü\"}\r\n\r\n: comment\n\ndata:2\n\ndata: open\n";
        let whole = Events::default().push(stream.as_bytes());
        assert_eq!(whole, ["{\"x\":\n\"ü\"}", "2"]);
        let mut events = Events::default();
        let single: Vec<String> = stream.as_bytes().iter().flat_map(|byte| events.push(&[*byte])).collect();
        assert_eq!(single, whole);
    }
}
