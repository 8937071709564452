//! The header `Idempotency-Key`: what a client names a change by, so that it may ask again when an answer was lost. What a key does is
//! decided behind the gateway ([`scheduler::idempotency`]); here it is read, and what was asked is made into a fingerprint.
//!
//! The draft of the IETF wants the key in quotes, most clients send it without: both are one key.

use axum::http::{HeaderMap, HeaderName};
use scheduler::Idempotency;
use sha2::{Digest, Sha256};
use thrift::{Call, Protocol, Service, encode_call};

/// The header.
pub const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// By what the repetition of a request is known whose parts, put together, are all that is asked; `None` without the header. Fails, with
/// what to send, when the header holds no key.
pub fn of_request(headers: &HeaderMap, parts: &[&[u8]]) -> Result<Option<Idempotency>, String> {
    let mut values = headers.get_all(&HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err("The header Idempotency-Key is there several times: send one.".to_owned());
    }
    let text = value.to_str().unwrap_or_default();
    let unquoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let key = unquoted.parse().map_err(|error| format!("The header Idempotency-Key holds no key: {error}."))?;
    let mut digest = Sha256::new();
    for part in parts {
        // No two lists of parts run together to the same bytes.
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let fingerprint = digest.finalize()[..16].try_into().expect("a digest is longer");
    Ok(Some(Idempotency { key, fingerprint }))
}

/// The same for a call, whichever protocol it came in. Questions change nothing, so their keys are not looked at.
pub fn of_call(headers: &HeaderMap, call: &Call) -> Result<Option<Idempotency>, String> {
    if call.method().service() == Service::ReadOnlyScheduler || !headers.contains_key(&HEADER) {
        return Ok(None);
    }
    of_request(headers, &[&encode_call(Protocol::Binary, 0, call)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (HEADER, value.parse().unwrap())).collect()
    }

    #[test]
    fn quotes_make_no_difference_and_what_is_asked_does() {
        let of = |value: &str, parts: &[&[u8]]| of_request(&headers(&[value]), parts).unwrap().unwrap();
        let one = of("8e03978e", &[b"POST", b"/x"]);
        assert_eq!(one, of("\"8e03978e\"", &[b"POST", b"/x"]));
        assert_ne!(one, of("8e03978f", &[b"POST", b"/x"]));
        for other in [&[&b"POST"[..], b"/y"][..], &[b"POST/", b"x"], &[b"POST", b"/x", b""], &[]] {
            assert_ne!(one.fingerprint, of("8e03978e", other).fingerprint);
        }
        assert_eq!(of_request(&HeaderMap::new(), &[]), Ok(None));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "x".repeat(256);
        for bad in [&[""][..], &["\"\""], &["a b"], &["a", "b"], &["a", "a"], &[&long]] {
            let refusal = of_request(&headers(bad), &[]).unwrap_err();
            assert!(refusal.starts_with("The header Idempotency-Key"), "{refusal}");
        }
    }

    #[test]
    fn keys_of_questions_are_not_looked_at() {
        let call = Call::from(thrift::GetTierConfigsArguments {});
        assert_eq!(of_call(&headers(&["a b"]), &call), Ok(None));
        let call = Call::from(thrift::StartCronJobArguments::default());
        assert!(of_call(&headers(&["a b"]), &call).is_err());
        assert!(of_call(&headers(&["ab"]), &call).unwrap().is_some());
    }
}
