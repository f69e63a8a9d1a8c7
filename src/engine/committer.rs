//! A thread that commits publications to the store, so that no worker ever waits for a disk.

use super::coordinator::Committed;
use crate::stores::{Publication, Store, StoreError};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle, Thread};

/// The store's thread. At most one publication is under way; the rows that change meanwhile wait
/// where they arose, and add up.
pub struct Committer {
    publications: Option<SyncSender<(u64, Publication)>>,
    commits: Receiver<Result<Committed, StoreError>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread. It wakes the given one whenever a commit is done.
    pub fn start(mut store: Box<dyn Store>, waker: Thread) -> Committer {
        let (publications, incoming) = sync_channel::<(u64, Publication)>(1);
        let (outgoing, commits) = sync_channel(1);
        let thread = thread::spawn(move || {
            for (publication, content) in incoming {
                let committed = Committed { publication, final_through: content.final_through };
                let result = store.commit(&content).map(|()| committed);
                let failed = result.is_err();
                if outgoing.send(result).is_err() || failed {
                    break;
                }
                waker.unpark();
            }
        });
        Committer { publications: Some(publications), commits, thread: Some(thread) }
    }

    /// Hands a publication over. The one before must be committed.
    pub fn commit(&self, publication: u64, content: Publication) {
        if let Some(publications) = &self.publications {
            // It fails only when the thread has ended, which the next look at it tells.
            let _ = publications.send((publication, content));
        }
    }

    /// The commit that was done since the last call, if any.
    ///
    /// # Errors
    /// When the store could not commit; nothing more will be.
    ///
    /// # Panics
    /// When the store itself has panicked.
    pub fn done(&self) -> Result<Option<Committed>, StoreError> {
        match self.commits.try_recv() {
            Ok(result) => result.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => panic!("the thread of the store has ended"),
        }
    }
}

impl Drop for Committer {
    /// Lets the thread finish and close the store.
    fn drop(&mut self) {
        self.publications = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
