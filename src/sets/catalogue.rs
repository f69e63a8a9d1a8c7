//! The leader's list of the files of open epochs, and when they are replaced.
//!
//! A state machine without input, output or clock.

use super::{SetFile, Written};
use crate::showings::members::Coverage;
use crate::time::{Epoch, Publication, Through};
use std::collections::{BTreeMap, BTreeSet};

/// An epoch with at least so many small files is gathered into few, if that is worth it.
const FILES_WORTH: usize = 64;
/// An epoch with at least so many small files is gathered in any case, for each file with all
/// members of a worker.
const FILES_MAX: usize = 512;

/// The files of the epochs that are not final.
#[derive(Debug, Default)]
pub struct Catalogue {
    epochs: BTreeMap<Epoch, EpochFiles>,
}

#[derive(Debug, Default)]
struct EpochFiles {
    files: BTreeSet<SetFile>,
    /// The number of files that have all members of a worker, and of their rows.
    gathered: (usize, u64),
    /// Whether it was asked to gather them, and they have not come.
    is_asked: bool,
}

/// What a publication does to the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileChanges {
    /// The files that appear.
    pub added: Vec<SetFile>,
    /// The files that are replaced.
    pub removed: Vec<SetFile>,
}

impl Catalogue {
    /// Creates the list from the files in a store.
    pub fn new(files: impl IntoIterator<Item = SetFile>, final_through: Through) -> Catalogue {
        let mut catalogue = Catalogue::default();
        for file in files {
            if !final_through.contains(file.epoch) {
                catalogue.epochs.entry(file.epoch).or_default().files.insert(file);
            }
        }
        catalogue
    }

    /// Adds the files of a publication, and returns what changes. All workers gather an epoch in
    /// the same publication, so files with all members of a worker replace those before it.
    pub fn publish(
        &mut self,
        publication: Publication,
        written: Vec<Written>,
        final_through: Through,
    ) -> FileChanges {
        let mut changes = FileChanges::default();
        for Written { file, coverage } in written {
            let epoch = self.epochs.entry(file.epoch).or_default();
            if coverage != Coverage::Changed {
                let files = std::mem::take(&mut epoch.files).into_iter();
                let (before, now): (BTreeSet<_>, _) =
                    files.partition(|one| one.version < publication);
                changes.removed.extend(before);
                epoch.files = now;
                let (files, rows) = if epoch.is_asked { (0, 0) } else { epoch.gathered };
                epoch.gathered = (files + usize::from(file.rows > 0), rows + file.rows);
                epoch.is_asked = false;
            }
            if file.rows > 0 {
                epoch.files.insert(file.clone());
                changes.added.push(file);
            }
        }
        changes.added.sort();
        changes.removed.sort();
        self.epochs.retain(|epoch, _| !final_through.contains(*epoch));
        changes
    }

    /// Returns the epochs whose files are to be gathered, each once until that is done.
    pub fn due(&mut self) -> Vec<Epoch> {
        let mut due = Vec::new();
        for (epoch, files) in &mut self.epochs {
            if !files.is_asked && files.are_worth_gathering() {
                files.is_asked = true;
                due.push(*epoch);
            }
        }
        due
    }
}

impl EpochFiles {
    /// Whether the small ones are many, and have at least a quarter of the rows.
    fn are_worth_gathering(&self) -> bool {
        let (gathered_files, gathered_rows) = self.gathered;
        let rows: u64 = self.files.iter().map(|file| file.rows).sum();
        let is_worth = 4 * rows.saturating_sub(gathered_rows) >= rows;
        let small = self.files.len().saturating_sub(gathered_files);
        small >= FILES_MAX * gathered_files.max(1) || small >= FILES_WORTH && is_worth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(epoch: i64, version: u64, part: u64, rows: u64, coverage: Coverage) -> Written {
        let version = Publication(version);
        let file = SetFile { epoch: Epoch(epoch), version, part, rows, bytes: 1, digest: 0 };
        Written { file, coverage }
    }

    fn versions(files: &[SetFile]) -> Vec<(u64, u64)> {
        files.iter().map(|file| (file.version.0, file.part)).collect()
    }

    #[test]
    fn files_with_all_members_replace_those_before() {
        let mut catalogue = Catalogue::default();
        for version in 1..=3 {
            let files = [0, 1].map(|part| written(7, version, part, 10, Coverage::Changed));
            let changes = catalogue.publish(Publication(version), files.into(), Through::Nothing);
            assert_eq!(versions(&changes.added), [(version, 0), (version, 1)]);
            assert_eq!(changes.removed, []);
        }
        let gathered = [0, 1].map(|part| written(7, 4, part, 30, Coverage::Worker));
        let changes = catalogue.publish(Publication(4), gathered.into(), Through::Nothing);
        assert_eq!(versions(&changes.added), [(4, 0), (4, 1)]);
        assert_eq!(versions(&changes.removed), [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]);
        let last = vec![written(7, 5, 0, 60, Coverage::Final)];
        let changes = catalogue.publish(Publication(5), last, Through::Epoch(Epoch(7)));
        assert_eq!(versions(&changes.removed), [(4, 0), (4, 1)]);
        assert!(catalogue.epochs.is_empty());
    }

    #[test]
    fn files_are_gathered_when_they_are_many_and_it_is_worth_it() {
        let mut catalogue = Catalogue::default();
        let mut asked = Vec::new();
        for version in 1..2_000 {
            let coverage = match asked.last() {
                Some(asked) if asked + 1 == version => Coverage::Worker,
                _ => Coverage::Changed,
            };
            let rows = if coverage == Coverage::Worker { 100 * version } else { 100 };
            let files = vec![written(7, version, 0, rows, coverage)];
            catalogue.publish(Publication(version), files, Through::Nothing);
            if catalogue.due() == [Epoch(7)] {
                asked.push(version);
                // It is asked once.
                assert_eq!(catalogue.due(), []);
            }
        }
        // The first 64; then a third more than there are, besides the gathered one; never more
        // than 512.
        assert_eq!(asked[..3], [64, 129, 194]);
        let gaps: Vec<u64> = asked.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(gaps.is_sorted() && gaps.iter().all(|gap| (64..=513).contains(gap)), "{gaps:?}");
    }

    #[test]
    fn nothing_replaces_the_files_of_an_epoch_whose_requests_are_all_denied() {
        for (coverage, through) in
            [(Coverage::Worker, Through::Nothing), (Coverage::Final, Through::Epoch(Epoch(7)))]
        {
            let mut catalogue = Catalogue::default();
            let files = vec![written(7, 1, 0, 10, Coverage::Changed)];
            catalogue.publish(Publication(1), files, Through::Nothing);
            let nothing = vec![written(7, 2, 0, 0, coverage)];
            let changes = catalogue.publish(Publication(2), nothing, through);
            assert_eq!(
                (versions(&changes.added), versions(&changes.removed)),
                (vec![], vec![(1, 0)])
            );
        }
    }

    #[test]
    fn a_restart_knows_the_files_of_open_epochs() {
        let files = (1..=FILES_WORTH as u64).flat_map(|version| {
            [6, 7].map(|epoch| written(epoch, version, 0, 1, Coverage::Changed).file)
        });
        let mut catalogue = Catalogue::new(files, Through::Epoch(Epoch(6)));
        assert_eq!(catalogue.due(), [Epoch(7)]);
    }
}
