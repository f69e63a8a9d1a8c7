//! What worker 0 finds in the source of a job: partitions that are new, in another file or gone,
//! and what is left out.

use crate::event::Kind;
use crate::log::{Loss, LossCause, PartitionName, PartitionProgress};
use crate::sources::files::some_of;
use crate::sources::{Discovered, Moved, Source, SourceError};
use crate::stores::Progress;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The interval between discoveries of partitions while following.
const INTERVAL: Duration = Duration::from_millis(500);

/// What was found so far.
#[derive(Default)]
pub(super) struct Discovery {
    /// The time of the last discovery.
    last: Option<Instant>,
    /// The partitions that were found and are read.
    known: BTreeSet<PartitionName>,
    /// The partitions that are not read, as another log has their file too, and that in words.
    shared: BTreeMap<PartitionName, String>,
    /// The partitions of the store that are gone, need no replay, and were not idle.
    gone: Vec<PartitionProgress>,
    /// Those that people were told of.
    told: BTreeSet<PartitionName>,
    /// Whether it was said what is not read.
    has_told_left_out: bool,
}

impl Discovery {
    /// Whether to look now.
    pub(super) fn is_due(&self, follow: bool) -> bool {
        self.last.is_none_or(|at| follow && at.elapsed() >= INTERVAL)
    }

    /// Returns the partitions that were not known before, and those that are in another file.
    ///
    /// # Errors
    /// When the source cannot be used.
    pub(super) fn find(
        &mut self,
        source: &mut dyn Source,
        stored: &Progress,
    ) -> Result<(Vec<Discovered>, Vec<Moved>), SourceError> {
        self.last = Some(Instant::now());
        let mut discovered = source.discover()?;
        self.leave_out_shared(&discovered, stored);
        let is_read = |name: &PartitionName| !self.shared.contains_key(name);
        discovered.retain(|one| is_read(&one.name) && self.known.insert(one.name.clone()));
        self.tell_left_out(source);
        Ok((discovered, source.take_moved()))
    }

    /// Leaves out new partitions whose file another log has too. What was left out once is not read
    /// by this job, as the file may be seen in one place and not yet in the other.
    fn leave_out_shared(&mut self, discovered: &[Discovered], stored: &Progress) {
        let is_old = |name: &PartitionName| {
            self.known.contains(name)
                || self.shared.contains_key(name)
                || stored.partitions.contains_key(name)
        };
        let shared = shared(discovered, is_old).into_iter();
        let shared: BTreeMap<PartitionName, String> =
            shared.map(|(name, file)| (name, shared_in_words(&file, discovered))).collect();
        if self.has_told_left_out {
            for reason in shared.values().collect::<BTreeSet<_>>() {
                tracing::warn!("found, but not read: {reason}");
            }
        }
        self.shared.extend(shared);
    }

    /// Says what the source does not read, once. What is found later is told then.
    fn tell_left_out(&mut self, source: &dyn Source) {
        if !std::mem::replace(&mut self.has_told_left_out, true) {
            let left_out = self.left_out(source);
            if !left_out.is_empty() {
                tracing::warn!("found, but not read: {}", some_of(&left_out));
            }
        }
    }

    /// Returns what is not read, with the reason, in words for people.
    pub(super) fn left_out(&self, source: &dyn Source) -> Vec<String> {
        let shared: BTreeSet<&String> = self.shared.values().collect();
        source.left_out().into_iter().chain(shared.into_iter().cloned()).collect()
    }

    /// Checks, before the replay is complete, that all partitions that must be replayed still
    /// exist. Those that need no replay, exist no more and are an input of this job hold no epoch
    /// open from the first publication on.
    ///
    /// # Errors
    /// When one that must be replayed is gone.
    pub(super) fn check_not_lost(
        &mut self,
        source: &dyn Source,
        stored: &Progress,
        moved: &[Moved],
    ) -> Result<(), SourceError> {
        let is_gone = |name: &PartitionName| {
            !self.known.contains(name)
                || moved.iter().any(|moved| moved.partition == *name && moved.file.is_none())
        };
        let gone = stored.partitions.values().filter(|at| is_gone(&at.partition));
        let gone: Vec<_> = gone.cloned().collect();
        if let Some(lost) = gone.iter().find(|at| at.replay_offset < at.next_offset) {
            return Err(lost_error(lost));
        }
        let unsettled = gone.into_iter().filter(|at| !at.idle && source.may_have(at));
        self.gone = unsettled.collect();
        for at in &self.gone {
            if self.told.insert(at.partition.clone()) {
                tracing::warn!(
                    "{} is gone, and was not idle when it was last read, up to offset {}: what \
                     followed, if anything, is lost",
                    at.partition,
                    at.next_offset
                );
            }
        }
        Ok(())
    }

