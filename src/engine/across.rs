//! The queries across epochs, within the table dataflow: the rows that they read, and the changes
//! of the rows that they give.
//!
//! The rows of the open epochs come from the dataflows of the epochs, those of a history of final
//! epochs from the store when the job starts. As event time passes, the history is retracted from
//! its beginning, so that memory holds the open epochs and what the queries declare.
//!
//! A row of a final epoch never changes. Whatever a retraction does to rows that depend on what is
//! gone is ignored: an epoch is retracted only when every epoch whose rows depend on it is final.

use super::Settings;
use super::table::{Input, Part};
use crate::query::{Build, Digest, Digests, KeyCells, Row, Tables, ValueCells, digest};
use crate::stores::RowChange;
use crate::time::{Epoch, EpochRange, Publication, Through};
use differential_dataflow::AsCollection;
use differential_dataflow::hashable::Hashable;
use foldhash::fast::RandomState;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Filter;
use timely::dataflow::operators::{Capability, Concat};
use timely::dataflow::{Scope, Stream};

type Rows<'scope> = Stream<'scope, Publication, Vec<RowChange>>;
/// Updates of the rows of queries, by the number of the query.
type Updates<'scope> = Stream<'scope, Publication, Vec<((usize, Row), Publication, isize)>>;
type Parts<'scope> = Stream<'scope, Publication, Vec<Part>>;

/// A worker's access to the queries across epochs.
pub struct AcrossEpochs {
    history_in: Input<RowChange>,
    retractions_in: Input<Through>,
    /// The numbers of the queries that are read.
    read: Vec<usize>,
    /// How many epochs before the first open one are held.
    history_epochs: i64,
    /// These epochs are final in the store: what still happens to their rows is ignored.
    final_through: Rc<Cell<Through>>,
}

impl AcrossEpochs {
    /// Builds the queries across epochs on the changed rows of all queries, if there are any.
    /// Returns the parts that they add to publications.
    pub(super) fn build<'scope>(
        settings: &Settings,
        scope: Scope<'scope, Publication>,
        rows: Rows<'scope>,
    ) -> Option<(AcrossEpochs, Parts<'scope>)> {
        settings.across_epochs().next()?;
        let read: Vec<usize> =
            (0..settings.queries.len()).filter(|number| settings.is_read(*number)).collect();
        let (mut history_in, mut retractions_in) = (Input::new(), Input::new());
        let is_read = read.clone();
        let rows = rows.filter(move |change| is_read.contains(&change.query));
        let rows = rows.concat(history_in.to_stream(scope));
        let updates = hold(rows, retractions_in.to_stream(scope));
        let named = read.iter().map(|number| {
            let rows = rows_of(updates.clone(), *number).as_collection();
            (settings.queries[*number].query.name, rows)
        });
        let tables = Tables::new(named.collect());
        let final_through = Rc::new(Cell::new(Through::Nothing));
        let mut parts: Option<Parts<'scope>> = None;
        for (number, instance) in settings.across_epochs() {
            let Build::Tables(build) = instance.query.build else { continue };
            let seed = digest::seed(instance.query.name);
            let rows = build(&tables, &instance.parameters).inner;
            let more = changes(rows, number, seed, Rc::clone(&final_through));
            parts = Some(match parts {
                Some(parts) => parts.concat(more),
                None => more,
            });
        }
        let history_epochs = settings.history_epochs();
        let across =
            AcrossEpochs { history_in, retractions_in, read, history_epochs, final_through };
        parts.map(|parts| (across, parts))
    }

    /// The numbers of the queries whose history is to be read from the store, and its epochs, if
    /// there are any.
    pub fn history_wanted(&self, final_through: Through) -> Option<(&[usize], EpochRange)> {
        let last = final_through.last()?;
        let range = EpochRange { first: last.plus(1 - self.history_epochs), last };
        (!range.is_empty()).then_some((&self.read, range))
    }

    /// Takes the history in, before the first publication is forwarded.
    pub fn add_history(&mut self, rows: Vec<RowChange>) {
        assert_eq!(*self.history_in.time(), Publication::REPLAY, "history comes first");
        rows.into_iter().for_each(|row| self.history_in.send(row));
    }

    /// The store holds all these epochs as final.
    pub fn finalize(&mut self, through: Through) {
        self.final_through.set(through);
        if let Some(last) = through.last() {
            self.retractions_in.send(Through::Epoch(last.plus(-self.history_epochs)));
        }
    }

    /// Enters a publication.
    pub fn advance_to(&mut self, publication: Publication) {
        self.history_in.advance_to(publication);
        self.retractions_in.advance_to(publication);
    }
}

/// The rows of one query.
fn rows_of(
    updates: Updates<'_>,
    query: usize,
) -> Stream<'_, Publication, Vec<(Row, Publication, isize)>> {
    updates.unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(Pipeline, "RowsOf", move |_, _| {
        move |input, output| {
            input.for_each(|capability, chunk| {
                let mut session = output.session(&capability);
                for ((number, row), publication, diff) in chunk.drain(..) {
                    if number == query {
                        session.give((row, publication, diff));
                    }
                }
            });
        }
    })
}

/// Rows that are held, by epoch, query and key.
type Held = BTreeMap<Epoch, HashMap<(usize, KeyCells), ValueCells, RandomState>>;

