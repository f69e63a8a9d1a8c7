//! The thread of the store, so that no worker waits for the disk: it commits publications and
//! renews the lease.

use super::EngineError;
use super::activity::Activity;
use super::coordinator::Committed;
use super::metrics::Counters;
use super::observer::Observer;
use crate::sets::catalogue::FileChanges;
use crate::sets::{Folder, SetFile, SetsError};
use crate::stores::lease::RENEWAL_INTERVAL;
use crate::stores::{Changeset, LeaseState, RowChange, Store};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle, Thread};
use std::time::Instant;

/// A task for the thread.
enum Task {
    Commit(Box<Changeset>, FileChanges),
    Restore(Vec<RowChange>),
    Release(LeaseState),
}

/// The handle of the store's thread. At most one publication is being committed at a time; rows
/// that change meanwhile accumulate on their workers.
pub struct Committer {
    tasks: Option<SyncSender<Task>>,
    commits: Receiver<Result<Committed, EngineError>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread. It unparks `waker` after every commit, tells `observer` of it, and writes
    /// into the lease what holds the job according to `counters`. The files of the sets are in
    /// `folder`.
    pub fn start(
        store: Box<dyn Store>,
        folder: Option<Folder>,
        generation: u64,
        waker: Thread,
        counters: Arc<Counters>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Committer {
        let (tasks, incoming) = sync_channel(1);
        let (outgoing, commits) = sync_channel(1);
        let thread = thread::spawn(move || {
            let sets = folder.map(|folder| Sets { folder, generation, replaced: Vec::new() });
            let mut owner = Owner { store, sets, observer };
            let result = owner.serve(&incoming, &outgoing, &waker, &counters);
            if let Some(observer) = &owner.observer {
                observer.closing();
            }
            drop(owner);
            if let Err(error) = result {
                // Nobody listens if the job has failed for another reason meanwhile.
                let _ = outgoing.send(Err(error));
                waker.unpark();
            }
        });
        Committer { tasks: Some(tasks), commits, thread: Some(thread) }
    }

    /// Submits a publication, and what it does to the files of the sets. The previous one must be
    /// committed.
    pub fn commit(&self, changes: Changeset, files: FileChanges) {
        self.submit(Task::Commit(Box::new(changes), files));
    }

    /// Passes the rows rebuilt by the replay to the store, before the first commit.
    pub fn restore(&self, rows: Vec<RowChange>) {
        self.submit(Task::Restore(rows));
    }

    /// Releases the store, closes it, and waits for that.
    pub fn finish(self, ended: LeaseState) {
        self.submit(Task::Release(ended));
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
    /// If the store could not commit, or another job has it; it will commit nothing more.
    ///
    /// # Panics
    /// If the store itself has panicked.
    pub fn take_committed(&self) -> Result<Option<Committed>, EngineError> {
        match self.commits.try_recv() {
            Ok(result) => result.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => panic!("the thread of the store has ended"),
        }
    }
}

/// What the thread has.
struct Owner {
    store: Box<dyn Store>,
    sets: Option<Sets>,
    observer: Option<Arc<dyn Observer>>,
}

impl Owner {
    /// Executes tasks until there will be no more, and renews the lease between them.
    fn serve(
        &mut self,
        tasks: &Receiver<Task>,
        commits: &SyncSender<Result<Committed, EngineError>>,
        waker: &Thread,
        counters: &Counters,
    ) -> Result<(), EngineError> {
        let mut renewal_due = Instant::now() + RENEWAL_INTERVAL;
        loop {
            match tasks.recv_timeout(renewal_due.saturating_duration_since(Instant::now())) {
                Ok(Task::Commit(changes, files)) => {
                    let (meter, began) = (counters.meter(), Instant::now());
                    meter.store.begin(Activity::Committing(changes.publication.0));
                    let committed = self.commit(&changes, files)?;
                    meter.commits.observe(began.elapsed());
                    meter.store.begin(Activity::Waiting);
                    if commits.send(Ok(committed)).is_err() {
                        return Ok(());
                    }
                    waker.unpark();
                    if let Some(observer) = &self.observer {
                        observer.committed(*changes);
                    }
                }
                Ok(Task::Restore(rows)) => self.store.restore(rows),
                Ok(Task::Release(ended)) => return self.release(ended),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if Instant::now() >= renewal_due {
                self.store.renew(counters.holder())?;
                renewal_due = Instant::now() + RENEWAL_INTERVAL;
            }
        }
    }

    /// Commits a publication, and lets the files of its sets appear.
    fn commit(
        &mut self,
        changes: &Changeset,
        files: FileChanges,
    ) -> Result<Committed, EngineError> {
        if let Some(sets) = &self.sets {
            sets.folder.check(&files.added, sets.generation)?;
        }
        self.store.commit(changes)?;
        if let Some(sets) = &mut self.sets {
            sets.publish(files)?;
        }
        let Changeset { publication, final_through, .. } = *changes;
        Ok(Committed { publication, final_through })
    }

    fn release(&mut self, ended: LeaseState) -> Result<(), EngineError> {
        if let Some(sets) = &mut self.sets {
            sets.publish(FileChanges::default())?;
        }
        if let Err(error) = self.store.release(ended) {
            tracing::warn!(%error, "the next job may have to wait for the store");
        }
        Ok(())
    }
}

/// The files of the sets.
struct Sets {
    folder: Folder,
    generation: u64,
    /// The files that the last publication has replaced. They stay until the next one, for those
    /// who read them.
    replaced: Vec<SetFile>,
}

impl Sets {
    /// Lets the files of a publication appear, which is committed.
    fn publish(&mut self, files: FileChanges) -> Result<(), SetsError> {
        files.added.iter().try_for_each(|file| self.folder.publish(file, self.generation))?;
        self.replaced.iter().try_for_each(|file| self.folder.remove(file))?;
        self.replaced = files.removed;
        Ok(())
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
