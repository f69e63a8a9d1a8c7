//! From a request to its answer.

use super::api::Asked;
use super::body::Body;
use super::budget;
use super::cache::Key;
use super::error::ApiError;
use super::events::{Follow, send};
use super::guard::{Caller, check_host, check_token};
use super::head::Head;
use super::parameters::Given;
use super::reply::{JSON, Reply};
use super::routes::{self, Action, Found, Rows};
use super::site::{JobFacts, Site};
use super::{health, measured, openapi, page, uri};
use crate::engine::Counters;
use crate::panics::{survive, survive_async};
use crate::query::Role;
use crate::stores::Snapshot;
use crate::time::clock_ms;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The most bytes of a URL.
const URL_BYTES_MAX: usize = 4_096;
/// The most streams of events at once, so that connections are left for requests.
const STREAMS_MAX: usize = 768;
/// How long an answer lives that changes between publications, in milliseconds.
const LIVE_MS: i64 = 500;

/// What files and pages of this server may do in a browser.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' \
                      data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri \
                      'none'; frame-ancestors 'none'";

/// What the server has.
pub struct Content {
    /// The API, or in other processes than the first one where it is.
    pub source: ContentSource,
    /// The job.
    pub job: Arc<JobFacts>,
    /// The counters of this process.
    pub counters: Arc<Counters>,
    /// Whether only this machine reaches the server.
    pub is_loopback: bool,
    /// The names by which it was told to listen, besides those of every machine for itself.
    pub names: Vec<String>,
    /// The number of streams.
    pub streams: AtomicUsize,
}

/// What the server has.
pub enum ContentSource {
    /// The API of the job.
    Site(Arc<Site>),
    /// The process with this number has no API; where it is.
    Elsewhere(String),
}

impl Content {
    /// Does what is due about once a second.
    pub fn tick(&self) {
        if let ContentSource::Site(site) = &self.source {
            site.snapshots.interrupt_slow();
            let mut bytes = site.bytes.lock().unwrap_or_else(PoisonError::into_inner);
            bytes.reach(site.counters.bytes());
        }
    }
}

/// Answers a request.
pub async fn answer(content: Arc<Content>, request: Request<Incoming>) -> Response<Body> {
    let is_api = request.uri().path().starts_with("/api");
    let answered = match checked(&content, &request) {
        Ok(()) => route(&content, &request).await,
        Err(error) => Err(error),
    };
    let mut response = match answered {
        Ok(Answered::Reply(reply)) => response(&reply),
        Ok(Answered::Events(events)) => streaming(events),
        Err(error) => {
            let mut response = response(&Reply::error(&error));
            if error.status == 405 {
                set(response.headers_mut(), "allow", "GET, HEAD");
            }
            response
        }
    };
    let headers = response.headers_mut();
    set(headers, "cache-control", "no-cache");
    set(headers, "x-content-type-options", "nosniff");
    set(headers, "referrer-policy", "no-referrer");
    set(headers, "cross-origin-resource-policy", "same-origin");
    set(headers, "content-security-policy", if is_api { "default-src 'none'" } else { POLICY });
    response
}

/// What a request is answered with.
enum Answered {
    Reply(Reply),
    Events(mpsc::Receiver<bytes::Bytes>),
}

/// A header as text.
fn header<'a>(request: &'a Request<Incoming>, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

/// Refuses what nothing is answered to.
fn checked(content: &Content, request: &Request<Incoming>) -> Result<(), ApiError> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let pairs = uri::pairs(query).unwrap_or_default();
    let token = pairs.iter().find(|(name, _)| name == "token").map(|(_, token)| token.as_str());
    let authorization = header(request, "authorization");
    // A request whose line has a whole URL names its host there.
    let host = request.uri().authority().map(|one| one.as_str()).or(header(request, "host"));
    let caller = Caller { path, host, authorization, token };
    if path.len() + query.len() > URL_BYTES_MAX {
        return Err(ApiError::new(414, format!("the URL is longer than {URL_BYTES_MAX} bytes")));
    }
    check_host(&caller, content.is_loopback, &content.names)?;
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return Err(ApiError::new(405, "this server is only read: use GET or HEAD"));
    }
    match &content.source {
        ContentSource::Site(site) => check_token(&caller, site.token.as_ref()),
        ContentSource::Elsewhere(_) => Ok(()),
    }
}

