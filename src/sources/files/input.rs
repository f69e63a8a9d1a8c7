//! Reads the bytes of a file of lines: a plain file, which may grow, or a compressed file.

use super::{Compression, beginning};
use crate::log::Beginning;
use flate2::bufread::MultiGzDecoder;
use std::cell::Cell;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

/// The buffer size for reading a file, in bytes.
const COMPRESSED_BUFFER_BYTES: usize = 64 * 1024;

/// The largest window of Zstandard that is read, as a logarithm: 1 GiB, as `zstd --long=30` writes
/// it. The decoder keeps as much of the decompressed data, up to the window that a frame declares.
const WINDOW_LOG_MAX: u32 = 30;

/// An open file.
pub(super) enum Input {
    Plain(PlainFile),
    Compressed {
        decoder: Box<dyn Read>,
        /// The number of bytes that the decoder has read from the file.
        read_bytes: Rc<Cell<u64>>,
    },
}

impl Input {
    pub(super) fn open(path: &Path, compression: Compression, follow: bool) -> io::Result<Input> {
        if compression == Compression::None {
            return Ok(Input::Plain(PlainFile::open(path, follow)?));
        }
        let file = beginning::open_regular(path)?;
        let read_bytes = Rc::new(Cell::new(0));
        let counted = Counted { file, read_bytes: Rc::clone(&read_bytes) };
        let decoder: Box<dyn Read> = match compression {
            Compression::None => Box::new(counted),
            Compression::Gzip => {
                let buffered = BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, counted);
                Box::new(MultiGzDecoder::new(buffered))
            }
            Compression::Zstandard => Box::new(Zstandard::new(counted, window(path))?),
        };
        Ok(Input::Compressed { decoder, read_bytes })
    }

    /// The number of bytes of the file that have been read.
    pub(super) fn position(&self) -> u64 {
        match self {
            Input::Plain(plain) => plain.position,
            Input::Compressed { read_bytes, .. } => read_bytes.get(),
        }
    }

    /// Whether an error means damaged data, and not a failure to read.
    pub(super) fn is_damage(&self, error: &io::Error) -> bool {
        matches!(self, Input::Compressed { .. }) && error.raw_os_error().is_none()
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Input::Plain(plain) => plain.read(buffer),
            Input::Compressed { decoder, .. } => decoder.read(buffer),
        }
    }
}

/// A decoder of Zstandard that says which window is too large.
struct Zstandard {
    decoder: zstd::Decoder<'static, BufReader<Counted>>,
    /// The window of the first frame, in bytes.
    window_bytes: Option<u64>,
}

impl Zstandard {
    fn new(counted: Counted, window_bytes: Option<u64>) -> io::Result<Zstandard> {
        let mut decoder = zstd::Decoder::new(counted)?;
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        Ok(Zstandard { decoder, window_bytes })
    }
}

impl Read for Zstandard {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(buffer).map_err(|error| {
            let limit = 1_u64 << WINDOW_LOG_MAX;
            if !error.to_string().contains("too much memory") {
                return error;
            }
            let window = match self.window_bytes.filter(|window| *window > limit) {
                Some(window) => format!("{} MiB", window >> 20),
                None => "that of a frame".into(),
            };
            io::Error::other(format!(
                "the window of Zstandard, {window}, is larger than {} MiB: compress it again with \
                 --long={WINDOW_LOG_MAX} at most",
                limit >> 20
            ))
        })
    }
}

/// Returns the window of the first frame of a file in bytes, if its header tells (RFC 8878, section
/// 3.1.1.1).
fn window(path: &std::path::Path) -> Option<u64> {
    const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
    const SINGLE_SEGMENT: u8 = 1 << 5;
    let mut header = [0; 6];
    File::open(path).ok()?.read_exact(&mut header).ok()?;
    let [magic @ .., descriptor, window] = header;
    let is_told = magic == MAGIC && descriptor & SINGLE_SEGMENT == 0;
    let base = 1_u64 << (10 + (window >> 3));
    is_told.then_some(base + base / 8 * u64::from(window & 7))
}

struct Counted {
    file: File,
    read_bytes: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read_bytes.set(self.read_bytes.get() + count as u64);
        Ok(count)
    }
}

/// A plain file, which may grow, be renamed, be replaced or be cut while it is read.
///
/// The open file is read on, whatever its path is by now. It may still be cut and written anew, so
/// what was read counts only if the file begins as before *after* the read: once cut, it does not
/// begin so any more.
pub(super) struct PlainFile {
    file: File,
    position: u64,
    follow: bool,
    /// The first bytes, as far as they were there, and their digest.
    begins: Vec<u8>,
    beginning: Beginning,
}

/// The change of a file since its end was reached.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// Nothing was added.
    None,
    /// Bytes were added.
    More,
    /// It was cut, or was written anew.
    Replaced,
}

