//! The seeded stream of arrivals: requests show videos, members play some, clients log both.
//!
//! A request shows its videos row by row while the member browses. Its client uploads the
//! impressions since the last upload, so they arrive in contiguous batches; each play is uploaded
//! by itself. Requests start evenly over the duration of the log, and batches wait in a queue until
//! they arrive. So memory grows with the rate of events and with their delays, never with the
//! length of the log.
//!
//! An event that is neither late nor future arrives between its event time and the maximum arrival
//! delay after it. So it is never behind the watermark of its partition, if the maximum delay of
//! the reader's definition is at least that long.
//!
//! A request of a bot is like one of a member, except that nearly everything is played, and that a
//! denial follows: never late, stamped in the future or malformed.

use super::arrival::{Arrival, GroundTruth, RequestName};
use super::chance::RandomChoices;
use super::queue::{Batch, Queue, QueuedEvent};
use super::rates::{TakeRate, TakeRates};
use super::rhythm::DailyRhythm;
use super::settings::{Model, ModelError};
use super::truth::{Truth, TruthTable};
use crate::event::{Kind, VideoId};

/// Videos that come into view together.
const VIDEOS_PER_ROW: usize = 5;
/// The mean and maximum duration of an upload.
const NETWORK_DELAY_MEAN_MS: f64 = 150.0;
const NETWORK_DELAY_MAX_MS: i64 = 2_000;
/// The time from the first arrival to a duplicate, shortened if the duplicate would be late.
const REPEAT_AFTER_MIN_MS: i64 = 1_000;
const REPEAT_AFTER_SPREAD_MS: i64 = 300_000;
/// A wrong clock is ahead by the future offset and up to 30 days more.
const FUTURE_SPREAD_MS: i64 = 30 * 86_400_000;
/// The share of what it is shown that a bot plays.
const BOT_PLAY_RATE: f64 = 0.95;

/// The arrivals of a log, in order of arrival over all partitions.
pub struct Generator {
    model: Model,
    chance: RandomChoices,
    rhythm: DailyRhythm,
    rates: TakeRates,
    truth: Option<TruthTable>,
    requests: u64,
    requests_started: u64,
    impressions_left: u64,
    next_start_ms: Option<i64>,
    row_pause_mean_ms: f64,
    queue: Queue,
    videos: Vec<VideoId>,
    arriving: Option<Batch>,
    arrived: usize,
}

impl Generator {
    /// Starts the log of a model.
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn new(model: &Model) -> Result<Generator, ModelError> {
        model.check()?;
        let rows = (model.videos_per_request as usize).div_ceil(VIDEOS_PER_ROW);
        let pauses = (rows - 1).max(1);
        let mut generator = Generator {
            chance: RandomChoices::new(model),
            rhythm: DailyRhythm::new(model.world.daily_rhythm, model.start_ms, model.duration_ms),
            rates: TakeRates::new(model),
            truth: None,
            requests: model.impressions.div_ceil(model.videos_per_request),
            requests_started: 0,
            impressions_left: model.impressions,
            next_start_ms: None,
            row_pause_mean_ms: model.browsing_time_ms as f64 / pauses as f64,
            queue: Queue::default(),
            videos: Vec::new(),
            arriving: None,
            arrived: 0,
            model: model.clone(),
        };
        generator.draw_next_start();
        Ok(generator)
    }

    /// Starts the log of a model, and counts what is planted: see [`Generator::take_truth`].
    ///
    /// # Errors
    /// When a setting is out of range.
    pub fn with_truth(model: &Model) -> Result<Generator, ModelError> {
        let truth = Some(TruthTable::default());
        Ok(Generator { truth, ..Generator::new(model)? })
    }