    /// Returns the progress of the partitions that are gone, as it is to be committed. Those that
    /// were found meanwhile are not among them: their workers know how far they were read.
    pub(super) fn take_gone(&mut self) -> Vec<PartitionProgress> {
        let gone = std::mem::take(&mut self.gone).into_iter();
        let gone = gone.filter(|at| !self.known.contains(&at.partition)).map(|mut at| {
            at.idle = true;
            Loss { offset: at.next_offset, cause: LossCause::Removed }.note_in(&mut at.lost);
            at
        });
        gone.collect()
    }
}

/// Returns the partitions that are not old and whose file another log has too, and the file.
fn shared(
    discovered: &[Discovered],
    is_old: impl Fn(&PartitionName) -> bool,
) -> BTreeMap<PartitionName, String> {
    let file = |one: &Discovered| one.file.as_ref().map(|file| file.path.clone());
    let new: Vec<_> = discovered.iter().filter(|one| !is_old(&one.name)).collect();
    if new.is_empty() {
        return BTreeMap::new();
    }
    let places = discovered.iter().filter_map(|one| Some((one.name.kind, file(one)?)));
    let places: BTreeSet<(Kind, String)> = places.collect();
    let is_shared = |kind: Kind, file: &String| {
        let mut others = Kind::ALL.into_iter().filter(|other| *other != kind);
        others.any(|other| places.contains(&(other, file.clone())))
    };
    let shared = new.into_iter().filter_map(|one| {
        file(one).filter(|file| is_shared(one.name.kind, file)).map(|file| (one.name.clone(), file))
    });
    shared.collect()
}

/// Why a file that several logs have is not read, in words for people.
fn shared_in_words(file: &str, discovered: &[Discovered]) -> String {
    let has_it = |one: &&Discovered| one.file.as_ref().is_some_and(|found| found.path == file);
    let kinds: BTreeSet<Kind> = discovered.iter().filter(has_it).map(|one| one.name.kind).collect();
    let flags = Kind::flags_in_words(kinds);
    format!("`{file}` (given with {flags}: a file cannot hold more than one log)")
}

/// Returns the error that a partition which must be replayed is gone.
fn lost_error(at: &PartitionProgress) -> SourceError {
    let partition = at.partition.clone();
    match &at.file {
        Some(file) => SourceError::LostFile {
            partition,
            offset: at.replay_offset,
            next_offset: at.next_offset,
            bytes: file.read_bytes,
        },
        None => SourceError::Lost { partition, offset: at.replay_offset },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Beginning, LogFile};
    use crate::sources::memory::MemorySource;

    fn name(kind: Kind, name: &str) -> PartitionName {
        PartitionName { kind, name: name.into() }
    }

    fn stored(names: &[&str]) -> Progress {
        let partitions =
            names.iter().map(|one| PartitionProgress::read_to(name(Kind::Play, one), 3));
        let partitions = partitions.map(|at| (at.partition.clone(), at)).collect();
        Progress { partitions, ..Progress::default() }
    }

    #[test]
    fn a_partition_that_is_found_before_its_loss_is_committed_is_not_lost() {
        let memory = |names: &[&str]| {
            let named = names.iter().map(|one| (name(Kind::Play, one), Vec::new()));
            MemorySource::new(named.collect())
        };
        let stored = stored(&["a", "b"]);
        // Found while the job replays, or after that and before its first publication.
        for is_replaying in [true, false] {
            let mut discovery = Discovery::default();
            discovery.find(&mut memory(&[]), &stored).unwrap();
            discovery.check_not_lost(&memory(&[]), &stored, &[]).unwrap();
            let (found, _) = discovery.find(&mut memory(&["a"]), &stored).unwrap();
            assert_eq!(found.len(), 1);
            if is_replaying {
                discovery.check_not_lost(&memory(&["a"]), &stored, &[]).unwrap();
            }
            let gone = discovery.take_gone();
            let gone: Vec<_> = gone.iter().map(|at| (&at.partition.name[..], at.idle)).collect();
            assert_eq!(gone, [("b", true)]);
            assert!(discovery.take_gone().is_empty(), "once is enough");
        }
    }

    #[test]
    fn a_new_partition_whose_file_the_other_log_has_is_left_out() {
        let (impression, play) = (Kind::Impression, Kind::Play);
        let at = |kind, named: &str, path: &str| Discovered {
            name: name(kind, named),
            size_bytes: 0,
            end_offset: None,
            file: Some(LogFile {
                path: path.into(),
                read_bytes: 0,
                beginning: Beginning { bytes: 0, digest: String::new() },
            }),
        };
        let discovered = [
            at(impression, "/i", "/i"),
            at(impression, "/ip", "/ip"),
            at(play, "/ip", "/ip"),
            // A log that is read is renamed, so that the other log seems to have it.
            at(impression, "/j", "/jp"),
            at(play, "/jp", "/jp"),
            Discovered { file: None, ..at(play, "/i", "") },
        ];
        let left_out = shared(&discovered, |known| *known == name(impression, "/j"));
        let expected = [(impression, "/ip"), (play, "/ip"), (play, "/jp")];
        let expected = expected.map(|(kind, path)| (name(kind, path), path.to_owned()));
        assert_eq!(left_out, BTreeMap::from(expected));
    }
}
