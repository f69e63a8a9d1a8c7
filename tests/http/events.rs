//! The stream of events loses nothing and repeats nothing, and says so where it cannot tell.

use super::Served;
use super::common::contents::select;
use super::common::http::Event;
use super::common::workspace::{Workspace, lines, stop};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

fn counting() -> Served {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..100));
    let mut served = Served::start(place, &["--impressions", "i.jsonl"]);
    served.settle();
    served
}

/// The rows of `trends` as the events have them: `epoch,video_id,plays,impressions,publication`.
fn apply(rows: &mut BTreeMap<(i64, String), Value>, event: &Event) {
    assert_eq!(event.data["rows_left_out"], 0);
    for row in event.data["rows"].as_array().unwrap() {
        let name = (row["epoch"].as_i64().unwrap(), row["video_id"].as_str().unwrap().to_owned());
        match row["deleted"] == true {
            true => drop(rows.remove(&name)),
            false => drop(rows.insert(name, row.clone())),
        }
    }
}

#[test]
fn a_client_that_connects_again_and_again_has_the_rows_of_the_store() {
    const LINES: u64 = 3_000;
    let mut served = counting();
    let client = served.client;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (mut rows, mut last, mut changed) = (BTreeMap::new(), 0_u64, 0);
    let mut written = 100;
    let (mut streams, mut events) = (0, 0);
    while written < LINES || last == 0 || {
        let publication = client.get("/api/v1/epochs").json()["publication"].as_u64();
        publication > Some(last) || served.place.events_committed() < LINES as i64
    } {
        let path = "/api/v1/events?query=trends&limit=10000";
        let mut stream = match last {
            0 => client.events(&format!("{path}&since=0"), None),
            last => client.events(path, Some(last)),
        };
        streams += 1;
        for _ in 0..random.random_range(0..6) {
            if written < LINES {
                let more = random.random_range(1..60).min(LINES - written);
                served.place.append("i.jsonl", lines(written..written + more));
                written += more;
            }
            stream.set_patience(Duration::from_millis(300));
            let Some(event) = stream.next() else { break };
            assert_eq!(event.name, "publication");
            assert!(event.id > last, "{event:?} after {last}");
            assert_eq!(event.data["publication"], event.id);
            // Nothing is repeated: every row has changed since the last event.
            let since = event.data["rows"].as_array().unwrap().iter();
            assert!(since.clone().all(|row| row["publication"].as_u64() > Some(last)), "{event:?}");
            assert!(since.count() as u64 <= event.data["changed"]["trends"].as_u64().unwrap_or(0));
            apply(&mut rows, &event);
            (last, changed, events) = (
                event.id,
                changed + event.data["changed"]["trends"].as_u64().unwrap_or(0),
                events + 1,
            );
        }
    }
    assert!(streams > 10 && events > 10, "{streams} streams, {events} events");
    served.settle();
    let ours: Vec<String> = rows
        .values()
        .map(|row| {
            let number = |name: &str| row[name].to_string();
            let video = row["video_id"].as_str().unwrap();
            format!(
                "{video},{},{},{}",
                number("epoch"),
                number("impressions"),
                number("publication")
            )
        })
        .collect();
    let mut ours = ours;
    ours.sort();
    let theirs =
        select(&served.store(), "video_id, epoch, impressions, publication FROM trends_rows");
    assert_eq!(ours, theirs);
    assert!(changed >= ours.len() as u64);
}

#[test]
fn many_streams_have_the_same_events_and_a_client_that_takes_none_holds_nobody() {
    let served = counting();
    let client = served.client;
    let asleep: Vec<_> =
        (0..40).map(|_| client.events("/api/v1/events?query=trends", None)).collect();
    let mut streams: Vec<_> =
        (0..60).map(|_| client.events("/api/v1/events?since=0", None)).collect();
    let first: Vec<Event> = streams.iter_mut().map(|stream| stream.next().unwrap()).collect();
    for round in 1..=20_u64 {
        served.place.append("i.jsonl", lines(100 * round..100 * round + 100));
        client.wait("the lines are committed", |_| {
            served.place.events_committed() >= 100 * (round as i64 + 1)
        });
    }
    let last = client.get("/api/v1/epochs").json()["publication"].as_u64().unwrap();
    for (stream, first) in streams.iter_mut().zip(first) {
        let mut id = first.id;
        while id < last {
            let event = stream.next().unwrap();
            assert!(event.id > id);
            id = event.id;
        }
    }
    drop(asleep);
}

#[test]
fn a_stream_that_cannot_tell_what_changed_says_so() {
    let served = counting();
    let client = served.client;
    let now = client.get("/api/v1/epochs").json()["publication"].as_u64().unwrap();
    // A publication of another store.
    let mut stream = client.events("/api/v1/events", Some(now + 1_000));
    let event = stream.next().unwrap();
    assert_eq!((event.name.as_str(), event.id), ("reset", now));
    assert_eq!(event.data["changed"], serde_json::json!({}));
    // Begins with the next publication.
    let mut stream = client.events("/api/v1/events", None);
    served.place.append("i.jsonl", lines(100..110));
    let event = stream.next().unwrap();
    assert!(event.name == "publication" && event.id > now, "{event:?}");
    let Served { place, job, .. } = served;
    stop(job);
    // Another generation: it knows nothing of before.
    let mut again = Served::start(place, &["--impressions", "i.jsonl"]);
    again.settle();
    let begun = again.client.get("/api/v1/epochs").json()["publication"].as_u64().unwrap();
    let mut stream = again.client.events("/api/v1/events", Some(now));
    assert_eq!(stream.next().unwrap().name, "reset");
    // Who has read an answer of this generation may begin there.
    let mut stream = again.client.events(&format!("/api/v1/events?since={begun}"), None);
    again.place.append("i.jsonl", lines(110..120));
    let event = stream.next().unwrap();
    assert!(event.name == "publication" && event.id > begun, "{event:?}");
    assert_eq!(event.data["generation"], 2);
}

#[test]
fn streams_refuse_what_they_cannot_send() {
    let served = counting();
    let client = served.client;
    let unknown = client.get("/api/v1/events?query=nothing").error(404);
    assert!(unknown.contains("no query `nothing`"), "{unknown}");
    assert!(client.get("/api/v1/events?since=x").error(400).contains("`since` is `x`"));
    assert_eq!(client.ask("HEAD", "/api/v1/events", &[]).status, 200);
}