/// Turns changes of rows, of which the latest counts, into updates of collections, until their
/// epochs are retracted.
fn hold<'scope>(
    rows: Rows<'scope>,
    retractions: Stream<'scope, Publication, Vec<Through>>,
) -> Updates<'scope> {
    let by_name = |change: &RowChange| (change.query, change.row.key.as_slice()).hashed();
    let mut held = Held::new();
    rows.binary::<_, CapacityContainerBuilder<Vec<_>>, _, _, _, _>(
        retractions,
        Exchange::new(by_name),
        Pipeline,
        "HoldRows",
        move |_, _| {
            move |rows, retractions, output| {
                rows.for_each(|capability, chunk| {
                    let Some(publication) = capability.least().copied() else { return };
                    let mut session = output.session(&capability);
                    for change in chunk.drain(..) {
                        for (row, diff) in follow(&mut held, change) {
                            session.give((row, publication, diff));
                        }
                    }
                });
                retractions.for_each(|capability, chunk| {
                    let Some(publication) = capability.least().copied() else { return };
                    let mut session = output.session(&capability);
                    for through in chunk.drain(..) {
                        for (row, diff) in retract(&mut held, through) {
                            session.give((row, publication, diff));
                        }
                    }
                });
            }
        },
    )
}

/// Follows the change of a row. Returns the updates that it makes.
fn follow(held: &mut Held, change: RowChange) -> impl Iterator<Item = ((usize, Row), isize)> {
    let RowChange { query, row, deleted } = change;
    let rows = held.entry(row.epoch).or_default();
    let name = (query, row.key.clone());
    let before = match deleted {
        true => rows.remove(&name),
        false => rows.insert(name, row.values.clone()),
    };
    let before = before.map(|values| Row { values, ..row.clone() });
    let after = (!deleted).then_some(row);
    let (before, after) = if before == after { (None, None) } else { (before, after) };
    let updates = [before.map(|row| (row, -1)), after.map(|row| (row, 1))];
    updates.into_iter().flatten().map(move |(row, diff)| ((query, row), diff))
}

/// Forgets the rows of epochs. Returns the updates that this makes.
fn retract(held: &mut Held, through: Through) -> impl Iterator<Item = ((usize, Row), isize)> {
    let kept = through.last().map(|last| held.split_off(&last.plus(1)));
    let gone = kept.map(|kept| std::mem::replace(held, kept)).unwrap_or_default();
    gone.into_iter().flat_map(|(epoch, rows)| {
        rows.into_iter()
            .map(move |((query, key), values)| ((query, Row { epoch, key, values }), -1))
    })
}

/// The updates of a query's rows in one publication.
struct Pending {
    /// Allows to emit what they come to.
    capability: Capability<Publication>,
    updates: HashMap<Row, isize, RandomState>,
}

/// Turns the updates of a query's rows into changes of rows, once a publication is complete.
fn changes<'scope>(
    rows: Stream<'scope, Publication, Vec<(Row, Publication, isize)>>,
    query: usize,
    seed: u64,
    final_through: Rc<Cell<Through>>,
) -> Parts<'scope> {
    let mut pending: BTreeMap<Publication, Pending> = BTreeMap::new();
    rows.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        Pipeline,
        "CollectAcross",
        move |_, _| {
            move |(input, frontier), output| {
                input.for_each(|capability, chunk| {
                    for (row, publication, diff) in chunk.drain(..) {
                        let pending = pending.entry(publication).or_insert_with(|| Pending {
                            capability: capability.delayed(&publication, 0),
                            updates: HashMap::default(),
                        });
                        *pending.updates.entry(row).or_default() += diff;
                    }
                });
                while let Some(entry) = pending.first_entry()
                    && !frontier.less_equal(entry.key())
                {
                    let (publication, Pending { capability, updates }) = entry.remove_entry();
                    let parts = parts(updates, query, seed, publication, final_through.get());
                    output.session(&capability).give_iterator(parts.into_iter());
                }
            }
        },
    )
}

/// The changes that the updates of a query's rows come to, but for those of final epochs. What a
/// replay rebuilds is in the store: only its digests count.
fn parts(
    updates: HashMap<Row, isize, RandomState>,
    query: usize,
    seed: u64,
    publication: Publication,
    final_through: Through,
) -> Vec<Part> {
    let updates =
        updates.into_iter().filter(|(row, diff)| *diff != 0 && !final_through.contains(row.epoch));
    let (mut digests, mut gone, mut here) = (Digests::new(), Vec::new(), Vec::new());
    for (row, diff) in updates {
        assert!(diff.abs() == 1, "a row comes or goes once a publication, not {diff} times");
        let digest = Digest::of(seed, &row);
        digests.entry(row.epoch).or_default().follow(digest, diff);
        if diff > 0 { here.push(row) } else { gone.push(row) }
    }
    let digests = digests.into_iter().map(|(epoch, moved)| Part::Digest(epoch, moved));
    if publication == Publication::REPLAY {
        return digests.collect();
    }
    let replaced: HashSet<_> = here.iter().map(|row| (row.epoch, row.key.clone())).collect();
    assert_eq!(replaced.len(), here.len(), "at most one row has a name");
    let gone = gone.into_iter().filter(|row| !replaced.contains(&(row.epoch, row.key.clone())));
    let gone: Vec<_> = gone.map(|row| RowChange { query, row, deleted: true }).collect();
    let here = here.into_iter().map(|row| RowChange { query, row, deleted: false });
    digests.chain(here.chain(gone).map(Part::Row)).collect()
}
