//! Reads the footer of a file that the library refuses for columns that are not wanted: with types
//! that it does not know, or names for them that contradict each other.
//!
//! A footer is a structure in Thrift's compact protocol. Its schema says of each column how it is
//! stored (fields 1 to 5) and, after that, what it means. The meaning of unwanted columns is left
//! out here, and with it all that other programs note beside the schema. Structure of the footer:
//! `FileMetaData` and `SchemaElement` of <https://github.com/apache/parquet-format>.

use crate::decode::FieldTree;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::ParquetMetaDataReader;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

/// The field of the schema in the footer.
const SCHEMA: i16 = 2;
/// The last field of a schema element that says how it is stored, the number of columns inside.
const CHILDREN: i16 = 5;
const NAME: i16 = 4;
/// The maximum depth of nested structures.
const DEPTH_MAX: usize = 32;

/// Returns the metadata of a file without the meaning of the columns that are not wanted, or `None`
/// if its footer cannot be read that way either.
pub(super) fn without_unwanted(file: &File, tree: &FieldTree) -> Option<ArrowReaderMetadata> {
    let footer = rewritten(&read(file)?, tree)?;
    let metadata = ParquetMetaDataReader::decode_metadata(&footer).ok()?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ArrowReaderMetadata::try_new(Arc::new(metadata), options).ok()
}

/// Returns the bytes of the footer, which its length and `PAR1` follow.
fn read(mut file: &File) -> Option<Vec<u8>> {
    let mut ending = [0; 8];
    let end = file.seek(SeekFrom::End(-8)).ok()?;
    file.read_exact(&mut ending).ok()?;
    let [length @ .., b'P', b'A', b'R', b'1'] = ending else { return None };
    let length = u64::from(u32::from_le_bytes(length));
    let mut footer = vec![0; usize::try_from(length).ok().filter(|_| length <= end)?];
    file.seek(SeekFrom::Start(end - length)).ok()?;
    file.read_exact(&mut footer).ok()?;
    Some(footer)
}

/// Returns a footer without the meaning of the columns that are not in the tree.
fn rewritten(footer: &[u8], tree: &FieldTree) -> Option<Vec<u8>> {
    let mut cursor = Cursor { bytes: footer, at: 0 };
    let mut last_id = 0;
    while let Some((id, kind)) = cursor.field(&mut last_id)? {
        if (id, kind) == (SCHEMA, Kind::LIST) {
            let (count, kind) = cursor.list()?;
            if kind != Kind::STRUCTURE {
                return None;
            }
            let before = &footer[..cursor.at];
            let schema = schema(&mut cursor, count, tree)?;
            return Some([before, &schema, &footer[cursor.at..]].concat());
        }
        cursor.skip(kind, 0)?;
    }
    None
}

/// Rewrites the elements of the schema, in which every group is followed by its columns.
fn schema(cursor: &mut Cursor<'_>, count: u64, tree: &FieldTree) -> Option<Vec<u8>> {
    let mut schema = Vec::new();
    // What is wanted of the columns of each open group, and the number of columns that follow.
    let mut groups: Vec<(Option<&FieldTree>, u64)> = Vec::new();
    for number in 0..count {
        let element = element(cursor)?;
        while groups.last().is_some_and(|(_, left)| *left == 0) {
            groups.pop();
        }
        let wanted = match groups.last_mut() {
            Some((inside, left)) => {
                *left -= 1;
                let place = inside.and_then(|tree| tree.place(element.name));
                inside.zip(place).map(|(tree, place)| &tree.inside[place].1)
            }
            None if number == 0 => Some(tree),
            None => return None,
        };
        if wanted.is_some_and(|wanted| wanted.field.is_some()) {
            schema.extend_from_slice(element.whole);
        } else {
            schema.extend_from_slice(element.stored);
            schema.push(0);
        }
        groups.push((wanted, element.children));
    }
    Some(schema)
}

