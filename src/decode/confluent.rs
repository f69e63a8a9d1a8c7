//! The framing that Confluent's serializers give to a message: which schema it is of, by its id.
//!
//! A zero byte, the id of the schema in 4 bytes, most significant first, and what it frames. For
//! Protobuf that begins with the place of the message's type in its schema.

use super::DecodeError;

/// The length of the frame, in bytes.
const FRAME_BYTES: usize = 5;
/// Why bytes end too soon.
pub(super) const TOO_SHORT: &str = "it ends too soon";
/// The longest varint, in bytes.
const VARINT_BYTES_MAX: usize = 10;

/// The id of the schema of a message, and what is framed.
///
/// # Errors
/// When there is no frame.
#[inline]
pub fn unframe(message: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    let Some((frame, payload)) = message.split_first_chunk::<FRAME_BYTES>() else {
        return Err(DecodeError::NotFramed("it has less than 5 bytes"));
    };
    match *frame {
        [0, id @ ..] => Ok((u32::from_be_bytes(id), payload)),
        _ => Err(DecodeError::NotFramed("its first byte is not 0")),
    }
}

/// The bytes of a record that are left. Its errors are reasons.
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

    /// An integer of 7 bits a byte, least significant first.
    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, &'static str> {
        let mut number = 0;
        for (at, &byte) in self.0.iter().take(VARINT_BYTES_MAX).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.0 = &self.0[at + 1..];
                // The tenth byte has one bit left to tell.
                let is_too_large = at + 1 == VARINT_BYTES_MAX && byte > 1;
                return if is_too_large { Err("an integer is too large") } else { Ok(number) };
            }
        }
        Err(if self.0.len() < VARINT_BYTES_MAX { TOO_SHORT } else { "an integer is too long" })
    }

    /// The same, with the sign in the lowest bit.
    #[inline]
    pub(super) fn signed(&mut self) -> Result<i64, &'static str> {
        self.varint().map(unzigzag)
    }

    #[inline]
    pub(super) fn text(&mut self, count: u64) -> Result<&'a str, &'static str> {
        std::str::from_utf8(self.take(count)?).map_err(|_| "a string is not UTF-8")
    }
}

/// The integer whose sign is the lowest bit.
#[inline]
pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
