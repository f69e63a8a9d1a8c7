//! The state of a worker that scores the rows of its videos.

use super::common::Common;
use super::momentum::{momentum, rising_for};
use super::oracle::ScoredRow;
use super::usual::UsualChange;
use super::{Score, Scored, Settings, UsualRow, first_open, score};
use crate::time::Through;
use foldhash::fast::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An epoch that may still change, or whose scores later ones need.
#[derive(Default)]
struct OpenEpoch {
    common: Option<Common>,
    rows: HashMap<u64, OpenRow, RandomState>,
}

struct OpenRow {
    usual: UsualRow,
    scored: Option<Scored>,
    /// The row that was given out last.
    row: Option<ScoredRow>,
}

/// The scores of epochs that may still change, and of those before them.
pub struct ScoreState {
    settings: Settings,
    epochs: BTreeMap<i64, OpenEpoch>,
    /// The scores of epochs that are final, as long as later ones need them.
    past: BTreeMap<i64, HashMap<u64, Score, RandomState>>,
    /// Rows whose video or epoch is gone, to be taken back.
    gone: Vec<ScoredRow>,
}

impl ScoreState {
    /// Creates the state before the first publication.
    pub fn new(settings: Settings) -> ScoreState {
        ScoreState { settings, epochs: BTreeMap::new(), past: BTreeMap::new(), gone: Vec::new() }
    }

    /// Takes the changes of a publication. Returns the updates of scored rows.
    pub fn update(
        &mut self,
        usual: Vec<UsualChange>,
        common: Vec<(i64, Option<Common>)>,
        final_through: Through,
    ) -> Vec<(ScoredRow, isize)> {
        let first = self.settings.first_needed(final_through);
        self.close(first_open(final_through));
        self.past = self.past.split_off(&first);
        let mut changed: BTreeSet<(i64, u64)> = BTreeSet::new();
        // The rows of each epoch whose momentum may have changed.
        let mut moved: BTreeSet<(i64, u64)> = BTreeSet::new();
        for change in usual.into_iter().filter(|change| change.epoch >= first) {
            let at = (change.epoch, change.video);
            self.set(&change);
            changed.insert(at);
        }
        for (epoch, common) in common.into_iter().filter(|(epoch, _)| *epoch >= first) {
            let of_epoch = self.epochs.entry(epoch).or_default();
            of_epoch.common = common;
            changed.extend(of_epoch.rows.keys().map(|video| (epoch, *video)));
        }
        for (epoch, video) in changed {
            if self.rescore(epoch, video) {
                let reached = self.epochs.range(epoch..epoch + self.settings.recent);
                moved.extend(reached.map(|(later, _)| (*later, video)));
            }
        }
        let mut updates: Vec<_> = self.gone.drain(..).map(|row| (row, -1)).collect();
        for (epoch, video) in moved {
            self.renew(epoch, video, &mut updates);
        }
        updates
    }

    /// Keeps only the scores of epochs before this one.
    fn close(&mut self, first_open: i64) {
        let open = self.epochs.split_off(&first_open);
        for (epoch, closed) in std::mem::replace(&mut self.epochs, open) {
            let score = |(video, row): (u64, OpenRow)| Some((video, row.scored?.score));
            self.past.insert(epoch, closed.rows.into_iter().filter_map(score).collect());
        }
    }

    /// The score of a video in an epoch.
    fn score(&self, epoch: i64, video: u64) -> Option<Score> {
        match self.epochs.get(&epoch) {
            Some(open) => Some(open.rows.get(&video)?.scored?.score),
            None => self.past.get(&epoch)?.get(&video).copied(),
        }
    }

    /// Sets a row, or removes it.
    fn set(&mut self, change: &UsualChange) {
        let rows = &mut self.epochs.entry(change.epoch).or_default().rows;
        match change.now {
            Some(usual) => {
                let new = OpenRow { usual, scored: None, row: None };
                rows.entry(change.video).or_insert(new).usual = usual;
            }
            None => {
                let row = rows.remove(&change.video).and_then(|row| row.row);
                self.gone.extend(row);
            }
        }
    }

    /// Scores a row again. Returns whether it or its score has changed.
    fn rescore(&mut self, epoch: i64, video: u64) -> bool {
        let settings = &self.settings;
        let Some(of_epoch) = self.epochs.get_mut(&epoch) else { return false };
        let Some(row) = of_epoch.rows.get_mut(&video) else { return true };
        let common = of_epoch.common.as_ref();
        let now = common.and_then(|common| score(&row.usual, common, settings));
        let plays = row.row.map(|row| row.plays);
        let has_changed =
            now != row.scored || now.is_some() && plays != Some(row.usual.counts.plays);
        row.scored = now;
        has_changed
    }

    /// Computes a row again from the scores, and adds the updates to replace the one before.
    fn renew(&mut self, epoch: i64, video: u64, updates: &mut Vec<(ScoredRow, isize)>) {
        let now = self.row(epoch, video);
        let rows = self.epochs.get_mut(&epoch).map(|of_epoch| &mut of_epoch.rows);
        let Some(row) = rows.and_then(|rows| rows.get_mut(&video)) else { return };
        if now != row.row {
            updates.extend(row.row.map(|before| (before, -1)));
            updates.extend(now.map(|now| (now, 1)));
            row.row = now;
        }
    }

    fn row(&self, epoch: i64, video: u64) -> Option<ScoredRow> {
        let Settings { recent, half_life, .. } = self.settings;
        let row = self.epochs.get(&epoch)?.rows.get(&video)?;
        let (scored, plays) = (row.scored?, row.usual.counts.plays);
        let oldest_first: Vec<_> =
            (epoch + 1 - recent..=epoch).map(|epoch| self.score(epoch, video)).collect();
        let momentum = momentum(oldest_first.iter().rev().copied(), half_life);
        let since = rising_for(oldest_first.into_iter()).map(|ago| epoch - ago);
        Some(ScoredRow { epoch, video, plays, scored, momentum, since })
    }
}
