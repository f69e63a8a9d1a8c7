//! The rows of `trends` by dbsp, the engine of Feldera, with two workers.
//!
//! `against-feldera LOG ROWS [STEP]` reads the JSON Lines log of a folder in the order of arrival,
//! in steps of STEP events (default 100,000), and writes the rows at the end as CSV: video, epoch,
//! plays, impressions. It prints one JSON object: seconds.

use dbsp::typed_batch::{IndexedZSetReader, SpineSnapshot};
use dbsp::utils::{Tup2, Tup3, Tup4};
use dbsp::{OrdIndexedZSet, OutputHandle, RootCircuit, Runtime, ZSetHandle, ZWeight};
use serde::Deserialize;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WORKERS: usize = 2;
const STEP_EVENTS: usize = 100_000;
const EPOCH_MS: i64 = 1_800_000;
const JOIN_WINDOW_EPOCHS: i64 = 4;
/// Steps that are parsed ahead of the circuit.
const STEPS_AHEAD: usize = 4;

/// A request id in two words, a video and an epoch.
type Event = Tup4<u64, u64, u64, i64>;
type Counts = OrdIndexedZSet<Tup2<u64, i64>, ZWeight>;

/// The inputs and outputs of the circuit.
struct Handles {
    impressions: ZSetHandle<Event>,
    plays: ZSetHandle<Event>,
    shown: OutputHandle<SpineSnapshot<Counts>>,
    played: OutputHandle<SpineSnapshot<Counts>>,
}

/// The events of a step.
#[derive(Default)]
struct Step {
    impressions: Vec<Tup2<Event, ZWeight>>,
    plays: Vec<Tup2<Event, ZWeight>>,
}

fn build(circuit: &mut RootCircuit) -> anyhow::Result<Handles> {
    let (impressions, impressions_handle) = circuit.add_input_zset::<Event>();
    let (plays, plays_handle) = circuit.add_input_zset::<Event>();
    let showing = |Tup4(high, low, video, epoch): &Event| (Tup3(*high, *low, *video), *epoch);
    let shown = impressions.distinct();
    let played = shown
        .map_index(showing)
        .join_flatmap(&plays.distinct().map_index(showing), |key, shown, played| {
            let Tup3(high, low, video) = key;
            let counts = (*shown..=shown + JOIN_WINDOW_EPOCHS).contains(played);
            counts.then_some(Tup4(*high, *low, *video, *shown))
        })
        .distinct();
    let row = |Tup4(_, _, video, epoch): &Event| Tup2(*video, *epoch);
    Ok(Handles {
        impressions: impressions_handle,
        plays: plays_handle,
        shown: shown.map(row).weighted_count().accumulate_output(),
        played: played.map(row).weighted_count().accumulate_output(),
    })
}

/// Adds the changes of a step to counts.
fn apply(output: &OutputHandle<SpineSnapshot<Counts>>, counts: &mut BTreeMap<(u64, i64), i64>) {
    for (Tup2(video, epoch), count, weight) in output.concat().consolidate().iter() {
        if weight > 0 {
            counts.insert((video, epoch), count);
        }
    }
}

#[derive(Deserialize)]
struct Record<'a> {
    request_id: &'a str,
    video_id: u64,
    event_time: i64,
    record_time: i64,
}

/// A partition with its next record.
struct Partition {
    lines: BufReader<File>,
    is_play: bool,
    next: Option<(i64, Event)>,
    line: Vec<u8>,
}

impl Partition {
    fn open(path: &Path) -> Partition {
        let lines = BufReader::with_capacity(1 << 20, File::open(path).unwrap());
        let is_play = path.file_name().unwrap().to_str().unwrap().starts_with("plays");
        let mut partition = Partition { lines, is_play, next: None, line: Vec::new() };
        partition.advance();
        partition
    }

    fn advance(&mut self) {
        self.line.clear();
        let bytes = self.lines.read_until(b'\n', &mut self.line).unwrap();
        self.next = (bytes > 0).then(|| {
            let record: Record = serde_json::from_slice(&self.line).unwrap();
            let digits: String =
                record.request_id.chars().filter(|&letter| letter != '-').collect();
            let [high, low] =
                [&digits[..16], &digits[16..]].map(|half| u64::from_str_radix(half, 16).unwrap());
            let epoch = record.event_time.div_euclid(EPOCH_MS);
            (record.record_time, Tup4(high, low, record.video_id, epoch))
        });
    }
}

/// Reads all partitions in the order of arrival.
fn read(log: &Path, step_events: usize, steps: &SyncSender<Step>) {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    let mut partitions: Vec<Partition> = paths.iter().map(|path| Partition::open(path)).collect();
    let arrival = |at: usize, partition: &Partition| {
        partition.next.as_ref().map(|(time, _)| std::cmp::Reverse((*time, at)))
    };
    let mut order: BinaryHeap<_> = partitions
        .iter()
        .enumerate()
        .filter_map(|(at, partition)| arrival(at, partition))
        .collect();
    let mut step = Step::default();
    while let Some(std::cmp::Reverse((_, at))) = order.pop() {
        let partition = &mut partitions[at];
        let (_, event) = partition.next.take().unwrap();
        let side = if partition.is_play { &mut step.plays } else { &mut step.impressions };
        side.push(Tup2(event, 1));
        if step.impressions.len() + step.plays.len() == step_events {
            steps.send(std::mem::take(&mut step)).unwrap();
        }
        partition.advance();
        order.extend(arrival(at, partition));
    }
    steps.send(step).unwrap();
}

/// The counts of impressions and plays by video and epoch.
type Rows = [BTreeMap<(u64, i64), i64>; 2];

fn run(steps: &Receiver<Step>) -> (Rows, Vec<f64>) {
    let (mut circuit, handles) = Runtime::init_circuit(WORKERS, build).unwrap();
    let mut rows = Rows::default();
    let mut step_s = Vec::new();
    while let Ok(mut step) = steps.recv() {
        let started = Instant::now();
        handles.impressions.append(&mut step.impressions);
        handles.plays.append(&mut step.plays);
        circuit.transaction().unwrap();
        apply(&handles.shown, &mut rows[0]);
        apply(&handles.played, &mut rows[1]);
        step_s.push(started.elapsed().as_secs_f64());
    }
    circuit.kill().unwrap();
    (rows, step_s)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [log, out, rest @ ..] = &arguments[..] else { panic!("against-feldera LOG ROWS [STEP]") };
    let step_events = rest.first().map_or(STEP_EVENTS, |step| step.parse().unwrap());
    let started = Instant::now();
    let (sender, receiver) = sync_channel(STEPS_AHEAD);
    let log = PathBuf::from(log);
    let reader = std::thread::spawn(move || read(&log, step_events, &sender));
    let (rows, mut step_s) = run(&receiver);
    reader.join().unwrap();
    let mut file = BufWriter::new(File::create(out).unwrap());
    for ((video, epoch), impressions) in &rows[0] {
        let plays = rows[1].get(&(*video, *epoch)).unwrap_or(&0);
        writeln!(file, "{video},{epoch},{plays},{impressions}").unwrap();
    }
    file.flush().unwrap();
    // The last step is shorter.
    step_s.pop();
    let run_s = started.elapsed().as_secs_f64();
    let last_step_s = step_s.last().unwrap_or(&0.0);
    println!("{}", serde_json::json!({ "run_s": run_s, "last_step_s": last_step_s }));
}
