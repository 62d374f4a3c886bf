//! A model provider for tests: a Responses API on loopback that answers from a script, well or badly.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

/// What happens to one request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// The model says these items and is done.
    Items(Vec<Value>),
    /// The request fails with this status, these headers and this body.
    Status(u16, &'static [(&'static str, &'static str)], String),
    /// The model's answer fails with this code and message.
    Failed(&'static str, &'static str),
    /// The stream ends in the middle.
    Cut,
    /// The stream begins and nothing comes, until the caller goes away.
    Silence,
}

/// The model says `text`.
pub(crate) fn says(text: &str) -> Reply {
    Reply::Items(vec![json!({"type": "message", "id": "m", "role": "assistant",
        "content": [{"type": "output_text", "text": text}]})])
}

/// The model wants `command` executed.
pub(crate) fn executes(command: &str) -> Reply {
    Reply::Items(vec![json!({"type": "function_call", "id": "f", "call_id": "c", "name": "exec_command",
        "arguments": json!({"cmd": command}).to_string()})])
}

/// The server; stops when dropped.
pub(crate) struct ModelServer {
    port: u16,
    requests: Arc<Mutex<Vec<Value>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ModelServer {
    /// Answers one request with each reply, and every later one with the last.
    pub(crate) fn start(script: Vec<Reply>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, stopped) = (Arc::clone(&requests), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (script, seen) = (script.clone(), Arc::clone(&seen));
                // A caller that goes away in the middle is what some tests are about.
                std::thread::spawn(move || serve(stream.unwrap(), &script, &seen).ok());
            }
        });
        Self { port, requests, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// The bodies of the requests so far.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        TcpStream::connect(("127.0.0.1", self.port)).ok();
        self.thread.take().map(JoinHandle::join);
    }
}

fn serve(stream: TcpStream, script: &[Reply], seen: &Mutex<Vec<Value>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    let (mut first, mut length) = (String::new(), 0_u64);
    reader.read_line(&mut first)?;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    if !first.starts_with("POST ") {
        return write!(out, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    let mut body = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut body)?;
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(serde_json::from_slice(&body).unwrap());
        seen.len()
    };
    let reply = &script[(number - 1).min(script.len() - 1)];
    if let Reply::Status(status, headers, body) = reply {
        write!(out, "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\nconnection: close\r\n")?;
        for (name, value) in *headers {
            write!(out, "{name}: {value}\r\n")?;
        }
        return write!(out, "content-length: {}\r\n\r\n{body}", body.len());
    }
    write!(out, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
    let mut event = |name: &str, mut data: Value| {
        data["type"] = name.into();
        write!(out, "event: {name}\ndata: {data}\n\n")
    };
    let id = format!("resp_{number}");
    event("response.created", json!({"response": {"id": id}}))?;
    match reply {
        Reply::Items(items) => {
            for item in items {
                event("response.output_item.done", json!({"item": item}))?;
            }
            let usage = json!({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 20}, "output_tokens": 10,
                "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 110});
            event("response.completed", json!({"response": {"id": id, "usage": usage}}))
        }
        Reply::Failed(code, message) => {
            let error = json!({"code": code, "message": message});
            event("response.failed", json!({"response": {"id": id, "status": "failed", "error": error}}))
        }
        Reply::Silence => reader.read_to_end(&mut Vec::new()).map(drop),
        Reply::Cut | Reply::Status(..) => Ok(()),
    }
}
