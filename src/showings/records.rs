//! Touches on their way to the worker that keeps their request: a container of plain records.
//!
//! Between threads a container moves as it is. Between processes it travels as the bytes of its
//! records, read in place by the receiver ([`codec`]). Vectors would go through bincode, at about
//! 0.6 times the speed.

use crate::event::{RequestId, Touch, VideoId};
use bytemuck::{Pod, Zeroable};
use std::cell::RefCell;
use std::rc::Rc;
use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::communication::Push;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};
use timely::progress::Stamp;

/// A touch of a showing in a round. All its fields are words of eight bytes, so that it has no
/// padding and can be read in place wherever eight bytes are aligned.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Record {
    /// The request of the showing; it decides which worker keeps it.
    pub request: RequestId,
    /// The video of the showing.
    pub video: VideoId,
    /// The round in the upper 56 bits, the touch in the lower 8.
    round_and_touch: u64,
}

impl Record {
    /// A record of a round below 2⁵⁶.
    #[inline]
    pub fn new(request: RequestId, video: VideoId, round: u64, touch: Touch) -> Record {
        debug_assert!(round < 1 << 56);
        Record { request, video, round_and_touch: (round << 8) | u64::from(touch.0) }
    }

    /// The round in which it was read.
    #[inline]
    pub fn round(&self) -> u64 {
        self.round_and_touch >> 8
    }

    /// What it says of the showing.
    #[inline]
    pub fn touch(&self) -> Touch {
        Touch(self.round_and_touch as u8)
    }
}

/// Records: our own, or a view of bytes that another process sent.
#[derive(Clone)]
pub enum Records {
    /// Records of this process.
    Owned(Vec<Record>),
    /// The bytes of records, as received. They pin a larger buffer, so they must not be kept.
    Received(Bytes),
}

/// The worker, of so many, that keeps what is known of a request. Runs are ordered by the first
/// word of a request, so workers are chosen by the second.
#[inline]
pub fn keeper(request: RequestId, workers: usize) -> usize {
    let RequestId([_, low]) = request;
    // The upper half of the product: as even as a remainder, without a division.
    ((u128::from(low) * workers as u128) >> 64) as usize
}

/// Buffers of full containers that were emptied, to be filled again. Shared by the dataflows of a
/// worker: it receives about as many as it sends. Handing them back to the allocator would have
/// the system clear their pages each time, in a heap that all threads share.
#[derive(Clone, Default)]
pub struct Pool {
    buffers: Rc<RefCell<Vec<Vec<Record>>>>,
}

/// The most buffers that a pool keeps: 16 MiB.
const POOL_MAX: usize = 256;

impl Pool {
    /// An empty buffer with room for a full container.
    fn take(&self) -> Vec<Record> {
        let buffer = self.buffers.borrow_mut().pop();
        buffer.unwrap_or_else(|| Vec::with_capacity(RECORDS_MAX))
    }

    /// Takes a buffer back, whatever is in it.
    pub fn give_back(&self, mut buffer: Vec<Record>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffer.capacity() >= RECORDS_MAX && buffers.len() < POOL_MAX {
            buffer.clear();
            buffers.push(buffer);
        }
    }
}

/// Records on their way out, those of each keeper apart, so that whole containers can be passed on.
pub struct Lanes {
    lanes: Vec<Vec<Record>>,
    pool: Pool,
}

impl Lanes {
    /// Empty lanes to so many workers.
    pub fn new(workers: usize, pool: Pool) -> Lanes {
        Lanes { lanes: vec![Vec::new(); workers], pool }
    }

    /// Adds a record. Returns the records of its lane once they fill a container.
    #[inline]
    pub fn push(&mut self, record: Record) -> Option<Records> {
        let keeper = keeper(record.request, self.lanes.len());
        let lane = &mut self.lanes[keeper];
        if lane.capacity() == 0 {
            *lane = self.pool.take();
        }
        lane.push(record);
        (lane.len() == RECORDS_MAX).then(|| Records::Owned(std::mem::take(lane)))
    }

    /// Takes all records, lane by lane.
    pub fn drain(&mut self) -> impl Iterator<Item = Records> + '_ {
        let lanes = self.lanes.iter_mut().filter(|lane| !lane.is_empty());
        lanes.map(|lane| Records::Owned(std::mem::take(lane)))
    }
}

/// Passes containers to the keeper of their records, which must be the same for all of them.
pub struct ToKeeper;

