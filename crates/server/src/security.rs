//! Who is asking: HTTP Basic by the users of a file, before every request (spec thrift-api 1.4). What users may do is decided behind the
//! gateway. Nobody has to say who he is to read, as in Aurora; whoever says it must say the truth.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gateway::{Authorizer, Permission};
use scheduler::Principal;
use security::{Realm, Verdict};
use tokio::sync::Semaphore;

/// What clients show their users.
const CHALLENGE: &str = "BASIC realm=\"Apache Aurora Scheduler\"";
/// Passwords that are hashed at the same time: a slow hash must not take all processors.
const HASHING_MAX: usize = 2;

/// How callers say who they are.
#[derive(Clone, Debug, Default)]
pub struct SecurityOptions {
    /// Whether they have to, by HTTP Basic.
    pub basic: bool,
    /// File of users and roles.
    pub ini: Option<PathBuf>,
}

/// Why security cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// Nobody could log in.
    #[error("--http-authentication-mechanism BASIC needs a file of users and roles: --shiro-ini-path FILE")]
    NoFile,
    /// The file is wrong.
    #[error("--shiro-ini-path: {0}")]
    File(#[from] security::IniError),
}

impl SecurityOptions {
    /// Reads the users; nothing where nobody has to say who he is.
    pub fn realm(&self, salt: [u8; 32]) -> Result<Option<Arc<Realm>>, SecurityError> {
        match (&self.ini, self.basic) {
            (Some(path), true) => Ok(Some(Arc::new(Realm::load(path, salt)?))),
            (None, true) => Err(SecurityError::NoFile),
            (Some(path), false) => {
                tracing::warn!(
                    "{} is not used: nobody is asked who he is without --http-authentication-mechanism BASIC",
                    path.display()
                );
                Ok(None)
            }
            (None, false) => Ok(None),
        }
    }
}

/// The gate.
#[derive(Clone)]
pub struct Gate {
    realm: Arc<Realm>,
    hashing: Arc<Semaphore>,
}

impl Gate {
    /// A gate for the users of `realm`.
    pub fn new(realm: Arc<Realm>) -> Self {
        Self { realm, hashing: Arc::new(Semaphore::new(HASHING_MAX)) }
    }

    /// Who it is, nobody, or somebody who does not say the truth.
    async fn ask(&self, header: Option<HeaderValue>) -> Result<Option<Principal>, ()> {
        let Some(header) = header else { return Ok(None) };
        let (name, password) = header.to_str().ok().and_then(credentials).ok_or(())?;
        let Ok(_turn) = self.hashing.acquire().await else { return Err(()) };
        let realm = Arc::clone(&self.realm);
        match tokio::task::spawn_blocking(move || realm.authenticate(&name, &password)).await {
            Ok(Verdict::Is(principal)) => Ok(Some(principal)),
            Ok(Verdict::IsNot) | Err(_) => Err(()),
        }
    }
}

/// Name and password of `Basic …`.
fn credentials(header: &str) -> Option<(String, String)> {
    let (scheme, words) = header.trim().split_once(' ')?;
    let words = STANDARD.decode(words.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let words = String::from_utf8(words).ok()?;
    words.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()))
}

/// Whether a request changes something beside the methods of the API, which know by themselves, and what is only sent elsewhere.
fn changes(request: &Request) -> bool {
    let path = request.uri().path();
    let below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let knows_itself = ["/api", "/apibeta", "/mname"].into_iter().any(below);
    !knows_itself && !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
}

/// What the pages for operators demand.
fn operators(path: &str) -> Option<Permission> {
    let method = match path {
        "/logconfig" => "logconfig",
        "/quitquitquit" => "quitquitquit",
        "/abortabortabort" => "abortabortabort",
        _ => return None,
    };
    Some(Permission::Admin { method })
}

/// Middleware: passes the caller's name on, or answers 401.
pub async fn authenticate(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    match gate.ask(request.headers().get(AUTHORIZATION).cloned()).await {
        Ok(Some(principal)) => {
            let wanted = operators(request.uri().path()).filter(|_| changes(&request));
            if let Some(wanted) = wanted
                && !gate.realm.permits(&principal, &wanted)
            {
                let sentence = format!("{} may not do this: no role of his permits {wanted}.\n", principal.name);
                return (StatusCode::FORBIDDEN, sentence).into_response();
            }
            request.extensions_mut().insert(principal);
        }
        Ok(None) if changes(&request) => return challenged("Say who you are to change something."),
        Ok(None) => {}
        Err(()) => return challenged("There is no such user, or the password is another one."),
    }
    let mut answer = next.run(request).await;
    if answer.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
    }
    answer
}

