//! `/api/v1/job`: the job that the server is part of.

use super::{Answer, Asked};
use crate::serve::error::ApiError;
use crate::serve::site::Site;
use crate::serve::table::Table;
use crate::sources::Lag;
use crate::time::rfc3339;
use serde_json::{Value, json};
use std::sync::PoisonError;

/// The schema of the object `job`.
pub fn schema() -> Value {
    let (text, whole, real) =
        (json!({"type": "string"}), json!({"type": "integer"}), json!({"type": "number"}));
    let maybe = json!({"type": ["integer", "null"]});
    let properties = json!({
        "version": text, "started_at": {"type": "string", "format": "date-time"},
        "epoch_length_ms": whole, "join_window_epochs": whole, "max_delay_ms": whole,
        "max_future_ms": whole, "store": text,
        "queries": {"type": "array", "items": {"type": "string"}},
        "workers": whole, "processes": whole, "events": whole, "events_per_second": real,
        "bytes_per_second": real, "lag_records": maybe, "lag_bytes": maybe,
        "state": {"enum": ["replaying", "running"]},
    });
    let names: Vec<String> =
        properties.as_object().into_iter().flat_map(|all| all.keys().cloned()).collect();
    json!({"type": "object", "properties": properties, "required": names})
}

/// What is left to read. Only of this process, so that it is unknown if there are others.
fn lag(site: &Site) -> Option<Lag> {
    let lag = site.counters.lag();
    (site.job.processes == 1 && !lag.is_partial).then_some(lag)
}

/// The records that are left to read, if that is known: of files only the bytes are.
pub fn lag_records(site: &Site) -> Option<u64> {
    lag(site).filter(|lag| lag.bytes == 0).map(|lag| lag.records)
}

/// What the job does.
pub fn state(site: &Site) -> &'static str {
    match site.counters.is_replaying() || !site.counters.is_launched() {
        true => "replaying",
        false => "running",
    }
}

/// Answers.
///
/// # Errors
/// When the store cannot be read.
pub fn answer(asked: &Asked<'_>) -> Result<Answer, ApiError> {
    let Asked { site, snapshot, .. } = asked;
    let job = &site.job;
    let definition = &job.definition;
    let tables = snapshot.description().tables();
    let events: u64 = snapshot.ledger()?.iter().map(|row| row.events).sum();
    let bytes = site.bytes.lock().unwrap_or_else(PoisonError::into_inner).per_second();
    let job = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started_at": rfc3339(job.started_at_ms),
        "epoch_length_ms": definition.epoch_length_ms,
        "join_window_epochs": definition.join_window_epochs,
        "max_delay_ms": definition.max_delay_ms,
        "max_future_ms": definition.max_future_ms,
        "store": job.store,
        "queries": tables.map(|query| query.name.as_str()).collect::<Vec<_>>(),
        "workers": job.workers,
        "processes": job.processes,
        "events": events,
        "events_per_second": site.feed.events_per_second(),
        "bytes_per_second": bytes,
        "lag_records": lag_records(site),
        "lag_bytes": lag(site).map(|lag| lag.bytes),
        "state": state(site),
    });
    Ok(Answer { more: vec![("job", job)], ..Answer::all(Table::default()) })
}
