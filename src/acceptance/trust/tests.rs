//! Logs of a partition as text, and which of their stamps are plausible.

use super::*;
use crate::event::{RequestId, VideoId};

const LEAP: i64 = 10;
const SUPPORT: usize = 4;

fn event(offset: u64, stamp_ms: i64) -> Event {
    let (request, video) = (RequestId::from_u128(1), VideoId(1));
    Event { offset, request, video, event_time_ms: stamp_ms, record_time_ms: None }
}

fn trust(decisions: Vec<Decision>) -> Trust {
    let definition =
        Definition { max_leap_ms: LEAP, leap_support: SUPPORT, ..Definition::default() };
    Trust::new(&definition, None, decisions)
}

/// Parses a log: stamps, at offsets that follow each other; `@N` sets the next offset.
fn log(text: &str) -> Vec<Event> {
    let (mut events, mut offset) = (Vec::new(), 0);
    for word in text.split_whitespace() {
        if let Some(next) = word.strip_prefix('@') {
            offset = next.parse().unwrap();
            continue;
        }
        events.push(event(offset, word.parse().unwrap()));
        offset += 1;
    }
    events
}

/// Judges the events of a log and returns the letter of each verdict: `p`lausible, `i`mplausible,
/// or what is missing, `f`ollowers or the `c`lock, at which the judgement ends.
fn judge(trust: &mut Trust, events: &[Event], end: LogEnd, clock: ClockLimit) -> String {
    let next_offset = events.last().map_or(0, |event| event.offset + 1);
    let mut verdicts = String::new();
    for at in 0..events.len() {
        let ahead = Ahead { events: &events[at..], next_offset, end, clock };
        match trust.is_plausible(&ahead) {
            Ok(is_plausible) => verdicts.push(if is_plausible { 'p' } else { 'i' }),
            Err(Missing::Followers) => return verdicts + "f",
            Err(Missing::Clock) => return verdicts + "c",
        }
        trust.pass(&events[at..=at]);
    }
    verdicts
}

const NO_CLOCK: ClockLimit = ClockLimit { limit_ms: i64::MIN, is_final: false };

/// `stamps → verdicts`, with a leap of 10 and a support of 4, in a file that was read to its end.
const FILES: &str = "
    → 
    5                                       → p
    5 9000                                  → pp
    0 1 2 3 4 5 6 7                         → pppppppp
    9000 0 1 2 3 4 5 6                      → ippppppp
    9000 9000 0 1 2 3 4 5                   → pipppppp
    0 1 2 9000 3 4 5 6                      → pppipppp
    0 1 2 3 9000 9000 4 5 6 7 8 9           → pppppipppppp
    0 1 2 3 40 41 42 43 44                  → ppppppppp
    0 1 2 3 13 14 1 1 1 1                   → pppppipppp
";

#[test]
fn a_leap_is_plausible_if_half_of_the_next_events_support_it() {
    for line in FILES.lines().filter(|line| line.contains('→')) {
        let (stamps, expected) = line.split_once('→').unwrap();
        let found = judge(&mut trust(Vec::new()), &log(stamps), LogEnd::Exhausted, NO_CLOCK);
        assert_eq!(found, expected.trim(), "{line}");
    }
}

/// `limit [final]; stamps → verdicts; decisions`, at a live end.
const LIVE: &str = "
    100;        5                     → p; 0-0 ..=5
    100;        5 101                 → pc; 0-0 ..=5
    100 final;  5 101 100             → pip; 0-2 ..=100
    100 final;  101 5                 → ip; 0-1 ..=5
    100 final;  101 102               → ii; 0-1 none
    100;        0 1 2 3 101 4         → ppppc; 3-3 ..=3
    100;        0 1 2 3 90 91 92 93   → pppppppp; 5-7 ..=93
";

fn text(decisions: &[Decision]) -> String {
    let text = |decision: &Decision| {
        let Decision { first, last, plausible_max_ms, .. } = decision;
        let most = plausible_max_ms.map_or("none".into(), |most_ms| format!("..={most_ms}"));
        format!("{first}-{last} {most}")
    };
    decisions.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[test]
fn at_a_live_end_the_clock_decides_and_a_replay_repeats_it() {
    for line in LIVE.lines().filter(|line| line.contains('→')) {
        let (given, expected) = line.split_once('→').unwrap();
        let (clock, stamps) = given.split_once(';').unwrap();
        let clock: Vec<&str> = clock.split_whitespace().collect();
        let clock = ClockLimit { limit_ms: clock[0].parse().unwrap(), is_final: clock.len() > 1 };
        let (mut live, events) = (trust(Vec::new()), log(stamps));
        let found = judge(&mut live, &events, LogEnd::Live, clock);
        let decisions = live.decisions().to_vec();
        assert_eq!(format!("{found}; {}", text(&decisions)), expected.trim(), "{line}");
        // The replay sees more of the log, and another clock.
        let verdicts = found.trim_end_matches('c');
        let more = events.len() as u64..events.len() as u64 + 8;
        let longer: Vec<_> = events.into_iter().chain(more.map(|at| event(at, 0))).collect();
        let replayed = judge(&mut trust(decisions), &longer, LogEnd::Exhausted, NO_CLOCK);
        assert_eq!(replayed[..verdicts.len()], *verdicts, "{line}");
    }
}

#[test]
fn a_record_waits_for_its_followers_until_it_is_known_that_they_are_far() {
    let events = log("5 6 7");
    let mut judged = trust(Vec::new());
    assert_eq!(judge(&mut judged, &events, LogEnd::NotReached, NO_CLOCK), "f");
    // Events beyond 16 K offsets support nothing, and a block that spans so many is given up.
    let sparse = log("5 6 7 @64 8 9 10 11");
    let clock = ClockLimit { limit_ms: 6, is_final: true };
    assert_eq!(judge(&mut judged, &sparse, LogEnd::Exhausted, clock), "ppipppp");
    assert_eq!(judged.supported_ms(), Some(9));
    assert_eq!(judge(&mut trust(Vec::new()), &sparse, LogEnd::NotReached, NO_CLOCK), "c");
}

#[test]
fn a_stamp_that_the_clock_has_passed_begins_another_decision() {
    let mut judged = trust(Vec::new());
    let mut verdict = |offset, stamp_ms, limit_ms| {
        let clock = ClockLimit { limit_ms, is_final: true };
        judge(&mut judged, &[event(offset, stamp_ms)], LogEnd::Live, clock)
    };
    // The stamp 1000 is refused, and accepted once the clock has passed it.
    assert_eq!(verdict(0, 1000, 500), "i");
    assert_eq!(verdict(1, 400, 500), "p");
    assert_eq!(verdict(2, 1000, 1000), "p");
    assert_eq!(text(judged.decisions()), "0-1 ..=400, 2-2 ..=1000");
    judged.forget_before(2);
    assert_eq!(text(judged.decisions()), "2-2 ..=1000");
}

#[test]
fn decisions_are_bounded() {
    let mut judged = trust(Vec::new());
    for round in 0..2 * DECISIONS_MAX as i64 {
        let (offset, stamp_ms) = (2 * round.unsigned_abs(), 1_000 * round);
        for (offset, limit_ms) in [(offset, stamp_ms - 1), (offset + 1, stamp_ms)] {
            let clock = ClockLimit { limit_ms, is_final: true };
            judge(&mut judged, &[event(offset, stamp_ms)], LogEnd::Live, clock);
        }
    }
    assert_eq!(judged.decisions().len(), DECISIONS_MAX);
}