/// Answers what every process does.
async fn of_process(content: &Content, path: &str, accept: Option<&str>) -> Option<Reply> {
    let (job, counters) = (&content.job, &content.counters);
    match path {
        "/healthz" => Some(health::healthy(counters)),
        "/readyz" => Some(health::ready(counters, job.ready_within)),
        "/metrics" => {
            let site = match &content.source {
                ContentSource::Site(site) => Some(site),
                ContentSource::Elsewhere(_) => None,
            };
            Some(measured::answer(site, job, counters, accept.unwrap_or_default()).await)
        }
        _ => None,
    }
}

async fn route(content: &Arc<Content>, request: &Request<Incoming>) -> Result<Answered, ApiError> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    if let Some(reply) = of_process(content, path, header(request, "accept")).await {
        return Ok(Answered::Reply(reply));
    }
    let site = match &content.source {
        ContentSource::Site(site) => site,
        ContentSource::Elsewhere(text) => return Err(ApiError::not_found(text.as_str())),
    };
    if path == "/" {
        return home(site).await.map(Answered::Reply);
    }
    if let Some(asset) = page::asset(path) {
        return Ok(Answered::Reply(asset));
    }
    let Found { route, is_csv, given } = routes::find(path, query)?;
    match &route.action {
        Action::Description => {
            let description = openapi::text(site.token.is_some());
            Ok(Answered::Reply(Reply::text(200, JSON, description)))
        }
        Action::Events => {
            let last_id = header(request, "last-event-id");
            let follow = Follow::read(&given, last_id, site.feed.description())?;
            events(content, site, follow, request.method() == Method::HEAD)
        }
        Action::Rows(rows) => {
            let accept = header(request, "accept").unwrap_or_default();
            let is_csv = is_csv || rows.has_rows && prefers_csv(accept);
            let asked = Question { rows, given, is_csv, uri: format!("{path}?{query}") };
            let none_match = header(request, "if-none-match");
            let reply = asked.answer(site).await?;
            Ok(Answered::Reply(reply.unless_known(none_match)))
        }
    }
}

/// Whether a client asks for CSV rather than JSON.
fn prefers_csv(accept: &str) -> bool {
    let place = |name: &str| {
        let mut kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or("").trim());
        kinds.position(|kind| kind.eq_ignore_ascii_case(name))
    };
    let json = place("application/json").or(place("*/*"));
    place("text/csv").is_some_and(|csv| json.is_none_or(|json| csv < json))
}

/// The latest publication, once there is one.
fn head(site: &Site) -> Result<Arc<Head>, ApiError> {
    let starting = || ApiError::unavailable("the job is starting: try again soon");
    site.feed.state().head.ok_or_else(starting)
}

/// A question about a publication.
struct Question {
    rows: &'static Rows,
    given: Given,
    is_csv: bool,
    uri: String,
}

impl Question {
    async fn answer(self, site: &Arc<Site>) -> Result<Reply, ApiError> {
        let form = if self.is_csv { "csv" } else { "json" };
        let moment = if self.rows.is_live { clock_ms() / LIVE_MS } else { 0 };
        let moment = moment.unsigned_abs();
        let key = Key { uri: self.uri, is_csv: self.is_csv, moment };
        let Question { rows, given, is_csv, .. } = Question { uri: String::new(), ..self };
        cached(site, key, move |site, snapshot, head| {
            let answer = (rows.answer)(&Asked { site, snapshot, given: &given })?;
            let mut reply = Reply::of_rows(&answer, snapshot, head, is_csv)?;
            if !rows.is_live {
                reply.headers.push(("etag", head.tag(site.number, form)));
            }
            reply.headers.push(("vary", "accept".to_owned()));
            Ok(reply)
        })
        .await
    }
}

