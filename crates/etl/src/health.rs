//! The page by which a supervisor of this program sees that it lives.

use std::net::SocketAddr;

use axum::Router;
use axum::response::Html;
use axum::routing::get;

/// Serves the page from a thread of its own. An address that cannot be had is no reason not to run: it is said and that is all.
pub fn serve(address: SocketAddr, say: impl FnOnce(String)) {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let listener = match bound {
        Ok(listener) => listener,
        Err(error) => return say(format!("No health page: cannot listen on {address}: {error}")),
    };
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        let _ = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, routes()).await
        });
    });
}

fn routes() -> Router {
    Router::new()
        .route("/", get(|| async { Html("<a href=\"/health\">Found</a>.") }))
        .route("/health", get(|| async { "healthy" }))
}
