//! Touches on their way to the owner of their request, in a container of plain words.
//!
//! Clients send the showings of a request together, so touches are grouped where they are read:
//!
//! ```text
//! round, request (2 words), number of videos * 256 + touch, video, video, …, request (2 words), …
//! ```
//!
//! A denial is a group without videos. Containers have either touches of videos or denials.
//!
//! Twenty videos of a request take 23 words where twenty records of request, video and touch would
//! take 80. Between threads a container is moved. Between processes its words are sent unchanged,
//! and the receiver reads them in place ([`codec`]).

use crate::event::{RequestId, Touch, VideoId};
use crate::time::Round;
use std::cell::RefCell;
use std::rc::Rc;
use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::communication::Push;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::channels::{ContainerBytes, Message};
use timely::progress::Stamp;

/// Touches of one round: owned, or a view of bytes that another process sent.
#[derive(Clone)]
pub enum Touches {
    /// Words of this process.
    Owned(Vec<u64>),
    /// The words as received bytes. They pin a larger buffer, so they must not be kept.
    Received(Bytes),
}

/// Consecutive equal touches of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestGroup<'a> {
    /// The request.
    pub request: RequestId,
    /// The touch of each of the videos.
    pub touch: Touch,
    /// The videos, in the order of arrival; none in a denial.
    pub videos: &'a [VideoId],
}

/// The number of words of a group before its videos.
const HEADER: usize = 3;

/// Returns the round of the touches in a buffer, or `None` if it is empty.
pub fn round(words: &[u64]) -> Option<Round> {
    words.first().copied().map(Round::from_word)
}

/// Returns the groups of a buffer.
pub fn request_groups(words: &[u64]) -> impl Iterator<Item = RequestGroup<'_>> {
    let mut words = words.get(1..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (group, rest) = first_group(words)?;
        words = rest;
        Some(group)
    })
}

/// Returns the first group of words that begin with one, and the words after it; `None` if there
/// are no words.
///
/// # Panics
/// If the buffer is truncated, which would be a fault of the transport.
#[inline(always)]
pub fn first_group(words: &[u64]) -> Option<(RequestGroup<'_>, &[u64])> {
    if words.is_empty() {
        return None;
    }
    let (&[high, low, header], rest) = words.split_first_chunk().expect("a group has a header");
    let (videos, rest) = rest.split_at((header >> 8) as usize);
    let (request, touch) = (RequestId([high, low]), Touch(header as u8));
    Some((RequestGroup { request, touch, videos: bytemuck::cast_slice(videos) }, rest))
}

/// Whether a buffer has denials.
pub fn are_denials(words: &[u64]) -> bool {
    request_groups(words).next().is_some_and(|first| first.touch.is_denied())
}

/// Returns which of `workers` workers owns a request. Runs are ordered by the first word of a
/// request, so owners are chosen by the second.
#[inline]
pub fn owner(request: RequestId, workers: usize) -> usize {
    let RequestId([_, low]) = request;
    // The upper half of the product: as even as a remainder, without a division.
    ((u128::from(low) * workers as u128) >> 64) as usize
}

/// Emptied buffers of full containers, for reuse. Shared by the dataflows of a worker, which
/// receives about as many containers as it sends. If they were freed instead, the system would
/// clear their pages each time, in a heap that all threads share.
#[derive(Clone, Default)]
pub struct Pool {
    buffers: Rc<RefCell<Vec<Vec<u64>>>>,
}

/// The maximum number of buffers in a pool: 16 MiB.
const POOL_MAX: usize = 256;

impl Pool {
    /// Takes an empty buffer with room for a full container.
    fn take(&self) -> Vec<u64> {
        let buffer = self.buffers.borrow_mut().pop();
        buffer.unwrap_or_else(|| Vec::with_capacity(WORDS_MAX))
    }

    /// Returns a buffer to the pool, whatever its content.
    pub fn recycle(&self, mut buffer: Vec<u64>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffer.capacity() >= WORDS_MAX && buffers.len() < POOL_MAX {
            buffer.clear();
            buffers.push(buffer);
        }
    }
}

/// Outgoing touches, separated by owner, so that whole containers can be passed on.
pub struct Lanes {
    lanes: Vec<Lane>,
    /// Those of denials.
    denials: Vec<Lane>,
    pool: Pool,
}

