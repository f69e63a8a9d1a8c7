//! When people are told of the connections of a client to its brokers: that one is lost, now and
//! then that it still is, and that it is back. A state machine without input, output or clock.
//!
//! librdkafka tells of every attempt, several times a second. Here a loss is one line, which is
//! repeated after 30 s and then at intervals that double. A connection that comes and goes is told
//! of at the same intervals. After a rest without failures, everything begins anew.

use std::collections::BTreeMap;
use std::time::Duration;

/// After how long people are told again for the first time.
const FIRST_INTERVAL: Duration = Duration::from_secs(30);
/// The longest interval.
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);

/// What people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// It is lost.
    Lost,
    /// It has been lost for this time.
    StillLost(Duration),
    /// It is back, after this time.
    Back(Duration),
}

/// The connections of a client. All times are since one moment.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// Those that were lost, by the address of the broker, and other troubles by their texts.
    losses: BTreeMap<String, Loss>,
    /// Whether a broker has answered that others have named.
    knows_brokers: bool,
}

/// A connection that is lost, or was.
#[derive(Debug)]
struct Loss {
    /// Whether it is of an address by which brokers are looked for at first.
    is_first: bool,
    /// Since when it has been lost; `None` if it is back.
    since: Option<Duration>,
    /// Whether people were told of this loss.
    is_told: bool,
    /// From when on people are told of it again.
    due: Duration,
    /// The interval after that.
    interval: Duration,
    /// When it has last failed, or was back.
    last: Duration,
}

impl Default for Loss {
    fn default() -> Loss {
        let (due, last) = (Duration::ZERO, Duration::ZERO);
        let (is_first, since, is_told) = (false, None, false);
        Loss { is_first, since, is_told, due, interval: FIRST_INTERVAL, last }
    }
}

impl Connections {
    /// Notes that the connection to a broker has failed.
    pub fn failed(&mut self, address: &str, now: Duration) -> Option<News> {
        self.note(address, false, now)
    }

    fn note(&mut self, address: &str, is_first: bool, now: Duration) -> Option<News> {
        let loss = self.losses.entry(address.to_owned()).or_default();
        if now.saturating_sub(loss.last) >= loss.interval {
            *loss = Loss { due: now, ..Loss::default() };
        }
        (loss.last, loss.is_first) = (now, is_first);
        let since = *loss.since.get_or_insert(now);
        if now < loss.due {
            return None;
        }
        let news = if loss.is_told { News::StillLost(now - since) } else { News::Lost };
        loss.is_told = true;
        loss.due = now + loss.interval;
        loss.interval = INTERVAL_MAX.min(2 * loss.interval);
        Some(news)
    }

    /// Notes that the connection to an address by which brokers are looked for has failed. It is
    /// not needed any more once brokers have named each other.
    pub fn first_failed(&mut self, address: &str, now: Duration) -> Option<News> {
        if self.knows_brokers { None } else { self.note(address, true, now) }
    }

    /// Notes that a broker answers, which other brokers have named. The addresses by which brokers
    /// are looked for are not needed any more. Returns what is told of each address.
    pub fn answered(&mut self, address: &str, now: Duration) -> Vec<(String, News)> {
        self.knows_brokers = true;
        let lost = self.losses.iter_mut();
        let back = lost.filter(|(lost, loss)| loss.is_first || lost.as_str() == address);
        let news = back.filter_map(|(lost, loss)| Some((lost.clone(), loss.end(now)?)));
        news.collect()
    }
}

impl Loss {
    fn end(&mut self, now: Duration) -> Option<News> {
        let lasted = now.saturating_sub(self.since.take()?);
        self.last = now;
        std::mem::take(&mut self.is_told).then_some(News::Back(lasted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each step: the second, what happens (`-` fails, `?` the first address fails, `+` answers)
    /// to which broker, and what is told.
    const TABLE: &str = "
        lost, told again at growing intervals, and back : 0 -a lost; 1 -a; 29 -a; 30 -a still 30; \
            31 -a; 90 -a still 90; 209 -a; 210 -a still 210; 211 +a back 211; 212 +a
        lost and back twice                : 0 -a lost; 10 +a back 10; 80 -a lost; 81 +a back 1
        back before anything is told again : 0 -a lost; 5 +a back 5; 6 -a; 7 +a; 8 -a; 9 +a
        it comes and goes                  : 0 -a lost; 5 +a back 5; 6 -a; 30 -a lost; \
            31 +a back 25; 32 -a; 33 +a; 89 -a; 90 -a lost; 91 +a back 2
        a rest makes it new                : 0 -a lost; 1 +a back 1; 2 -a; 3 +a; 63 -a lost
        failures that end without a word   : 0 -a lost; 30 -a still 30; 151 -a lost
        two brokers                        : 0 -a lost; 1 -b lost; 2 +a back 2; 31 -b still 30; \
            32 +b back 31
        the first address                  : 0 ?x lost; 1 ?x; 2 +a x back 2; 3 ?x; 4 -a lost; \
            5 +a back 1
        the first address is a broker's    : 0 ?a lost; 1 ?a; 2 +a back 2; 3 ?a; 4 -a; 30 -a lost
        another trouble is not over by that: 0 -t lost; 2 +a; 30 -t still 30
        nothing was lost                   : 0 +a; 1 +a
        never more seldom than hourly      : 0 -a lost; 30 -a still 30; 90 -a still 90; \
            210 -a still 210; 450 -a still 450; 930 -a still 930; 1890 -a still 1890; \
            3810 -a still 3810; 7409 -a; 7410 -a still 7410; 9000 -a; 11010 -a still 11010
    ";

    fn step(connections: &mut Connections, words: &[&str]) -> String {
        let now = Duration::from_secs(words[0].parse().unwrap());
        let (what, address) = words[1].split_at(1);
        let told = |news| match news {
            News::Lost => "lost".to_owned(),
            News::StillLost(lasted) => format!("still {}", lasted.as_secs()),
            News::Back(lasted) => format!("back {}", lasted.as_secs()),
        };
        match what {
            "-" => connections.failed(address, now).map(told).unwrap_or_default(),
            "?" => connections.first_failed(address, now).map(told).unwrap_or_default(),
            "+" => {
                let news = connections.answered(address, now).into_iter();
                let text = |(of, news): (String, News)| match of == address {
                    true => told(news),
                    false => format!("{of} {}", told(news)),
                };
                news.map(text).collect::<Vec<_>>().join(" ")
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_loss_is_told_once_then_at_growing_intervals_and_so_is_its_end() {
        for line in TABLE.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (case, steps) = line.split_once(':').unwrap();
            let mut connections = Connections::default();
            for one in steps.split(';') {
                let words: Vec<&str> = one.split_whitespace().collect();
                assert_eq!(step(&mut connections, &words), words[2..].join(" "), "{case}: {one}");
            }
        }
    }

    #[test]
    fn what_is_told_of_a_day_without_brokers_is_bounded() {
        for attempts in [1, 7, 20] {
            let mut connections = Connections::default();
            let at = |attempt: u64| Duration::from_millis(attempt * 1_000 / attempts);
            let told = (0..86_400 * attempts).filter_map(|it| connections.failed("a", at(it)));
            assert!((25..=32).contains(&told.count()));
        }
    }
}
