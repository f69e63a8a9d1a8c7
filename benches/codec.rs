//! What does a record cost on its way between processes, through each codec?
//!
//! `cargo bench --bench codec --features abomonation` shows both; without the feature there is only
//! bytemuck, the default. Both must bring the same records before their time counts.

mod common;

use common::parameter;
use std::hint::black_box;
use std::time::Instant;
use timely::bytes::arc::BytesMut;
use trendmark::event::{RequestId, Touch, VideoId};
use trendmark::showings::records::{Pool, Record, Records, bytemuck_codec};

/// As many records as a message between processes holds.
const RECORDS: usize = 2048;

fn records() -> Vec<Record> {
    let record = |number: u64| {
        let request = RequestId::from_u128(u128::from(number / 20));
        Record::new(request, VideoId(number % 10_000), 1, Touch::SHOWN)
    };
    (0..RECORDS as u64).map(record).collect()
}

fn report<E>(
    name: &str,
    messages: usize,
    encode: impl Fn(&[Record], &mut Vec<u8>) -> Result<(), E>,
    decode: impl Fn(timely::bytes::arc::Bytes) -> Records,
) where
    E: std::fmt::Debug,
{
    let records = records();
    let mut buffer = Vec::new();
    encode(&records, &mut buffer).unwrap();
    assert_eq!(decode(BytesMut::from(buffer.clone()).freeze()).as_slice(), &records[..], "{name}");
    let start = Instant::now();
    for _ in 0..messages {
        buffer.clear();
        encode(black_box(&records), &mut buffer).unwrap();
    }
    let encoded = start.elapsed();
    let bytes: Vec<_> = (0..messages).map(|_| BytesMut::from(buffer.clone()).freeze()).collect();
    let start = Instant::now();
    for bytes in bytes {
        black_box(decode(bytes).into_owned(&Pool::default()));
    }
    let decoded = start.elapsed();
    let per_record =
        |elapsed: std::time::Duration| elapsed.as_nanos() as f64 / (messages * RECORDS) as f64;
    println!(
        "{name}: encode {:.2} ns, decode {:.2} ns a record",
        per_record(encoded),
        per_record(decoded)
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
            trendmark::showings::records::abomonation_codec::encode,
            trendmark::showings::records::abomonation_codec::decode,
        );
    }
}
