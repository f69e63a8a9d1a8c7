//! Made-up logs: clients that send what was shown and played some minutes later, in batches, with
//! rates and delays that change. None of these logs was used to choose a constant of the estimate.

use crate::log::{Log, Record};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Binomial, Distribution, Exp1, Poisson, StandardNormal};
use std::f64::consts::TAU;
use trendmark::event::Kind;
use trendmark::time::Definition;

/// The length of an epoch, in minutes.
const EPOCH: f64 = 30.0;
const DAY: f64 = 1_440.0;
/// The most videos of a request that come into view at once.
const ROW_MAX: u64 = 5;
/// How long uploads stop in an outage, and how long it takes them to catch up, in minutes.
const OUTAGE: f64 = 20.0;
const CATCHING_UP: f64 = 3.0;
/// The mean and the most minutes that a client is offline.
const OFFLINE: (f64, f64) = (30.0, 115.0);
/// The mean interval between a client's uploads and its limit, in minutes.
const FLUSH: (f64, f64) = (2.0, 9.97);
const VIDEOS: u16 = 500;

/// How delays change over the whole log, besides noise and rhythm.
#[derive(Clone, Copy, PartialEq)]
pub enum Trend {
    None,
    /// They grow threefold.
    Ramp,
    /// They become 2.5 times as long at once.
    Step,
}

/// A kind of log. Rates and delays are multiplied with noise, whose logarithm is normal, and
/// correlated in time.
#[derive(Clone, Copy)]
pub struct LogKind {
    pub name: &'static str,
    /// The mean impressions of an epoch, and those of a request.
    pub impressions: f64,
    pub per_request: u64,
    pub play_rate: f64,
    /// The amplitude of the daily rhythm of the rate, and the logarithm's of the delays.
    pub rhythms: (f64, f64),
    /// The standard deviation and the correlation time, in minutes, of the noise of the rate.
    pub rate_noise: (f64, f64),
    /// The same of the delays.
    pub delay_noise: (f64, f64),
    pub trend: Trend,
    /// The share of requests whose client is offline for a while, and the deviation of its noise.
    pub offline: (f64, f64),
    /// Epochs from one outage to the next, and the share of clients that have it.
    pub outages: Option<(usize, f64)>,
    /// The share of events that are sent twice.
    pub twice: f64,
    pub partitions: u8,
}

const PLAIN: LogKind = LogKind {
    name: "stationary",
    impressions: 2_000.0,
    per_request: 20,
    play_rate: 0.05,
    rhythms: (0.0, 0.0),
    rate_noise: (0.0, 60.0),
    delay_noise: (0.0, 60.0),
    trend: Trend::None,
    offline: (0.0, 0.0),
    outages: None,
    twice: 0.0,
    partitions: 1,
};
const SMALL: LogKind = LogKind { impressions: 20.0, per_request: 1, play_rate: 0.35, ..PLAIN };
const LARGE: LogKind = LogKind {
    impressions: 20_000.0,
    rate_noise: (0.1, 60.0),
    delay_noise: (0.1, 60.0),
    offline: (0.02, 0.2),
    ..PLAIN
};

/// All kinds of logs.
pub const KINDS: [LogKind; 13] = [
    PLAIN,
    LogKind { name: "stationary, small", ..SMALL },
    LogKind { name: "stationary, long tail", offline: (0.04, 0.3), ..LARGE },
    LogKind {
        name: "stationary, overdispersed",
        rate_noise: (0.4, 40.0),
        delay_noise: (0.25, 60.0),
        offline: (0.02, 0.3),
        ..LARGE
    },
    LogKind { name: "daily rhythm", rhythms: (0.7, 0.3), ..LARGE },
    LogKind {
        name: "daily rhythm, small",
        impressions: 30.0,
        rhythms: (0.7, 0.3),
        offline: (0.03, 0.0),
        ..SMALL
    },
    LogKind { name: "drifting delays", trend: Trend::Ramp, ..LARGE },
    LogKind { name: "wandering delays", delay_noise: (0.5, 360.0), offline: (0.03, 0.3), ..LARGE },
    LogKind { name: "delays jump", trend: Trend::Step, ..LARGE },
    LogKind { name: "outages", outages: Some((40, 1.0)), ..LARGE },
    LogKind { name: "partial outages", outages: Some((40, 0.4)), ..LARGE },
    LogKind {
        name: "everything at once",
        impressions: 5_000.0,
        rhythms: (0.6, 0.3),
        rate_noise: (0.25, 60.0),
        delay_noise: (0.3, 240.0),
        trend: Trend::Ramp,
        offline: (0.03, 0.4),
        twice: 0.01,
        partitions: 4,
        ..PLAIN
    },
    LogKind {
        name: "small, 4 partitions",
        impressions: 40.0,
        play_rate: 0.3,
        delay_noise: (0.2, 60.0),
        partitions: 4,
        ..SMALL
    },
];

/// Makes a log of so many epochs.
pub fn make(log_kind: &LogKind, seed: u64, epochs: usize) -> Log {
    let number = KINDS.iter().position(|other| other.name == log_kind.name).unwrap_or(0) as u64;
    let mut maker = Maker {
        random: ChaCha8Rng::seed_from_u64(1_000 * seed + number),
        log_kind: *log_kind,
        outages: Vec::new(),
        end: epochs as f64 * EPOCH,
        records: Vec::new(),
    };
    maker.make(epochs);
    let definition = Definition::default();
    let outages = maker.outages.iter().map(|at| (at * 60_000.0) as i64).collect();
    Log::new(log_kind.name, definition, maker.records, epochs as i64, outages)
}

