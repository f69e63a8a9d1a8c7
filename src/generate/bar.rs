//! Shows the progress of writing a log on standard error: a bar on a terminal, else a line every
//! 5 s.

use super::summary::{Summary, grouped};
use crate::console;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// The clock is read once per this number of records.
const RECORDS_BETWEEN_CLOCK_READS: u64 = 1 << 16;
const LINE_INTERVAL: Duration = Duration::from_secs(5);
const BAR: &str = "{wide_bar} {human_pos} of {human_len} impressions, {per_sec}, {eta} left";

/// Shows the number of impressions written.
pub struct Bar {
    impressions: u64,
    started: Instant,
    line_due: Instant,
    bar: Option<ProgressBar>,
}

impl Bar {
    /// Starts the clock.
    pub fn new(impressions: u64) -> Bar {
        let started = Instant::now();
        let line_due = started + LINE_INTERVAL;
        let bar = console::add_bar(|| new_bar(impressions));
        Bar { impressions, started, line_due, bar }
    }

    /// Updates the progress, if it is due.
    #[inline]
    pub fn show(&mut self, summary: &Summary) {
        if summary.records().is_multiple_of(RECORDS_BETWEEN_CLOCK_READS) {
            self.show_now(summary);
        }
    }

    /// Updates the progress now.
    pub fn show_now(&mut self, summary: &Summary) {
        match &self.bar {
            Some(bar) => bar.set_position(summary.impressions),
            None if Instant::now() >= self.line_due => {
                self.line_due += LINE_INTERVAL;
                console::message(self.line(summary, self.started.elapsed()));
            }
            None => {}
        }
    }

    fn line(&self, summary: &Summary, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64();
        let left = self.impressions.saturating_sub(summary.impressions);
        let seconds_left = seconds * left as f64 / summary.impressions.max(1) as f64;
        format!(
            "generate: {} of {} impressions, {} records/s, {seconds_left:.0} s left",
            grouped(summary.impressions),
            grouped(self.impressions),
            grouped((summary.records() as f64 / seconds) as u64),
        )
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(impressions: u64) -> ProgressBar {
    let bar = ProgressBar::new(impressions);
    match ProgressStyle::with_template(BAR) {
        Ok(style) => bar.with_style(style),
        Err(error) => unreachable!("the template is fixed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_rate_and_remaining_time() {
        let progress = Bar::new(20_000);
        let summary = Summary { impressions: 5_000, plays: 1_000, ..Summary::default() };
        assert_eq!(
            progress.line(&summary, Duration::from_secs(2)),
            "generate: 5,000 of 20,000 impressions, 3,000 records/s, 6 s left"
        );
    }
}
