//! One record of a generated log, with its ground truth.

use crate::event::{Event, Kind, RequestId, VideoId};

/// A record as it arrives in a partition of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The log that it belongs to.
    pub kind: Kind,
    /// The partition of that log, from 0.
    pub partition: u32,
    /// The time of arrival in its partition, in milliseconds: the record time.
    pub arrival_ms: i64,
    /// The ground truth.
    pub truth: GroundTruth,
    /// The request that it belongs to.
    pub request: RequestName,
    /// The video that was shown or played; 0 in a denial.
    pub video: VideoId,
    /// The event time, in milliseconds.
    pub event_time_ms: i64,
}

impl Arrival {
    /// The event that a source reads from the record at an offset; `None` if it is malformed.
    pub fn event(&self, offset: u64) -> Option<Event> {
        match self.truth {
            GroundTruth::Malformed(_) => None,
            _ => Some(Event {
                offset,
                request: self.request.id(),
                video: self.video,
                event_time_ms: self.event_time_ms,
                record_time_ms: Some(self.arrival_ms),
            }),
        }
    }
}

/// The ground truth of a record: how the model generated it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroundTruth {
    /// An event that arrives in time.
    OnTime,
    /// A play without an impression.
    Orphan,
    /// A repeated event. If both arrive in the same millisecond, it may come first.
    Duplicate,
    /// An event that arrives long after its event time.
    Late,
    /// An event that a wrong clock stamped in the future.
    Future,
    /// A malformed record.
    Malformed(Damage),
}

/// The damage of a malformed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The line ends in the middle. A Parquet row has no event time.
    CutOff,
    /// The video id is missing.
    NoVideo,
    /// The video id is text. A Parquet row cannot have that, so its video id is missing.
    TextVideo,
    /// The request id is empty.
    EmptyRequest,
    /// The line is the error page of a proxy. A Parquet row has no request id.
    NotJson,
}

impl Damage {
    /// All kinds of damage.
    pub const ALL: [Damage; 5] =
        [Damage::CutOff, Damage::NoVideo, Damage::TextVideo, Damage::EmptyRequest, Damage::NotJson];
}

/// The id of a request: a version 4 UUID, or the text `page-` and 16 hexadecimal digits.
///
/// Stored in 128 bits: the UUID, or the 64 bits of a text with version 15, which no UUID has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestName(u128);

const VERSION_SHIFT: u32 = 76;
const VERSION_TEXT: u128 = 0xf;
const TEXT_PREFIX: &[u8] = b"page-";

impl RequestName {
    /// A version 4 UUID with these bits, six of which are replaced as RFC 9562 requires.
    pub fn uuid(bits: u128) -> RequestName {
        let unversioned = bits & !(0xf << VERSION_SHIFT) & !(0b11 << 62);
        RequestName(unversioned | (4 << VERSION_SHIFT) | (0b10 << 62))
    }

    /// The text `page-` with these bits as 16 hexadecimal digits.
    pub fn text(bits: u64) -> RequestName {
        RequestName(u128::from(bits) | (VERSION_TEXT << VERSION_SHIFT))
    }

    /// Whether the id is text other than a UUID.
    pub fn is_text(self) -> bool {
        (self.0 >> VERSION_SHIFT) & 0xf == VERSION_TEXT
    }

    /// The request id that a source reads.
    pub fn id(self) -> RequestId {
        if !self.is_text() {
            return RequestId::from_u128(self.0);
        }
        let written = self.written();
        match RequestId::parse(written.as_str()) {
            Some(id) => id,
            None => unreachable!("21 ASCII letters are a valid id"),
        }
    }

    /// The partition of its events, if there are `partitions` of them.
    #[inline]
    pub fn partition(self, partitions: u32) -> u32 {
        // The lowest 32 bits are random in both forms.
        let share = u64::from(self.0 as u32) * u64::from(partitions);
        (share >> 32) as u32
    }

    /// The id in its written form.
    #[inline]
    pub fn written(self) -> WrittenName {
        if self.is_text() { self.written_text() } else { self.written_uuid() }
    }

    #[inline]
    fn written_uuid(self) -> WrittenName {
        let mut letters = [b'-'; 36];
        for (byte, start) in self.0.to_be_bytes().into_iter().zip(BYTE_STARTS) {
            letters[start..start + 2].copy_from_slice(&hexadecimal(byte));
        }
        WrittenName { letters, length: 36 }
    }

    fn written_text(self) -> WrittenName {
        let mut letters = [b'-'; 36];
        let prefix = TEXT_PREFIX.len();
        letters[..prefix].copy_from_slice(TEXT_PREFIX);
        let bytes = (self.0 as u64).to_be_bytes();
        for (pair, byte) in letters[prefix..].chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&hexadecimal(byte));
        }
        WrittenName { letters, length: prefix + 16 }
    }
}

/// The position of the two digits of each byte in a written UUID.
const BYTE_STARTS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

#[inline]
fn hexadecimal(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// The written form of a request id.
#[derive(Clone, Copy, Debug)]
pub struct WrittenName {
    letters: [u8; 36],
    length: usize,
}

impl WrittenName {
    /// The ASCII bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.letters[..self.length]
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        match std::str::from_utf8(self.as_bytes()) {
            Ok(text) => text,
            Err(error) => unreachable!("the bytes are ASCII: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_uuid_is_of_version_4() {
        let name = RequestName::uuid(u128::MAX);
        assert_eq!(name.written().as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert!(!name.is_text());
    }

    #[test]
    fn a_text_that_is_not_a_uuid_keeps_its_bits() {
        let name = RequestName::text(0x0123_4567_89ab_cdef);
        assert_eq!(name.written().as_str(), "page-0123456789abcdef");
        assert!(name.is_text());
    }

    proptest! {
        #[test]
        fn a_source_reads_the_id_that_is_written(bits: u128, is_text: bool) {
            let name =
                if is_text { RequestName::text(bits as u64) } else { RequestName::uuid(bits) };
            prop_assert_eq!(Some(name.id()), RequestId::parse(name.written().as_str()));
        }

        #[test]
        fn a_partition_number_is_below_the_partition_count(bits: u128, partitions in 1u32..=1000) {
            prop_assert!(RequestName::uuid(bits).partition(partitions) < partitions);
        }
    }
}
