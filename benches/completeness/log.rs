//! A log in the order of its record times, the times at which it is looked at, and real delays as a
//! log.

use std::path::Path;
use trendmark::completeness::bins::UNITS;
use trendmark::event::{Event, Kind, RequestId, VideoId};
use trendmark::time::{Definition, Epoch};

/// The kinds of events whose completeness is told.
pub const KINDS: [Kind; 2] = [Kind::Impression, Kind::Play];
/// The ages at which an epoch is looked at, in thirtieths of an epoch.
pub const AGES: [i64; 10] = [1, 5, 15, 25, 30, 35, 40, 60, 90, 150];
/// The first epochs, which have too few before them, and the last ones, which the log does not
/// close, are not judged.
const FIRST_EPOCHS: i64 = 60;
const LAST_EPOCHS: i64 = 6;
/// The epoch in which the log begins.
const BEGIN: i64 = 10_000;

/// An event with its record. Times are in milliseconds since the beginning of the log.
#[derive(Clone, Copy)]
pub struct Record {
    pub record_ms: i64,
    pub event_ms: i64,
    pub request: u32,
    pub video: u16,
    pub partition: u8,
    pub kind: Kind,
}

/// A log. Its records are in the order of their own times.
pub struct Log {
    pub name: String,
    pub definition: Definition,
    pub records: Vec<Record>,
    /// The beginnings of outages.
    pub outages_ms: Vec<i64>,
    epochs: i64,
}

/// A time at which the log is looked at, and the epochs that are asked for, each with its age in
/// thirtieths of an epoch.
pub struct Look {
    pub at_ms: i64,
    pub asked: Vec<(Epoch, i64)>,
}

impl Log {
    /// A log whose times begin with 0.
    pub fn new(
        name: &str,
        definition: Definition,
        mut records: Vec<Record>,
        epochs: i64,
        outages_ms: Vec<i64>,
    ) -> Log {
        let begin_ms = BEGIN * definition.epoch_length_ms;
        for record in &mut records {
            record.record_ms += begin_ms;
            record.event_ms += begin_ms;
        }
        records.sort_by_key(|record| record.record_ms);
        let outages_ms = outages_ms.into_iter().map(|at_ms| at_ms + begin_ms).collect();
        Log { name: name.to_owned(), definition, records, outages_ms, epochs }
    }

    /// The number of epochs that are judged, with events or without.
    pub fn judged(&self) -> i64 {
        (self.epochs - FIRST_EPOCHS - LAST_EPOCHS).max(0)
    }

    /// When the log is looked at, in order: a tenth of a thirtieth after the ages are reached, so
    /// that a log in which something happens all the time has reached them.
    pub fn looks(&self) -> Vec<Look> {
        let length_ms = self.definition.epoch_length_ms;
        let mut parts: Vec<i64> = AGES.iter().map(|age| age % UNITS).collect();
        parts.sort_unstable();
        parts.dedup();
        let judged = BEGIN + FIRST_EPOCHS..BEGIN + self.epochs - LAST_EPOCHS;
        let look = |epoch: i64, part: i64| {
            let asked = AGES.iter().filter(|age| *age % UNITS == part);
            let asked = asked.map(|age| (Epoch(epoch - age / UNITS), *age));
            let asked = asked.filter(|(epoch, _)| judged.contains(&epoch.0)).collect();
            let at_ms = epoch * length_ms + (10 * part + 1) * length_ms / (10 * UNITS);
            Look { at_ms, asked }
        };
        let epochs = BEGIN..BEGIN + self.epochs;
        epochs.flat_map(|epoch| parts.iter().map(move |part| look(epoch, *part))).collect()
    }
}

impl Record {
    /// The event, at an offset of its partition.
    pub fn event(&self, offset: u64) -> Event {
        Event {
            offset,
            request: RequestId::from_u128(u128::from(self.request)),
            video: VideoId(u64::from(self.video)),
            event_time_ms: self.event_ms,
            record_time_ms: Some(self.record_ms),
        }
    }
}

/// Reads delays from lines `kind,event,record`: `impression` or `play`, and the minutes of the
/// event and of its record since the beginning of the first epoch.
///
/// # Panics
/// When the file cannot be read, or a line has no such event.
pub fn read_delays(path: &Path, epoch_minutes: i64) -> Log {
    let text = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{}: {error}; flights.py writes it", path.display()));
    let log = delays(&text, epoch_minutes);
    log.unwrap_or_else(|reason| panic!("{}: {reason}", path.display()))
}

/// The log with these delays. What happens before its record, as flights that leave early, is not
/// refused.
///
/// # Errors
/// Says which line has no event.
pub fn delays(text: &str, epoch_minutes: i64) -> Result<Log, String> {
    let mut records = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let [name, event, record] = line.split(',').collect::<Vec<_>>()[..] else {
            return Err(format!("line {number} is not `kind,event,record`: {line}"));
        };
        let kind = Kind::named(name).filter(|kind| KINDS.contains(kind));
        let kind = kind.ok_or(format!("line {number}: `{name}` is neither impression nor play"));
        let minutes = |text: &str| {
            let minutes = text.parse::<i32>().ok().filter(|minutes| minutes.abs() < 10_000_000);
            minutes.ok_or(format!("line {number}: `{text}` is not a number of minutes"))
        };
        records.push(Record {
            record_ms: i64::from(minutes(record)?) * 60_000,
            event_ms: i64::from(minutes(event)?) * 60_000,
            request: number,
            video: 0,
            partition: 0,
            kind: kind?,
        });
    }
    let length_ms = epoch_minutes * 60_000;
    let definition = Definition {
        epoch_length_ms: length_ms,
        max_delay_ms: length_ms / 3,
        max_future_ms: 2 * 3_600_000,
        max_leap_ms: 48 * 3_600_000,
        ..Definition::default()
    };
    let last_ms = records.iter().map(|record| record.event_ms).max().unwrap_or(0);
    let name = format!("flights, epochs of {epoch_minutes} min");
    Ok(Log::new(&name, definition, records, last_ms / length_ms + 1, Vec::new()))
}
