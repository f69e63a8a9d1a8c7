//! The queries across epochs in the table dataflow: their input rows, and the changes of their
//! output rows.
//!
//! The input rows of open epochs come from the epoch dataflows. The rows of a history of final
//! epochs are read from the store when the job starts. As event time passes, the oldest epochs of
//! the history are retracted, so that memory holds only the open epochs and the history that the
//! queries declare.
//!
//! A row of a final epoch never changes. An epoch is retracted only when every epoch whose rows
//! depend on it is final, so the changes that a retraction causes in dependent rows are ignored.

use super::Settings;
use super::table::{Input, Part};
use crate::query::tables::Finality;
use crate::query::{
    Build, Digest, Digests, KeyCells, QueryInstance, Row, Tables, ValueCells, digest,
};
use crate::stores::RowChange;
use crate::time::{Epoch, EpochRange, Publication, Through};
use differential_dataflow::AsCollection;
use differential_dataflow::hashable::Hashable;
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::Filter;
use timely::dataflow::operators::{Capability, Concat};
use timely::dataflow::{Scope, Stream};

type Rows<'scope> = Stream<'scope, Publication, Vec<RowChange>>;
/// For whom an update of a row is: the position of a reader, and the number of the row's query.
type For = (usize, usize);
/// Updates of rows.
type Updates<'scope> = Stream<'scope, Publication, Vec<((For, Row), Publication, isize)>>;
type Parts<'scope> = Stream<'scope, Publication, Vec<Part>>;

/// A query across epochs, as a reader of rows.
struct RowReader {
    /// The numbers of the queries whose rows it reads.
    reads: Vec<usize>,
    /// The number of epochs before its own that its rows depend on.
    history_epochs: i64,
    /// Its rows of these epochs have been retracted.
    retracted: Through,
}

/// A worker's access to the queries across epochs.
pub struct AcrossEpochs {
    history_in: Input<RowChange>,
    /// Which epochs are final.
    final_in: Input<Epoch>,
    /// The numbers of the queries that queries across epochs read.
    read: Vec<usize>,
    /// The number of epochs held before the first open one.
    history_epochs: i64,
    finality: Finality,
}

impl AcrossEpochs {
    /// Builds the queries across epochs, if there are any, from the changed rows of all queries.
    /// Returns their parts of publications.
    pub(super) fn build<'scope>(
        settings: &Settings,
        scope: Scope<'scope, Publication>,
        rows: Rows<'scope>,
    ) -> Option<(AcrossEpochs, Parts<'scope>)> {
        settings.across_epochs().next()?;
        let read: Vec<usize> = (0..settings.queries.len())
            .filter(|number| settings.is_read_across_epochs(*number))
            .collect();
        let (mut history_in, mut final_in) = (Input::new(), Input::new());
        let is_read = read.clone();
        let rows = rows.filter(move |change| is_read.contains(&change.query));
        let rows = rows.concat(history_in.to_stream(scope));
        let readers = readers(settings);
        let reads: Vec<Vec<usize>> = readers.iter().map(|reader| reader.reads.clone()).collect();
        let updates = materialize(rows, final_in.to_stream(scope), readers);
        let finality = Finality::default();
        let mut parts: Option<Parts<'scope>> = None;
        for ((number, instance), (reader, reads)) in
            settings.across_epochs().zip(reads.iter().enumerate())
        {
            let Build::Tables(build) = instance.query.build else { continue };
            let named = reads.iter().map(|read| {
                let rows = rows_of(updates.clone(), (reader, *read)).as_collection();
                (settings.queries[*read].query.name, rows)
            });
            let tables = Tables::new(named.collect(), finality.clone());
            let seed = digest::seed(instance.query.name);
            let rows = build(&tables, &instance.parameters).inner;
            let more = row_changes(rows, number, seed, finality.clone());
            parts = Some(match parts {
                Some(parts) => parts.concat(more),
                None => more,
            });
        }
        let history_epochs = settings.history_epochs();
        let across = AcrossEpochs { history_in, final_in, read, history_epochs, finality };
        parts.map(|parts| (across, parts))
    }

    /// Returns the numbers of the queries whose history must be read from the store, and the epochs
    /// of the history, if any.
    pub fn required_history(&self, final_through: Through) -> Option<(&[usize], EpochRange)> {
        let last = final_through.last()?;
        let range = EpochRange { first: last.plus(1 - self.history_epochs), last };
        (!range.is_empty()).then_some((&self.read, range))
    }

    /// Adds the history, before the first publication is forwarded.
    pub fn add_history(&mut self, rows: Vec<RowChange>) {
        assert_eq!(*self.history_in.time(), Publication::REPLAY, "history is added in the replay");
        rows.into_iter().for_each(|row| self.history_in.send(row));
    }

    /// Notes that these epochs are final in the store, so that history no longer needed is
    /// retracted.
    pub fn finalize(&mut self, through: Through) {
        self.finality.set(through);
        through.last().into_iter().for_each(|last| self.final_in.send(last));
    }

    /// Advances the inputs to a publication.
    pub fn advance_to(&mut self, publication: Publication) {
        self.history_in.advance_to(publication);
        self.final_in.advance_to(publication);
    }
}

