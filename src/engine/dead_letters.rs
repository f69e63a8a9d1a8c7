//! Malformed records: all are counted and written to a file, and the first few are logged.
//!
//! A worker writes the letters of a publication to the disk before it forwards the publication. So
//! a committed position never passes a record whose letter is not in the file, also after a power
//! loss, and letters that were lost with a process are written again by the next one. Letters that
//! were written and whose positions were not committed would come twice: so before its first letter
//! a process reads those that are there, and skips them. Not earlier: a job that waits for its
//! store must not touch the file of the job that has it. A letter names partition, offset and
//! reason, so equal ones are the same.

use crate::event::Kind;
use crate::log::PartitionName;
use crate::sources::Malformed;
use foldhash::quality::FixedState;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// The number of malformed records that are logged; later ones are not.
const SHOWN_MAX: u64 = 5;
/// The most classes of reasons of a log that are counted apart.
const REASONS_MAX: usize = 16;
/// The most words of the name of a class.
const CLASS_WORDS_MAX: usize = 8;
/// What is appended to the name of a full file.
const OLD: &str = ".old";
/// What is appended to the name of the file of another process than the first, before its number.
const OF_PROCESS: &str = ".process-";

/// The dead letters of a process.
#[derive(Debug, Default)]
pub struct DeadLetters {
    file: Option<Mutex<LetterFile>>,
    malformed: AtomicU64,
    /// The number of letters, each of one malformed record or of several.
    letters: AtomicU64,
    is_silent: bool,
    /// The first malformed record of each log, as text.
    first: [OnceLock<String>; Kind::COUNT],
    /// The number of records by log and class of reason.
    reasons: Mutex<BTreeMap<(Kind, String), u64>>,
}

/// A file of dead letters. It becomes the old file when it is full, and a new one begins.
#[derive(Debug)]
struct LetterFile {
    path: PathBuf,
    /// The file of process 0.
    first: PathBuf,
    file: BufWriter<File>,
    /// The size of the file, and that at which it is full; in bytes.
    bytes: u64,
    bytes_max: u64,
    /// Whether it is a file, and not a device or a pipe.
    is_regular: bool,
    /// Whether letters were written since the last flush.
    is_changed: bool,
    /// The hashes of the letters of earlier processes, sorted; `None` until they are read.
    earlier: Option<Vec<u64>>,
    /// The first failure: later letters are not written.
    failure: Option<String>,
}

/// The dead letters cannot be written.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "cannot write dead letters to `{path}`: {error}; those since the last commit are not all in \
     it, and nothing was committed without them: free some space, or give another --dead-letter, \
     and start the job again, which reads their records again"
)]
pub struct DeadLetterError {
    /// The file.
    path: PathBuf,
    /// The system error.
    error: String,
}

/// A line of the dead-letter file.
#[derive(Serialize)]
struct DeadLetter<'a> {
    topic: &'a str,
    partition: &'a str,
    offset: u64,
    records: u64,
    location: &'a str,
    reason: &'a str,
    sample: &'a str,
}

impl DeadLetters {
    /// The most bytes of letters that are kept by default, in both files.
    pub const BYTES_MAX: u64 = 1 << 30;

