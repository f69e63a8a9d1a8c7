//! Reads the bytes of a file of lines: a plain file, which may grow, or a compressed file.

use super::Compression;
use flate2::bufread::MultiGzDecoder;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;
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
    pub(super) fn open(path: PathBuf, compression: Compression) -> io::Result<Input> {
        let file = File::open(&path)?;
        let read_bytes = Rc::new(Cell::new(0));
        let counted = Counted { file, read_bytes: Rc::clone(&read_bytes) };
        let decoder: Box<dyn Read> = match compression {
            Compression::None => {
                let file = counted.file;
                return Ok(Input::Plain(PlainFile { path, file, position: 0 }));
            }
            Compression::Gzip => {
                let buffered = BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, counted);
                Box::new(MultiGzDecoder::new(buffered))
            }
            Compression::Zstandard => Box::new(Zstandard::new(counted, window(&path))?),
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
            Input::Plain(plain) => {
                let count = plain.file.read(buffer)?;
                plain.position += count as u64;
                Ok(count)
            }
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

/// A plain file.
pub(super) struct PlainFile {
    path: PathBuf,
    file: File,
    position: u64,
}

/// The change of a file since its end was reached.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// Nothing was added.
    None,
    /// Bytes were added.
    More,
    /// It is shorter than the part that was read.
    Shrunk,
}

impl PlainFile {
    /// Checks whether the file has grown. The path is opened again: if the file was replaced by a
    /// longer one, reading continues in that one; a removed file has ended.
    pub(super) fn growth(&mut self) -> io::Result<Growth> {
        let length = match self.path.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Growth::None),
            metadata => metadata?.len(),
        };
        if length < self.position {
            return Ok(Growth::Shrunk);
        }
        if length == self.position {
            return Ok(Growth::None);
        }
        self.file = File::open(&self.path)?;
        self.file.seek(SeekFrom::Start(self.position))?;
        Ok(Growth::More)
    }

    /// Counts the newlines that the file has now.
    pub(super) fn count_lines(&self) -> io::Result<u64> {
        let mut file = File::open(&self.path)?;
        let (mut lines, mut buffer) = (0, vec![0; COMPRESSED_BUFFER_BYTES]);
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok(lines);
            }
            lines += memchr::memchr_iter(b'\n', &buffer[..count]).count() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut input = Input::open(path, Compression::Zstandard).unwrap();
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
