//! The server: one loopback port, two routes, a record of what was asked.
//!
//! Runs on whatever runtime polls [`Server::serve`], or in a thread of its own ([`Server::in_background`]) whose end is
//! tied to a [`Handle`]. It asks a [`Model`] for each reply and knows nothing of what is said. Connections live in one
//! set that goes with the server, so nothing outlives it, a reply that is never finished included.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::model::{Item, Model, Reply, Request, estimate};
use super::sse::{End, Response};
use crate::clock::Timestamp;
use crate::error::{Context as _, Result};

/// The largest request that is read. A prompt is a few hundred KiB; a conversation with long outputs some MiB.
const BODY_LIMIT: usize = 64 << 20;

/// How many requests are remembered; older ones are forgotten.
const REQUESTS_KEPT: usize = 512;

/// How long accepting rests after it failed: while descriptors are short, it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// What a masked header value reads.
const MASKED: &str = "(masked)";

/// A request as it was received.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedRequest {
    /// `GET`, `POST` …
    pub method: String,
    /// The path, without a query.
    pub path: String,
    /// The headers in lower case; values of those that carry a credential are masked.
    pub headers: Vec<(String, String)>,
    /// The body, or null where it was no JSON.
    pub body: Value,
    /// When it was received.
    pub at: Timestamp,
}

struct Shared {
    model: Mutex<Box<dyn Model>>,
    requests: Mutex<VecDeque<RecordedRequest>>,
    responses: Mutex<u64>,
}

/// Locks it whether or not a model once panicked: the data is a list or a counter and stays sound.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server that has its port and serves once it is polled.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    /// Takes a free port on 127.0.0.1. Requests wait from now on until [`Server::serve`] is polled.
    pub fn bind(model: impl Model + 'static) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .context(|| "cannot listen on 127.0.0.1 for the rehearsal")?;
        let address = listener.local_addr().context(|| "cannot tell the rehearsal's port")?;
        let shared = Shared {
            model: Mutex::new(Box::new(model)),
            requests: Mutex::new(VecDeque::new()),
            responses: Mutex::new(0),
        };
        Ok(Self { listener, address, shared: Arc::new(shared) })
    }

    /// The base URL for a client, such as `http://127.0.0.1:40000/v1`.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Serves until `stop` resolves, inside a tokio runtime with I/O and time. Open connections end with it.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener).context(|| "cannot serve the rehearsal")?;
        let mut connections = JoinSet::new();
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection(stream, Arc::clone(&self.shared)));
                    }
                    // The client went before it was accepted, or descriptors are short for a moment.
                    Err(error) => {
                        tracing::debug!(%error, "rehearsal: a connection was not accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Serves in a thread of its own until the handle is dropped.
    pub fn in_background(model: impl Model + 'static) -> Result<Handle> {
        let server = Self::bind(model)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context(|| "cannot start the rehearsal's runtime")?;
        let url = server.url();
        let shared = Arc::clone(&server.shared);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("rehearsal".to_owned())
            .spawn(move || {
                // A sender that is dropped means stop as well.
                let stopped = async { drop(stopped.await) };
                if let Err(error) = runtime.block_on(server.serve(stopped)) {
                    tracing::warn!(error = error.chain(), "the rehearsal server ended");
                }
            })
            .context(|| "cannot start the rehearsal's thread")?;
        Ok(Handle { url, shared, stop: Some(stop), thread: Some(thread) })
    }
}

/// A server in a thread of its own. Dropping it ends the server and waits for the thread.
pub struct Handle {
    url: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// The base URL for a client, such as `http://127.0.0.1:40000/v1`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What was asked so far, oldest first; the newest 512 are kept.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.shared.requests).iter().cloned().collect()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails only where the server has ended by itself.
            stop.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, shared: Arc<Shared>) {
    let service = hyper::service::service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        // A client that goes away, or a reply that was meant to break off.
        tracing::debug!(%error, "rehearsal: a connection ended early");
    }
}

async fn answer(request: hyper::Request<Incoming>, shared: &Shared) -> hyper::Response<Stream> {
    let (parts, body) = request.into_parts();
    let encoded = parts.headers.get(CONTENT_ENCODING).is_some_and(|value| value.as_bytes() != b"identity");
    let body = Limited::new(body, BODY_LIMIT).collect().await.map(http_body_util::Collected::to_bytes);
    let json = body.as_ref().ok().and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let path = parts.uri.path();
    remember(shared, &parts.method, path, &parts.headers, json.as_ref());

    match (&parts.method, path) {
        (&Method::GET, "/v1/models") => {
            let model = json!({ "id": "rehearsal", "object": "model", "created": 0, "owned_by": "git-orchestrator" });
            plain(StatusCode::OK, &json!({ "object": "list", "data": [model] }))
        }
        (&Method::POST, "/v1/responses") => {
            if encoded {
                return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must not be compressed");
            }
            let Ok(bytes) = body else {
                return refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 MiB or broke off");
            };
            let Some(json) = json.filter(Value::is_object) else {
                return refused(StatusCode::BAD_REQUEST, "the body is not a JSON object");
            };
            respond(&Request::new(json), bytes.len(), shared).await
        }
        (method, path) => {
            let path = crate::text::clipped(path, 200);
            refused(StatusCode::NOT_FOUND, &format!("there is no `{method} {path}` here"))
        }
    }
}

