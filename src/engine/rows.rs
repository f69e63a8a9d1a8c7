//! The rows that have changed on a worker but are not yet forwarded, by publication, and the
//! changes of the digests by rows and showings.

use super::Settings;
use crate::query::{Digest, Digests, EpochRows, KeyCells, Row, ValueCells, digest};
use crate::showings::{Change, Showings};
use crate::stores::RowChange;
use crate::time::{Epoch, Publication, Round};
use foldhash::fast::RandomState;
use std::cell::RefCell;
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
    rows: HashMap<RowName, Latest, RandomState>,
    digests: Digests,
}

/// The last change of a row.
struct Latest {
    round: Round,
    /// Whether the row exists after the change. Within a round, the old row is removed and the new
    /// one added in any order, so an addition overrides a removal in the same round.
    exists: bool,
    values: ValueCells,
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
        let rows = changed.rows.into_iter().map(|((query, epoch, key), latest)| RowChange {
            query,
            row: Row { epoch, key, values: latest.values },
            deleted: !latest.exists,
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
        let exists = diff > 0;
        let latest = Latest { round, exists, values: row.values };
        match changed.rows.entry((query, row.epoch, row.key)) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(latest);
            }
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                let before = entry.get();
                if (round, exists) > (before.round, before.exists) {
                    entry.insert(latest);
                }
            }
        }
    }
}