    /// Opens the file of a process to which dead letters are appended, one JSON object a line:
    /// `path` itself for process 0. When it has half of `bytes_max` bytes, it gets the ending
    /// `.old` and replaces the file that had it, and a new one begins.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn append_to(path: &Path, process: usize, bytes_max: u64) -> io::Result<DeadLetters> {
        let file = LetterFile::open(path, process, bytes_max)?;
        Ok(DeadLetters { file: Some(Mutex::new(file)), ..DeadLetters::default() })
    }

    /// Logs no malformed records.
    #[must_use]
    pub fn without_log(self) -> DeadLetters {
        DeadLetters { is_silent: true, ..self }
    }

    /// Counts a record and writes it to the file. A failure is reported by
    /// [`DeadLetters::flush`].
    pub fn write(&self, partition: &PartitionName, record: &Malformed) {
        self.first[partition.kind as usize]
            .get_or_init(|| format!("{} {}: {}", partition.name, record.location, record.reason));
        self.malformed.fetch_add(record.records, Ordering::Relaxed);
        self.count_reason(partition.kind, record);
        let before = self.letters.fetch_add(1, Ordering::Relaxed);
        if before < SHOWN_MAX && !self.is_silent {
            let silence = if before + 1 == SHOWN_MAX { "; more are not logged" } else { "" };
            tracing::warn!(
                "malformed: {} {}: {}{silence}",
                partition.name,
                record.location,
                record.reason
            );
        }
        let Some(mut file) = self.file() else { return };
        let letter = DeadLetter {
            topic: partition.kind.topic(),
            partition: &partition.name,
            offset: record.offset,
            records: record.records,
            location: &record.location,
            reason: &record.reason,
            sample: &record.sample,
        };
        file.write(serde_json::to_vec(&letter).unwrap_or_default());
    }

    fn count_reason(&self, kind: Kind, record: &Malformed) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let mut class = class_of(&record.reason);
        let of_kind = reasons.keys().filter(|(of, _)| *of == kind).count();
        if of_kind >= REASONS_MAX && !reasons.contains_key(&(kind, class.clone())) {
            class = "other".to_owned();
        }
        *reasons.entry((kind, class)).or_default() += record.records;
    }

    /// The number of malformed records that this process has seen, by log and class of reason.
    pub fn reasons(&self) -> BTreeMap<(Kind, String), u64> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes buffered records to the file, and the file to the disk.
    ///
    /// # Errors
    /// If letters could not be written, now or earlier.
    pub fn flush(&self) -> Result<(), DeadLetterError> {
        self.file().map_or(Ok(()), |mut file| file.flush())
    }

    fn file(&self) -> Option<MutexGuard<'_, LetterFile>> {
        self.file.as_ref().map(|file| file.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first malformed record of a log that this process has seen, as text.
    pub fn first(&self, kind: Kind) -> Option<&str> {
        self.first[kind as usize].get().map(String::as_str)
    }

    /// The number of malformed records that this process has seen.
    pub fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }
}

/// The class of a reason: its words before a detail, without names in quotes and numbers.
fn class_of(reason: &str) -> String {
    let unquoted: Vec<&str> = reason.split('`').step_by(2).collect();
    let unquoted = unquoted.join(" ");
    let words = unquoted.split([':', ',', ';']).next().unwrap_or_default().split_whitespace();
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let words = words.map(|word| if is_number(word) { "N" } else { word });
    words.take(CLASS_WORDS_MAX).collect::<Vec<_>>().join(" ")
}

impl LetterFile {
    fn open(first: &Path, process: usize, bytes_max: u64) -> io::Result<LetterFile> {
        let path = match process {
            0 => first.to_owned(),
            process => with_ending(first, &format!("{OF_PROCESS}{process}")),
        };
        let pipe = refuse_unread(&path)?;
        let file = File::options().create(true).append(true).open(&path)?;
        drop(pipe);
        let is_regular = file.metadata()?.is_file();
        Ok(LetterFile {
            path,
            first: first.to_owned(),
            file: BufWriter::new(file),
            bytes: 0,
            bytes_max: bytes_max / 2,
            is_regular,
            is_changed: false,
            earlier: None,
            failure: None,
        })
    }

    /// Returns the hashes of the letters of earlier processes, sorted, and removes half a line that
    /// a process may have written when it was killed.
    fn read_earlier(&mut self) -> io::Result<Vec<u64>> {
        let mut earlier = Vec::new();
        if self.is_regular {
            // A partition may have been read by another process before.
            for other in files_of(&self.first)? {
                let complete = read_letters(&other, &mut earlier)?;
                if other == self.path {
                    self.bytes = complete;
                    self.file.get_ref().set_len(complete)?;
                }
            }
        }
        earlier.sort_unstable();
        Ok(earlier)
    }