/// The touches of one round for one owner.
#[derive(Clone, Default)]
struct Lane {
    words: Vec<u64>,
    /// The index of the last group; 0 if there is none.
    last: usize,
}

impl Lane {
    #[inline]
    fn push(&mut self, request: RequestId, video: VideoId, touch: Touch) {
        let RequestId([high, low]) = request;
        if let Some([last_high, last_low, header]) = self.words[self.last..].first_chunk_mut()
            && self.last > 0
            && (*last_high ^ high) | (*last_low ^ low) | u64::from(*header as u8 ^ touch.0) == 0
        {
            *header += 1 << 8;
            return self.words.push(video.0);
        }
        self.last = self.words.len();
        self.words.extend_from_slice(&[high, low, 1 << 8 | u64::from(touch.0), video.0]);
    }

    /// Whether another touch might not fit.
    fn is_full(&self) -> bool {
        self.words.len() + HEADER + 1 > WORDS_MAX
    }

    fn take(&mut self) -> Touches {
        self.last = 0;
        Touches::Owned(std::mem::take(&mut self.words))
    }
}

impl Lanes {
    /// Creates empty lanes to `workers` workers.
    pub fn new(workers: usize, pool: Pool) -> Lanes {
        let lanes = || vec![Lane::default(); workers];
        Lanes { lanes: lanes(), denials: lanes(), pool }
    }

    /// Adds a touch, which must be in the same round as those not yet taken. Returns the touches of
    /// its lane once they fill a container.
    #[inline]
    pub fn push(
        &mut self,
        round: Round,
        request: RequestId,
        video: VideoId,
        touch: Touch,
    ) -> Option<Touches> {
        let owner = owner(request, self.lanes.len());
        let lane = &mut self.lanes[owner];
        if lane.words.is_empty() {
            lane.words = self.pool.take();
            lane.words.push(round.to_word());
        }
        debug_assert_eq!(lane.words[0], round.to_word());
        lane.push(request, video, touch);
        lane.is_full().then(|| lane.take())
    }

    /// Adds a denial, as [`Lanes::push`] does a touch.
    pub fn deny(&mut self, round: Round, request: RequestId, touch: Touch) -> Option<Touches> {
        let RequestId([high, low]) = request;
        let owner = owner(request, self.denials.len());
        let lane = &mut self.denials[owner];
        if lane.words.is_empty() {
            lane.words = self.pool.take();
            lane.words.push(round.to_word());
        }
        lane.words.extend_from_slice(&[high, low, u64::from(touch.0)]);
        lane.is_full().then(|| lane.take())
    }

    /// Takes all touches, lane by lane.
    pub fn drain(&mut self) -> impl Iterator<Item = Touches> + '_ {
        let lanes = self.lanes.iter_mut().chain(&mut self.denials);
        lanes.filter(|lane| !lane.words.is_empty()).map(Lane::take)
    }
}

/// Sends each container to the owner of its requests, which must be the same for all of them.
pub struct ToOwner;