/// Returns an answer that others may have asked for before, or makes it from a publication.
async fn cached(
    site: &Arc<Site>,
    key: Key,
    make: impl FnOnce(&Site, &dyn Snapshot, &Head) -> Result<Reply, ApiError> + Send + 'static,
) -> Result<Reply, ApiError> {
    let until = Instant::now() + budget::WAIT;
    let publication = head(site)?.publication;
    let slot = site.cache.slot(key, publication);
    let made = slot.get_or_try_init(|| async {
        let making = site.budget.begin(until, || site.give_way()).await.ok_or_else(busy)?;
        let site = Arc::clone(site);
        let read = move || {
            let read = survive("an answer over HTTP", || {
                site.snapshots.read(|snapshot| {
                    let head = head_of(&site, snapshot)?;
                    make(&site, snapshot, &head)
                })
            });
            let reply = read.unwrap_or_else(|| Err(bug()))?;
            Ok(Reply { body: making.finish(reply.body), ..reply })
        };
        let stopped = || ApiError::unavailable("the job has ended");
        budget::on_thread(read).await.ok_or_else(stopped)?
    });
    made.await.cloned()
}

fn busy() -> ApiError {
    ApiError::unavailable("too many answers are being made or sent: try again in a second")
}

fn bug() -> ApiError {
    ApiError::new(500, "this answer cannot be made, which is a bug: see the job's log")
}

/// The answer where none can be made.
pub fn failed() -> Response<Body> {
    response(&Reply::error(&bug()))
}

/// The publication of a snapshot.
fn head_of(site: &Site, snapshot: &dyn Snapshot) -> Result<Head, ApiError> {
    let main = snapshot.description().with_role(Role::Main).next();
    let latest = main.map(|(_, query)| snapshot.latest(query)).transpose()?.flatten();
    let head = Head::of(snapshot.progress(), &snapshot.description().definition, latest);
    let known = site.feed.state().head.filter(|known| known.publication == head.publication);
    let published_at = known.and_then(|known| known.published_at.clone());
    Ok(Head { published_at, ..head })
}

/// The page, which is there also before the job has begun.
async fn home(site: &Arc<Site>) -> Result<Reply, ApiError> {
    if site.token.is_some() {
        // Whoever does not know the token sees no rows; the scripts ask for it.
        return Ok(page::empty("This server needs a token."));
    }
    let key = Key { uri: "/".to_owned(), is_csv: false, moment: 0 };
    match cached(site, key, page::page).await {
        Err(error) if error.status == 503 => Ok(page::empty(&error.text)),
        answered => answered,
    }
}

/// Begins a stream.
fn events(
    content: &Arc<Content>,
    site: &Arc<Site>,
    follow: Follow,
    is_head: bool,
) -> Result<Answered, ApiError> {
    let (sender, receiver) = mpsc::channel(1);
    if is_head {
        return Ok(Answered::Events(receiver));
    }
    if content.streams.fetch_add(1, Ordering::Relaxed) >= STREAMS_MAX {
        content.streams.fetch_sub(1, Ordering::Relaxed);
        return Err(ApiError::unavailable("too many streams: try again later"));
    }
    let (content, site) = (Arc::clone(content), Arc::clone(site));
    tokio::spawn(async move {
        let _ = survive_async("a stream over HTTP", send(site, follow, sender)).await;
        content.streams.fetch_sub(1, Ordering::Relaxed);
    });
    Ok(Answered::Events(receiver))
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    // What a watermark or a tag has is always valid.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn response(reply: &Reply) -> Response<Body> {
    let mut response = Response::new(Body::Full(Some(reply.body.clone())));
    let status = StatusCode::from_u16(reply.status);
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if reply.status != 304 {
        set(headers, "content-type", reply.content_type);
    }
    reply.headers.iter().for_each(|(name, value)| set(headers, name, value));
    response
}

