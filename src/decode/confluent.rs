//! The framing of Confluent's serializers, which gives the schema id of a message.
//!
//! A zero byte, the id of the schema in 4 bytes, most significant first, and the payload. For
//! Protobuf, the payload begins with the indexes of the message's type in its schema.

use super::DecodeError;

/// The length of the header, in bytes.
const FRAME_BYTES: usize = 5;
/// The reason given for missing bytes.
pub(super) const TOO_SHORT: &str = "unexpected end of data";
/// The longest varint, in bytes.
const VARINT_BYTES_MAX: usize = 10;

/// Returns the schema id of a message and its payload.
///
/// # Errors
/// If the message is not framed.
#[inline]
pub fn unframe(message: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    let Some((frame, payload)) = message.split_first_chunk::<FRAME_BYTES>() else {
        return Err(DecodeError::NotFramed("it has fewer than 5 bytes"));
    };
    match *frame {
        [0, id @ ..] => Ok((u32::from_be_bytes(id), payload)),
        _ => Err(DecodeError::NotFramed("its first byte is not 0")),
    }
}

/// The remaining bytes of a record. Errors are reasons for [`DecodeError::SchemaMismatch`].
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], &'static str> {
        let taken = usize::try_from(count).ok().and_then(|count| self.0.split_at_checked(count));
        let (taken, rest) = taken.ok_or(TOO_SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Reads an integer of 7 bits per byte, least significant first.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, &'static str> {
        let mut number = 0;
        for (at, &byte) in self.0.iter().take(VARINT_BYTES_MAX).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.0 = &self.0[at + 1..];
                // The tenth byte can only hold the last of 64 bits.
                let is_too_large = at + 1 == VARINT_BYTES_MAX && byte > 1;
                return if is_too_large { Err("an integer is too large") } else { Ok(number) };
            }
        }
        Err(if self.0.len() < VARINT_BYTES_MAX { TOO_SHORT } else { "an integer is too long" })
    }

    /// Reads the same, with the sign in the lowest bit.
    #[inline]
    pub(super) fn signed(&mut self) -> Result<i64, &'static str> {
        self.varint().map(unzigzag)
    }

    #[inline]
    pub(super) fn text(&mut self, count: u64) -> Result<&'a str, &'static str> {
        std::str::from_utf8(self.take(count)?).map_err(|_| "a string is not UTF-8")
    }
}

/// Decodes an integer with the sign in the lowest bit.
#[inline]
pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
