//! How long does each codec take to encode and decode a touch that is sent between processes?
//!
//! `cargo bench --bench codec --features abomonation` measures both; without the feature there is
//! only bytemuck, the default. Each must decode the words that it encoded before it is timed.

mod common;

use common::parameter;
use std::hint::black_box;
use std::time::Instant;
use timely::bytes::arc::BytesMut;
use trendmark::event::{RequestId, Touch, VideoId};
use trendmark::showings::touches::{Lanes, Pool, Touches, bytemuck_codec};
use trendmark::time::{Publication, Round};

/// Touches per message: twenty videos per request.
const TOUCHES: usize = 4_000;

fn words() -> Vec<u64> {
    let mut lanes = Lanes::new(1, Pool::default());
    let round = Round::first(Publication(1));
    for number in 0..TOUCHES as u64 {
        let request = RequestId::from_u128(u128::from(number / 20));
        assert!(lanes.push(round, request, VideoId(number % 10_000), Touch::SHOWN).is_none());
    }
    lanes.drain().next().unwrap().into_owned(&Pool::default())
}

fn report<E>(
    name: &str,
    messages: usize,
    encode: impl Fn(&[u64], &mut Vec<u8>) -> Result<(), E>,
    decode: impl Fn(timely::bytes::arc::Bytes) -> Touches,
) where
    E: std::fmt::Debug,
{
    let words = words();
    let mut buffer = Vec::new();
    encode(&words, &mut buffer).unwrap();
    assert_eq!(decode(BytesMut::from(buffer.clone()).freeze()).words(), &words[..], "{name}");
    let start = Instant::now();
    for _ in 0..messages {
        buffer.clear();
        encode(black_box(&words), &mut buffer).unwrap();
    }
    let encoded = start.elapsed();
    let bytes: Vec<_> = (0..messages).map(|_| BytesMut::from(buffer.clone()).freeze()).collect();
    let start = Instant::now();
    for bytes in bytes {
        black_box(decode(bytes).into_owned(&Pool::default()));
    }
    let decoded = start.elapsed();
    let per_touch =
        |elapsed: std::time::Duration| elapsed.as_nanos() as f64 / (messages * TOUCHES) as f64;
    println!(
        "{name}: encode {:.2} ns, decode {:.2} ns per touch",
        per_touch(encoded),
        per_touch(decoded)
    );
}

fn main() {
    let messages = parameter("--messages", 2_000, 2);
    for _ in 0..parameter("--repeat", 3, 1) {
        report("bytemuck", messages, bytemuck_codec::encode, bytemuck_codec::decode);
        #[cfg(feature = "abomonation")]
        report(
            "abomonation",
            messages,
            trendmark::showings::touches::abomonation_codec::encode,
            trendmark::showings::touches::abomonation_codec::decode,
        );
    }
}
