//! Thrift's compact protocol, as far as the footer and the pages of Parquet files need it:
//! <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

/// The maximum depth of nested structures.
const DEPTH_MAX: usize = 32;

/// The type of a value in Thrift's compact protocol.
pub(super) struct Kind;

impl Kind {
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const INTEGER_16: u8 = 4;
    pub const INTEGER_32: u8 = 5;
    pub const INTEGER_64: u8 = 6;
    pub const DOUBLE: u8 = 7;
    pub const BYTES: u8 = 8;
    pub const LIST: u8 = 9;
    pub const SET: u8 = 10;
    pub const MAP: u8 = 11;
    pub const STRUCTURE: u8 = 12;
}

/// Reads Thrift's compact protocol.
pub(super) struct Cursor<'a> {
    /// All bytes.
    pub bytes: &'a [u8],
    /// The number of bytes that were read.
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    pub fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let count = usize::try_from(count).ok()?;
        let taken = self.bytes.get(self.at..)?.get(..count)?;
        self.at += count;
        Some(taken)
    }

    /// Takes bytes, or those that are left if there are fewer.
    pub fn take_up_to(&mut self, count: u64) -> &'a [u8] {
        let left = self.bytes.len() - self.at;
        let count = usize::try_from(count).map_or(left, |count| count.min(left));
        self.at += count;
        &self.bytes[self.at - count..self.at]
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.varint()?;
        self.take(count)
    }

    pub fn varint(&mut self) -> Option<u64> {
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
    pub fn field(&mut self, last_id: &mut i16) -> Option<Option<(i16, u8)>> {
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
    pub fn list(&mut self) -> Option<(u64, u8)> {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.varint()?,
            count => count.into(),
        };
        Some((count, header & 0xf))
    }

    /// Skips a value of a field.
    pub fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
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

/// Returns the signed number that a varint stands for.
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}