    fn write(&mut self, mut letter: Vec<u8>) {
        if self.earlier.is_none() {
            match self.read_earlier() {
                Ok(earlier) => self.earlier = Some(earlier),
                Err(error) => self.note(Err(error)),
            }
        }
        let is_there = |earlier: &Vec<u64>| earlier.binary_search(&hash(&letter)).is_ok();
        if self.failure.is_some() || self.earlier.as_ref().is_some_and(is_there) {
            return;
        }
        letter.push(b'\n');
        let bytes = letter.len() as u64;
        let is_full = self.bytes > 0 && self.bytes + bytes > self.bytes_max;
        let rotated = if is_full && self.is_regular { self.rotate() } else { Ok(()) };
        let written = rotated.and_then(|()| self.file.write_all(&letter));
        self.bytes += bytes;
        self.is_changed = true;
        self.note(written);
    }

    /// Begins a new file.
    fn rotate(&mut self) -> io::Result<()> {
        self.synchronize()?;
        fs::rename(&self.path, with_ending(&self.path, OLD))?;
        self.file = BufWriter::new(File::options().create(true).append(true).open(&self.path)?);
        self.bytes = 0;
        Ok(())
    }

    /// Puts the letters on the disk. Costs nothing if none were written.
    fn synchronize(&mut self) -> io::Result<()> {
        self.file.flush()?;
        if std::mem::take(&mut self.is_changed) && self.is_regular {
            self.file.get_ref().sync_data()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeadLetterError> {
        if self.failure.is_none() {
            let synchronized = self.synchronize();
            self.note(synchronized);
        }
        match &self.failure {
            Some(error) => Err(DeadLetterError { path: self.path.clone(), error: error.clone() }),
            None => Ok(()),
        }
    }

    fn note(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.failure.get_or_insert(error.to_string());
        }
    }
}

/// Refuses a pipe that nobody reads, as opening it would wait for a program that does, and a
/// socket, which cannot be opened. Returns a pipe that is read, so that it can be opened again at
/// once.
#[cfg(unix)]
fn refuse_unread(path: &Path) -> io::Result<Option<File>> {
    use nix::fcntl::OFlag;
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    let Ok(found) = fs::metadata(path) else { return Ok(None) };
    let kind = found.file_type();
    if !kind.is_fifo() && !kind.is_socket() {
        return Ok(None);
    }
    let opened = File::options().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    match opened {
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENXIO as i32) => {
            let reason = "it is a pipe that no program reads, or a socket: give a file";
            Err(io::Error::other(reason))
        }
        opened => opened.map(Some),
    }
}

/// Refuses what is no file.
#[cfg(not(unix))]
fn refuse_unread(path: &Path) -> io::Result<Option<File>> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => {
            Err(io::Error::other("it is a pipe or a socket: give a file"))
        }
        _ => Ok(None),
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Returns the files with letters of all processes of a job, old ones included.
fn files_of(first: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = match first.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let name = first.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?.file_name();
        let ending = entry.to_str().and_then(|entry| entry.strip_prefix(&name));
        if let Some(ending) = ending
            && (ending.is_empty() || ending == OLD || ending.starts_with(OF_PROCESS))
        {
            files.push(with_ending(first, ending));
        }
    }
    Ok(files)
}

/// Reads the hashes of the letters in a file. Returns the size of its complete lines, in bytes.
fn read_letters(path: &Path, hashes: &mut Vec<u64>) -> io::Result<u64> {
    let file = match File::open(path) {
        // Another process has just made it the old file, and its letters are those of a running
        // job.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let (mut lines, mut line, mut complete) = (BufReader::new(file), Vec::new(), 0);
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line)?;
        let Some(letter) = line.strip_suffix(b"\n") else { return Ok(complete) };
        complete += read as u64;
        hashes.push(hash(letter));
    }
}

