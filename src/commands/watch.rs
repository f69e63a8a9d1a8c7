//! Shows the progress of a job on standard error: a bar on a terminal, else a line every 5 s.

use crate::console;
use crate::engine::Counters;
use crate::sources::Lag;
use crate::time::{clock_ms, rfc3339};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const BAR: &str = "{wide_bar} {percent} %, {eta} left\n{wide_msg}";
const SPINNER: &str = "{spinner} {wide_msg}";
const BAR_INTERVAL: Duration = Duration::from_millis(500);
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// The resolution of the bar.
const BAR_LENGTH: u64 = 10_000;

/// A thread that shows the progress of a job.
pub struct ProgressReporter {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl ProgressReporter {
    /// Starts to show progress. With `follow` there is no end, and no estimate of the time left.
    pub fn start(counters: Arc<Counters>, follow: bool) -> ProgressReporter {
        let (end, ended) = channel();
        let thread = std::thread::spawn(move || {
            let bar = console::add_bar(|| new_bar(follow));
            let interval = if bar.is_some() { BAR_INTERVAL } else { LINE_INTERVAL };
            let mut before = Sample::at(&counters);
            while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let now = Sample::at(&counters);
                let line = now.line(&before);
                match &bar {
                    Some(bar) => {
                        bar.set_position((now.share_read() * BAR_LENGTH as f64) as u64);
                        bar.set_message(line);
                    }
                    None => console::message(format_args!("run: {line}")),
                }
                before = now;
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        });
        ProgressReporter { end, thread }
    }

    /// Ends the thread.
    pub fn finish(self) {
        // A thread that has panicked has ended the process.
        let _ = self.end.send(());
        let _ = self.thread.join();
    }
}

/// The progress of a process at one moment.
#[derive(Clone, Debug)]
struct Sample {
    at: Instant,
    /// The time of the wall clock, in milliseconds since 1970.
    wall_ms: i64,
    /// The numbers of events and bytes, read again or for the first time.
    events: u64,
    bytes: u64,
    is_replaying: bool,
    lag: Lag,
    watermark_ms: Option<i64>,
    /// The last publication and its age. Only the first process commits.
    committed: Option<(u64, Duration)>,
    /// Which partition holds the job, for how long, and why.
    holder: Option<String>,
}

impl Sample {
    fn at(counters: &Counters) -> Sample {
        Sample {
            at: Instant::now(),
            wall_ms: clock_ms(),
            events: counters.events() + counters.replayed(),
            bytes: counters.bytes(),
            is_replaying: counters.is_replaying() && counters.replayed() > 0,
            lag: counters.lag(),
            watermark_ms: counters.watermark_ms(),
            committed: counters.committed().map(|(last, at)| (last.0, at.elapsed())),
            holder: counters.holder(),
        }
    }

    /// Returns the progress as one line: events, rate, lag, last publication, watermark.
    fn line(&self, before: &Sample) -> String {
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let rate = (self.events - before.events) as f64 / seconds;
        let replay = if self.is_replaying { "replay, " } else { "" };
        let committed = match self.committed {
            Some((last, age)) => format!(", publication {last} ({} ago)", age_text(age)),
            None => String::new(),
        };
        let held = self.holder.as_ref().map(|holder| format!(", held by {holder}"));
        let held = held.unwrap_or_default();
        format!(
            "{replay}{}, {}/s, {}{committed}, {}{held}",
            counted(self.events, "event"),
            HumanCount(rate.round() as u64),
            lag_text(self.lag),
            self.watermark_text(),
        )
    }

    /// The share of the assigned records that is read, from 0 to 1.
    fn share_read(&self) -> f64 {
        let share = |read: u64, left: u64| read as f64 / (read + left).max(1) as f64;
        let of_bytes = if self.lag.bytes > 0 { share(self.bytes, self.lag.bytes) } else { 1.0 };
        let of_records =
            if self.lag.records > 0 { share(self.events, self.lag.records) } else { 1.0 };
        if self.bytes == 0 { 0.0 } else { of_bytes.min(of_records) }
    }

