//! The thread that writes the files of a worker, so that the worker goes on meanwhile.

use super::folder::failed;
use super::{Folder, SetFile, SetsError, Written};
use crate::showings::members::{Coverage, Members};
use crate::time::{Epoch, Publication};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};

/// A file that is to be written.
pub struct Task {
    /// The epoch.
    pub epoch: Epoch,
    /// The start of the epoch, as text, for readers of the file.
    pub epoch_start: String,
    /// The publication that it appears with.
    pub version: Publication,
    /// Its number among the files of the epoch and version.
    pub part: u64,
    /// Which members of the epoch it has.
    pub coverage: Coverage,
    /// The generation of the job.
    pub generation: u64,
    /// The members, in parts, from each worker.
    pub members: Vec<Vec<Members>>,
}

/// The handle of the thread. It ends when the handle is dropped.
pub struct Writer {
    tasks: Option<Sender<Task>>,
    results: Receiver<Result<Written, SetsError>>,
    thread: Option<JoinHandle<()>>,
    has_failed: bool,
}

impl Writer {
    /// Starts the thread. It calls `notify` after every file.
    pub fn start(folder: Folder, notify: impl Fn() + Send + 'static) -> Writer {
        let (tasks, incoming) = channel::<Task>();
        let (outgoing, results) = channel();
        let thread = thread::spawn(move || {
            for task in incoming {
                let written = write(&folder, &task);
                let has_failed = written.is_err();
                if outgoing.send(written).is_err() {
                    return;
                }
                notify();
                // The job ends, and what follows would not be committed.
                if has_failed {
                    return;
                }
            }
        });
        Writer { tasks: Some(tasks), results, thread: Some(thread), has_failed: false }
    }

    /// Submits a file. The caller bounds how many there are.
    pub fn submit(&self, task: Task) {
        if let Some(tasks) = &self.tasks {
            // It fails only if the thread has ended, which `take` reports.
            let _ = tasks.send(task);
        }
    }

    /// Takes a file that was written since the last call.
    ///
    /// # Errors
    /// When a file could not be written. It is the last one.
    ///
    /// # Panics
    /// If the thread itself has panicked.
    pub fn take(&mut self) -> Option<Result<Written, SetsError>> {
        match self.results.try_recv() {
            Ok(result) => {
                self.has_failed |= result.is_err();
                Some(result)
            }
            Err(TryRecvError::Disconnected) if !self.has_failed => {
                panic!("the thread that writes sets has ended")
            }
            Err(_) => None,
        }
    }
}

impl Drop for Writer {
    /// Waits until all submitted files are written, or one has failed.
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Writes a file, and waits until the disk has it. If that fails, nothing of it stays.
fn write(folder: &Folder, task: &Task) -> Result<Written, SetsError> {
    let (file, path) = folder.create(task.epoch, task.generation)?;
    let written = write_to(file, &path, task).and_then(|file| {
        folder.complete(&path, &file, task.generation)?;
        Ok(Written { file, coverage: task.coverage })
    });
    if written.is_err() {
        // Its place on the disk may be what is missing.
        let _ = std::fs::remove_file(&path);
    }
    written
}

fn write_to(file: File, path: &Path, task: &Task) -> Result<SetFile, SetsError> {
    let Task { epoch, version, part, .. } = *task;
    let mut output = Hashing { inner: BufWriter::new(file), hash: Default::default(), bytes: 0 };
    let rows = encode(task, &mut output).map_err(failed("write", path))?;
    let Hashing { inner, hash, bytes } = output;
    let written = inner.into_inner().map_err(io::IntoInnerError::into_error);
    written.and_then(|file| file.sync_all()).map_err(failed("write", path))?;
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash.finalize().as_bytes()[..16]);
    let digest = u128::from_be_bytes(digest);
    Ok(SetFile { epoch, version, part, rows, bytes, digest })
}

#[cfg(feature = "parquet")]
fn encode(task: &Task, output: impl Write + Send) -> io::Result<u64> {
    let metadata = vec![
        ("trendmark.epoch", task.epoch.to_string()),
        ("trendmark.epoch_start", task.epoch_start.clone()),
    ];
    super::parquet::write(crate::showings::members::merge(&task.members), metadata, output)
}

#[cfg(not(feature = "parquet"))]
fn encode(_task: &Task, _output: impl Write + Send) -> io::Result<u64> {
    Err(io::Error::other(crate::features::Feature::Parquet.missing("--sets")))
}

/// Counts and hashes the bytes that pass.
struct Hashing<W> {
    inner: W,
    hash: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