    /// Removes and returns what became known of the truth since the last call, in an order that
    /// depends on the model only. Without [`Generator::with_truth`] there is nothing.
    pub fn take_truth(&mut self) -> impl Iterator<Item = Truth> + '_ {
        self.truth.iter_mut().flat_map(TruthTable::take)
    }

    /// The epochs of which the truth is not complete.
    #[cfg(test)]
    pub(super) fn open_epochs(&self) -> usize {
        self.truth.as_ref().map_or(0, TruthTable::open_epochs)
    }

    /// The maximum number of events that waited at the same time, which determines the memory used.
    pub fn waiting_max(&self) -> usize {
        self.queue.events_max()
    }

    /// Returns the next batch to arrive, after starting every request that could precede it.
    fn next_batch(&mut self) -> Option<Batch> {
        while let Some(start_ms) = self.next_start_ms {
            if self.queue.next_arrival_ms().is_some_and(|arrival_ms| arrival_ms <= start_ms) {
                break;
            }
            self.start_request(start_ms);
            self.draw_next_start();
        }
        self.queue.pop()
    }

    /// Splits the duration among the requests, equally unless there is a daily rhythm; each starts
    /// at a random time in its part.
    fn draw_next_start(&mut self) {
        self.next_start_ms = (self.requests_started < self.requests).then(|| {
            let share = (self.requests_started as f64 + self.chance.share()) / self.requests as f64;
            self.rhythm.time_ms(share)
        });
        if let Some(truth) = &mut self.truth {
            truth.complete_before(self.next_start_ms);
        }
        self.requests_started += 1;
    }

    fn start_request(&mut self, start_ms: i64) {
        let count = self.impressions_left.min(self.model.videos_per_request);
        self.impressions_left -= count;
        let mut videos = std::mem::take(&mut self.videos);
        self.chance.draw_videos(count as usize, start_ms, &mut videos);

        let mut client = Client::new(&self.model, start_ms, &mut self.chance);
        // Without bots nothing may be drawn, as that would change the log.
        let bot_rate = self.model.world.bot_rate;
        client.is_bot = bot_rate > 0.0 && self.chance.happens(bot_rate);
        let mut seen_ms = start_ms;
        let mut batch = client.open_batch(seen_ms, count as usize, &mut self.chance);
        for (row, row_videos) in videos.chunks(VIDEOS_PER_ROW).enumerate() {
            if row > 0 {
                seen_ms += self.chance.exponential_ms(self.row_pause_mean_ms);
            }
            if seen_ms > client.upload_ms {
                let rest = count as usize - row * VIDEOS_PER_ROW;
                let next = client.open_batch(seen_ms, rest, &mut self.chance);
                self.send(std::mem::replace(&mut batch, next));
            }
            for video in row_videos {
                self.show(&client, &mut batch, *video, seen_ms);
            }
        }
        self.send(batch);
        if client.is_bot {
            self.deny(&client, seen_ms);
        }
        self.videos = videos;
    }

    /// Sends the denial of a bot's request. It is after the last impression, so that a reader finds
    /// it in the join window of each.
    fn deny(&mut self, client: &Client, last_seen_ms: i64) {
        let delay_ms = self.chance.up_to_ms(self.model.world.denial_delay_max_ms);
        let event_time_ms = last_seen_ms + delay_ms;
        let arrival_ms = event_time_ms + client.network_delay_ms(&mut self.chance);
        let (request, truth) = (client.request, GroundTruth::OnTime);
        let events = vec![QueuedEvent { video: VideoId(0), event_time_ms, truth }];
        self.send(Batch { arrival_ms, kind: Kind::Denial, request, events });
        if let Some(table) = &mut self.truth {
            table.deny(request, event_time_ms);
        }
    }

    #[inline]
    fn show(&mut self, client: &Client, batch: &mut Batch, video: VideoId, seen_ms: i64) {
        let truth = self.draw_fate(0.0);
        self.log(batch, QueuedEvent { video, event_time_ms: seen_ms, truth });
        let rate = match client.is_bot {
            true => TakeRate { usual: BOT_PLAY_RATE, now: BOT_PLAY_RATE },
            false => self.rates.at(video, seen_ms),
        };
        let play = self.chance.happens(rate.now).then(|| self.play(client, video, seen_ms));
        if let Some(table) = &mut self.truth
            && !client.is_bot
            && truth != GroundTruth::Future
        {
            let is_found = matches!(play, Some(GroundTruth::OnTime | GroundTruth::Late));
            table.count(video, seen_ms, rate, is_found);
        }
    }

    fn play(&mut self, client: &Client, video: VideoId, seen_ms: i64) -> GroundTruth {
        let event_time_ms = seen_ms + self.chance.play_delay_ms();
        let truth = self.draw_fate(self.model.orphan_rate);
        let request = match truth {
            GroundTruth::Orphan => self.chance.request_name(),
            _ => client.request,
        };
        let wait_ms = self.chance.up_to_ms(client.upload_interval_ms);
        let arrival_ms = event_time_ms + wait_ms + client.network_delay_ms(&mut self.chance);
        let mut batch = Batch { arrival_ms, kind: Kind::Play, request, events: Vec::new() };
        self.log(&mut batch, QueuedEvent { video, event_time_ms, truth });
        self.send(batch);
        truth
    }

    #[inline]
    fn draw_fate(&mut self, orphan_rate: f64) -> GroundTruth {
        let model = &self.model;
        let lot = self.chance.share();
        if lot < model.late_rate {
            GroundTruth::Late
        } else if lot < model.late_rate + model.future_rate {
            GroundTruth::Future
        } else if lot < model.late_rate + model.future_rate + orphan_rate {
            GroundTruth::Orphan
        } else {
            GroundTruth::OnTime
        }
    }

    /// Adds an event to its batch, or sends it by itself if it is late.
    #[inline]
    fn log(&mut self, batch: &mut Batch, event: QueuedEvent) {
        match event.truth {
            GroundTruth::Late => self.send_late(batch, event),
            GroundTruth::Future => batch.events.push(self.stamp_in_future(event)),
            _ => {
                batch.events.push(event);
                if self.chance.happens(self.model.duplicate_rate / 2.0) {
                    self.repeat(batch, batch.events.len() - 1);
                }
            }
        }
        if self.chance.happens(self.model.malformed_rate) {
            let truth = GroundTruth::Malformed(self.chance.damage());
            batch.events.push(QueuedEvent { truth, ..event });
        }
    }

    fn send_late(&mut self, batch: &Batch, event: QueuedEvent) {
        let late_delay_ms = self.model.late_delay_ms;
        let delay_ms = late_delay_ms + self.chance.up_to_ms(late_delay_ms);
        let arrival_ms = event.event_time_ms + delay_ms;
        self.queue.push(Batch { arrival_ms, events: vec![event], ..*batch });
    }

    fn stamp_in_future(&mut self, event: QueuedEvent) -> QueuedEvent {
        let latest_arrival_ms = event.event_time_ms + self.model.arrival_delay_max_ms;
        let ahead_ms = self.model.future_offset_ms + self.chance.up_to_ms(FUTURE_SPREAD_MS);
        QueuedEvent { event_time_ms: latest_arrival_ms + ahead_ms, ..event }
    }

    /// Uploads a batch, in some cases twice.
    fn send(&mut self, batch: Batch) {
        if self.chance.happens(self.model.duplicate_rate / 2.0) {
            self.repeat(&batch, 0);
        }
        self.upload(batch);
    }

    /// Lets a batch arrive; scattered, each of its events by itself.
    fn upload(&mut self, batch: Batch) {
        if !self.model.scatter {
            return self.queue.push(batch);
        }
        for event in &batch.events {
            let arrival_ms = match event.truth {
                // Its event time is not when it happened.
                GroundTruth::Future => batch.arrival_ms,
                _ => event.event_time_ms + self.chance.up_to_ms(self.model.arrival_delay_max_ms),
            };
            self.queue.push(Batch { arrival_ms, events: vec![*event], ..batch });
        }
    }

    /// Sends the honest and orphan events from index `from` on again, early enough not to be late.
    fn repeat(&mut self, batch: &Batch, from: usize) {
        let is_repeated =
            |event: &&QueuedEvent| matches!(event.truth, GroundTruth::OnTime | GroundTruth::Orphan);
        let events: Vec<QueuedEvent> = batch.events[from..]
            .iter()
            .filter(is_repeated)
            .map(|event| QueuedEvent { truth: GroundTruth::Duplicate, ..*event })
            .collect();
        let Some(first_ms) = events.iter().map(|event| event.event_time_ms).min() else {
            return;
        };
        let after_ms = REPEAT_AFTER_MIN_MS + self.chance.up_to_ms(REPEAT_AFTER_SPREAD_MS);
        let latest_ms = first_ms + self.model.arrival_delay_max_ms;
        let arrival_ms = (batch.arrival_ms + after_ms).min(latest_ms);
        self.upload(Batch { arrival_ms, events, ..*batch });
    }
}

