//! The truth about a log: what was planted, so that it can be judged what was found.
//!
//! The generator counts while requests start. An epoch is complete when no later request can show
//! anything in it, so only few epochs are in memory.

use super::arrival::RequestName;
use super::rates::TakeRate;
use super::surge::Surge;
use crate::event::VideoId;
use crate::time::{Definition, Epoch};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// A line of the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Truth {
    /// A surge, given or random.
    Surge(Surge),
    /// A request of a bot, which is denied at this event time.
    Denied {
        /// The request.
        request: RequestName,
        /// The event time of the denial, in milliseconds.
        event_time_ms: i64,
    },
    /// What members did with a video in an epoch, without bots.
    Counts(EpochCounts),
}

/// What members did with a video in an epoch of 30 minutes.
///
/// They are what a reader finds who waits for ever, leaves denied requests out, and leaves events
/// out whose event time is later than their record time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochCounts {
    /// The video.
    pub video: VideoId,
    /// The epoch.
    pub epoch: Epoch,
    /// The requests with an impression of the video in the epoch; at least one.
    pub impressions: u64,
    /// Those of them with a play, however late.
    pub plays: u64,
    /// The mean over the impressions of their chance to be played.
    pub take_rate: f64,
    /// What it would be without surges and without the scatter of the epoch.
    pub usual_rate: f64,
}

impl fmt::Display for Truth {
    /// Writes one JSON object.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Truth::Surge(Surge { video, start_ms, duration_ms, factor }) => write!(
                formatter,
                "{{\"truth\":\"surge\",\"video_id\":{},\"start_ms\":{start_ms},\
                 \"duration_ms\":{duration_ms},\"factor\":{factor}}}",
                video.0
            ),
            Truth::Denied { request, event_time_ms } => write!(
                formatter,
                "{{\"truth\":\"denied\",\"request_id\":\"{}\",\"event_time\":{event_time_ms}}}",
                request.written().as_str()
            ),
            Truth::Counts(counts) => write!(
                formatter,
                "{{\"truth\":\"counts\",\"video_id\":{},\"epoch\":{},\"impressions\":{},\
                 \"plays\":{},\"take_rate\":{:.6},\"usual_rate\":{:.6}}}",
                counts.video.0,
                counts.epoch.0,
                counts.impressions,
                counts.plays,
                counts.take_rate,
                counts.usual_rate
            ),
        }
    }
}

/// The truth while a log is generated.
#[derive(Default)]
pub struct TruthTable {
    definition: Definition,
    open: BTreeMap<Epoch, HashMap<VideoId, Sums>>,
    complete: Vec<Truth>,
}

/// The sums over the impressions of a video in an epoch.
#[derive(Clone, Copy, Default)]
struct Sums {
    impressions: u64,
    plays: u64,
    rates: f64,
    usual_rates: f64,
}

impl TruthTable {
    /// Counts an impression of a member.
    pub fn count(&mut self, video: VideoId, seen_ms: i64, rate: TakeRate, is_played: bool) {
        let epoch = self.open.entry(self.definition.epoch(seen_ms)).or_default();
        let sums = epoch.entry(video).or_default();
        sums.impressions += 1;
        sums.plays += u64::from(is_played);
        sums.rates += rate.now;
        sums.usual_rates += rate.usual;
    }

    /// Adds the request of a bot.
    pub fn deny(&mut self, request: RequestName, event_time_ms: i64) {
        self.complete.push(Truth::Denied { request, event_time_ms });
    }

    /// Completes the epochs that end by the time at which the next request starts, or all if there
    /// is none.
    pub fn complete_before(&mut self, next_start_ms: Option<i64>) {
        while let Some(entry) = self.open.first_entry() {
            let end_ms = self.definition.end_ms(*entry.key());
            if next_start_ms.is_some_and(|start_ms| start_ms < end_ms) {
                return;
            }
            let (epoch, videos) = entry.remove_entry();
            let mut videos: Vec<(VideoId, Sums)> = videos.into_iter().collect();
            videos.sort_unstable_by_key(|(video, _)| *video);
            let counts =
                videos.into_iter().map(|(video, sums)| Truth::Counts(sums.counts(video, epoch)));
            self.complete.extend(counts);
        }
    }

    /// The number of epochs that are not complete.
    #[cfg(test)]
    pub fn open_epochs(&self) -> usize {
        self.open.len()
    }

    /// Removes and returns what is complete.
    pub fn take(&mut self) -> std::vec::Drain<'_, Truth> {
        self.complete.drain(..)
    }
}

impl Sums {
    fn counts(self, video: VideoId, epoch: Epoch) -> EpochCounts {
        let impressions = self.impressions as f64;
        EpochCounts {
            video,
            epoch,
            impressions: self.impressions,
            plays: self.plays,
            take_rate: self.rates / impressions,
            usual_rate: self.usual_rates / impressions,
        }
    }
}

#[cfg(test)]
mod tests;
