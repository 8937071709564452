//! The guard before every request: Host, and where something could change also Origin, must be ours.
//!
//! Loopback without authentication is reachable from every web page its user opens, directly (forms) or through a name that the
//! page's owner points at this machine. So a name in `Host` must be one of ours, to read as well: logs and configurations are nobody
//! else's. What could change something must come from a page of the very authority that was called: another server of this machine is
//! not us. Programs send no `Origin` and the Host they dialled. No authentication.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, HeaderName, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Says where a request of a browser comes from, in a word.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The names under which this daemon may be addressed.
#[derive(Clone, Debug)]
pub struct Guard {
    names: Arc<BTreeSet<String>>,
    /// Whose pages may call the API too; `*` for all.
    friend: Option<Arc<str>>,
}

impl Guard {
    /// Knows the given names, without port, besides those that can only be ours: loopback names, and addresses, behind which no
    /// foreign name can hide.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: Arc::new(names.into_iter().map(|name| name.to_ascii_lowercase()).collect()), friend: None }
    }

    /// The same for a daemon whose operator lets the pages of another origin call the API (spec thrift-api 1.3).
    pub fn with_friend(self, origin: Option<&str>) -> Self {
        Self { friend: origin.map(Into::into), ..self }
    }

    fn knows(&self, name: &str) -> bool {
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<IpAddr>().is_ok()
            || self.names.contains(name)
    }

    /// Why a request is turned away, for people.
    fn objection(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<String> {
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let host = text(HOST);
        if let Some(host) = host
            && !self.knows(&name_of(host))
        {
            let name = name_of(host);
            let way = format!("Use its IP address or localhost, or start it with --hostname {name}.");
            return Some(format!("This daemon is not known as '{host}'. {way}"));
        }
        // `/api` takes changes by any method.
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !path.starts_with("/api") {
            return None;
        }
        let friend = self.friend.as_deref().filter(|_| path.starts_with("/api"));
        if let (Some(friend), Some(origin)) = (friend, text(ORIGIN))
            && (friend == "*" || friend.eq_ignore_ascii_case(origin))
        {
            return None;
        }
        let foreign =
            |origin: &str| format!("What changes something must come from a page of this daemon, not from '{origin}'.");
        if let Some(origin) = text(ORIGIN) {
            let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            if authority.is_none() || authority.map(str::to_ascii_lowercase) != host.map(str::to_ascii_lowercase) {
                return Some(foreign(origin));
            }
        }
        match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
            None | Some(b"same-origin" | b"none") => None,
            Some(site) => Some(foreign(&String::from_utf8_lossy(site))),
        }
    }
}

