//! Who is told of what a job commits, such as the HTTP server.

use crate::stores::{Changeset, Progress};

/// Is told of what a job commits, in the first process. It is called on the threads of worker 0 and
/// of the store, which would wait for it: so it only takes note.
pub trait Observer: Send + Sync {
    /// The job has its store, which is at this progress. Called once.
    fn opened(&self, progress: &Progress);

    /// A publication was committed. Called in the order of the publications.
    fn committed(&self, changes: Changeset);

    /// The store is about to be closed: nobody may go on reading it.
    fn closing(&self);
}
