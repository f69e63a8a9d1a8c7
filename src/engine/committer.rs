//! The thread that commits publications to the store, so that no worker waits for the disk.

use super::coordinator::Committed;
use crate::stores::{Changeset, RowChange, Store, StoreError};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle, Thread};

/// A task for the thread.
enum Task {
    Commit(Changeset),
    Restore(Vec<RowChange>),
}

/// The handle of the store's thread. At most one publication is being committed at a time; rows
/// that change meanwhile accumulate on their workers.
pub struct Committer {
    tasks: Option<SyncSender<Task>>,
    commits: Receiver<Result<Committed, StoreError>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread. It unparks `waker` after every commit.
    pub fn start(mut store: Box<dyn Store>, waker: Thread) -> Committer {
        let (tasks, incoming) = sync_channel(1);
        let (outgoing, commits) = sync_channel(1);
        let thread = thread::spawn(move || {
            for task in incoming {
                let changes = match task {
                    Task::Commit(changes) => changes,
                    Task::Restore(rows) => {
                        store.restore(rows);
                        continue;
                    }
                };
                let Changeset { publication, final_through, .. } = changes;
                let committed = Committed { publication, final_through };
                let result = store.commit(&changes).map(|()| committed);
                let failed = result.is_err();
                if outgoing.send(result).is_err() || failed {
                    break;
                }
                waker.unpark();
            }
        });
        Committer { tasks: Some(tasks), commits, thread: Some(thread) }
    }

    /// Submits a publication. The previous one must be committed.
    pub fn commit(&self, changes: Changeset) {
        self.submit(Task::Commit(changes));
    }

    /// Passes the rows rebuilt by the replay to the store, before the first commit.
    pub fn restore(&self, rows: Vec<RowChange>) {
        self.submit(Task::Restore(rows));
    }

    fn submit(&self, task: Task) {
        if let Some(tasks) = &self.tasks {
            // `send` fails only if the thread has ended, which `take_committed` reports.
            let _ = tasks.send(task);
        }
    }

    /// Returns the commit that was completed since the last call, if any.
    ///
    /// # Errors
    /// If the store could not commit; it will commit nothing more.
    ///
    /// # Panics
    /// If the store itself has panicked.
    pub fn take_committed(&self) -> Result<Option<Committed>, StoreError> {
        match self.commits.try_recv() {
            Ok(result) => result.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => panic!("the thread of the store has ended"),
        }
    }
}

impl Drop for Committer {
    /// Waits for the thread to finish and close the store.
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
