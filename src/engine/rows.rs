//! The rows that have changed on a worker but are not yet forwarded, by publication, and the
//! changes of the digests by rows and showings.

use super::Settings;
use crate::query::{Digest, Digests, EpochRows, KeyCells, Row, ValueCells, digest};
use crate::showings::{Change, Showings};
use crate::stores::RowChange;
use crate::time::{Epoch, Publication, Round};
use foldhash::fast::RandomState;
use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::ProbeHandle;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::probe::Probe;

/// The latest states of changed rows. Shared by all epoch dataflows of a worker.
#[derive(Clone)]
pub struct ChangedRows(Rc<RefCell<Publications>>);

/// The identity of a row: its query number, epoch and key.
type RowName = (usize, Epoch, KeyCells);

struct Publications {
    changed: BTreeMap<Publication, Changed>,
    /// The digest seed of each query.
    seeds: Vec<u64>,
    /// For each query, whether its rows are needed after a replay.
    replayed: Vec<bool>,
}

/// The rows that changed in a publication, and their changes of the digests.
#[derive(Default)]
struct Changed {
    rows: HashMap<RowName, Net, RandomState>,
    digests: Digests,
}

/// The net change of a row: how often each of its values was added and removed, in any order.
struct Net {
    values: (ValueCells, isize),
    others: Vec<(ValueCells, isize)>,
}

impl Net {
    fn add(&mut self, values: ValueCells, diff: isize) {
        let mut all = std::iter::once(&mut self.values).chain(&mut self.others);
        match all.find(|(same, sum)| *sum == 0 || *same == values) {
            Some(entry) if entry.0 == values => entry.1 += diff,
            Some(unused) => *unused = (values, diff),
            None => self.others.push((values, diff)),
        }
    }

    /// Returns the values that the row has now, or those that it had and whether it is gone, or
    /// nothing if it is as it was.
    fn result(self) -> Option<(ValueCells, bool)> {
        let changed = std::iter::once(self.values).chain(self.others).filter(|(_, sum)| *sum != 0);
        let (values, sum) = changed.max_by_key(|(_, sum)| *sum)?;
        assert!(sum.abs() == 1, "a row is there once, not {sum} times");
        Some((values, sum < 0))
    }
}

impl ChangedRows {
    /// Creates an empty collection.
    pub fn new(settings: &Settings) -> ChangedRows {
        ChangedRows(Rc::new(RefCell::new(Publications {
            changed: BTreeMap::new(),
            seeds: settings.queries.iter().map(|one| digest::seed(one.query.name)).collect(),
            replayed: (0..settings.queries.len())
                .map(|one| settings.needs_replayed_rows(one))
                .collect(),
        })))
    }

    /// Collects the changed rows of a query from the dataflow of an epoch, and attaches the probe
    /// behind the collecting operator.
    pub fn collect(
        &self,
        rows: EpochRows<'_>,
        query: usize,
        epoch: Epoch,
        probe: &ProbeHandle<Round>,
    ) {
        let publications = Rc::clone(&self.0);
        let collected = rows.inner.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(
            Pipeline,
            "Collect",
            move |_, _| {
                move |input, _output| {
                    input.for_each(|_capability, chunk| {
                        let publications = &mut *publications.borrow_mut();
                        for (row, round, diff) in chunk.drain(..) {
                            assert_eq!(row.epoch, epoch, "a row has the epoch of its dataflow");
                            publications.add(query, row, round, diff);
                        }
                    });
                }
            },
        );
        collected.probe_with(probe);
    }

    /// Adds the showings of an epoch to its digest, and attaches the probe behind that.
    pub fn digest(&self, showings: &Showings<'_>, probe: &ProbeHandle<Round>) {
        let (publications, epoch) = (Rc::clone(&self.0), showings.epoch());
        let visited = showings.changes().visit(move |round, changes| {
            let change = digest_of(epoch, changes);
            let publications = &mut *publications.borrow_mut();
            let changed = publications.changed.entry(round.publication()).or_default();
            let digest = changed.digests.entry(epoch).or_default();
            *digest = digest.merge(change);
        });
        visited.probe_with(probe);
    }

    /// The number of rows that have changed since the replay but are not forwarded.
    pub fn pending(&self) -> usize {
        let publications = self.0.borrow();
        let live = publications.changed.range(Publication::REPLAY.next()..);
        live.map(|(_, changed)| changed.rows.len()).sum()
    }

    /// Takes the rows that changed in a publication, which must be complete, and their changes of
    /// the digests.
    pub fn take(
        &self,
        publication: Publication,
    ) -> (impl Iterator<Item = RowChange> + use<>, Digests) {
        let changed = self.0.borrow_mut().changed.remove(&publication).unwrap_or_default();
        let rows = changed.rows.into_iter().filter_map(|((query, epoch, key), net)| {
            let (values, deleted) = net.result()?;
            Some(RowChange { query, row: Row { epoch, key, values }, deleted })
        });
        (rows, changed.digests)
    }
}

/// Returns the change of an epoch's digest by changes of its showings, those of a request together.
fn digest_of(epoch: Epoch, changes: &[Change]) -> Digest {
    changes.chunk_by(|one, next| one.request == next.request).fold(
        Digest::default(),
        |digest, of_request| {
            let seed = digest::seed_of_request(epoch, of_request[0].request);
            of_request.iter().fold(digest, |digest, change| {
                let of = |touch| Digest::of_showing(seed, change.video, touch);
                digest.merge(of(change.after)).remove(of(change.before))
            })
        },
    )
}

impl Publications {
    fn add(&mut self, query: usize, row: Row, round: Round, diff: isize) {
        assert!(diff.abs() == 1, "a row is added or removed once a round, not {diff} times");
        let publication = round.publication();
        let changed = self.changed.entry(publication).or_default();
        let digest = Digest::of(self.seeds[query], &row);
        changed.digests.entry(row.epoch).or_default().apply(digest, diff);
        // The store already has the rows that a replay rebuilds.
        if publication == Publication::REPLAY && !self.replayed[query] {
            return;
        }
        match changed.rows.entry((query, row.epoch, row.key)) {
            Entry::Vacant(entry) => {
                entry.insert(Net { values: (row.values, diff), others: Vec::new() });
            }
            Entry::Occupied(mut entry) => entry.get_mut().add(row.values, diff),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_net_change_of_a_row_does_not_depend_on_order() {
        let cases: [(&[_], _); 7] = [
            (&[(1, 1)], Some((1, false))),
            (&[(1, -1)], Some((1, true))),
            (&[(1, -1), (2, 1)], Some((2, false))),
            (&[(1, -1), (2, 1), (2, -1), (3, 1)], Some((3, false))),
            (&[(1, 1), (1, -1), (2, 1), (2, -1), (3, 1)], Some((3, false))),
            (&[(1, 1), (1, -1)], None),
            (&[(1, -1), (2, 1), (2, -1), (1, 1)], None),
        ];
        for (changes, expected) in cases {
            for turned in 0..changes.len() {
                let mut changes = changes.to_vec();
                changes.rotate_left(turned);
                let values = |value: u64| ValueCells::from_slice(&[value]);
                let mut changes = changes.iter().map(|(value, diff)| (values(*value), *diff));
                let mut net = Net { values: changes.next().unwrap(), others: Vec::new() };
                changes.for_each(|(values, diff)| net.add(values, diff));
                let expected = expected.map(|(value, deleted)| (values(value), deleted));
                assert_eq!(net.result(), expected);
            }
        }
    }
}