fn remember(shared: &Shared, method: &Method, path: &str, headers: &HeaderMap, body: Option<&Value>) {
    let headers = headers
        .iter()
        .map(|(name, value)| {
            let secret =
                ["authorization", "cookie", "key", "token", "secret"].iter().any(|w| name.as_str().contains(w));
            let value = if secret { MASKED.into() } else { String::from_utf8_lossy(value.as_bytes()).into_owned() };
            (name.as_str().to_owned(), value)
        })
        .collect();
    let mut requests = lock(&shared.requests);
    if requests.len() >= REQUESTS_KEPT {
        requests.pop_front();
    }
    requests.push_back(RecordedRequest {
        method: method.to_string(),
        path: path.to_owned(),
        headers,
        body: body.cloned().unwrap_or(Value::Null),
        at: Timestamp::now(),
    });
}

/// Asks the model and plays its reply.
async fn respond(request: &Request, request_bytes: usize, shared: &Shared) -> hyper::Response<Stream> {
    let mut reply = lock(&shared.model).reply(request);
    while let Reply::Delayed(by, later) = reply {
        tokio::time::sleep(by).await;
        reply = *later;
    }
    let id = {
        let mut responses = lock(&shared.responses);
        *responses = responses.saturating_add(1);
        format!("rehearsal{responses}")
    };
    let said = |items: &[Item], end: End<'_>| {
        let created_at = Timestamp::now().millis() / 1000;
        let response = Response { id: id.clone(), created_at, request, items, end };
        let cut = matches!(end, End::Cut);
        if request.streams() {
            let mut steps: VecDeque<Step> = response.events().into_iter().map(|e| Step::Bytes(e.into())).collect();
            if cut {
                steps.extend([Step::Flush, Step::Cut]);
            }
            stream(StatusCode::OK, "text/event-stream", steps)
        } else {
            let object = response.object().to_string();
            if cut {
                // Half of the object: what a client sees whose provider dies while it writes.
                let half = crate::text::prefix_bytes(&object, object.len() / 2).to_owned();
                return stream(
                    StatusCode::OK,
                    "application/json",
                    [Step::Bytes(half.into()), Step::Flush, Step::Cut].into(),
                );
            }
            stream(StatusCode::OK, "application/json", [Step::Bytes(object.into())].into())
        }
    };
    match reply {
        Reply::Items { items, usage } => {
            said(&items, End::Completed(usage.unwrap_or_else(|| estimate(request_bytes, &items))))
        }
        Reply::Empty => said(&[], End::Completed(estimate(request_bytes, &[]))),
        Reply::Failed { code, message } => said(&[], End::Failed { code: &code, message: &message }),
        Reply::Incomplete { reason } => {
            said(&[Item::message("This answer breaks off")], End::Incomplete { reason: &reason })
        }
        Reply::CutStream { after } => said(&after, End::Cut),
        Reply::Status { code, headers, body } => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = stream(status, "application/json", [Step::Bytes(body.into())].into());
            for (name, value) in headers {
                if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
                    response.headers_mut().insert(name, value);
                }
            }
            response
        }
        Reply::Silence => stream(StatusCode::OK, "text/event-stream", [Step::Flush, Step::Hang].into()),
        Reply::Garbage(bytes) => stream(StatusCode::OK, "text/event-stream", [Step::Bytes(bytes.into())].into()),
        // `Delayed` was unwrapped above; like `NoHeaders`, what is left ends when the client goes.
        Reply::NoHeaders | Reply::Delayed(..) => std::future::pending().await,
    }
}

fn plain(status: StatusCode, body: &Value) -> hyper::Response<Stream> {
    stream(status, "application/json", [Step::Bytes(body.to_string().into())].into())
}

fn refused(status: StatusCode, message: &str) -> hyper::Response<Stream> {
    plain(status, &json!({ "error": { "message": message, "type": "invalid_request_error", "code": null } }))
}

fn stream(status: StatusCode, content_type: &'static str, steps: VecDeque<Step>) -> hyper::Response<Stream> {
    let sized = content_type == "application/json" && steps.iter().all(|step| matches!(step, Step::Bytes(_)));
    let mut response = hyper::Response::new(Stream { steps, sized });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// What a body does next.
enum Step {
    /// Sends bytes.
    Bytes(Bytes),
    /// Lets the connection write out what it has: it does so when a body has nothing for it.
    Flush,
    /// Breaks the connection.
    Cut,
    /// Never goes on.
    Hang,
}

/// A body that can break off and fall silent.
struct Stream {
    steps: VecDeque<Step>,
    /// Its length is told beforehand, as real servers tell that of an object and not that of a stream.
    sized: bool,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Bytes(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Step::Flush) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Cut) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            Some(Step::Hang) => {
                self.steps.push_front(Step::Hang);
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        if !self.sized {
            return SizeHint::default();
        }
        let length = |step: &Step| if let Step::Bytes(bytes) = step { bytes.len() } else { 0 };
        SizeHint::with_exact(u64::try_from(self.steps.iter().map(length).sum::<usize>()).unwrap_or(u64::MAX))
    }
}
