//! Connections of callers. A caller who hangs up, or who has said all he wants to say, is still served: what he asked for is carried out
//! (spec thrift-api 3.1), where usual servers would drop a request that they have read but not begun.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::ServiceExt;

/// Pause after an error that has nothing to do with one caller, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves every connection until `stopped` says so, and then those that are in the middle of something to their end.
pub(crate) async fn serve(listener: TcpListener, routes: Router, mut stopped: watch::Receiver<bool>) {
    // Closed when the last connection has ended.
    let (open, mut ended) = tokio::sync::mpsc::channel::<Infallible>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = until(&mut stopped) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (routes, stopped, open) = (routes.clone(), stopped.clone(), open.clone());
                tokio::spawn(async move {
                    converse(stream, routes, stopped).await;
                    drop(open);
                });
            }
            Err(error) if is_of_one_caller(&error) => {}
            Err(error) => {
                tracing::error!("connections cannot be accepted: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop((open, listener));
    let _ = ended.recv().await;
}

async fn until(stopped: &mut watch::Receiver<bool>) {
    // An error means that nobody can stop it any more but the end of the process.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn converse(stream: TcpStream, routes: Router, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let answer = move |request: Request<Incoming>| routes.clone().oneshot(request.map(Body::new));
    let mut connection = std::pin::pin!(
        http1::Builder::new().half_close(true).serve_connection(TokioIo::new(stream), service_fn(answer))
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = until(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!("a connection broke: {error}");
    }
}

fn is_of_one_caller(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn who_hangs_up_at_once_is_served_and_the_end_waits_for_open_requests() {
        let carried_out = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&carried_out);
        let slow = move |body: String| {
            let counter = Arc::clone(&counter);
            async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                counter.fetch_add(1, Ordering::SeqCst);
                body
            }
        };
        let routes = Router::new().route("/", post(slow));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, routes, stopped));
        let request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request).await.unwrap();
            stream.shutdown().await.unwrap();
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        stop.send_replace(true);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hi"), "{answer}");
        serving.await.unwrap();
        assert_eq!(carried_out.load(Ordering::SeqCst), 21);
        assert!(TcpStream::connect(address).await.is_err());
    }
}