fn challenged(sentence: &str) -> Response {
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, CHALLENGE)], format!("{sentence}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::any;
    use axum::{Extension, Router};

    use super::*;
    use crate::test_support;

    const FILE: &str = "[users]\nroot = secret, admin\nbob = word\n[roles]\nadmin = *\n";

    async fn ask(method: &str, path: &str, header: Option<&str>) -> (StatusCode, String, bool) {
        let directory = tempfile::tempdir().unwrap();
        let ini = directory.path().join("ini");
        std::fs::write(&ini, FILE).unwrap();
        let realm = SecurityOptions { basic: true, ini: Some(ini) }.realm([0; 32]).unwrap().unwrap();
        let name = |caller: Option<Extension<Principal>>| async move {
            match caller {
                Some(Extension(principal)) => (StatusCode::OK, principal.name),
                None => (StatusCode::OK, "nobody".to_owned()),
            }
        };
        let router = Router::new()
            .route("/refuses", any(|| async { StatusCode::UNAUTHORIZED }))
            .fallback(any(name))
            .layer(axum::middleware::from_fn_with_state(Gate::new(realm), authenticate));
        let mut request = axum::http::Request::builder().method(method).uri(path);
        if let Some(header) = header {
            request = request.header("authorization", header);
        }
        let answered = test_support::ask(router, request.body(Body::empty()).unwrap()).await;
        (answered.status, answered.text, answered.headers.contains_key(WWW_AUTHENTICATE))
    }

    fn basic(words: &str) -> String {
        format!("Basic {}", STANDARD.encode(words))
    }

    #[tokio::test]
    async fn callers_are_named_unknown_ones_may_ask_and_liars_may_not() {
        for (method, path) in [("POST", "/api"), ("GET", "/scheduler"), ("POST", "/apibeta/killTasks")] {
            let named = ask(method, path, Some(&basic("bob:word"))).await;
            assert_eq!(named, (StatusCode::OK, "bob".into(), false));
            assert_eq!(ask(method, path, None).await, (StatusCode::OK, "nobody".into(), false));
            for liar in [basic("bob:secret"), basic("eve:x"), basic("bob"), "Basic ?".into(), "Negotiate abc".into()] {
                let (status, _, challenged) = ask(method, path, Some(&liar)).await;
                assert_eq!((status, challenged), (StatusCode::UNAUTHORIZED, true), "{method} {path} {liar}");
            }
        }
        assert!(ask("POST", "/refuses", Some(&basic("bob:word"))).await.2);
    }

    #[tokio::test]
    async fn changes_outside_the_api_want_a_name() {
        for (method, path) in [("POST", "/sample-job"), ("DELETE", "/x"), ("POST", "/logconfig"), ("POST", "/apix")] {
            let (status, _, challenged) = ask(method, path, None).await;
            assert_eq!((status, challenged), (StatusCode::UNAUTHORIZED, true), "{method} {path}");
        }
        for path in ["/logconfig", "/quitquitquit", "/abortabortabort"] {
            assert_eq!(ask("POST", path, Some(&basic("bob:word"))).await.0, StatusCode::FORBIDDEN);
            assert_eq!(ask("POST", path, Some(&basic("root:secret"))).await.0, StatusCode::OK);
        }
        assert_eq!(ask("POST", "/mname/r/prod/j/0", None).await.0, StatusCode::OK);
        assert_eq!(ask("GET", "/logconfig", Some(&basic("bob:word"))).await.0, StatusCode::OK);
    }

    #[test]
    fn security_without_users_is_refused() {
        let options = SecurityOptions { basic: true, ini: None };
        assert!(options.realm([0; 32]).err().unwrap().to_string().contains("--shiro-ini-path"));
        let options = SecurityOptions { basic: true, ini: Some("/no/such".into()) };
        assert!(options.realm([0; 32]).err().unwrap().to_string().contains("/no/such"));
        assert!(SecurityOptions { basic: false, ini: Some("/no/such".into()) }.realm([0; 32]).unwrap().is_none());
    }
}