/// An element of the schema.
struct Element<'a> {
    name: &'a str,
    /// The number of columns, if it is a group.
    children: u64,
    whole: &'a [u8],
    /// The fields that say how it is stored.
    stored: &'a [u8],
}

/// Reads an element whose fields are in order, as all writers have them.
fn element<'a>(cursor: &mut Cursor<'a>) -> Option<Element<'a>> {
    let (start, bytes) = (cursor.at, cursor.bytes);
    let (mut name, mut children, mut stored_end) = (None, 0, start);
    let mut last_id = 0;
    loop {
        let before_id = last_id;
        let Some((id, kind)) = cursor.field(&mut last_id)? else { break };
        if id <= before_id {
            return None;
        }
        match (id, kind) {
            (NAME, Kind::BYTES) => name = Some(std::str::from_utf8(cursor.bytes()?).ok()?),
            (CHILDREN, Kind::INTEGER_32) => {
                children = unzigzag(cursor.varint()?).try_into().ok()?
            }
            _ => cursor.skip(kind, 0)?,
        }
        if id <= CHILDREN {
            stored_end = cursor.at;
        }
    }
    let (whole, stored) = (&bytes[start..cursor.at], &bytes[start..stored_end]);
    Some(Element { name: name?, children, whole, stored })
}

/// The type of a value in Thrift's compact protocol.
struct Kind;

impl Kind {
    const TRUE: u8 = 1;
    const FALSE: u8 = 2;
    const BYTE: u8 = 3;
    const INTEGER_16: u8 = 4;
    const INTEGER_32: u8 = 5;
    const INTEGER_64: u8 = 6;
    const DOUBLE: u8 = 7;
    const BYTES: u8 = 8;
    const LIST: u8 = 9;
    const SET: u8 = 10;
    const MAP: u8 = 11;
    const STRUCTURE: u8 = 12;
}

/// Reads Thrift's compact protocol.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let count = usize::try_from(count).ok()?;
        let taken = self.bytes.get(self.at..)?.get(..count)?;
        self.at += count;
        Some(taken)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.varint()?;
        self.take(count)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Reads the id and the type of the next field; the inner `None` is the end of the structure.
    fn field(&mut self, last_id: &mut i16) -> Option<Option<(i16, u8)>> {
        let header = self.byte()?;
        if header == 0 {
            return Some(None);
        }
        *last_id = match header >> 4 {
            0 => unzigzag(self.varint()?).try_into().ok()?,
            step => last_id.checked_add(i16::from(step))?,
        };
        Some(Some((*last_id, header & 0xf)))
    }

    /// Reads the number and the type of the items of a list.
    fn list(&mut self) -> Option<(u64, u8)> {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.varint()?,
            count => count.into(),
        };
        Some((count, header & 0xf))
    }

    /// Skips a value of a field.
    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        match kind {
            Kind::TRUE | Kind::FALSE => {}
            Kind::BYTE => drop(self.byte()?),
            Kind::INTEGER_16 | Kind::INTEGER_32 | Kind::INTEGER_64 => drop(self.varint()?),
            Kind::DOUBLE => drop(self.take(8)?),
            Kind::BYTES => drop(self.bytes()?),
            Kind::LIST | Kind::SET => {
                let (count, kind) = self.list()?;
                self.skip_items(count, &[kind], depth)?;
            }
            Kind::MAP => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                self.skip_items(count, &[kinds >> 4, kinds & 0xf], depth)?;
            }
            Kind::STRUCTURE => {
                let mut last_id = 0;
                while let Some((_, kind)) = self.field(&mut last_id)? {
                    self.skip(kind, depth + 1)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Skips items, or pairs of them; each takes at least a byte.
    fn skip_items(&mut self, count: u64, kinds: &[u8], depth: usize) -> Option<()> {
        for _ in 0..count {
            for &kind in kinds {
                match kind {
                    Kind::TRUE | Kind::FALSE => drop(self.byte()?),
                    kind => self.skip(kind, depth + 1)?,
                }
            }
        }
        Some(())
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}
