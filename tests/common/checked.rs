//! A store that checks every publication when it is committed, and may crash.

use proptest::prelude::TestCaseError;
use std::sync::{Arc, Mutex};
use trendmark::acceptance::LedgerRow;
use trendmark::completeness::{Completeness, StoredCurve};
use trendmark::stores::memory::{Committed, MemoryStore};
use trendmark::stores::{
    Changeset, Description, Progress, RowOrder, RowVisitor, Selection, Store, StoreError,
    StoreReader, StoredQuery,
};
use trendmark::time::EpochRange;
use trendmark::titles::TitleTable;

/// Checks what was committed.
pub type Check = Box<dyn Fn(&Committed) -> Result<(), TestCaseError> + Send>;

/// The crash of a job.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    /// The number of publications that it commits before.
    pub commits: u64,
    /// Whether the store commits the publication of the crash, although the job sees an error.
    pub is_committed: bool,
}

/// A store that checks every publication when it is committed. It may fail at a given commit, which
/// ends the job and discards its memory.
pub struct CheckedStore {
    pub store: MemoryStore,
    /// Checks what was committed.
    pub check: Check,
    pub crash: Option<Crash>,
    /// The first error found in a publication.
    pub wrong: Arc<Mutex<Option<String>>>,
}

impl CheckedStore {
    /// Commits a publication, and checks the contents of the store afterwards.
    fn commit_and_check(&mut self, changes: &Changeset) -> Result<(), StoreError> {
        self.store.commit(changes)?;
        let committed = self.store.committed();
        let checked = (self.check)(&committed);
        if let Err(error) = checked {
            let publication = changes.publication;
            let wrong = format!("publication {publication}: {error}");
            self.wrong.lock().unwrap().get_or_insert(wrong);
            return Err(StoreError::NotFound("a publication is wrong".into()));
        }
        Ok(())
    }
}

impl StoreReader for CheckedStore {
    fn description(&self) -> &Description {
        self.store.description()
    }

    fn progress(&self) -> Result<Progress, StoreError> {
        self.store.progress()
    }

    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        self.store.ledger()
    }

    fn completeness(&self) -> Result<Vec<Completeness>, StoreError> {
        self.store.completeness()
    }

    fn curves(&self) -> Result<Vec<StoredCurve>, StoreError> {
        self.store.curves()
    }

    fn titles(&self) -> Result<TitleTable, StoreError> {
        self.store.titles()
    }

    fn visit(
        &self,
        query: &StoredQuery,
        selection: &Selection,
        order: RowOrder,
        visitor: &mut RowVisitor<'_>,
    ) -> Result<(), StoreError> {
        self.store.visit(query, selection, order, visitor)
    }

    fn count(&self, query: &StoredQuery, selection: &Selection) -> Result<u64, StoreError> {
        self.store.count(query, selection)
    }

    fn latest_epochs(
        &self,
        query: &StoredQuery,
        epochs: usize,
    ) -> Result<Option<EpochRange>, StoreError> {
        self.store.latest_epochs(query, epochs)
    }
}

impl Store for CheckedStore {
    fn reader(&self) -> Result<Box<dyn StoreReader>, StoreError> {
        self.store.reader()
    }

    fn commit(&mut self, changes: &Changeset) -> Result<(), StoreError> {
        match &mut self.crash {
            Some(Crash { commits: 0, is_committed }) => {
                if *is_committed {
                    self.commit_and_check(changes)?;
                }
                return Err(StoreError::NotFound("the store has crashed".into()));
            }
            Some(crash) => crash.commits -= 1,
            None => {}
        }
        self.commit_and_check(changes)
    }
}
