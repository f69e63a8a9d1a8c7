//! A thread that commits publications to the store, so that no worker ever waits for a disk.

use super::coordinator::Committed;
use crate::stores::{Changeset, RowChange, Store, StoreError};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle, Thread};

/// What the thread has to do next.
enum Task {
    Commit(Changeset),
    Restore(Vec<RowChange>),
}

/// The store's thread. At most one publication is under way; the rows that change meanwhile wait
/// where they arose, and add up.
pub struct Committer {
    tasks: Option<SyncSender<Task>>,
    commits: Receiver<Result<Committed, StoreError>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread. It wakes the given one whenever a commit is done.
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

    /// Hands a publication over. The one before must be committed.
    pub fn commit(&self, changes: Changeset) {
        self.hand_over(Task::Commit(changes));
    }

    /// Gives the store the rows back that replay has rebuilt, before the first commit.
    pub fn restore(&self, rows: Vec<RowChange>) {
        self.hand_over(Task::Restore(rows));
    }

    fn hand_over(&self, task: Task) {
        if let Some(tasks) = &self.tasks {
            // It fails only when the thread has ended, which the next look at it tells.
            let _ = tasks.send(task);
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
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
