//! `/quitquitquit` and `/abortabortabort`: ending the daemon over HTTP, as Aurora's operators do (spec scheduler 7.1). Tasks go on
//! running after both. Only by POST, never from a foreign page (the guard sees to that), and where security is on only for operators.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use gateway::{Gateway, Permission};
use scheduler::Principal;
use tokio::sync::Notify;

/// What the routes need.
#[derive(Clone)]
struct Exits {
    gateway: Arc<Gateway>,
    quit: Arc<Notify>,
    abort: fn(),
}

/// The routes. `quit` is notified for an orderly end; `abort` ends the process at once.
pub fn router(gateway: Arc<Gateway>, quit: Arc<Notify>, abort: fn()) -> axum::Router {
    axum::Router::new()
        .route("/quitquitquit", post(orderly))
        .route("/abortabortabort", post(at_once))
        .with_state(Exits { gateway, quit, abort })
}

/// Ends the process without cleaning up; what is durable is durable.
pub fn abort() {
    tracing::error!("asked over HTTP to end at once");
    std::process::exit(0);
}

impl Exits {
    /// Why the caller may not do this, if so.
    fn refusal(&self, request: &Request, method: &'static str) -> Option<Response> {
        let principal = request.extensions().get::<Principal>().cloned();
        if principal.is_none() && self.gateway.requires_login() {
            return Some((StatusCode::UNAUTHORIZED, "Say who you are.\n").into_response());
        }
        let principal = principal.unwrap_or_else(Principal::unsecure);
        if let Err(reply) = self.gateway.authorise(&principal, &Permission::Admin { method }) {
            return Some((StatusCode::FORBIDDEN, format!("{}\n", reply.messages.join(" "))).into_response());
        }
        tracing::warn!("{} asks for {method}", principal.name);
        None
    }
}

async fn orderly(State(exits): State<Exits>, request: Request) -> Response {
    if let Some(refusal) = exits.refusal(&request, "quitquitquit") {
        return refusal;
    }
    exits.quit.notify_one();
    "Stopping; tasks go on running.\n".into_response()
}

async fn at_once(State(exits): State<Exits>, request: Request) -> Response {
    if let Some(refusal) = exits.refusal(&request, "abortabortabort") {
        return refusal;
    }
    (exits.abort)();
    "Ending.\n".into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::body::Body;
    use gateway::{Authorizer, Policy};

    use super::*;
    use crate::test_support::{self, NoDoor};

    struct OnlyRoot;

    impl Authorizer for OnlyRoot {
        fn requires_login(&self) -> bool {
            true
        }

        fn permits(&self, principal: &Principal, permission: &Permission) -> bool {
            principal.name == "root" && matches!(permission, Permission::Admin { .. })
        }
    }

    static ABORTED: AtomicBool = AtomicBool::new(false);

    async fn ask(method: &str, path: &str, principal: Option<&str>) -> (StatusCode, bool) {
        let gateway = Gateway::new(Box::new(NoDoor), Policy::default()).with_authorizer(Arc::new(OnlyRoot));
        let quit = Arc::new(Notify::new());
        let router = router(Arc::new(gateway), quit.clone(), || ABORTED.store(true, Ordering::SeqCst));
        let mut request = axum::http::Request::builder().method(method).uri(path);
        if let Some(name) = principal {
            request = request.extension(Principal { name: name.into() });
        }
        let answered = test_support::ask(router, request.body(Body::empty()).unwrap()).await;
        let notified = tokio::time::timeout(std::time::Duration::ZERO, quit.notified()).await.is_ok();
        (answered.status, notified)
    }

    #[tokio::test]
    async fn only_operators_end_the_daemon_and_only_by_post() {
        assert_eq!(ask("GET", "/quitquitquit", Some("root")).await, (StatusCode::METHOD_NOT_ALLOWED, false));
        assert_eq!(ask("POST", "/quitquitquit", None).await, (StatusCode::UNAUTHORIZED, false));
        assert_eq!(ask("POST", "/quitquitquit", Some("jane")).await, (StatusCode::FORBIDDEN, false));
        assert_eq!(ask("POST", "/abortabortabort", Some("jane")).await, (StatusCode::FORBIDDEN, false));
        assert!(!ABORTED.load(Ordering::SeqCst));
        assert_eq!(ask("POST", "/quitquitquit", Some("root")).await, (StatusCode::OK, true));
        assert_eq!(ask("POST", "/abortabortabort", Some("root")).await.0, StatusCode::OK);
        assert!(ABORTED.load(Ordering::SeqCst));
    }
}
