//! The operator that writes the files of `--sets`, in the table dataflow.
//!
//! A worker writes the members that a publication has changed itself. All members of a closed epoch
//! come together on one worker, which merges them, so that the file does not depend on who had
//! them. A publication is complete when its files are: the operator holds its capability until
//! then.

use super::protocol::Command;
use super::table::Part;
use super::{EngineError, Settings};
use crate::query::QueryInstance;
use crate::sets::catalogue::FileChanges;
use crate::sets::folder::Mended;
use crate::sets::writer::{Task, Writer};
use crate::sets::{Catalogue, FILES, Folder, SetFile, SetsError, Written};
use crate::showings::members::{Coverage, EpochMembers, Members};
use crate::stores::{Changeset, Progress, RowChange, StoreReader};
use crate::time::{Definition, Epoch, EpochRange, Publication};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

/// About the most showings in a message to another worker.
const MESSAGE_SHOWINGS: usize = 64 << 10;

/// The settings of the files of sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetsSettings {
    /// The folder, the same for all processes.
    pub folder: PathBuf,
    /// The store, as text.
    pub store: String,
}

/// Members on their way to the worker that writes them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Routed {
    from: usize,
    to: u64,
    members: EpochMembers,
    /// Whether they are the last of this epoch and coverage from this worker.
    is_last: bool,
}

/// Divides members into messages for the workers that write them.
pub(super) fn route(
    worker: usize,
    peers: usize,
    members: Vec<EpochMembers>,
) -> impl Iterator<Item = Routed> {
    members.into_iter().flat_map(move |EpochMembers { epoch, coverage, members }| {
        let to = match coverage {
            Coverage::Changed | Coverage::Worker => worker as u64,
            Coverage::Final => epoch.0.rem_euclid(peers as i64).cast_unsigned(),
        };
        // What stays on the worker is moved, not sent.
        let parts = match to == worker as u64 {
            true => Vec::from([members]),
            false => members.split(MESSAGE_SHOWINGS),
        };
        let last = parts.len() - 1;
        parts.into_iter().enumerate().map(move |(part, members)| {
            let members = EpochMembers { epoch, coverage, members };
            Routed { from: worker, to, members, is_last: part == last }
        })
    })
}

/// A file whose members are arriving.
#[derive(Default)]
struct Arriving {
    /// The members, by the worker they come from.
    members: BTreeMap<usize, Vec<Members>>,
    /// The number of workers whose last members have arrived.
    ended: usize,
}

/// A publication with files that are not complete.
struct Unfinished {
    capability: Capability<Publication>,
    arriving: BTreeMap<(Epoch, Coverage), Arriving>,
    /// The number of files that are being written.
    writing: usize,
    /// What takes the place of files of which all members were denied.
    empty: Vec<Written>,
}

/// Returns the file without members of an epoch, which is not written.
fn nothing(epoch: Epoch, coverage: Coverage, version: Publication) -> Written {
    let file = SetFile { epoch, version, part: 0, rows: 0, bytes: 0, digest: 0 };
    Written { file, coverage }
}

/// The first error of a worker's files.
pub(super) type SetsFailure = Rc<RefCell<Option<SetsError>>>;

/// The files of a worker.
struct SetsWriter {
    worker: usize,
    peers: usize,
    definition: Definition,
    generation: Rc<Cell<u64>>,
    writer: Writer,
    publications: BTreeMap<Publication, Unfinished>,
    failure: SetsFailure,
}

/// Writes the files of all publications on this worker, and returns them.
pub(super) fn write_sets<'scope>(
    members: Stream<'scope, Publication, Vec<Routed>>,
    settings: &SetsSettings,
    definition: Definition,
    generation: Rc<Cell<u64>>,
    failure: SetsFailure,
) -> Stream<'scope, Publication, Vec<Part>> {
    let folder = Folder::new(settings.folder.clone());
    let by_writer = Exchange::new(|routed: &Routed| routed.to);
    let timely_worker = members.scope().worker().clone();
    members.unary_frontier::<CapacityContainerBuilder<Vec<Part>>, _, _, _>(
        by_writer,
        "WriteSets",
        move |_, info| {
            let activator = timely_worker.sync_activator_for(info.address.to_vec());
            let writer = Writer::start(folder, move || {
                // It fails only if the worker has ended.
                let _ = activator.activate();
            });
            let (worker, peers) = (timely_worker.index(), timely_worker.peers());
            let publications = BTreeMap::new();
            let mut sets =
                SetsWriter { worker, peers, definition, generation, writer, publications, failure };
            move |(input, frontier), output| {
                input.for_each(|capability, routed| {
                    let Some(capability) = capability.retain_least(0) else { return };
                    sets.receive(capability, routed);
                });
                let is_complete = |publication: &Publication| !frontier.less_equal(publication);
                sets.submit(is_complete);
                for Unfinished { capability, empty, .. } in sets.publications.values_mut() {
                    let mut session = output.session(capability);
                    empty.drain(..).for_each(|nothing| session.give(Part::Set(nothing)));
                }
                while let Some(result) = sets.writer.take() {
                    match result {
                        Ok(written) => sets.finish(written, |capability, part| {
                            output.session(capability).give(part);
                        }),
                        // Nothing more is complete, so nothing more is committed.
                        Err(error) => drop(sets.failure.borrow_mut().get_or_insert(error)),
                    }
                }
                sets.forget(is_complete);
                if frontier.is_empty() {
                    // The job has ended, perhaps because a file could not be written.
                    sets.publications.clear();
                }
            }
        },
    )
}