impl PlainFile {
    fn open(path: &Path, follow: bool) -> io::Result<PlainFile> {
        let file = beginning::open_regular(path)?;
        let begins = beginning::read_plain(&file)?;
        let beginning = beginning::of(&begins);
        Ok(PlainFile { file, position: 0, follow, begins, beginning })
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if self.follow && count > 0 && !self.begins_as_before()? {
            // What was read does not count, and the file may yet begin as before again.
            self.file.seek(SeekFrom::Start(self.position))?;
            return Ok(0);
        }
        self.position += count as u64;
        Ok(count)
    }

    /// Whether the open file begins as before. Remembers more of its beginning as it grows.
    fn begins_as_before(&mut self) -> io::Result<bool> {
        let mut buffer = [0; beginning::BYTES];
        let length = beginning::fill(&self.file, &mut buffer)?;
        let is_same = buffer[..length].starts_with(&self.begins);
        if is_same && length > self.begins.len() {
            self.begins = buffer[..length].to_vec();
            self.beginning = beginning::of(&self.begins);
        }
        Ok(is_same)
    }

    /// Checks whether the open file has grown.
    pub(super) fn growth(&mut self) -> io::Result<Growth> {
        let length = self.file.metadata()?.len();
        if length < self.position || !self.begins_as_before()? {
            return Ok(Growth::Replaced);
        }
        Ok(if length == self.position { Growth::None } else { Growth::More })
    }

    /// Whether a path leads to the open file.
    pub(super) fn is_at(&self, path: &Path) -> io::Result<bool> {
        Ok(identity(&self.file.metadata()?) == identity(&path.metadata()?))
    }

    /// Goes on at the same position in another file with the same log. Returns whether that file
    /// holds what was read.
    pub(super) fn continue_in(&mut self, path: &Path) -> io::Result<bool> {
        let mut other = PlainFile::open(path, self.follow)?;
        if !other.begins.starts_with(&self.begins) || other.file.metadata()?.len() < self.position {
            return Ok(false);
        }
        other.file.seek(SeekFrom::Start(self.position))?;
        other.position = self.position;
        *self = other;
        Ok(true)
    }

    /// The first bytes, as far as they are known.
    pub(super) fn begins(&self) -> &[u8] {
        &self.begins
    }

    /// How the log begins.
    pub(super) fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    /// Whether the file has no path any more.
    pub(super) fn is_deleted(&self) -> io::Result<bool> {
        Ok(links(&self.file.metadata()?) == 0)
    }
}

/// What tells a file from the others that exist at the same time, where the system has it.
#[cfg(unix)]
pub(super) fn identity(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
pub(super) fn identity(_metadata: &Metadata) -> Option<(u64, u64)> {
    None
}

#[cfg(unix)]
fn links(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(metadata)
}

#[cfg(not(unix))]
fn links(_metadata: &Metadata) -> u64 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_of_another_log_does_not_count_and_the_log_is_read_on_at_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.jsonl");
        std::fs::write(&path, "0123456789").unwrap();
        let mut input = Input::open(&path, Compression::None, true).unwrap();
        let mut buffer = [0; 4];
        assert_eq!((input.read(&mut buffer).unwrap(), &buffer), (4, b"0123"));
        // The file is written anew in its place, and then as it was.
        std::fs::write(&path, "another log").unwrap();
        for _ in 0..2 {
            assert_eq!((input.read(&mut buffer).unwrap(), input.position()), (0, 4));
        }
        std::fs::write(&path, "0123456789").unwrap();
        for expected in ["4567", "89"] {
            let count = input.read(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], expected.as_bytes());
        }
        assert_eq!(input.position(), 10);
    }

    /// Writes lines as a frame with a window of this size, and reads them again.
    fn written(window_log: u32) -> (Vec<u8>, io::Result<Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.jsonl.zst");
        let lines = b"{\"a\":1}\n".repeat(1_000);
        let mut encoder = zstd::Encoder::new(File::create(&path).unwrap(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        io::Write::write_all(&mut encoder, &lines).unwrap();
        encoder.finish().unwrap();
        let mut read = Vec::new();
        let mut input = Input::open(&path, Compression::Zstandard, false).unwrap();
        (lines, input.read_to_end(&mut read).map(|_| read))
    }

    #[test]
    fn long_windows_of_zstandard_are_read_up_to_a_limit() {
        for window_log in [20, 27, 28, WINDOW_LOG_MAX] {
            let (lines, read) = written(window_log);
            assert_eq!(read.unwrap(), lines, "{window_log}");
        }
        let error = written(31).1.unwrap_err().to_string();
        let expected = "the window of Zstandard, 2048 MiB, is larger than 1024 MiB";
        assert!(error.starts_with(expected), "{error}");
    }
}