fn streaming(events: mpsc::Receiver<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::Events(events));
    set(response.headers_mut(), "content-type", "text/event-stream");
    // Proxies that gather answers would hold events back.
    set(response.headers_mut(), "x-accel-buffering", "no");
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::tests::site;

    #[test]
    fn csv_is_sent_to_those_who_prefer_it() {
        for (accept, expected) in [
            ("", false),
            ("*/*", false),
            ("text/csv", true),
            ("text/csv; charset=utf-8, application/json", true),
            ("application/json, text/csv", false),
            ("text/html, */*, text/csv", false),
            ("TEXT/CSV, */*", true),
        ] {
            assert_eq!(prefers_csv(accept), expected, "{accept}");
        }
    }

    /// The answers that were begun, and what the others were told, when many ask for different
    /// answers that take long.
    #[test]
    fn answers_whose_clients_are_gone_are_not_made_and_others_are_told_to_try_again() {
        let (site, running) = site();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().max_blocking_threads(budget::MAKERS);
        let runtime = runtime.build().unwrap();
        let begun = Arc::new(AtomicUsize::new(0));
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let blocked = Arc::new(std::sync::Mutex::new(blocked));
        let ask = |number: usize| {
            let (site, begun, blocked) = (site.clone(), begun.clone(), blocked.clone());
            let key = Key { uri: format!("/{number}"), is_csv: false, moment: 0 };
            async move {
                let make = move |_: &Site, _: &dyn Snapshot, _: &Head| {
                    begun.fetch_add(1, Ordering::Relaxed);
                    let _ = blocked.lock().unwrap().recv();
                    Ok(Reply::text(200, JSON, "{}"))
                };
                cached(&site, key, make).await
            }
        };
        runtime.block_on(async {
            let mut all: Vec<_> = (0..100).map(|number| tokio::spawn(ask(number))).collect();
            while begun.load(Ordering::Relaxed) < budget::MAKERS {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            let waits = ask(100).await.unwrap_err();
            assert_eq!((waits.status, waits), (503, busy()));
            // Those that were begun go on; the clients of all others leave.
            let others = all.split_off(budget::MAKERS);
            others.iter().for_each(|one| one.abort());
            drop(release);
            for one in all {
                assert_eq!(one.await.unwrap().unwrap().status, 200);
            }
            assert_eq!(ask(101).await.unwrap().status, 200);
        });
        assert_eq!(begun.load(Ordering::Relaxed), budget::MAKERS + 1);
        running.end();
    }

    #[test]
    fn a_panic_of_a_handler_is_an_answer_with_500() {
        let (site, running) = site();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let key = Key { uri: "/".to_owned(), is_csv: false, moment: 0 };
        let asked = cached(&site, key, |_, _, _| panic!("on purpose"));
        assert_eq!(runtime.block_on(asked).unwrap_err().status, 500);
        assert_eq!(failed().status(), 500);
        running.end();
    }

    #[test]
    fn answers_that_no_client_takes_are_bounded_in_bytes() {
        let (site, running) = site();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ask = |number: usize| {
            let key = Key { uri: format!("/{number}"), is_csv: false, moment: 0 };
            let make = |_: &Site, _: &dyn Snapshot, _: &Head| {
                Ok(Reply::text(200, JSON, vec![b'x'; 8 << 20]))
            };
            runtime.block_on(cached(&site, key, make))
        };
        // As connections hold them.
        let mut held = Vec::new();
        let refused = loop {
            match ask(held.len()) {
                Ok(reply) => held.push(reply.body),
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, busy());
        let bytes: usize = held.iter().map(|body| body.len()).sum();
        assert!((100 << 20..=budget::BYTES_MAX).contains(&bytes), "{bytes}");
        held.clear();
        assert!(ask(1_000).is_ok());
        running.end();
    }
}
