//! Connections: accepted, limited, and answered through the library of HTTP.
//!
//! One thread does it all, except for what reads a store: that is done on a few other threads.

use super::answering::{Content, answer, failed};
use super::body::Body;
use super::patience::{Patience, Patient};
use super::seldom::Seldom;
use crate::panics::survive_async;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The most connections at once. Others are told to try again.
pub const CONNECTIONS_MAX: usize = 1_024;
/// How long a client may take to send the head of a request, also between two of them.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// The most bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The most headers of a request.
const HEADERS_MAX: usize = 64;
/// How long a client may take for an answer, by its size.
const PATIENCE: Patience = Patience { least: Duration::from_secs(30), bytes_per_second: 32 << 10 };
/// The pause after the system could not accept a connection, for example for too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the end of the server waits for answers that are being sent.
const DRAIN_MAX: Duration = Duration::from_millis(500);
/// The interval of [`Content::tick`].
const TICK: Duration = Duration::from_secs(1);

/// What a client is told if there are too many connections.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 68\r\n\r\n\
    {\"error\":\"too many connections: try again in a second\",\"status\":503}";

/// Serves until `stop` is set, and then for a moment more.
pub async fn serve(listener: TcpListener, content: Arc<Content>, mut stop: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let ticking = tokio::spawn(tick(Arc::clone(&content)));
    let mut refused = Seldom::default();
    loop {
        // Whichever is first: the pause lets it see the end soon.
        let accepted = tokio::time::timeout(ACCEPT_PAUSE, listener.accept()).await;
        if *stop.borrow_and_update() {
            break;
        }
        match accepted {
            Ok(Ok((stream, _))) => match Arc::clone(&slots).try_acquire_owned() {
                Ok(slot) => {
                    tokio::spawn(connection(stream, Arc::clone(&content), stop.clone(), slot));
                }
                // As much of it as the system takes at once.
                Err(_) => drop(stream.try_write(FULL)),
            },
            Ok(Err(error)) => {
                if let Some(count) = refused.note(Instant::now()) {
                    tracing::warn!(
                        "HTTP: cannot accept a connection: {error} ({count} times since this was \
                         last said)"
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            Err(_) => {}
        }
    }
    ticking.abort();
    drop(listener);
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(DRAIN_MAX, slots.acquire_many(all)).await;
}

async fn tick(content: Arc<Content>) {
    loop {
        survive_async("the clock of the HTTP server", async { content.tick() }).await;
        tokio::time::sleep(TICK).await;
    }
}

/// Answers the requests of a connection, one after another.
async fn connection(
    stream: TcpStream,
    content: Arc<Content>,
    mut stop: watch::Receiver<bool>,
    _slot: OwnedSemaphorePermit,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let content = Arc::clone(&content);
        async move {
            let answered = survive_async("an answer over HTTP", answer(content, request)).await;
            Ok::<Response<Body>, Infallible>(answered.unwrap_or_else(failed))
        }
    });
    let io = TokioIo::new(Patient::new(stream, PATIENCE));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let mut stopped = std::pin::pin!(stop.wait_for(|stop| *stop));
    let mut is_stopped = false;
    // An error is that of the client, or of its network.
    let served = std::future::poll_fn(|context| {
        if !is_stopped && stopped.as_mut().poll(context).is_ready() {
            is_stopped = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    });
    let _ = survive_async("a connection over HTTP", served).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_too_many_connections_has_its_length() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let length = head.split("content-length: ").nth(1).unwrap();
        assert_eq!(length.parse(), Ok(body.len()));
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