/// Returns the queries across epochs as readers.
fn readers(settings: &Settings) -> Vec<RowReader> {
    let number = |name: &str| settings.queries.iter().position(|query| query.query.name == name);
    let reader = |(_, instance): (usize, &QueryInstance)| RowReader {
        reads: instance.query.reads.iter().filter_map(|read| number(read.name)).collect(),
        history_epochs: instance.history_epochs(),
        retracted: Through::Nothing,
    };
    settings.across_epochs().map(reader).collect()
}

/// Returns the updates of the rows of one query for one reader.
fn rows_of(
    updates: Updates<'_>,
    wanted: For,
) -> Stream<'_, Publication, Vec<(Row, Publication, isize)>> {
    updates.unary::<CapacityContainerBuilder<Vec<_>>, _, _, _>(Pipeline, "RowsOf", move |_, _| {
        move |input, output| {
            input.for_each(|capability, chunk| {
                let mut session = output.session(&capability);
                for ((given, row), publication, diff) in chunk.drain(..) {
                    if given == wanted {
                        session.give((row, publication, diff));
                    }
                }
            });
        }
    })
}

/// The rows in memory, by epoch, query and key.
type HeldRows = BTreeMap<Epoch, HashMap<(usize, KeyCells), ValueCells, RandomState>>;

/// Turns changes of rows, where the latest wins, into updates of a collection for each reader. As
/// epochs become final, rows that a reader no longer needs are retracted from its collection.
///
/// All changes of a row of one epoch come from the one worker that collects it, in order, and the
/// channels keep that order: so the last one to arrive is the latest.
fn materialize<'scope>(
    rows: Rows<'scope>,
    final_epochs: Stream<'scope, Publication, Vec<Epoch>>,
    mut readers: Vec<RowReader>,
) -> Updates<'scope> {
    let by_name = |change: &RowChange| (change.query, change.row.key.as_slice()).hashed();
    let mut held = HeldRows::new();
    rows.binary::<_, CapacityContainerBuilder<Vec<_>>, _, _, _, _>(
        final_epochs,
        Exchange::new(by_name),
        Pipeline,
        "HoldRows",
        move |_, _| {
            move |rows, final_epochs, output| {
                rows.for_each(|capability, chunk| {
                    let Some(publication) = capability.least().copied() else { return };
                    let mut session = output.session(&capability);
                    for change in chunk.drain(..) {
                        apply(&mut held, change, &readers, |given, row, diff| {
                            session.give(((given, row), publication, diff));
                        });
                    }
                });
                final_epochs.for_each(|capability, chunk| {
                    let Some(publication) = capability.least().copied() else { return };
                    let mut session = output.session(&capability);
                    for last in chunk.drain(..) {
                        retract(&mut held, last, &mut readers, |given, row, diff| {
                            session.give(((given, row), publication, diff));
                        });
                    }
                });
            }
        },
    )
}

