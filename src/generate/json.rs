//! One partition of a log as JSON Lines: one object per line, its fields always in the same order.

use super::arrival::{Arrival, Damage, GroundTruth};
use std::fs::File;
use std::io::{self, BufWriter, Write};

const BUFFER_BYTES: usize = 1 << 20;
const ERROR_PAGE: &[u8] = b"<html><body><h1>504 Gateway Time-out</h1></body></html>";

/// Writes a partition as JSON Lines.
pub struct JsonWriter {
    output: BufWriter<File>,
    line: Vec<u8>,
    bytes: u64,
}

impl JsonWriter {
    /// Creates a writer for an open, empty file.
    pub fn new(file: File) -> JsonWriter {
        let output = BufWriter::with_capacity(BUFFER_BYTES, file);
        JsonWriter { output, line: Vec::with_capacity(256), bytes: 0 }
    }

    /// Writes one record as one line.
    ///
    /// # Errors
    /// When the file cannot be written.
    #[inline]
    pub fn write(&mut self, arrival: &Arrival) -> io::Result<()> {
        self.line.clear();
        push_record(arrival, &mut self.line);
        self.line.push(b'\n');
        self.bytes += self.line.len() as u64;
        self.output.write_all(&self.line)
    }

    /// Flushes the buffer to the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// The number of bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Appends one record, without a newline.
#[inline]
pub fn push_record(arrival: &Arrival, line: &mut Vec<u8>) {
    match arrival.truth {
        GroundTruth::Malformed(damage) => damaged_line(arrival, damage, line),
        _ => whole_line(arrival, line),
    }
}

#[inline]
fn whole_line(arrival: &Arrival, line: &mut Vec<u8>) {
    push_request(arrival.request.written().as_bytes(), line);
    if arrival.kind.has_video() {
        line.extend_from_slice(b",\"video_id\":");
        push_decimal(arrival.video.0, line);
    }
    push_times(arrival, line);
}

fn damaged_line(arrival: &Arrival, damage: Damage, line: &mut Vec<u8>) {
    let name = arrival.request.written();
    match damage {
        Damage::CutOff => {
            whole_line(arrival, line);
            line.truncate(line.len() / 2);
        }
        Damage::NoVideo => {
            push_request(name.as_bytes(), line);
            push_times(arrival, line);
        }
        Damage::TextVideo => {
            push_request(name.as_bytes(), line);
            line.extend_from_slice(b",\"video_id\":\"unknown\"");
            push_times(arrival, line);
        }
        Damage::EmptyRequest => {
            push_request(b"", line);
            line.extend_from_slice(b",\"video_id\":");
            push_decimal(arrival.video.0, line);
            push_times(arrival, line);
        }
        Damage::NotJson => line.extend_from_slice(ERROR_PAGE),
    }
}

#[inline]
fn push_request(letters: &[u8], line: &mut Vec<u8>) {
    line.extend_from_slice(b"{\"request_id\":\"");
    line.extend_from_slice(letters);
    line.push(b'"');
}

#[inline]
fn push_times(arrival: &Arrival, line: &mut Vec<u8>) {
    line.extend_from_slice(b",\"event_time\":");
    push_signed(arrival.event_time_ms, line);
    line.extend_from_slice(b",\"record_time\":");
    push_signed(arrival.arrival_ms, line);
    line.push(b'}');
}

#[inline]
fn push_signed(number: i64, line: &mut Vec<u8>) {
    if number < 0 {
        line.push(b'-');
    }
    push_decimal(number.unsigned_abs(), line);
}

/// Appends the digits of a number, without the overhead of `write!`.
#[inline]
fn push_decimal(mut number: u64, line: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Kind, VideoId};
    use crate::generate::arrival::RequestName;
    use proptest::prelude::*;

    fn line(truth: GroundTruth) -> String {
        let arrival = Arrival {
            kind: Kind::Impression,
            partition: 0,
            arrival_ms: 1_767_225_600_123,
            truth,
            request: RequestName::uuid(7),
            video: VideoId(80_117_470),
            event_time_ms: 1_767_225_600_000,
        };
        let mut line = Vec::new();
        match truth {
            GroundTruth::Malformed(damage) => damaged_line(&arrival, damage, &mut line),
            _ => whole_line(&arrival, &mut line),
        }
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_has_four_fields_in_this_order() {
        assert_eq!(
            line(GroundTruth::OnTime),
            "{\"request_id\":\"00000000-0000-4000-8000-000000000007\",\"video_id\":80117470,\
             \"event_time\":1767225600000,\"record_time\":1767225600123}"
        );
    }

    #[test]
    fn a_denial_has_no_video() {
        let denial = Arrival {
            kind: Kind::Denial,
            partition: 0,
            arrival_ms: 9,
            truth: GroundTruth::OnTime,
            request: RequestName::text(7),
            video: VideoId(0),
            event_time_ms: 8,
        };
        let mut line = Vec::new();
        push_record(&denial, &mut line);
        let expected =
            "{\"request_id\":\"page-0000000000000007\",\"event_time\":8,\"record_time\":9}";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn no_damaged_line_is_an_event() {
        for damage in Damage::ALL {
            let line = line(GroundTruth::Malformed(damage));
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(&line);
            let is_event = parsed.is_ok_and(|value| {
                value["video_id"].is_u64() && value["request_id"].as_str() != Some("")
            });
            assert!(!is_event, "{damage:?}: {line}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_an_error() {
        let file = File::options().write(true).open("/dev/full").unwrap();
        let mut writer = JsonWriter::new(file);
        writer.output.write_all(b"{}").unwrap();
        assert_eq!(writer.flush().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    proptest! {
        #[test]
        fn numbers_are_formatted_as_by_the_standard_library(number: i64) {
            let mut line = Vec::new();
            push_signed(number, &mut line);
            prop_assert_eq!(String::from_utf8(line).unwrap(), number.to_string());
        }
    }
}
