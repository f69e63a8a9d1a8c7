//! How logs begin: the first bytes of files, by which logs are told apart.

use super::input::Input;
use super::{Compression, FileFormat};
use crate::log::Beginning;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The number of bytes by which a log is known.
pub(super) const BYTES: usize = 4096;

/// Opens a regular file. Anything else counts as absent: opening a FIFO would wait for its writer.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    if !path.metadata()?.is_file() {
        return Err(absent("it is not a regular file"));
    }
    let file = File::open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(absent("it is not a regular file")),
    }
}

/// The error that a log is not where it was.
pub(super) fn absent(reason: &'static str) -> io::Error {
    io::Error::new(ErrorKind::NotFound, reason)
}

/// Returns the digest of the first bytes of a log.
pub(super) fn of(bytes: &[u8]) -> Beginning {
    let hash = blake3::hash(bytes).to_hex();
    Beginning { bytes: bytes.len() as u64, digest: hash[..32].to_owned() }
}

/// Whether a log that begins with these bytes begins as a known one. No bytes are the beginning of
/// every log.
pub(super) fn is_of(known: &Beginning, bytes: &[u8]) -> bool {
    let length = usize::try_from(known.bytes).unwrap_or(usize::MAX);
    bytes.get(..length).is_some_and(|bytes| of(bytes) == *known)
}

/// Reads the first bytes of the log in a file, uncompressed, at most [`BYTES`]. A damaged file has
/// those before the damage.
pub(super) fn read(path: &Path, format: FileFormat) -> io::Result<Vec<u8>> {
    read_to_damage(path, format).map(|(bytes, _)| bytes)
}

/// Does so, and returns whether the file is damaged, or not yet complete, after these bytes.
pub(super) fn read_to_damage(path: &Path, format: FileFormat) -> io::Result<(Vec<u8>, bool)> {
    let compression = match format {
        FileFormat::Lines(compression) => compression,
        FileFormat::Parquet => Compression::None,
    };
    if compression == Compression::None {
        return Ok((read_plain(&open_regular(path)?)?, false));
    }
    let mut input = Input::open(path, compression, false)?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; BYTES]);
    while bytes.len() < BYTES {
        match input.read(&mut buffer[..BYTES - bytes.len()]) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if input.is_damage(&error) => return Ok((bytes, true)),
            Err(error) => return Err(error),
        }
    }
    Ok((bytes, false))
}

/// Reads the first bytes of an open file, at most [`BYTES`], wherever its cursor is.
pub(super) fn read_plain(file: &File) -> io::Result<Vec<u8>> {
    let mut buffer = [0; BYTES];
    let length = fill(file, &mut buffer)?;
    Ok(buffer[..length].to_vec())
}

/// Fills a buffer with the first bytes of a file. Returns how many there are.
pub(super) fn fill(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match read_at(file, &mut buffer[length..], length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(unix)]
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::io::{Seek, SeekFrom};
    let mut cursor = file;
    let position = cursor.stream_position()?;
    let count = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
    cursor.seek(SeekFrom::Start(position))?;
    Ok(count)
}
