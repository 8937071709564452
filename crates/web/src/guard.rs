//! Who may call: Host and Origin checks against pages of other sites, and the headers every answer carries.
//!
//! Loopback without authentication is still reachable from any web page, directly (forms) or through a name that its owner
//! points at 127.0.0.1. So a name in `Host` must be one of ours, and whatever changes state must come from a page of ours.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::state::WebState;

/// Only our own files, no inline scripts or styles, no frames.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Why a call is refused, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

/// Host part of an authority such as `localhost:8081` or `[::1]:8081`, lower case.
fn host_of(authority: &str) -> String {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Whether this server answers under `host`: loopback names, IP addresses (no foreign name can hide behind one) and `own`.
fn is_own_host(host: &str, own: &BTreeSet<String>) -> bool {
    host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok() || own.contains(host)
}

/// Checks the `Host` of any call, and on calls that may change state also where they come from.
///
/// `own` are the further host names of this server (lower case, no port). Programs send no `Origin` and pass; browsers send
/// one with every POST, and it must be the very authority that was called.
pub fn check(method: &Method, headers: &HeaderMap, own: &BTreeSet<String>) -> Result<(), Refused> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST);
    if let Some(host) = host
        && !is_own_host(&host_of(host), own)
    {
        return Err(Refused(format!(
            "This server is not known as '{host}'. Use its IP address or localhost, or start it with --hostname {}.",
            host_of(host)
        )));
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let foreign = |origin: &str| {
        Refused(format!("A request that changes something must come from a page of this server, not from '{origin}'."))
    };
    if let Some(origin) = text(header::ORIGIN) {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        if authority.is_none() || authority.map(str::to_ascii_lowercase) != host.map(str::to_ascii_lowercase) {
            return Err(foreign(origin));
        }
    }
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(site) => Err(foreign(&String::from_utf8_lossy(site))),
    }
}

/// Middleware: refuses what [`check`] refuses with 403 and its sentence.
pub async fn check_caller(State(state): State<WebState>, request: Request, next: Next) -> Response {
    match check(request.method(), request.headers(), &state.hosts) {
        Ok(()) => next.run(request).await,
        Err(Refused(reason)) => (StatusCode::FORBIDDEN, format!("{reason}\n")).into_response(),
    }
}

/// Middleware: the headers of every answer. A handler that set one of them keeps its own.
pub async fn add_security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(method: Method, pairs: &[(&str, &str)]) -> Result<(), Refused> {
        let headers: HeaderMap =
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse::<HeaderValue>().unwrap())).collect();
        check(&method, &headers, &["box.example".to_owned()].into())
    }

    #[test]
    fn own_names_and_addresses_pass() {
        for host in
            ["localhost:8081", "127.0.0.1:8081", "[::1]:8081", "BOX.example", "192.168.33.7:8081", "a.localhost"]
        {
            assert_eq!(verdict(Method::GET, &[("host", host)]), Ok(()), "{host}");
        }
        assert_eq!(verdict(Method::GET, &[]), Ok(()));
    }

    #[test]
    fn a_foreign_name_is_refused_and_told_what_to_do() {
        let Refused(reason) = verdict(Method::GET, &[("host", "evil.example:8081")]).unwrap_err();
        assert!(reason.contains("--hostname evil.example"), "{reason}");
        assert!(verdict(Method::GET, &[("host", "localhost.evil.example")]).is_err());
    }

    #[test]
    fn a_change_must_come_from_the_same_authority() {
        let post = |origin| verdict(Method::POST, &[("host", "localhost:8081"), ("origin", origin)]);
        assert_eq!(post("http://localhost:8081"), Ok(()));
        for foreign in ["http://localhost:9999", "http://evil.example", "null", "http://127.0.0.1:8081", ""] {
            assert!(post(foreign).is_err(), "{foreign}");
        }
        assert_eq!(verdict(Method::POST, &[("host", "localhost:8081")]), Ok(()));
        let site = |site| verdict(Method::POST, &[("host", "localhost:8081"), ("sec-fetch-site", site)]);
        assert!(site("same-origin").is_ok() && site("cross-site").is_err() && site("same-site").is_err());
    }
}