impl Iterator for Generator {
    type Item = Arrival;

    #[inline]
    fn next(&mut self) -> Option<Arrival> {
        loop {
            if let Some(batch) = &self.arriving
                && let Some(event) = batch.events.get(self.arrived)
            {
                self.arrived += 1;
                return Some(Arrival {
                    kind: batch.kind,
                    partition: batch.request.partition(self.model.partitions),
                    arrival_ms: batch.arrival_ms,
                    truth: event.truth,
                    request: batch.request,
                    video: event.video,
                    event_time_ms: event.event_time_ms,
                });
            }
            self.arriving = Some(self.next_batch()?);
            self.arrived = 0;
        }
    }
}

/// The client of a request, and its times of upload.
struct Client {
    request: RequestName,
    is_bot: bool,
    upload_interval_ms: i64,
    upload_ms: i64,
    network_delay_max_ms: i64,
}

impl Client {
    /// A client with a random upload interval. The first upload is at a random time within it.
    fn new(model: &Model, start_ms: i64, chance: &mut RandomChoices) -> Client {
        let network_delay_max_ms = NETWORK_DELAY_MAX_MS.min(model.arrival_delay_max_ms);
        let interval_max_ms = model.arrival_delay_max_ms - network_delay_max_ms;
        let upload_interval_ms =
            chance.exponential_ms(model.flush_interval_ms as f64).min(interval_max_ms);
        let upload_ms = start_ms + chance.up_to_ms(upload_interval_ms);
        let request = chance.request_name();
        Client { request, is_bot: false, upload_interval_ms, upload_ms, network_delay_max_ms }
    }

    /// The batch of the first upload at or after `seen_ms`.
    fn open_batch(&mut self, seen_ms: i64, capacity: usize, chance: &mut RandomChoices) -> Batch {
        if seen_ms > self.upload_ms {
            let interval_ms = self.upload_interval_ms.max(1);
            let intervals = (seen_ms - self.upload_ms + interval_ms - 1) / interval_ms;
            self.upload_ms += intervals * interval_ms;
        }
        let arrival_ms = self.upload_ms + self.network_delay_ms(chance);
        let events = Vec::with_capacity(capacity);
        Batch { arrival_ms, kind: Kind::Impression, request: self.request, events }
    }

    fn network_delay_ms(&self, chance: &mut RandomChoices) -> i64 {
        chance.exponential_ms(NETWORK_DELAY_MEAN_MS).min(self.network_delay_max_ms)
    }
}
