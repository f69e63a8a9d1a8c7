//! The stream of events: what each publication has changed, encoded once for all who follow.
//!
//! A stream knows the last publication that it has sent. When its client can take more, it sends
//! what has changed since: one publication, or all that the client has missed as one. So a slow
//! client is sent less, and nobody waits for it.

use super::api::rows;
use super::budget;
use super::error::ApiError;
use super::feed::State;
use super::head::Head;
use super::parameters::Given;
use super::ring::Changes;
use super::site::Site;
use super::table::{TEXT_BYTES_MAX, Table};
use super::{api, table};
use crate::panics::survive;
use crate::query::{Role, Value};
use crate::stores::description::{Description, StoredQuery};
use crate::stores::{RowChange, StoredRow};
use crate::time::{Definition, Publication};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OnceCell, mpsc};
use tokio::time::Instant;

/// The interval between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The pause before an event is tried again for which there was no memory.
const RETRY: Duration = Duration::from_secs(1);
/// The first line of a stream: how soon a client connects again, in milliseconds.
const BEGIN: &str = "retry: 1000\n\n";
/// The sign of life.
const ALIVE: &str = ": alive\n\n";

/// Which rows a stream sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The number of the query.
    query: usize,
    limit: u64,
}

/// A stream that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Follow {
    wanted: Option<Wanted>,
    since: Option<Since>,
}

/// Where a client is.
#[derive(Clone, Copy, Debug)]
enum Since {
    /// It has read an answer of this publication.
    Read(Publication),
    /// It was sent this event, perhaps by an earlier job.
    Sent(Publication),
}

impl Follow {
    /// Reads what is asked for. `last_id` is that of the last event that the client was sent.
    ///
    /// # Errors
    /// When there is no such query, or its changes are not sent.
    pub fn read(
        given: &Given,
        last_id: Option<&str>,
        description: &Description,
    ) -> Result<Follow, ApiError> {
        let limit = given.count("limit");
        let wanted = given.text("query").map(|name| {
            let query = rows::find(description, name)?;
            if query.role == Role::Set {
                let text = format!(
                    "the changes of `{name}` are not sent: they are as many as the \
                                    events; ask for its rows"
                );
                return Err(ApiError::bad(text));
            }
            let position = description.queries.iter().position(|one| one.name == query.name);
            Ok(Wanted { query: position.unwrap_or_default(), limit })
        });
        let sent = last_id.and_then(|text| text.trim().parse().ok());
        let since = match (sent, given.publication("since")) {
            (Some(sent), _) => Some(Since::Sent(Publication(sent))),
            (None, Some(read)) => Some(Since::Read(read)),
            (None, None) => None,
        };
        Ok(Follow { wanted: wanted.transpose()?, since })
    }
}

/// Identifies an event: what has changed between two publications, with some rows or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name {
    from: Publication,
    to: Publication,
    wanted: Option<Wanted>,
}

/// The events that were encoded for the latest publication.
#[derive(Default)]
pub struct Encoded {
    events: Mutex<HashMap<Name, Arc<OnceCell<Bytes>>>>,
}

/// The most events that are kept: as many as streams that differ in what they want or have missed.
const ENCODED_MAX: usize = 1_024;
/// The most bytes of events that are kept.
const ENCODED_BYTES_MAX: usize = 32 << 20;

impl Encoded {
    /// Drops all events, as there is no memory for others.
    pub fn clear(&self) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn slot(&self, name: Name) -> Arc<OnceCell<Bytes>> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.retain(|one, _| one.to >= name.to);
        let bytes: usize = events.values().filter_map(|one| one.get()).map(Bytes::len).sum();
        if events.len() >= ENCODED_MAX || bytes >= ENCODED_BYTES_MAX {
            events.clear();
        }
        Arc::clone(events.entry(name).or_default())
    }
}