/// Applies the change of a row. Gives the resulting updates to the readers that need the row.
fn apply(
    held: &mut HeldRows,
    change: RowChange,
    readers: &[RowReader],
    mut give: impl FnMut(For, Row, isize),
) {
    let RowChange { query, row, deleted } = change;
    let rows = held.entry(row.epoch).or_default();
    let name = (query, row.key.clone());
    let before = match deleted {
        true => rows.remove(&name),
        false => rows.insert(name, row.values.clone()),
    };
    let before = before.map(|values| Row { values, ..row.clone() });
    let after = (!deleted).then_some(row);
    if before == after {
        return;
    }
    for (row, diff) in [(before, -1), (after, 1)] {
        let Some(row) = row else { continue };
        let needs = |reader: &RowReader| {
            reader.reads.contains(&query) && !reader.retracted.contains(row.epoch)
        };
        for (position, _) in readers.iter().enumerate().filter(|(_, reader)| needs(reader)) {
            give((position, query), row.clone(), diff);
        }
    }
}

/// Retracts from each reader the rows that it no longer needs, and drops those that none needs,
/// when this epoch and all before it are final.
fn retract(
    held: &mut HeldRows,
    last: Epoch,
    readers: &mut [RowReader],
    mut give: impl FnMut(For, Row, isize),
) {
    for (position, reader) in readers.iter_mut().enumerate() {
        let before = std::mem::replace(
            &mut reader.retracted,
            Through::Epoch(last.plus(-reader.history_epochs)),
        );
        let no_longer = |epoch: Epoch| reader.retracted.contains(epoch) && !before.contains(epoch);
        let epochs = held.iter().take_while(|(epoch, _)| reader.retracted.contains(**epoch));
        for (epoch, rows) in epochs.filter(|(epoch, _)| no_longer(**epoch)) {
            for ((query, key), values) in rows {
                if reader.reads.contains(query) {
                    let row = Row { epoch: *epoch, key: key.clone(), values: values.clone() };
                    give((position, *query), row, -1);
                }
            }
        }
    }
    let is_unread = |epoch: &Epoch| readers.iter().all(|reader| reader.retracted.contains(*epoch));
    let first = held.keys().copied().find(|epoch| !is_unread(epoch));
    *held = first.map_or_else(HeldRows::new, |first| held.split_off(&first));
}

/// The updates of a query's rows in one publication.
struct Pending {
    /// The capability to emit the changes.
    capability: Capability<Publication>,
    updates: HashMap<Row, isize, RandomState>,
}

/// Turns the updates of a query's rows into changes of rows, once a publication is complete.
fn row_changes<'scope>(
    rows: Stream<'scope, Publication, Vec<(Row, Publication, isize)>>,
    query: usize,
    seed: u64,
    finality: Finality,
) -> Parts<'scope> {
    let mut pending: BTreeMap<Publication, Pending> = BTreeMap::new();
    // A row's updates meet on one worker, wherever the query computed them.
    let by_row = |update: &(Row, Publication, isize)| (update.0.epoch.0, &*update.0.key).hashed();
    rows.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        Exchange::new(by_row),
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
                    let parts =
                        to_parts(updates, query, seed, publication, finality.final_through());
                    output.session(&capability).give_iterator(parts.into_iter());
                }
            }
        },
    )
}

/// Returns the changes that result from the updates of a query's rows, except in final epochs. In
/// the replay, returns only the digests, as the store already has the rows.
fn to_parts(
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
        assert!(diff.abs() == 1, "a row is added or removed once a publication, not {diff} times");
        let digest = Digest::of(seed, &row);
        digests.entry(row.epoch).or_default().apply(digest, diff);
        if diff > 0 { here.push(row) } else { gone.push(row) }
    }
    let digests = digests.into_iter().map(|(epoch, moved)| Part::Digest(epoch, moved));
    if publication == Publication::REPLAY {
        return digests.collect();
    }
    let replaced: HashSet<_> = here.iter().map(|row| (row.epoch, row.key.clone())).collect();
    assert_eq!(replaced.len(), here.len(), "at most one row per epoch and key");
    let gone = gone.into_iter().filter(|row| !replaced.contains(&(row.epoch, row.key.clone())));
    let gone: Vec<_> = gone.map(|row| RowChange { query, row, deleted: true }).collect();
    let here = here.into_iter().map(|row| RowChange { query, row, deleted: false });
    digests.chain(here.chain(gone).map(Part::Row)).collect()
}
