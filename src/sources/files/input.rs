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
            Compression::Zstandard => Box::new(zstd::Decoder::new(counted)?),
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