/// The hash of a letter. Never stored.
fn hash(letter: &[u8]) -> u64 {
    FixedState::default().hash_one(letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    fn record(offset: u64) -> Malformed {
        let (location, reason) = (format!("line {offset}"), "no event".to_owned());
        Malformed { offset, records: 1, location, reason, sample: "{".to_owned() }
    }

    fn write(letters: &DeadLetters, partition: &str, offsets: std::ops::Range<u64>) {
        let partition = PartitionName { kind: Kind::Play, name: partition.to_owned() };
        offsets.for_each(|offset| letters.write(&partition, &record(offset)));
        letters.flush().unwrap();
    }

    /// The partitions and offsets of the letters in some files.
    fn read(folder: &Path, names: &[&str]) -> Vec<String> {
        let text = |name: &&str| fs::read_to_string(folder.join(name)).unwrap();
        let letters = names.iter().map(text).collect::<String>();
        let letter = |line: &str| {
            let letter: serde_json::Value = serde_json::from_str(line).unwrap();
            format!("{}{}", letter["partition"].as_str().unwrap(), letter["offset"])
        };
        letters.lines().map(letter).collect()
    }

    #[test]
    fn reasons_are_counted_in_a_bounded_number_of_classes() {
        let letters = DeadLetters::default().without_log();
        let partition = PartitionName { kind: Kind::Play, name: "p".to_owned() };
        let write = |reason: &str| {
            letters.write(&partition, &Malformed { reason: reason.to_owned(), ..record(0) });
        };
        for column in 1..=20 {
            write(&format!("not JSON: expected value at column {column}"));
            write(&format!("invalid UTF-8 after {column} bytes"));
            write(&format!("missing field `field{column}`"));
        }
        write("`id` is 300 bytes long, expected at most 64");
        let classes =
            ["invalid UTF-8 after N bytes", "is N bytes long", "missing field", "not JSON"];
        let named = |(class, number): (&str, u64)| ((Kind::Play, class.to_owned()), number);
        let expected = classes.into_iter().zip([20, 1, 20, 20]).map(named);
        assert_eq!(letters.reasons(), expected.collect());
        for letter in 'a'..='z' {
            write(&letter.to_string());
        }
        let reasons = letters.reasons();
        assert_eq!(reasons.len(), REASONS_MAX + 1);
        assert_eq!(reasons[&(Kind::Play, "other".to_owned())], 26 - (16 - 4));
    }

    #[test]
    fn letters_of_an_earlier_process_are_not_repeated_and_half_a_line_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dead");
        let open = |process| DeadLetters::append_to(&path, process, 1 << 20).unwrap();
        write(&open(0), "a", 0..3);
        write(&open(1), "b", 0..2);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 10]).unwrap();
        // Both partitions are read again, by the other process, and further than before.
        write(&open(1), "a", 0..4);
        write(&open(0), "b", 1..4);
        assert_eq!(read(folder.path(), &["dead"]), ["a0", "a1", "b2", "b3"]);
        assert_eq!(read(folder.path(), &["dead.process-1"]), ["b0", "b1", "a2", "a3"]);
        // Other records at the same offsets are other letters.
        let other = Malformed { reason: "another".to_owned(), ..record(0) };
        let letters = open(0);
        letters.write(&PartitionName { kind: Kind::Play, name: "a".to_owned() }, &other);
        assert_eq!(letters.malformed(), 1);
        letters.flush().unwrap();
        assert_eq!(read(folder.path(), &["dead"]).len(), 5);
    }

    #[test]
    fn the_oldest_letters_go_when_there_are_too_many_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dead");
        let size = |name: &str| fs::metadata(folder.path().join(name)).map_or(0, |at| at.len());
        let mut written = 0;
        for _ in 0..40 {
            let letters = DeadLetters::append_to(&path, 0, 4_000).unwrap();
            write(&letters, "a", written.max(3) - 3..written + 7);
            written += 7;
            assert!(size("dead") + size("dead.old") <= 4_000);
        }
        let left = read(folder.path(), &["dead.old", "dead"]);
        let first = written - left.len() as u64;
        assert_eq!(left, (first..written).map(|offset| format!("a{offset}")).collect::<Vec<_>>());
        assert!(left.len() > 20, "{left:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_reported_from_then_on() {
        let letters = DeadLetters::append_to(Path::new("/dev/full"), 0, 4_000).unwrap();
        letters.flush().unwrap();
        let partition = PartitionName { kind: Kind::Play, name: "a".to_owned() };
        letters.write(&partition, &record(0));
        for _ in 0..2 {
            let error = letters.flush().unwrap_err().to_string();
            assert!(error.contains("cannot write dead letters to `/dev/full`"), "{error}");
        }
    }
}