/// Host part of an authority such as `localhost:8081` or `[::1]:8081`, lower case.
fn name_of(authority: &str) -> String {
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(name, _)| name),
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// Middleware: answers 403 with the reason, or passes the request on.
pub async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.objection(request.method(), request.uri().path(), request.headers()) {
        Some(objection) => (StatusCode::FORBIDDEN, format!("{objection}\n")).into_response(),
        None => next.run(request).await,
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::any;

    use super::*;
    use crate::test_support;

    /// Status and body of a request through the guard of a daemon called Node1.example.
    async fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> (StatusCode, String) {
        let guard = Guard::new(["Node1.example".to_owned()]);
        let router = Router::new()
            .fallback(any(|| async { "passed" }))
            .layer(axum::middleware::from_fn_with_state(guard, check));
        let mut request = axum::http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answered = test_support::ask(router, request.body(Body::empty()).unwrap()).await;
        (answered.status, answered.text)
    }

    async fn passes(method: &str, path: &str, headers: &[(&str, &str)]) -> bool {
        let (status, body) = ask(method, path, headers).await;
        assert_eq!(status == StatusCode::OK, body == "passed", "{status} {body}");
        assert!(status == StatusCode::OK || status == StatusCode::FORBIDDEN, "{status}");
        status == StatusCode::OK
    }

    #[tokio::test]
    async fn own_names_and_addresses_pass() {
        for host in [
            "localhost:8081",
            "127.0.0.1:8081",
            "127.0.0.53",
            "[::1]:8081",
            "NODE1.example",
            "node1.example.:8081",
            "192.168.33.7:8081",
            "a.localhost",
        ] {
            for (method, path) in [("GET", "/scheduler"), ("POST", "/x"), ("POST", "/api"), ("GET", "/api")] {
                assert!(passes(method, path, &[("host", host)]).await, "{method} {path} {host}");
            }
        }
        assert!(passes("POST", "/api", &[]).await);
    }

    #[tokio::test]
    async fn a_foreign_name_sees_and_changes_nothing_and_is_told_what_to_do() {
        for host in ["evil.example:8081", "localhost.evil.example", "localhost.evil.example:8081", "1.2.3.4.example"] {
            for (method, path) in [("GET", "/scheduler"), ("GET", "/files/t"), ("POST", "/x"), ("GET", "/api")] {
                assert!(!passes(method, path, &[("host", host)]).await, "{method} {path} {host}");
            }
        }
        let (_, body) = ask("GET", "/scheduler", &[("host", "evil.example:8081")]).await;
        assert!(body.contains("--hostname evil.example."), "{body}");
    }

    #[tokio::test]
    async fn a_change_must_come_from_the_same_authority() {
        let changes = [("POST", "/sample-job"), ("DELETE", "/x"), ("POST", "/api"), ("GET", "/api")];
        for (method, path) in changes {
            for (host, origin) in [
                ("localhost:8081", "http://localhost:8081"),
                ("127.0.0.1:8081", "http://127.0.0.1:8081"),
                ("node1.example:8081", "https://NODE1.example:8081"),
            ] {
                assert!(passes(method, path, &[("host", host), ("origin", origin)]).await, "{method} {path} {origin}");
            }
            for origin in [
                "http://localhost:9999",
                "http://evil.example",
                "http://localhost.evil.example",
                "null",
                "http://127.0.0.1:8081",
                "ftp://localhost:8081",
                "",
            ] {
                let headers = [("host", "localhost:8081"), ("origin", origin)];
                assert!(!passes(method, path, &headers).await, "{method} {path} {origin}");
            }
            let site = |site| [("host", "localhost:8081"), (SEC_FETCH_SITE, site)];
            for own in ["same-origin", "none"] {
                assert!(passes(method, path, &site(own)).await, "{method} {path} {own}");
            }
            for foreign in ["cross-site", "same-site"] {
                assert!(!passes(method, path, &site(foreign)).await, "{method} {path} {foreign}");
            }
        }
    }

    #[tokio::test]
    async fn a_link_on_a_foreign_page_may_be_followed() {
        let headers = [("host", "localhost"), ("origin", "http://evil.example"), (SEC_FETCH_SITE, "cross-site")];
        assert!(passes("GET", "/scheduler", &headers).await);
    }

    #[test]
    fn pages_of_the_one_origin_that_the_operator_named_may_call_the_api() {
        let guard = Guard::new([]).with_friend(Some("https://dash.example"));
        let objects = |guard: &Guard, method: Method, path: &str, origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("localhost:8081"));
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            headers.insert(SEC_FETCH_SITE, HeaderValue::from_static("cross-site"));
            guard.objection(&method, path, &headers).is_some()
        };
        for method in [Method::OPTIONS, Method::POST] {
            assert!(!objects(&guard, method.clone(), "/api", "https://dash.example"));
            assert!(objects(&guard, method.clone(), "/api", "https://evil.example"));
            assert!(objects(&Guard::new([]), method, "/api", "https://dash.example"));
        }
        assert!(objects(&guard, Method::POST, "/sample-job", "https://dash.example"));
        assert!(!objects(&Guard::new([]).with_friend(Some("*")), Method::POST, "/api", "https://any.example"));
    }
}