impl SetsWriter {
    /// Receives members of a publication.
    fn receive(&mut self, capability: Capability<Publication>, routed: &mut Vec<Routed>) {
        let unfinished = self.publications.entry(*capability.time());
        let unfinished = unfinished.or_insert_with(|| Unfinished {
            capability,
            arriving: BTreeMap::new(),
            writing: 0,
            empty: Vec::new(),
        });
        for Routed { from, members, is_last, .. } in routed.drain(..) {
            let EpochMembers { epoch, coverage, members } = members;
            let arriving = unfinished.arriving.entry((epoch, coverage)).or_default();
            arriving.members.entry(from).or_default().push(members);
            arriving.ended += usize::from(is_last);
        }
    }

    /// Submits the files whose members have all arrived: those of a closed epoch come from all
    /// workers, while its publication goes on.
    fn submit(&mut self, is_complete: impl Fn(&Publication) -> bool) {
        for (publication, unfinished) in &mut self.publications {
            let has_all = |((_, coverage), arriving): &((Epoch, Coverage), Arriving)| match coverage
            {
                Coverage::Final => arriving.ended == self.peers,
                Coverage::Changed | Coverage::Worker => is_complete(publication),
            };
            let arriving = std::mem::take(&mut unfinished.arriving).into_iter();
            let (arrived, arriving): (BTreeMap<_, _>, _) = arriving.partition(has_all);
            unfinished.arriving = arriving;
            for ((epoch, coverage), Arriving { members, .. }) in arrived {
                let members: Vec<_> = members.into_values().collect();
                if members.iter().flatten().all(Members::is_empty) {
                    unfinished.empty.push(nothing(epoch, coverage, *publication));
                    continue;
                }
                unfinished.writing += 1;
                self.writer.submit(Task {
                    epoch,
                    epoch_start: self.definition.start_rfc3339(epoch),
                    version: *publication,
                    part: if coverage == Coverage::Final { 0 } else { self.worker as u64 },
                    coverage,
                    generation: self.generation.get(),
                    members,
                });
            }
        }
    }

    /// Passes a file on.
    fn finish(&mut self, written: Written, give: impl FnOnce(&Capability<Publication>, Part)) {
        let Some(unfinished) = self.publications.get_mut(&written.file.version) else { return };
        unfinished.writing -= 1;
        give(&unfinished.capability, Part::Set(written));
    }

    /// Releases the publications of which nothing is to be written.
    fn forget(&mut self, is_complete: impl Fn(&Publication) -> bool) {
        self.publications.retain(|publication, unfinished| {
            !is_complete(publication) || unfinished.writing > 0 || !unfinished.arriving.is_empty()
        });
    }
}

/// The leader's part: which files there are.
pub(super) struct Filing {
    /// The number of the query [`FILES`].
    query: usize,
    catalogue: Catalogue,
}

impl Filing {
    /// Takes over the folder of a job with sets, and mends it, so that it has the files that the
    /// store lists.
    ///
    /// # Errors
    /// When the store cannot be read, or the folder belongs to another store, lacks a file, or
    /// cannot be written.
    pub fn begin(
        settings: &Settings,
        progress: &Progress,
        store: &dyn StoreReader,
    ) -> Result<Option<Filing>, EngineError> {
        let Some(sets) = &settings.sets else { return Ok(None) };
        let is_files = |instance: &QueryInstance| instance.query.name == FILES.name;
        let query = settings.queries.iter().position(is_files);
        let query = query.expect("a job with sets has the query of their files");
        let folder = Folder::new(sets.folder.clone());
        folder.claim(&sets.store)?;
        let listed = store.history(&[query], EpochRange::ALL)?;
        let listed: BTreeSet<_> =
            listed.iter().map(|change| SetFile::of_row(&change.row)).collect();
        let (publication, final_through) = (progress.publication, progress.final_through);
        let mended = folder.mend(&listed, publication, final_through, progress.generation)?;
        let Mended { published, removed } = mended;
        if published + removed > 0 {
            tracing::info!(
                "sets: the job before did not end as it should; {published} files appear that \
                 it had committed, and {removed} are removed that it had not, or had replaced"
            );
        }
        let catalogue = Catalogue::new(listed, progress.final_through);
        Ok(Some(Filing { query, catalogue }))
    }

    /// Adds the files of a publication to its changes, and returns what it does to the folder.
    pub fn publish(&mut self, changes: &mut Changeset, written: Vec<Written>) -> FileChanges {
        let (publication, final_through) = (changes.publication, changes.final_through);
        let files = self.catalogue.publish(publication, written, final_through);
        let query = self.query;
        let row = |deleted| move |file: &SetFile| RowChange { query, row: file.row(), deleted };
        changes.rows.extend(files.added.iter().map(row(false)));
        changes.rows.extend(files.removed.iter().map(row(true)));
        files
    }

    /// Returns commands to gather what is in many files.
    pub fn due(&mut self) -> impl Iterator<Item = Command> {
        self.catalogue.due().into_iter().map(Command::Gather)
    }
}
