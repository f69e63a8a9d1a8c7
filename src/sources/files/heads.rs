//! An index of logs by how they begin, so that the cost of a new file does not depend on the number
//! of logs.

use super::beginning;
use crate::event::Kind;
use crate::log::{Beginning, PartitionName};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The number of first bytes of each log that are kept.
const HEAD_BYTES: usize = 256;

/// The most logs that are compared with a file. Of more that begin alike, those count whose names
/// are nearest to that of the file: a copy is named after its original.
const ALIKE_MAX: usize = 32;

/// The first bytes of a log, as far as they are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Head(Vec<u8>);

impl Head {
    /// Takes up more of the beginning of a log.
    pub(super) fn grow(&mut self, begins: &[u8]) {
        let head = &begins[..begins.len().min(HEAD_BYTES)];
        if head.len() > self.0.len() {
            self.0 = head.to_vec();
        }
    }

    /// Whether a log with this head can begin as this says; `None` if it is too short to tell.
    pub(super) fn begins_as(&self, known: &Beginning) -> Option<bool> {
        let length = usize::try_from(known.bytes).unwrap_or(usize::MAX);
        (self.0.len() >= length).then(|| beginning::is_of(known, &self.0))
    }
}

/// Logs by how they begin.
#[derive(Clone, Debug, Default)]
pub(super) struct Heads {
    /// The logs by their first bytes.
    by_bytes: BTreeMap<Kind, BTreeMap<Vec<u8>, BTreeSet<PartitionName>>>,
    /// The logs of which only digests are known, by the number of bytes that these cover.
    by_digest: BTreeMap<(Kind, u64), HashMap<String, BTreeSet<PartitionName>>>,
}

impl Heads {
    /// Adds a log of which only the digest is known.
    pub(super) fn add_unseen(&mut self, name: &PartitionName, begins: &Beginning) {
        let by_digest = self.by_digest.entry((name.kind, begins.bytes)).or_default();
        by_digest.entry(begins.digest.clone()).or_default().insert(name.clone());
    }

    /// Adds a log, or replaces its head if it has grown.
    pub(super) fn update(&mut self, name: &PartitionName, before: &Head, head: &Head) {
        if head.0.len() <= before.0.len() {
            return;
        }
        let by_bytes = self.by_bytes.entry(name.kind).or_default();
        if let Some(names) = by_bytes.get_mut(&before.0) {
            names.remove(name);
            if names.is_empty() {
                by_bytes.remove(&before.0);
            }
        }
        by_bytes.entry(head.0.clone()).or_default().insert(name.clone());
    }

    /// Returns logs that may begin as a file with this path does, as far as both go.
    pub(super) fn alike(&self, kind: Kind, path: &str, begins: &[u8]) -> Vec<PartitionName> {
        let mut alike = BTreeSet::new();
        let head = &begins[..begins.len().min(HEAD_BYTES)];
        if head.is_empty() {
            return Vec::new();
        }
        if let Some(by_bytes) = self.by_bytes.get(&kind) {
            let longer = by_bytes.range(head.to_vec()..);
            let longer = longer.take_while(|(other, _)| other.starts_with(head));
            let shorter = (1..head.len()).filter_map(|length| by_bytes.get(&head[..length]));
            for names in longer.map(|(_, names)| names).chain(shorter).take(ALIKE_MAX) {
                alike.extend(nearest(names, kind, path));
            }
        }
        for ((_, bytes), by_digest) in self.by_digest.range((kind, 1)..=(kind, u64::MAX)) {
            let begins = usize::try_from(*bytes).ok().and_then(|bytes| begins.get(..bytes));
            let names = begins.and_then(|begins| by_digest.get(&beginning::of(begins).digest));
            alike.extend(names.into_iter().flat_map(|names| nearest(names, kind, path)));
        }
        nearest(&alike, kind, path)
    }
}

/// Returns the names that are nearest to a path, the nearest ones first.
fn nearest(names: &BTreeSet<PartitionName>, kind: Kind, path: &str) -> Vec<PartitionName> {
    let own = PartitionName { kind, name: path.to_owned() };
    let before = names.range(..&own).rev().take(ALIKE_MAX / 2);
    let after = names.range(&own..).take(ALIKE_MAX / 2);
    let mut nearest: Vec<PartitionName> = before.chain(after).cloned().collect();
    let same = |other: &PartitionName| {
        other.name.bytes().zip(path.bytes()).take_while(|(one, two)| one == two).count()
    };
    nearest.sort_by_cached_key(|other| (usize::MAX - same(other), other.clone()));
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(number: usize) -> PartitionName {
        PartitionName { kind: Kind::Play, name: format!("/logs/{number:02}") }
    }

    proptest! {
        #[test]
        fn it_finds_the_logs_of_which_one_begins_as_the_other(
            logs in proptest::collection::vec(("[ab]{0,5}", "[ab]{0,5}", any::<bool>()), 0..16),
            file in "[ab]{0,6}",
        ) {
            let mut heads = Heads::default();
            let mut expected = Vec::new();
            for (number, (first, more, is_seen)) in logs.iter().enumerate() {
                let whole = format!("{first}{more}");
                let name = named(number);
                let alike = if *is_seen {
                    let (mut before, mut after) = (Head::default(), Head::default());
                    before.grow(first.as_bytes());
                    after.grow(whole.as_bytes());
                    heads.update(&name, &Head::default(), &before);
                    heads.update(&name, &before, &after);
                    whole.starts_with(&file) || file.starts_with(&whole)
                } else {
                    heads.add_unseen(&name, &beginning::of(whole.as_bytes()));
                    file.starts_with(&whole)
                };
                if alike && !whole.is_empty() && !file.is_empty() {
                    expected.push(name);
                }
            }
            let mut alike = heads.alike(Kind::Play, "/logs/07", file.as_bytes());
            alike.sort();
            prop_assert_eq!(alike, expected);
        }
    }

    #[test]
    fn of_many_logs_that_begin_alike_the_nearest_by_name_are_compared() {
        let (mut heads, mut head) = (Heads::default(), Head::default());
        head.grow(&[7; 500]);
        for number in 0..100 {
            heads.update(&named(number), &Head::default(), &head);
        }
        let alike = heads.alike(Kind::Play, "/logs/42.gz", &[7; 4096]);
        assert_eq!((alike.len(), &alike[0]), (ALIKE_MAX, &named(42)));
        assert_eq!(heads.alike(Kind::Impression, "/logs/42.gz", &[7; 4096]), []);
    }
}
