//! The listening socket, the routes put together, and an orderly end. No routes of its own but the log's level.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::RawForm;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::connections;
use crate::guard::{self, Guard};
use crate::leader::{self, Leadership};
use crate::logging;
use crate::security::{self, Gate};

/// How long open requests may go on after the daemon was asked to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// Why the daemon cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Someone else has the port.
    #[error(
        "{0} is in use, perhaps by another daemon. Stop that one, or choose another address with --listen (port 0 takes a free one)"
    )]
    InUse(SocketAddr),
    /// Ports below 1024, usually.
    #[error("no permission to listen on {0}: choose a port from 1024 up with --listen")]
    Permission(SocketAddr),
    /// The rest.
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, #[source] io::Error),
}

/// Opens the socket.
pub fn listen(address: SocketAddr) -> Result<std::net::TcpListener, ListenError> {
    let refuse = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse(address),
        io::ErrorKind::PermissionDenied => ListenError::Permission(address),
        _ => ListenError::Other(address, error),
    };
    let listener = std::net::TcpListener::bind(address).map_err(refuse)?;
    listener.set_nonblocking(true).map_err(refuse)?;
    Ok(listener)
}

/// All routes behind the guard, and behind what sends callers to the leader and asks them who they are, where there is such.
pub(crate) fn guarded(routes: Router, leadership: Option<Leadership>, gate: Option<Gate>, guard: Guard) -> Router {
    let routes = routes.route("/logconfig", get(show_level).post(change_level));
    let routes = match gate {
        Some(gate) => routes.layer(axum::middleware::from_fn_with_state(gate, security::authenticate)),
        None => routes,
    };
    let routes = match leadership {
        Some(leadership) => routes.layer(axum::middleware::from_fn_with_state(leadership, leader::redirect)),
        None => routes,
    };
    routes.layer(axum::middleware::from_fn_with_state(guard, guard::check))
}

/// Serves until `stop` completes, then lets open requests end for a moment.
pub async fn serve(
    listener: std::net::TcpListener,
    routes: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let (stopping, mut stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        stop.await;
        stopping.send_replace(true);
    });
    tokio::select! {
        () = connections::serve(listener, routes, stopped.clone()) => Ok(()),
        // Streams to open pages never end by themselves.
        () = async {
            let _ = stopped.wait_for(|stopped| *stopped).await;
            tokio::time::sleep(DRAIN).await;
        } => Ok(()),
    }
}

/// `GET /logconfig`: what is logged now.
async fn show_level() -> String {
    format!("{}\n", logging::level().unwrap_or_else(|| "the log is not started".into()))
}

/// `POST /logconfig` with the form `level` (and `logger`, a part of the program): changes what is logged (spec scheduler 7.1).
async fn change_level(RawForm(form): RawForm) -> Response {
    let form = String::from_utf8_lossy(&form).into_owned();
    let field = |name: &str| {
        let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.replace("%2C", ",").replace("%3D", "=")).next()
    };
    let Some(level) = field("level").map(|level| level.to_ascii_lowercase()) else {
        return (StatusCode::BAD_REQUEST, "Give a level: curl -d level=debug .../logconfig\n").into_response();
    };
    let directives = match field("logger").filter(|logger| !logger.is_empty()) {
        Some(logger) => format!("{},{logger}={level}", logging::level().unwrap_or_else(|| "info".into())),
        None => level,
    };
    match logging::set_level(&directives) {
        Ok(()) => Redirect::to("/logconfig").into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}
