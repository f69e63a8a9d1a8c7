//! The table that a job writes to, and that outlives it: the place of Cassandra in the talk.
//!
//! As in the talk it holds sets of request ids, not counts: each element is a request in
//! `impressions(video, epoch)` or in `plays(video, epoch)`, and writing one twice changes nothing.
//! Each worker appends to a file of its own.

use crate::log::Arrived;
use bytemuck::{Pod, Zeroable};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;

/// A request in one of the two sets of a video and epoch.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
pub struct Element {
    pub video: u64,
    pub epoch: i64,
    pub request: [u64; 2],
    /// 0: in `impressions`; 1: in `plays`.
    pub played: u64,
}

impl Element {
    /// The element of an impression.
    pub fn shown(impression: &Arrived) -> Element {
        let Arrived { request, video, epoch, .. } = *impression;
        Element { video, epoch, request, played: 0 }
    }

    /// The element of an impression that was played.
    pub fn played(impression: &Arrived) -> Element {
        Element { played: 1, ..Element::shown(impression) }
    }
}

/// The part of the table that a worker writes.
pub struct Table(BufWriter<File>);

impl Table {
    /// Opens it to append.
    pub fn open(folder: &Path, worker: usize) -> Table {
        let path = folder.join(format!("table-{worker}"));
        Table(BufWriter::new(OpenOptions::new().create(true).append(true).open(path).unwrap()))
    }

    /// Writes elements; they survive the process.
    pub fn write(&mut self, elements: &[Element]) {
        self.0.write_all(bytemuck::cast_slice(elements)).unwrap();
        self.0.flush().unwrap();
    }
}

/// The rows `[video, epoch, plays, impressions]` of the sets, and how many elements were written
/// more than once: by how much counters in place of sets would be too high.
pub fn rows(folder: &Path) -> Value {
    let pattern = format!("{}/table-*", folder.display());
    let mut elements: Vec<Element> = Vec::new();
    for path in glob::glob(&pattern).unwrap() {
        elements.extend(bytemuck::pod_collect_to_vec::<u8, Element>(
            &std::fs::read(path.unwrap()).unwrap(),
        ));
    }
    let written = elements.len();
    elements.sort_unstable();
    elements.dedup();
    let mut rows: BTreeMap<(u64, i64), [u64; 2]> = BTreeMap::new();
    for element in &elements {
        let counts = rows.entry((element.video, element.epoch)).or_default();
        counts[usize::from(element.played == 0)] += 1;
    }
    let rows: Vec<_> = rows
        .into_iter()
        .map(|((video, epoch), [plays, impressions])| json!([video, epoch, plays, impressions]))
        .collect();
    json!({ "rows": rows, "written_again": written - elements.len() })
}
