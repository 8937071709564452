//! Sockets: masters' and agents' endpoints over HTTP/1.1.

use std::io;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::super::agent::Phase;
use super::super::wire::{Reply, Request};
use super::Shared;
use super::events::{EventStream, never};

type Body = BoxBody<Bytes, io::Error>;

/// Who is asked.
#[derive(Clone, Copy, Debug)]
enum Server {
    Master(usize),
    Agent(usize),
}

pub(super) async fn serve_master(shared: Arc<Shared>, index: usize, listener: TcpListener) {
    let cuts = shared.master_cuts[index].subscribe();
    serve(shared, Server::Master(index), listener, cuts).await;
}

pub(super) async fn serve_agent(shared: Arc<Shared>, index: usize, listener: TcpListener) {
    let cuts = shared.agent_cuts.lock().unwrap_or_else(PoisonError::into_inner)[&index].subscribe();
    serve(shared, Server::Agent(index), listener, cuts).await;
}

async fn serve(shared: Arc<Shared>, server: Server, listener: TcpListener, cuts: watch::Receiver<u64>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let alive = match server {
            Server::Master(index) => shared.lock().cluster.is_alive(index),
            Server::Agent(index) => !matches!(shared.lock().cluster.agent_phase(index), Phase::Down | Phase::Gone),
        };
        if !alive {
            // Nobody listens where a process is dead; closing at once is as near as an open port comes.
            continue;
        }
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        let mut cuts = cuts.clone();
        cuts.mark_unchanged();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), server, request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ = connection => {}
                _ = cuts.changed() => {}
            }
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    server: Server,
    request: HttpRequest<Incoming>,
) -> Result<Response<Body>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let request = Request {
        method: parts.method.as_str().to_owned(),
        content_type: text("content-type"),
        accept: text("accept"),
        stream_id: text(mesos::STREAM_ID),
        authorization: text("authorization"),
        body,
    };
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    Ok(match server {
        Server::Master(index) => at_master(&shared, index, &path, &request),
        Server::Agent(index) => at_agent(&shared, index, &path, &query, &request),
    })
}

fn at_master(shared: &Arc<Shared>, index: usize, path: &str, request: &Request) -> Response<Body> {
    match path.strip_prefix("/master").unwrap_or(path) {
        mesos::SCHEDULER_PATH => {
            let shown = path.to_owned();
            stream_or_plain(shared, true, |inner| inner.cluster.scheduler_request(index, request), &shown)
        }
        "/redirect" => match shared.lock().cluster.leader_address() {
            Some(leader) => plain(307, String::new(), Some(("location", format!("//{leader}")))),
            None => plain(503, "No leader elected".into(), None),
        },
        "/health" => plain(200, String::new(), None),
        "/version" => json(&serde_json::json!({ "version": "1.11.0" })),
        _ => plain(404, String::new(), None),
    }
}

fn at_agent(shared: &Arc<Shared>, index: usize, path: &str, query: &str, request: &Request) -> Response<Body> {
    match path.strip_prefix("/slave(1)").unwrap_or(path) {
        mesos::EXECUTOR_PATH => {
            stream_or_plain(shared, false, |inner| inner.cluster.executor_request(index, request), path)
        }
        "/health" => plain(200, String::new(), None),
        path => shared.file_request(index, path, query),
    }
}

fn stream_or_plain(
    shared: &Arc<Shared>,
    faulty: bool,
    ask: impl FnOnce(&mut super::Inner) -> Reply,
    path: &str,
) -> Response<Body> {
    // The stream's place must be there before its first event is carried.
    let (reply, items) = shared.with(|inner| {
        let reply = ask(inner);
        let items = match &reply {
            Reply::Stream { stream, .. } => {
                let (sender, receiver) = mpsc::unbounded_channel();
                inner.streams.insert(*stream, sender);
                Some(receiver)
            }
            Reply::Plain { .. } => None,
        };
        (reply, items)
    });
    match (reply, items) {
        (Reply::Stream { stream, id, encoding }, Some(items)) => {
            let events = EventStream::new(Arc::clone(shared), stream, encoding, items, faulty);
            let mut response = Response::builder().header(header::CONTENT_TYPE, encoding.media_type());
            if let Some(id) = id {
                response = response.header(mesos::STREAM_ID, id);
            }
            response.body(events.boxed()).unwrap_or_default_response()
        }
        (Reply::Plain { status, text, header }, _) => {
            let header = header.map(|(name, value)| {
                let value = if name == "location" { value.replace(mesos::SCHEDULER_PATH, path) } else { value };
                (name, value)
            });
            plain(status, text, header)
        }
        (Reply::Stream { .. }, None) => plain(500, String::new(), None),
    }
}

/// Headers are our own and valid; should one not be, the answer is a 500.
trait OrServerError {
    fn unwrap_or_default_response(self) -> Response<Body>;
}

impl OrServerError for Result<Response<Body>, hyper::http::Error> {
    fn unwrap_or_default_response(self) -> Response<Body> {
        self.unwrap_or_else(|_| {
            let mut response = Response::new(Full::default().map_err(never).boxed());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        })
    }
}

pub(super) fn plain(status: u16, text: String, extra: Option<(&'static str, String)>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    if let Some((name, value)) = extra {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(text)).map_err(never).boxed()).unwrap_or_default_response()
}

pub(super) fn json(value: &serde_json::Value) -> Response<Body> {
    bytes(value.to_string().into_bytes(), "application/json")
}

pub(super) fn bytes(content: Vec<u8>, media_type: &'static str) -> Response<Body> {
    let response = Response::builder().header(header::CONTENT_TYPE, media_type);
    response.body(Full::new(Bytes::from(content)).map_err(never).boxed()).unwrap_or_default_response()
}