/// Sends events until the client is gone or the job ends. `sender` takes one at a time.
pub async fn send(site: Arc<Site>, follow: Follow, sender: mpsc::Sender<Bytes>) {
    let mut head = site.feed.follow();
    if sender.send(Bytes::from_static(BEGIN.as_bytes())).await.is_err() {
        return;
    }
    let mut at: Option<Publication> = None;
    loop {
        let mut wait = HEARTBEAT;
        let State { head: latest, is_over } = head.borrow_and_update().clone();
        if is_over {
            return;
        }
        if let Some(latest) = latest {
            let from = match at {
                Some(at) => Some(at),
                None => begin(&site, follow.since, latest.publication),
            };
            at = Some(latest.publication);
            if from != at {
                match event(&site, from, &latest, follow.wanted).await {
                    Ok(event) => {
                        if sender.send(event).await.is_err() {
                            return;
                        }
                    }
                    // What it has missed is sent together later.
                    Err(Unmade::Busy) => (at, wait) = (from, RETRY),
                    Err(Unmade::Failed) => return,
                }
            }
        }
        match tokio::time::timeout(wait, head.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                if sender.send(Bytes::from_static(ALIVE.as_bytes())).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The publication after which a new stream begins. `None` if it is not known what has changed
/// since the one that the client is at.
fn begin(site: &Site, since: Option<Since>, latest: Publication) -> Option<Publication> {
    let start = site.feed.ring().start();
    match since {
        None => Some(latest),
        Some(Since::Read(read)) => (read <= latest).then_some(read),
        // An event with the number of the publication at which this job began is one of an earlier
        // job, perhaps of another store.
        Some(Since::Sent(sent)) => {
            let is_of_this_job = sent > start || sent == start && start == Publication::REPLAY;
            (is_of_this_job && sent <= latest).then_some(sent)
        }
    }
}

/// Why there is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unmade {
    /// There is no memory for it now.
    Busy,
    /// It cannot be made: a bug, or the job has ended.
    Failed,
}

/// Returns the event of what has changed after `from`.
async fn event(
    site: &Arc<Site>,
    from: Option<Publication>,
    latest: &Arc<Head>,
    wanted: Option<Wanted>,
) -> Result<Bytes, Unmade> {
    let Some(from) = from else { return Ok(reset(site, latest).into()) };
    let until = Instant::now() + budget::WAIT;
    let name = Name { from, to: latest.publication, wanted };
    let slot = site.encoded.slot(name);
    let make = || async {
        let making = site.budget.begin(until, || site.give_way()).await.ok_or(Unmade::Busy)?;
        let (site, latest) = (Arc::clone(site), Arc::clone(latest));
        let encode = move || {
            let text = survive("an event over HTTP", || encode(&site, &name, &latest))?;
            Some(making.finish(text))
        };
        budget::on_thread(encode).await.flatten().ok_or(Unmade::Failed)
    };
    slot.get_or_try_init(make).await.cloned()
}

fn encode(site: &Site, name: &Name, latest: &Head) -> String {
    let changes = site.feed.ring().between(name.from, name.to);
    match changes {
        Some(changes) => {
            let rows = name.wanted.map(|wanted| changed_rows(site, latest, &changes, wanted));
            let rows = rows.unwrap_or_default();
            format(site, latest, "publication", &changed(site, &changes), &rows)
        }
        None => reset(site, latest),
    }
}

fn reset(site: &Site, latest: &Head) -> String {
    format(site, latest, "reset", "\"changed\":{},\"epochs\":[]", "")
}

/// The numbers of changed rows, and their epochs.
fn changed(site: &Site, changes: &Changes) -> String {
    let queries = &site.feed.description().queries;
    let counts = changes.counts.iter().map(|(query, count)| {
        let name = table::quoted(&queries[*query].name);
        format!("{name}:{count}")
    });
    let epochs = changes.epochs.iter().map(ToString::to_string);
    format!(
        "\"changed\":{{{}}},\"epochs\":[{}]",
        counts.collect::<Vec<_>>().join(","),
        epochs.collect::<Vec<_>>().join(",")
    )
}

/// The changed rows of a query, by epoch and key.
fn changed_rows(site: &Site, latest: &Head, changes: &Changes, wanted: Wanted) -> String {
    let description = site.feed.description();
    let query = &description.queries[wanted.query];
    let mut rows = changes.rows(wanted.query);
    rows.sort_by_cached_key(|(change, _)| (change.row.epoch, query.key_order(&change.row)));
    let limit = usize::try_from(wanted.limit).unwrap_or(usize::MAX);
    let (mut texts, mut sent) = (String::new(), 0);
    for (change, publication) in rows.iter().take(limit) {
        let text = changed_row(site, latest, query, change, *publication);
        if texts.len() + text.len() > TEXT_BYTES_MAX {
            break;
        }
        texts += if sent == 0 { "" } else { "," };
        texts += &text;
        sent += 1;
    }
    format!(",\"rows\":[{texts}],\"rows_left_out\":{}", rows.len() - sent)
}

fn changed_row(
    site: &Site,
    latest: &Head,
    query: &StoredQuery,
    change: &RowChange,
    publication: Publication,
) -> String {
    let definition = &site.feed.description().definition;
    if change.deleted {
        return deleted(definition, query, change, publication);
    }
    let is_final = latest.through.contains(change.row.epoch);
    let stored = StoredRow { row: change.row.clone(), is_final, publication };
    let mut table: Table = rows::table(query);
    table.push(rows::cells(definition, query, &stored));
    let mut text = String::new();
    // A row alone always fits.
    let _ = table.write_json(&mut text);
    text.trim_start_matches('[').trim_end_matches(']').to_owned()
}

/// A row that was deleted: its key.
fn deleted(
    definition: &Definition,
    query: &StoredQuery,
    change: &RowChange,
    publication: Publication,
) -> String {
    let epoch = change.row.epoch;
    let mut members: Vec<String> = query
        .values_of(&change.row)
        // A deleted row has no other values.
        .take(query.key.len())
        .zip(&query.key)
        .map(|(value, column)| format!("{}:{}", table::quoted(&column.name), json(value)))
        .collect();
    let start = table::quoted(&definition.start_rfc3339(epoch));
    members.insert(1, format!("\"epoch\":{epoch},\"epoch_start\":{start}"));
    format!("{{{},\"publication\":{publication},\"deleted\":true}}", members.join(","))
}

fn json(value: Value) -> String {
    let mut text = String::new();
    table::Cell::of(value).write_json(&mut text);
    text
}

fn format(site: &Site, head: &Head, name: &str, changed: &str, rows: &str) -> String {
    let rate = site.feed.events_per_second();
    let lag = api::job::lag_records(site).map_or("null".to_owned(), |lag| lag.to_string());
    format!(
        "id: {}\nevent: {name}\ndata: {{{},{changed},\"job\":{{\"events_per_second\":{rate},\
         \"lag_records\":{lag}}}{rows}}}\n\n",
        head.publication,
        head.members()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::tests::site;

    fn name(from: u64) -> Name {
        Name { from: Publication(from), to: Publication(100), wanted: None }
    }

    #[test]
    fn what_is_kept_is_bounded_in_events_and_bytes() {
        let encoded = Encoded::default();
        let count = || encoded.events.lock().unwrap().len();
        for from in 0..3_000 {
            encoded.slot(name(from));
            assert!(count() <= ENCODED_MAX);
        }
        encoded.clear();
        for from in 0..40 {
            let text = Bytes::from(vec![b'x'; 1 << 20]);
            encoded.slot(name(from)).set(text).unwrap();
            assert!(count() <= ENCODED_BYTES_MAX >> 20);
        }
        assert!(count() < 40);
    }

    #[test]
    fn an_event_for_which_there_is_no_memory_is_not_made_and_nothing_is_lost() {
        let (site, running) = site();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let latest = Head::of(&Default::default(), &Definition::default(), None);
            let latest = Arc::new(Head { publication: Publication(1), ..latest });
            let from = Some(Publication(0));
            // Others make answers, and do not end.
            let mut makers = Vec::new();
            for _ in 0..budget::MAKERS {
                let until = Instant::now() + budget::WAIT;
                makers.push(site.budget.begin(until, || ()).await.unwrap());
            }
            assert_eq!(event(&site, from, &latest, None).await, Err(Unmade::Busy));
            drop(makers);
            let made = event(&site, from, &latest, None).await.unwrap();
            assert!(made.starts_with(b"id: 1\nevent: "), "{made:?}");
        });
        running.end();
    }
}
