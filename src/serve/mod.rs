//! The HTTP server of a job: the API, the stream of events, and the page.
//!
//! ```text
//! thread of the store ─ committed ─► feed ─► copy in memory (stores that cannot be queried)
//!                                     ├────► ring of changed rows ─► events
//!                                     └────► latest publication
//! request ─ guard ─ route ─ cache ─► snapshot (SQLite, or the copy) ─► rows ─► JSON, CSV
//! ```
//!
//! An answer is of one publication, and names it. The workers are never asked, and nobody waits for
//! a client: the thread of the store puts what it has committed into a queue, and goes on. What is
//! answered or sent is made once for all who ask for the same.
//!
//! - [`address`], [`token`]: the settings.
//! - `http`, `patience`, `body`, `seldom`: connections, and their limits.
//! - `guard`, `answering`: which requests are answered, and with what.
//! - [`routes`], [`parameters`], [`fields`]: the paths, declared once; [`openapi`] describes them.
//! - [`api`]: what each path answers.
//! - [`snapshots`], [`feed`], `ring`, `head`, `rates`: what is known of the job.
//! - [`health`], `measured`: whether the job lives, and its metrics, in every process.
//! - `events`, `cache`: what is sent to several clients; [`budget`]: the memory of all of it.
//! - `page`: HTML.

pub mod address;
mod answering;
pub mod api;
mod body;
pub mod budget;
pub mod cache;
pub mod error;
pub mod events;
pub mod feed;
pub mod fields;
mod guard;
pub mod head;
pub mod health;
mod http;
mod measured;
pub mod openapi;
mod page;
pub mod parameters;
mod patience;
pub mod rates;
mod reply;
mod ring;
pub mod routes;
mod seldom;
pub mod site;
pub mod snapshots;
pub mod table;
pub mod token;
mod uri;

pub use address::{HttpAddress, ListenError, Listener};
pub use site::JobFacts;
pub use snapshots::{ReaderOpener, Snapshots};
pub use token::Token;

use crate::engine::{Counters, Observer};
use crate::panics::survive_async;
use crate::stores::description::Description;
use answering::{Content, ContentSource};
use feed::Feed;
use site::Site;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// The threads that read the store for answers.
const READERS: usize = budget::MAKERS;
/// How long the end of the server waits for them.
const READERS_WAIT: Duration = Duration::from_millis(200);

/// A server that runs. It ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    feed: Option<Arc<Feed>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the server of the first process of a job, which is to be told of its commits.
    ///
    /// # Errors
    /// When the system gives it no thread or no socket.
    pub fn of_job(
        listener: Listener,
        job: JobFacts,
        snapshots: Snapshots,
        counters: Arc<Counters>,
        token: Option<Token>,
    ) -> std::io::Result<Server> {
        let (job, snapshots) = (Arc::new(job), Arc::new(snapshots));
        let description = Description::of(&job.definition, &job.queries);
        let feed = Arc::new(Feed::new(description, Arc::clone(&snapshots)));
        let site = Site {
            job: Arc::clone(&job),
            snapshots,
            feed: Arc::clone(&feed),
            counters: Arc::clone(&counters),
            bytes: Default::default(),
            budget: Default::default(),
            number: getrandom::u64()?,
            cache: Default::default(),
            encoded: Default::default(),
            committed: Default::default(),
            token,
        };
        let source = ContentSource::Site(Arc::new(site));
        let mut server = Server::start(listener, source, job, counters)?;
        let running = Arc::clone(&feed);
        let thread = std::thread::Builder::new().name("http-feed".into());
        // Nobody waits for it: it may be reading a whole topic.
        thread.spawn(move || running.run())?;
        server.feed = Some(feed);
        Ok(server)
    }

    /// Starts the server of another process, which says where the API is.
    ///
    /// # Errors
    /// When the system gives it no thread or no socket.
    pub fn elsewhere(
        listener: Listener,
        text: String,
        job: JobFacts,
        counters: Arc<Counters>,
    ) -> std::io::Result<Server> {
        Server::start(listener, ContentSource::Elsewhere(text), Arc::new(job), counters)
    }

    fn start(
        listener: Listener,
        source: ContentSource,
        job: Arc<JobFacts>,
        counters: Arc<Counters>,
    ) -> std::io::Result<Server> {
        let address = listener.local_addr()?;
        counters.meter().serve();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // One more, so that metrics need not wait for answers.
            .max_blocking_threads(READERS + 1)
            .thread_name("http-reader")
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let content = Arc::new(Content {
            source,
            job,
            counters,
            is_loopback: address.ip().is_loopback(),
            names: listener.names()?,
            streams: AtomicUsize::new(0),
        });
        let socket = listener.socket;
        let listener = runtime.block_on(async { tokio::net::TcpListener::from_std(socket) })?;
        let serve = move || {
            let serving = http::serve(listener, content, stopped);
            runtime.block_on(survive_async("the HTTP server", serving));
            runtime.shutdown_timeout(READERS_WAIT);
        };
        let thread = std::thread::Builder::new().name("http".into()).spawn(serve)?;
        Ok(Server { address, feed: None, stop, thread: Some(thread) })
    }

    /// The address that it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who is to be told of the commits of the job.
    pub fn observer(&self) -> Option<Arc<dyn Observer>> {
        self.feed.clone().map(|feed| feed as Arc<dyn Observer>)
    }
}

impl Drop for Server {
    /// Ends all streams, answers what is being answered, and waits for that, less than a second.
    fn drop(&mut self) {
        if let Some(feed) = &self.feed {
            feed.end();
        }
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