impl Distributor<Touches> for ToOwner {
    fn partition<T: Clone, P: Push<Message<T, Touches>>>(
        &mut self,
        touches: &mut Touches,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        if let Some(owner) = touches.owner(pushers.len()) {
            Message::push_at(touches, stamp.clone(), &mut pushers[owner]);
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Touches>>>(&mut self, _: &Stamp<T>, _: &mut [P]) {}
}

/// The length of a full container: 64 KiB, which keeps messages between processes large.
const WORDS_MAX: usize = (64 << 10) / size_of::<u64>();

impl Touches {
    /// Returns the words.
    pub fn words(&self) -> &[u64] {
        match self {
            Touches::Owned(words) => words,
            Touches::Received(bytes) => bytemuck::cast_slice(bytes),
        }
    }

    /// Returns which of `workers` workers owns the requests, all of which must have the same owner.
    fn owner(&self, workers: usize) -> Option<usize> {
        request_groups(self.words()).next().map(|first| owner(first.request, workers))
    }

    /// Returns the words in owned memory, copied only if they were received.
    pub fn into_owned(self, pool: &Pool) -> Vec<u64> {
        match self {
            Touches::Owned(words) => words,
            Touches::Received(bytes) => {
                let mut words = pool.take();
                words.extend_from_slice(bytemuck::cast_slice(&bytes));
                words
            }
        }
    }
}

impl Default for Touches {
    fn default() -> Self {
        Touches::Owned(Vec::new())
    }
}

impl Accountable for Touches {
    /// Timely only requires the same number at the sender and at the receiver of a container.
    fn record_count(&self) -> i64 {
        self.words().len() as i64
    }
}

impl ContainerBytes for Touches {
    fn from_bytes(bytes: Bytes) -> Self {
        codec::decode(bytes)
    }

    fn length_in_bytes(&self) -> usize {
        codec::encoded_bytes(self.words())
    }

    fn into_bytes<W: std::io::Write>(&self, writer: &mut W) {
        if let Err(error) = codec::encode(self.words(), writer) {
            // Timely provides a buffer in memory of the length that was requested.
            panic!("cannot write {} words: {error}", self.words().len());
        }
    }
}

#[cfg(feature = "abomonation")]
pub use abomonation_codec as codec;
#[cfg(not(feature = "abomonation"))]
pub use bytemuck_codec as codec;

/// The bytes of the words in memory, by `bytemuck`: checked, and without unsafe code.
pub mod bytemuck_codec {
    use super::{Bytes, Touches};
    use std::io::{Result, Write};

    /// Returns the number of bytes that [`encode`] writes.
    pub fn encoded_bytes(words: &[u64]) -> usize {
        size_of_val(words)
    }

    /// Writes the words.
    ///
    /// # Errors
    /// Returns the errors of the writer.
    pub fn encode(words: &[u64], writer: &mut impl Write) -> Result<()> {
        writer.write_all(bytemuck::cast_slice(words))
    }

    /// Reads words in place, or copies them if they are not aligned.
    ///
    /// # Panics
    /// If the bytes are not whole words, which would be a fault of the transport.
    pub fn decode(bytes: Bytes) -> Touches {
        assert!(bytes.len().is_multiple_of(size_of::<u64>()), "bad length: {} bytes", bytes.len());
        if bytemuck::try_cast_slice::<u8, u64>(&bytes).is_ok() {
            Touches::Received(bytes)
        } else {
            Touches::Owned(bytemuck::allocation::pod_collect_to_vec(&bytes[..]))
        }
    }
}

/// The same by `abomonation`, for comparison only: RUSTSEC-2021-0120 (unsound, unmaintained).
///
/// It is not the default because it is no faster and cannot be made safe: `decode` ignores
/// alignment (we give it a type of alignment 8 in a slab aligned to 8) and trusts every byte.
#[cfg(feature = "abomonation")]
#[allow(unsafe_code)]
pub mod abomonation_codec {
    use super::{Bytes, Touches};
    use std::io::{Result, Write};

    /// Returns the number of bytes that [`encode`] writes.
    pub fn encoded_bytes(words: &[u64]) -> usize {
        size_of::<Vec<u64>>() + size_of_val(words)
    }

    /// Writes the words as a `Vec`.
    ///
    /// # Errors
    /// Returns the errors of the writer.
    pub fn encode(words: &[u64], writer: &mut impl Write) -> Result<()> {
        let words = words.to_vec();
        // SAFETY: neither the header of a `Vec` nor its words have any padding.
        unsafe { abomonation::encode(&words, writer) }
    }

    /// Reads words from a copy of the buffer.
    ///
    /// The received bytes are shared, and `decode` writes pointers into its input, so it gets an
    /// aligned copy.
    ///
    /// # Panics
    /// If the bytes are not a whole `Vec` of words, which would be a fault of the transport.
    pub fn decode(bytes: Bytes) -> Touches {
        let mut copy = vec![0_u64; bytes.len().div_ceil(size_of::<u64>())];
        let copy = &mut bytemuck::cast_slice_mut::<u64, u8>(&mut copy)[..bytes.len()];
        copy.copy_from_slice(&bytes);
        // SAFETY: the bytes come from `encode` in the same binary, and are aligned.
        let decoded = unsafe { abomonation::decode::<Vec<u64>>(copy) };
        match decoded {
            Some((words, _rest)) => Touches::Owned(words.clone()),
            None => panic!("not a `Vec` of words"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use timely::bytes::arc::BytesMut;

    type Item = (RequestId, VideoId, Touch);

    /// Touches of few requests, which repeat both consecutively and later.
    fn arbitrary_touches() -> impl Strategy<Value = Vec<Item>> {
        let touch = (0..4u64, any::<u64>(), 1..3u8, 1..6usize);
        let same = touch.prop_map(|(request, video, touch, times)| {
            vec![(RequestId([request, request << 62]), VideoId(video), Touch(touch)); times]
        });
        vec(same, 0..20).prop_map(|same| same.concat())
    }

    /// Sends touches through lanes, and returns the containers of each owner, in order.
    fn through_lanes(said: &[Item], workers: usize) -> Vec<Vec<Touches>> {
        let mut lanes = Lanes::new(workers, Pool::default());
        let mut sent = vec![Vec::new(); workers];
        let mut send = |touches: Touches| {
            sent[touches.owner(workers).unwrap()].push(touches);
        };
        for (request, video, touch) in said {
            lanes.push(Round::from_word(7), *request, *video, *touch).map(&mut send);
        }
        lanes.drain().for_each(&mut send);
        sent
    }

    fn content(containers: &[Touches]) -> Vec<Item> {
        let request_groups = containers.iter().flat_map(|touches| {
            assert_eq!(round(touches.words()), Some(Round::from_word(7)));
            request_groups(touches.words())
        });
        request_groups
            .flat_map(|RequestGroup { request, touch, videos }| {
                videos.iter().map(move |video| (request, *video, touch))
            })
            .collect()
    }

    fn received(touches: &Touches) -> Touches {
        let mut bytes = Vec::new();
        touches.into_bytes(&mut bytes);
        assert_eq!(bytes.len(), touches.length_in_bytes());
        Touches::from_bytes(BytesMut::from(bytes).freeze())
    }

    proptest! {
        #[test]
        fn owners_get_their_touches_in_order(said in arbitrary_touches(), workers in 1..4usize) {
            for (worker, containers) in through_lanes(&said, workers).iter().enumerate() {
                let is_its = |(request, _, _): &&Item| owner(*request, workers) == worker;
                let its: Vec<_> = said.iter().filter(is_its).copied().collect();
                prop_assert_eq!(content(containers), its);
            }
        }

        #[test]
        fn touches_are_equal_after_transport_between_processes(said in arbitrary_touches()) {
            for containers in through_lanes(&said, 2) {
                let arrived: Vec<_> = containers.iter().map(received).collect();
                prop_assert_eq!(content(&arrived), content(&containers));
                for (touches, arrived) in containers.iter().zip(arrived) {
                    prop_assert_eq!(arrived.into_owned(&Pool::default()), touches.words());
                }
            }
        }

        #[cfg(feature = "abomonation")]
        #[test]
        fn both_codecs_transport_the_same_words(words in vec(any::<u64>(), 0..100)) {
            let received = |bytes: Vec<u8>| BytesMut::from(bytes).freeze();
            let (mut plain, mut abomonated) = (Vec::new(), Vec::new());
            bytemuck_codec::encode(&words, &mut plain).unwrap();
            abomonation_codec::encode(&words, &mut abomonated).unwrap();
            prop_assert_eq!(bytemuck_codec::encoded_bytes(&words), plain.len());
            prop_assert_eq!(abomonation_codec::encoded_bytes(&words), abomonated.len());
            let plain = bytemuck_codec::decode(received(plain));
            let abomonated = abomonation_codec::decode(received(abomonated));
            prop_assert_eq!(plain.words(), abomonated.words());
        }
    }

    #[test]
    fn a_request_that_fills_a_container_continues_in_the_next() {
        let said: Vec<Item> = (0..3 * WORDS_MAX as u64)
            .map(|video| (RequestId([1, 2]), VideoId(video), Touch::SHOWN))
            .collect();
        let sent = through_lanes(&said, 1);
        assert_eq!(sent[0].len(), 4);
        assert!(sent[0].iter().all(|touches| touches.words().len() <= WORDS_MAX));
        assert_eq!(content(&sent[0]), said);
    }
}
