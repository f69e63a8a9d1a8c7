//! Reads the footer of a file before the library does, which would take any amount of memory or
//! stack for a damaged one; and once more if the library refuses it for columns that are not
//! wanted: with types that it does not know, or names for them that contradict each other.
//!
//! A footer is a structure in Thrift's compact protocol. Its schema says of each column how it is
//! stored (fields 1 to 5) and, after that, what it means. The meaning of unwanted columns is left
//! out here, and with it all that other programs note beside the schema. Structure of the footer:
//! `FileMetaData` and `SchemaElement` of <https://github.com/apache/parquet-format>.

use super::thrift::{Cursor, Kind, unzigzag};
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
/// The maximum length of a footer, in bytes.
const BYTES_MAX: u64 = 64 << 20;
/// The maximum depth of columns in columns, which the library reads by recursion.
const NESTING_MAX: usize = 64;

/// Returns the metadata of a file without the meaning of the columns that are not wanted, or `None`
/// if its footer cannot be read that way either.
pub(super) fn without_unwanted(file: &File, tree: &FieldTree) -> Option<ArrowReaderMetadata> {
    let footer = rewritten(&read(file)?, tree)?;
    let metadata = ParquetMetaDataReader::decode_metadata(&footer).ok()?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ArrowReaderMetadata::try_new(Arc::new(metadata), options).ok()
}

/// Refuses a footer that is too long, and a schema that is too deep or has more columns inside of
/// one than it has columns. What else is wrong with a footer is said by the library.
pub(super) fn check(file: &File) -> Result<(), String> {
    if let Some((_, length)) = place(file).filter(|(_, length)| *length > BYTES_MAX) {
        let (length, most) = (length >> 20, BYTES_MAX >> 20);
        return Err(format!("its footer has {length} MiB, and may have {most}"));
    }
    match read(file).map(|footer| is_bounded(&footer)) {
        Some(Some(true)) | None => Ok(()),
        Some(Some(false)) => Err(format!("its columns are nested more than {NESTING_MAX} deep")),
        Some(None) => Err("not a Parquet file that can be read: a damaged footer".into()),
    }
}

/// Whether no column is too deep inside others; `None` if the footer or its schema is damaged.
fn is_bounded(footer: &[u8]) -> Option<bool> {
    let mut cursor = Cursor::new(footer);
    let mut last_id = 0;
    let mut is_bounded = true;
    while let Some((id, kind)) = cursor.field(&mut last_id)? {
        if id == SCHEMA {
            let (count, kind) = if kind == Kind::LIST { cursor.list()? } else { return None };
            if kind != Kind::STRUCTURE && count > 0 {
                return None;
            }
            is_bounded &= is_nesting_bounded(&mut cursor, count)?;
        } else {
            cursor.skip(kind, 0)?;
        }
    }
    Some(is_bounded)
}

fn is_nesting_bounded(cursor: &mut Cursor<'_>, count: u64) -> Option<bool> {
    // The columns that follow of each open group.
    let mut groups: Vec<u64> = Vec::new();
    let mut is_bounded = true;
    for number in 0..count {
        let mut children = 0;
        let mut last_id = 0;
        while let Some((id, kind)) = cursor.field(&mut last_id)? {
            match (id, kind) {
                (CHILDREN, Kind::INTEGER_32) => {
                    children = u64::try_from(unzigzag(cursor.varint()?)).ok()?;
                }
                (CHILDREN, _) => return None,
                _ => cursor.skip(kind, 0)?,
            }
        }
        while groups.last() == Some(&0) {
            groups.pop();
        }
        if let Some(left) = groups.last_mut() {
            *left -= 1;
        }
        if children > count - number - 1 {
            return None;
        }
        if is_bounded {
            groups.push(children);
            is_bounded = groups.len() <= NESTING_MAX;
        }
    }
    Some(is_bounded)
}

/// Returns the bytes of the footer, which its length and `PAR1` follow.
fn read(mut file: &File) -> Option<Vec<u8>> {
    let (start, length) = place(file)?;
    let mut footer = vec![0; usize::try_from(length).ok()?];
    file.seek(SeekFrom::Start(start)).ok()?;
    file.read_exact(&mut footer).ok()?;
    Some(footer)
}

/// Returns where the footer begins, and its length.
fn place(mut file: &File) -> Option<(u64, u64)> {
    let mut ending = [0; 8];
    let end = file.seek(SeekFrom::End(-8)).ok()?;
    file.read_exact(&mut ending).ok()?;
    let [length @ .., b'P', b'A', b'R', b'1'] = ending else { return None };
    let length = u64::from(u32::from_le_bytes(length));
    Some((end.checked_sub(length)?, length))
}

/// Returns a footer without the meaning of the columns that are not in the tree.
fn rewritten(footer: &[u8], tree: &FieldTree) -> Option<Vec<u8>> {
    let mut cursor = Cursor::new(footer);
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