    fn watermark_text(&self) -> String {
        let Some(watermark_ms) = self.watermark_ms else { return "no watermark yet".into() };
        let behind_ms = self.wall_ms.saturating_sub(watermark_ms).max(0);
        let behind = Duration::from_millis(behind_ms.unsigned_abs());
        format!("watermark {} behind ({})", age_text(behind), rfc3339(watermark_ms))
    }
}

fn lag_text(lag: Lag) -> String {
    let more = if lag.is_partial { " or more" } else { "" };
    match lag {
        Lag { bytes: 0, records: 0, is_partial: true } => "lag unknown".into(),
        Lag { bytes: 0, records: 0, .. } => "no lag".into(),
        Lag { bytes, records: 0, .. } => format!("lag {}{more}", HumanBytes(bytes)),
        Lag { bytes: 0, records, .. } => format!("lag {}{more}", counted(records, "record")),
        Lag { bytes, records, .. } => {
            format!("lag {} and {}{more}", HumanBytes(bytes), counted(records, "record"))
        }
    }
}

/// Formats a count with its unit: `1 record`, `2,000 records`.
fn counted(count: u64, unit: &str) -> String {
    format!("{} {unit}{}", HumanCount(count), if count == 1 { "" } else { "s" })
}

/// Writes a duration in its largest unit: `12 s`, `3 min`, `5 h`, `40 d`.
pub(super) fn age_text(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", HumanCount(seconds / 86_400)),
    }
}

fn new_bar(follow: bool) -> ProgressBar {
    let bar = ProgressBar::new(BAR_LENGTH);
    match ProgressStyle::with_template(if follow { SPINNER } else { BAR }) {
        Ok(style) => bar.with_style(style),
        Err(error) => unreachable!("the template is fixed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(events: u64, lag: Lag) -> Sample {
        Sample {
            at: Instant::now(),
            wall_ms: 1_709_301_603_000,
            events,
            bytes: 1_000,
            is_replaying: false,
            lag,
            watermark_ms: Some(1_709_301_600_000),
            committed: Some((41, Duration::from_millis(1_200))),
            holder: None,
        }
    }

    fn line(now: Sample) -> String {
        let before =
            Sample { at: now.at - Duration::from_secs(5), ..sample(2_000, Lag::default()) };
        now.line(&before)
    }

    #[test]
    fn a_line_tells_rate_lag_publication_and_watermark() {
        let lag = Lag::of_bytes(3 << 20);
        assert_eq!(
            line(sample(12_000, lag)),
            "12,000 events, 2,000/s, lag 3.00 MiB, publication 41 (1 s ago), \
             watermark 3 s behind (2024-03-01T14:00:00Z)"
        );
        let at_start =
            Sample { committed: None, watermark_ms: None, ..sample(2_000, Lag::default()) };
        assert_eq!(line(at_start), "2,000 events, 0/s, no lag, no watermark yet");
        let replay =
            Sample { is_replaying: true, committed: None, ..sample(2_005, Lag::default()) };
        let replayed = line(replay);
        assert!(
            replayed.starts_with("replay, 2,005 events, 1/s, no lag, watermark "),
            "{replayed}"
        );
    }

    #[test]
    fn the_lag_of_files_is_in_bytes_and_that_of_topics_in_records() {
        let unknown = Lag::of_records(None);
        let lags = [
            (Lag::default(), "no lag"),
            (Lag::of_bytes(2_048), "lag 2.00 KiB"),
            (Lag::of_records(Some(1_234)), "lag 1,234 records"),
            (Lag::of_bytes(2_048).merge(Lag::of_records(Some(1))), "lag 2.00 KiB and 1 record"),
            (unknown, "lag unknown"),
            (unknown.merge(Lag::of_records(Some(7))), "lag 7 records or more"),
        ];
        for (lag, text) in lags {
            assert_eq!(lag_text(lag), text);
        }
    }

    #[test]
    fn an_age_is_in_its_largest_unit() {
        let texts = [0, 119, 120, 7_199, 7_200, 172_799, 172_800, 86_400_000]
            .map(|seconds| age_text(Duration::from_secs(seconds)));
        assert_eq!(texts, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d", "1,000 d"]);
    }

    #[test]
    fn the_bar_is_as_far_as_the_slower_of_files_and_topics() {
        let shares = [(0, 0), (1_000, 0), (0, 3_000), (1_000, 3_000), (3_000, 1_000)].map(
            |(bytes, records)| {
                sample(1_000, Lag { bytes, records, is_partial: false }).share_read()
            },
        );
        assert_eq!(shares, [1.0, 0.5, 0.25, 0.25, 0.25]);
    }
}