impl Distributor<Records> for ToKeeper {
    fn partition<T: Clone, P: Push<Message<T, Records>>>(
        &mut self,
        records: &mut Records,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        if let Some(first) = records.as_slice().first() {
            let keeper = keeper(first.request, pushers.len());
            Message::push_at(records, stamp.clone(), &mut pushers[keeper]);
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Records>>>(&mut self, _: &Stamp<T>, _: &mut [P]) {}
}

/// The length of a full container: 64 KiB, which keeps messages between processes large.
const RECORDS_MAX: usize = (64 << 10) / size_of::<Record>();

impl Records {
    /// The records.
    pub fn as_slice(&self) -> &[Record] {
        match self {
            Records::Owned(records) => records,
            Records::Received(bytes) => bytemuck::cast_slice(bytes),
        }
    }

    /// The records in memory of our own, without a copy if they already are.
    pub fn into_owned(self, pool: &Pool) -> Vec<Record> {
        match self {
            Records::Owned(records) => records,
            Records::Received(bytes) => {
                let mut records = pool.take();
                records.extend_from_slice(bytemuck::cast_slice(&bytes));
                records
            }
        }
    }
}

impl Default for Records {
    fn default() -> Self {
        Records::Owned(Vec::new())
    }
}

impl Accountable for Records {
    fn record_count(&self) -> i64 {
        self.as_slice().len() as i64
    }
}

impl ContainerBytes for Records {
    fn from_bytes(bytes: Bytes) -> Self {
        codec::decode(bytes)
    }

    fn length_in_bytes(&self) -> usize {
        codec::encoded_bytes(self.as_slice())
    }

    fn into_bytes<W: std::io::Write>(&self, writer: &mut W) {
        if let Err(error) = codec::encode(self.as_slice(), writer) {
            // Timely hands us a buffer in memory of the length that we asked for.
            panic!("cannot write {} records: {error}", self.record_count());
        }
    }
}

#[cfg(feature = "abomonation")]
pub use abomonation_codec as codec;
#[cfg(not(feature = "abomonation"))]
pub use bytemuck_codec as codec;

/// The bytes of the records as they lie in memory, by `bytemuck`: checked, and without unsafe code.
pub mod bytemuck_codec {
    use super::{Bytes, Record, Records};
    use std::io::{Result, Write};

    /// How many bytes [`encode`] writes.
    pub fn encoded_bytes(records: &[Record]) -> usize {
        size_of_val(records)
    }

    /// Writes the records.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn encode(records: &[Record], writer: &mut impl Write) -> Result<()> {
        writer.write_all(bytemuck::cast_slice(records))
    }

    /// Reads records in place, or copies them if they are not aligned.
    ///
    /// # Panics
    /// If the bytes are not whole records, which would be a fault of the transport.
    pub fn decode(bytes: Bytes) -> Records {
        assert!(bytes.len().is_multiple_of(size_of::<Record>()), "torn records: {}", bytes.len());
        if bytemuck::try_cast_slice::<u8, Record>(&bytes).is_ok() {
            Records::Received(bytes)
        } else {
            Records::Owned(bytemuck::allocation::pod_collect_to_vec(&bytes[..]))
        }
    }
}

/// The same through `abomonation`, for comparison only: RUSTSEC-2021-0120 (unsound, unmaintained).
///
/// It is not the default because it is no faster and cannot be made safe: `decode` ignores
/// alignment (we give it a type of alignment 8 in a slab aligned to 8) and trusts every byte.
#[cfg(feature = "abomonation")]
#[allow(unsafe_code)]
pub mod abomonation_codec {
    use super::{Bytes, Record, Records};
    use abomonation::Abomonation;
    use std::io::{Result, Write};

    // `Record` is plain: it owns nothing, so its bytes are all there is to it.
    impl Abomonation for Record {}

    /// How many bytes [`encode`] writes.
    pub fn encoded_bytes(records: &[Record]) -> usize {
        size_of::<Vec<Record>>() + size_of_val(records)
    }

    /// Writes the records, as a `Vec` of them.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn encode(records: &[Record], writer: &mut impl Write) -> Result<()> {
        let records = records.to_vec();
        // SAFETY: the header of a `Vec` has no padding, and `Record` neither.
        unsafe { abomonation::encode(&records, writer) }
    }

    /// Reads records, and copies them out of the buffer.
    ///
    /// What is received is shared, and `decode` writes its pointers into what it reads, so that it
    /// gets a copy, aligned as it needs it.
    ///
    /// # Panics
    /// If the bytes are not a whole `Vec` of records, which would be a fault of the transport.
    pub fn decode(bytes: Bytes) -> Records {
        let mut words = vec![0_u64; bytes.len().div_ceil(size_of::<u64>())];
        let copy = &mut bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..bytes.len()];
        copy.copy_from_slice(&bytes);
        // SAFETY: the bytes come from `encode` in the same binary, and are aligned.
        let decoded = unsafe { abomonation::decode::<Vec<Record>>(copy) };
        match decoded {
            Some((records, _rest)) => Records::Owned(records.clone()),
            None => panic!("torn records"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use timely::bytes::arc::BytesMut;

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let record = (any::<u128>(), any::<u64>(), 0..1u64 << 56, any::<u8>());
        let record = record.prop_map(|(request, video, round, touch)| {
            Record::new(RequestId::from_u128(request), VideoId(video), round, Touch(touch))
        });
        proptest::collection::vec(record, 0..100)
    }

    fn received(bytes: Vec<u8>) -> Bytes {
        BytesMut::from(bytes).freeze()
    }

    proptest! {
        #[test]
        fn records_survive_the_way_between_processes(records in records()) {
            let container = Records::Owned(records.clone());
            let mut bytes = Vec::new();
            container.into_bytes(&mut bytes);
            prop_assert_eq!(bytes.len(), container.length_in_bytes());
            let arrived = Records::from_bytes(received(bytes));
            prop_assert_eq!(arrived.as_slice(), &records[..]);
            prop_assert_eq!(arrived.into_owned(&Pool::default()), records);
        }

        #[cfg(feature = "abomonation")]
        #[test]
        fn both_codecs_bring_the_same_records(records in records()) {
            let (mut plain, mut abomonated) = (Vec::new(), Vec::new());
            bytemuck_codec::encode(&records, &mut plain).unwrap();
            abomonation_codec::encode(&records, &mut abomonated).unwrap();
            prop_assert_eq!(bytemuck_codec::encoded_bytes(&records), plain.len());
            prop_assert_eq!(abomonation_codec::encoded_bytes(&records), abomonated.len());
            let plain = bytemuck_codec::decode(received(plain));
            let abomonated = abomonation_codec::decode(received(abomonated));
            prop_assert_eq!(plain.as_slice(), abomonated.as_slice());
        }
    }
}
