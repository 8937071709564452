//! The guard before every request: Host and Origin must be ours where something could change.
//!
//! A daemon on loopback is reachable from every web page its user opens. A page's request carries the page's Origin, and a
//! rebound DNS name its own Host; neither is on the list. Programs send no Origin and the Host they dialled. On loopback a
//! foreign Host may not even read: logs and configurations are nobody else's. No authentication.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The names under which this daemon may be addressed.
#[derive(Clone, Debug)]
pub struct Guard {
    hosts: Arc<BTreeSet<String>>,
    /// Whether reading, too, asks for a known Host.
    closed: bool,
}

impl Guard {
    /// Loopback names and the given ones, without port. `closed`: a foreign Host may not read either.
    pub fn new(names: impl IntoIterator<Item = String>, closed: bool) -> Self {
        let own = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let names = own.into_iter().chain(names).map(|name| name.to_ascii_lowercase());
        Self { hosts: Arc::new(names.collect()), closed }
    }

    fn knows(&self, authority: &str) -> bool {
        let authority = authority.to_ascii_lowercase();
        let name = match authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &authority,
        };
        // All of 127.0.0.0/8 is this machine.
        self.hosts.contains(name) || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Why a request under this Host is turned away.
    fn foreign_host(&self, headers: &HeaderMap) -> Option<String> {
        let host = headers.get(HOST)?.to_str().unwrap_or_default();
        let sentence = "Address it as localhost, or start it with --hostname";
        (!self.knows(host)).then(|| format!("This daemon is not called '{host}'. {sentence} {host}."))
    }

    /// Why a request from a page of this Origin is turned away.
    fn foreign_origin(&self, headers: &HeaderMap) -> Option<String> {
        let origin = headers.get(ORIGIN)?.to_str().unwrap_or_default();
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let known = authority.is_some_and(|authority| self.knows(authority));
        (!known).then(|| format!("Requests from pages of '{origin}' may not change anything here."))
    }
}

/// Middleware. `/api` takes changes by any method.
pub async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let reading = matches!(*request.method(), Method::GET | Method::HEAD) && !request.uri().path().starts_with("/api");
    let headers = request.headers();
    let objection = match reading {
        true if guard.closed => guard.foreign_host(headers),
        true => None,
        false => guard.foreign_host(headers).or_else(|| guard.foreign_origin(headers)),
    };
    match objection {
        Some(objection) => (StatusCode::FORBIDDEN, format!("{objection}\n")).into_response(),
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::any;
    use tower::ServiceExt;

    use super::*;

    async fn ask(method: &str, path: &str, host: &str, origin: Option<&str>) -> StatusCode {
        ask_guard(Guard::new(["Node1.example".to_owned()], false), method, path, host, origin).await
    }

    async fn ask_guard(guard: Guard, method: &str, path: &str, host: &str, origin: Option<&str>) -> StatusCode {
        let router = Router::new()
            .fallback(any(|| async { "changed" }))
            .layer(axum::middleware::from_fn_with_state(guard, check));
        let mut request = axum::http::Request::builder().method(method).uri(path).header(HOST, host);
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
    }

    #[tokio::test]
    async fn foreign_names_and_pages_change_nothing() {
        for (host, origin) in [
            ("localhost:8081", None),
            ("127.0.0.1:8081", Some("http://127.0.0.1:8081")),
            ("127.0.0.53", Some("http://localhost:8081")),
            ("[::1]:8081", None),
            ("node1.example:8081", Some("https://NODE1.example")),
        ] {
            assert_eq!(ask("POST", "/x", host, origin).await, StatusCode::OK, "{host} {origin:?}");
        }
        for (host, origin) in [
            ("evil.example", None),
            ("localhost:8081", Some("http://evil.example")),
            ("localhost:8081", Some("null")),
            ("localhost:8081", Some("http://localhost.evil.example")),
            ("localhost.evil.example:8081", None),
        ] {
            for (method, path) in [("POST", "/x"), ("DELETE", "/x"), ("GET", "/api")] {
                assert_eq!(ask(method, path, host, origin).await, StatusCode::FORBIDDEN, "{method} {host} {origin:?}");
            }
            assert_eq!(ask("GET", "/scheduler", host, origin).await, StatusCode::OK);
        }
    }
    #[tokio::test]
    async fn on_loopback_a_rebound_name_may_not_even_read() {
        let closed = || Guard::new([], true);
        assert_eq!(ask_guard(closed(), "GET", "/scheduler", "evil.example", None).await, StatusCode::FORBIDDEN);
        assert_eq!(ask_guard(closed(), "GET", "/scheduler", "localhost:1", None).await, StatusCode::OK);
        // A link on a foreign page may be followed: reading asks for no Origin.
        let linked = ask_guard(closed(), "GET", "/scheduler", "localhost", Some("http://evil.example")).await;
        assert_eq!(linked, StatusCode::OK);
    }
}
