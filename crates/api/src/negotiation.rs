//! Which protocol a request is in and which one its answer wants (spec thrift-api 1.2). The two are independent.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use thrift::Protocol;

/// The protocol of the body, or the media type that is none. Of two equal header lines the first counts: one client family sends two.
pub fn request_protocol(headers: &HeaderMap) -> Result<Protocol, String> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Protocol::Json) };
    let text = String::from_utf8_lossy(value.as_bytes());
    match normalise(&text).as_str() {
        "application/x-thrift"
        | "application/json"
        | "application/vnd.apache.thrift.json"
        | "application/vnd.apache.thrift.json;charset=utf-8" => Ok(Protocol::Json),
        "application/vnd.apache.thrift.binary" => Ok(Protocol::Binary),
        _ => Err(text.into_owned()),
    }
}

/// Binary only for a client that accepts nothing else.
pub fn response_protocol(headers: &HeaderMap) -> Protocol {
    let mut lines = headers.get_all(ACCEPT).iter();
    match (lines.next(), lines.next()) {
        (Some(only), None) if normalise(&String::from_utf8_lossy(only.as_bytes())) == Protocol::Binary.media_type() => {
            Protocol::Binary
        }
        _ => Protocol::Json,
    }
}

/// Whether the body may be plain JSON: `application/json` with any parameters.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    text.split(';').next().is_some_and(|media_type| media_type.trim() == "application/json")
}

/// Lower case, without the white space and quotes that parameters may have.
fn normalise(media_type: &str) -> String {
    media_type.chars().filter(|c| !c.is_whitespace() && *c != '"').map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(lines: &[(axum::http::HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn content_types_choose_the_request_protocol() {
        let of = |value| request_protocol(&headers(&[(CONTENT_TYPE, value)]));
        assert_eq!(request_protocol(&HeaderMap::new()), Ok(Protocol::Json));
        for json in [
            "application/x-thrift",
            "application/json",
            "application/vnd.apache.thrift.json",
            "application/vnd.apache.thrift.json; charset=utf-8",
            "Application/VND.apache.thrift.JSON;CharSet=UTF-8",
        ] {
            assert_eq!(of(json), Ok(Protocol::Json), "{json}");
        }
        assert_eq!(of("application/vnd.apache.thrift.binary"), Ok(Protocol::Binary));
        for other in [
            "application/json; charset=utf-8",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/vnd.apache.thrift.json; charset=latin1",
            "",
        ] {
            assert_eq!(of(other), Err(other.to_owned()));
        }
        let twice = headers(&[(CONTENT_TYPE, "application/x-thrift"), (CONTENT_TYPE, "application/x-thrift")]);
        assert_eq!(request_protocol(&twice), Ok(Protocol::Json));
    }

    #[test]
    fn only_a_lone_binary_accept_gets_binary() {
        let of = |value| response_protocol(&headers(&[(ACCEPT, value)]));
        assert_eq!(of("application/vnd.apache.thrift.binary"), Protocol::Binary);
        for json in [
            "*/*",
            "application/json",
            "application/vnd.apache.thrift.binary, application/json",
            "nonsense",
            "application/vnd.apache.thrift.binary;q=0.5",
        ] {
            assert_eq!(of(json), Protocol::Json, "{json}");
        }
        assert_eq!(response_protocol(&HeaderMap::new()), Protocol::Json);
        let binary = "application/vnd.apache.thrift.binary";
        assert_eq!(response_protocol(&headers(&[(ACCEPT, binary), (ACCEPT, "*/*")])), Protocol::Json);
    }

    #[test]
    fn plain_json_bodies_say_so() {
        assert!(is_json(&headers(&[(CONTENT_TYPE, "application/json; charset=utf-8")])));
        assert!(!is_json(&headers(&[(CONTENT_TYPE, "text/plain")])));
        assert!(!is_json(&HeaderMap::new()));
    }
}