struct Maker {
    random: ChaCha8Rng,
    log_kind: LogKind,
    /// The beginnings of outages, in minutes.
    outages: Vec<f64>,
    /// The end of the log, in minutes.
    end: f64,
    records: Vec<Record>,
}

/// A request, times in minutes.
struct Request {
    number: u32,
    start: f64,
    /// The interval of its uploads, and the first of them.
    interval: f64,
    first: f64,
    offline: f64,
    partition: u8,
    has_outages: bool,
}

impl Maker {
    fn make(&mut self, epochs: usize) {
        let LogKind { impressions, per_request, rhythms, trend, .. } = self.log_kind;
        let minutes = self.end as usize;
        let rate_noise = self.noise(minutes, self.log_kind.rate_noise);
        let delay_noise = self.noise(minutes, self.log_kind.delay_noise);
        let offline_noise = self.noise(minutes, (self.log_kind.offline.1, 180.0));
        if let Some((every, _)) = self.log_kind.outages {
            let at = (60..epochs.saturating_sub(8)).step_by(every);
            self.outages = at.map(|epoch| (epoch as f64 + self.share()) * EPOCH).collect();
        }
        let mut number = 0;
        for minute in 0..minutes {
            let hour = TAU * minute as f64 / DAY;
            let mean = impressions / EPOCH / per_request as f64;
            let rate = mean * rate_noise[minute].exp() * (1.0 + rhythms.0 * hour.sin());
            let passed = minute as f64 / minutes as f64;
            let slower = match trend {
                Trend::None => 1.0,
                Trend::Ramp => 3.0_f64.powf(passed),
                Trend::Step => [1.0, 2.5][usize::from(passed >= 0.55)],
            };
            let slower = slower * (delay_noise[minute] + rhythms.1 * (hour + 1.0).sin()).exp();
            let offline = self.log_kind.offline.0 * offline_noise[minute].exp();
            for _ in 0..Poisson::new(rate).unwrap().sample(&mut self.random) as u64 {
                let request = self.request(number, minute as f64, slower, offline);
                self.send(&request);
                number += 1;
            }
        }
    }

    /// Normal noise for each minute: its standard deviation, and its correlation time.
    fn noise(&mut self, minutes: usize, (deviation, correlation): (f64, f64)) -> Vec<f64> {
        let kept = (-1.0 / correlation).exp();
        let mut level = deviation * self.normal();
        let next = |_| {
            level = kept * level + deviation * (1.0 - kept * kept).sqrt() * self.normal();
            level
        };
        (0..minutes).map(next).collect()
    }

    fn request(&mut self, number: u32, minute: f64, slower: f64, offline: f64) -> Request {
        let start = minute + self.share();
        let interval = (self.exponential() * FLUSH.0 * slower).min(FLUSH.1 * slower.max(1.0));
        let is_offline = self.share() < offline;
        let offline =
            if is_offline { (self.exponential() * OFFLINE.0).min(OFFLINE.1) } else { 0.0 };
        let share = self.log_kind.outages.map_or(0.0, |(_, share)| share);
        Request {
            number,
            start,
            interval,
            first: start + self.share() * interval,
            offline,
            partition: self.random.random_range(0..self.log_kind.partitions),
            has_outages: self.share() < share,
        }
    }

    /// Sends the impressions and plays of a request. They come into view in rows.
    fn send(&mut self, request: &Request) {
        let rows = self.log_kind.per_request.div_ceil(ROW_MAX);
        let videos = self.log_kind.per_request / rows;
        let first_video = self.random.random_range(0..VIDEOS);
        let mut seen = request.start;
        for row in 0..rows {
            if row > 0 {
                seen += 0.667 * self.exponential() / (rows - 1) as f64;
            }
            let uploads = ((seen - request.first) / request.interval.max(1e-6)).ceil().max(0.0);
            let came = self.upload(request, request.first + uploads * request.interval);
            for video in row * videos..(row + 1) * videos {
                let video = (first_video + video as u16) % VIDEOS;
                self.record(Kind::Impression, request, video, seen, came);
            }
            let plays = Binomial::new(videos, self.log_kind.play_rate).unwrap();
            for play in 0..plays.sample(&mut self.random) {
                let video = (first_video + (row * videos + play) as u16) % VIDEOS;
                let played = seen + (0.5 * (1.2 * self.normal()).exp()).min(180.0);
                let sent = played + self.share() * request.interval;
                let came = self.upload(request, sent);
                self.record(Kind::Play, request, video, played, came);
            }
        }
    }

    /// When an upload arrives: after the network, after the client was offline, after an outage.
    fn upload(&mut self, request: &Request, sent: f64) -> f64 {
        let came = sent + request.offline + (0.0025 * self.exponential()).min(0.033);
        let is_within = |from: &&f64| (**from..**from + OUTAGE).contains(&came);
        match self.outages.iter().find(is_within).copied() {
            Some(from) if request.has_outages => from + OUTAGE + CATCHING_UP * self.share(),
            _ => came,
        }
    }

    fn record(&mut self, kind: Kind, request: &Request, video: u16, at: f64, came: f64) {
        if at >= self.end {
            return;
        }
        let record = |came: f64| Record {
            record_ms: (came * 60_000.0) as i64,
            event_ms: (at * 60_000.0) as i64,
            request: request.number,
            video,
            partition: request.partition,
            kind,
        };
        self.records.push(record(came));
        if self.share() < self.log_kind.twice {
            let again = came + 1.0 / 60.0 + 5.0 * self.share();
            self.records.push(record(again));
        }
    }

    fn share(&mut self) -> f64 {
        self.random.random()
    }

    fn exponential(&mut self) -> f64 {
        Exp1.sample(&mut self.random)
    }

    fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.random)
    }
}
