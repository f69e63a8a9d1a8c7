//! Reads one partition: decodes its messages, and detects its end.

use super::client::{Client, Context};
use super::decoder::{Decoded, MessageDecoder};
use super::errors::{KafkaSourceError, Severity, severity};
use super::held::Held;
use super::queue::{Message, Next, Queue};
use super::topic_partition::TopicPartition;
use crate::log::PartitionName;
use crate::sources::{
    Batch, Discovered, Lag, Malformed, PartitionReader, Polled, SourceError, Wait, sample,
};
use rdkafka::Offset;
use rdkafka::error::KafkaError;
use rdkafka::error::RDKafkaErrorCode::{self, UnknownPartition};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The maximum size of a poll in bytes, exceeded by at most one message.
const POLL_BYTES_MAX: u64 = 16 << 20;
/// The number of checks of a partition that seems to be truncated, and the pause between them: a
/// new leader does not know at once how far its followers have replicated.
const CHECKS_MAX: usize = 4;
const CHECK_PAUSE: Duration = Duration::from_millis(500);
/// The number and size of the messages that are held while a schema is not available, exceeded by
/// at most one message.
const HELD_MESSAGES_MAX: usize = 1_000;
const HELD_BYTES_MAX: usize = 1 << 20;
/// How old the last answer of a broker may be for the end of a partition to count as its end.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(3);

pub(super) struct KafkaReader {
    name: PartitionName,
    topic_partition: TopicPartition,
    client: Arc<Client>,
    queue: Queue<Context>,
    decoder: MessageDecoder,
    /// Messages that were taken from the queue: the first cannot be decoded yet. The schemas of all
    /// of them are asked for together.
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Whether the end was reported, or the end offset reached, behind the held messages.
    end_behind_held: bool,
    /// The offset after the last processed message.
    next_offset: u64,
    end_offset: Option<u64>,
    end: End,
    /// When the end was reported last.
    end_reported_at: Option<Instant>,
    /// The number of connection losses that this reader has handled.
    connection_losses: u64,
    /// The number of errors of topics that this reader has looked into.
    topic_errors: u64,
}

/// What was taken from the queue.
enum Taken {
    Nothing,
    /// A message that was read before.
    Known,
    /// The message at this offset, which was appended to the batch.
    Decoded(u64),
    /// A message that waits.
    Held(Held),
    /// A message that is not to be read.
    PastEnd,
    /// The end of the partition, and its offset.
    End(u64),
    Error(KafkaError),
}

/// The state of the end of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotSeen,
    /// Not seen, and the next end-of-partition event may predate a connection loss.
    Unconfirmed,
    Seen,
    /// The end offset was reached: nothing more is read.
    Exhausted,
}

/// Opens a partition at an offset, or at its beginning.
pub(super) fn open(
    client: &Arc<Client>,
    topic_partition: TopicPartition,
    partition: &Discovered,
    offset: Option<u64>,
    decoder: MessageDecoder,
) -> Result<Box<dyn PartitionReader>, SourceError> {
    let next_offset = start(client, &topic_partition, &partition.name, offset)?;
    // Without an offset, retention may move the beginning before reading starts.
    let first = offset.map_or(Offset::Beginning, to_kafka);
    let is_exhausted = partition.end_offset.is_some_and(|end| next_offset >= end);
    let queue = if is_exhausted {
        client.queue(&topic_partition.topic, topic_partition.number)
    } else {
        client.open(&topic_partition.topic, topic_partition.number, first)
    };
    let Some(queue) = queue else {
        let (partition, offset) = (partition.name.clone(), next_offset);
        return Err(KafkaSourceError::NotFound { partition, offset }.into());
    };
    Ok(Box::new(KafkaReader {
        name: partition.name.clone(),
        topic_partition,
        client: Arc::clone(client),
        queue,
        decoder,
        held: VecDeque::new(),
        held_bytes: 0,
        end_behind_held: false,
        next_offset,
        end_offset: partition.end_offset,
        end: if is_exhausted { End::Exhausted } else { End::NotSeen },
        end_reported_at: None,
        connection_losses: client.connection_losses(),
        topic_errors: client.topic_errors(),
    }))
}

/// Returns the offset at which reading starts, after checking that it exists.
fn start(
    client: &Client,
    topic_partition: &TopicPartition,
    partition: &PartitionName,
    offset: Option<u64>,
) -> Result<u64, SourceError> {
    let mut looks = 1;
    loop {
        let (first, end) = client.offsets(&topic_partition.topic, topic_partition.number)?;
        let Some(offset) = offset else { return Ok(first) };
        let partition = partition.clone();
        if offset < first {
            return Err(SourceError::Retention { partition, first, offset });
        }
        if offset <= end {
            return Ok(offset);
        }
        if looks == CHECKS_MAX {
            return Err(SourceError::Shrunk { partition, end, offset });
        }
        looks += 1;
        std::thread::sleep(CHECK_PAUSE);
    }
}

fn to_kafka(offset: u64) -> Offset {
    Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}

impl PartitionReader for KafkaReader {
    fn poll(&mut self, batch: &mut Batch, records_max: usize) -> Result<Polled, SourceError> {
        self.client.serve()?;
        self.check_connection_losses();
        let read = self.read(batch, records_max.max(1));
        batch.next_offset = self.next_offset;
        read?;
        self.check_topic()?;
        Ok(match self.end {
            End::Seen if self.has_fresh_answer() => Polled::AtEnd,
            End::NotSeen | End::Unconfirmed | End::Seen => Polled::More,
            End::Exhausted => Polled::Exhausted,
        })
    }

    fn lag(&self) -> Lag {
        if self.end == End::Exhausted {
            return Lag::default();
        }
        let end = self.end_offset.or_else(|| self.known_end());
        Lag::of_records(end.map(|end| end.saturating_sub(self.next_offset)))
    }

    fn waits_for(&self) -> Option<Wait> {
        if !self.held.is_empty() {
            return Some(Wait::Schema);
        }
        let is_silent = self.end != End::Exhausted && !self.has_fresh_answer();
        is_silent.then_some(Wait::Broker)
    }
}

impl KafkaReader {
    /// Whether the broker has answered a moment ago, so that the end that was seen is still the
    /// end. A broker can hang without closing its connections.
    fn has_fresh_answer(&self) -> bool {
        let TopicPartition { topic, number } = &self.topic_partition;
        let answered_at = self.client.answered_at(topic, *number).max(self.end_reported_at);
        answered_at.is_some_and(|at| at.elapsed() < ANSWER_AGE_MAX)
    }

    /// The end offset in the last statistics of librdkafka, if they tell it.
    fn known_end(&self) -> Option<u64> {
        self.client.known_end(&self.topic_partition.topic, self.topic_partition.number)
    }

    fn read(&mut self, batch: &mut Batch, records_max: usize) -> Result<(), SourceError> {
        let bytes_before = batch.bytes;
        let decoded = self.decode_held(batch, records_max)?;
        for _ in decoded..records_max {
            let is_full = batch.bytes - bytes_before >= POLL_BYTES_MAX
                || self.held.len() >= HELD_MESSAGES_MAX
                || self.held_bytes >= HELD_BYTES_MAX;
            if self.end == End::Exhausted || self.end_behind_held || is_full {
                break;
            }
            match self.take(batch)? {
                Taken::Nothing => break,
                Taken::Known => {}
                Taken::Decoded(offset) => {
                    self.note_more();
                    self.advance(offset);
                }
                Taken::Held(held) => {
                    self.note_more();
                    self.hold(held);
                }
                Taken::PastEnd => {
                    self.on_end(Self::exhaust);
                    break;
                }
                Taken::End(offset) => {
                    self.end_reported_at = Some(Instant::now());
                    self.on_end(|reader| reader.on_partition_end(offset));
                    break;
                }
                Taken::Error(error) => self.fatal_error(&error)?,
            }
        }
        if self.end == End::Exhausted {
            self.queue.clear();
        }
        Ok(())
    }

    /// Takes a message from the queue, and decodes it, unless it must wait.
    #[inline]
    fn take(&mut self, batch: &mut Batch) -> Result<Taken, SourceError> {
        let message = match self.queue.next() {
            None => return Ok(Taken::Nothing),
            Some(Next::Message(message)) => message,
            Some(Next::End(offset)) => return Ok(Taken::End(offset)),
            Some(Next::Error(error)) => return Ok(Taken::Error(error)),
        };
        let offset = message.offset();
        if self.end_offset.is_some_and(|end| offset >= end) {
            return Ok(Taken::PastEnd);
        }
        if offset < self.taken_offset() {
            return Ok(Taken::Known);
        }
        let is_decoded =
            self.held.is_empty() && decode_message(&mut self.decoder, batch, offset, &message)?;
        Ok(match is_decoded {
            true => Taken::Decoded(offset),
            false => Taken::Held(Held::of(&message, offset)),
        })
    }

    /// Notes that there is a message behind the end that was seen.
    #[inline]
    fn note_more(&mut self) {
        if self.end == End::Seen {
            self.end = End::NotSeen;
        }
    }

    /// Keeps a message until its schema is available, and those before it are decoded.
    #[cold]
    fn hold(&mut self, held: Held) {
        self.decoder.prefetch(held.payload.as_deref().unwrap_or_default());
        self.held_bytes += held.bytes();
        self.held.push_back(held);
    }

    /// Decodes the held messages as far as their schemas are available, and returns how many.
    fn decode_held(&mut self, batch: &mut Batch, records_max: usize) -> Result<usize, SourceError> {
        let mut decoded = 0;
        while decoded < records_max
            && let Some(held) = self.held.front()
        {
            let (offset, payload) = (held.offset, held.payload.as_deref());
            if !decode_value(&mut self.decoder, batch, offset, payload, || held.time_ms)? {
                break;
            }
            self.held_bytes -= held.bytes();
            self.held.pop_front();
            self.advance(offset);
            decoded += 1;
        }
        if self.held.is_empty() && std::mem::take(&mut self.end_behind_held) {
            match self.end_offset {
                Some(_) => self.exhaust(),
                // It is reported again, now that everything before it is decoded.
                None => self.seek_to_current(),
            }
        }
        Ok(decoded)
    }

    /// Handles the end now, or once the held messages are decoded.
    fn on_end(&mut self, handle: impl FnOnce(&mut Self)) {
        match self.held.is_empty() {
            true => handle(self),
            false => self.end_behind_held = true,
        }
    }

    /// Returns the offset after the last message that was taken from the queue.
    fn taken_offset(&self) -> u64 {
        self.held.back().map_or(self.next_offset, |held| held.offset + 1)
    }

    /// Advances past a message.
    #[inline]
    fn advance(&mut self, offset: u64) {
        self.next_offset = offset + 1;
        if self.end_offset == Some(self.next_offset) {
            self.end = End::Exhausted;
        }
    }

    /// Ends at the end offset. Any offsets still missing before it are not those of messages.
    fn exhaust(&mut self) {
        self.end = End::Exhausted;
        self.next_offset = self.next_offset.max(self.end_offset.unwrap_or(0));
    }

    /// Handles an end-of-partition event: all committed messages have been read. Moves past the
    /// markers of transactions and aborted messages behind the last message: retention deletes them
    /// with it, so a restart must not ask for them.
    fn on_partition_end(&mut self, offset: u64) {
        match (self.end, self.end_offset) {
            (End::Unconfirmed, _) => self.seek_to_current(),
            (_, Some(_)) => self.exhaust(),
            (_, None) => {
                self.end = End::Seen;
                self.next_offset = self.next_offset.max(offset);
            }
        }
    }

    /// Returns an error if the topic was deleted, or deleted and made again. What was read just now
    /// may be of the new topic.
    fn check_topic(&mut self) -> Result<(), SourceError> {
        self.client.handle_events()?;
        let errors = self.client.topic_errors();
        if errors != self.topic_errors && self.look_for_partition()? {
            self.topic_errors = errors;
        }
        self.check_if_remade()
    }

    fn check_if_remade(&self) -> Result<(), SourceError> {
        if !self.client.was_remade(&self.topic_partition.topic) {
            return Ok(());
        }
        let (partition, offset) = (self.name.clone(), self.next_offset);
        Err(KafkaSourceError::Remade { partition, offset }.into())
    }

    /// Asks the brokers for the partition, as librdkafka has told of an error of some topic.
    /// Returns whether they have answered.
    #[cold]
    fn look_for_partition(&self) -> Result<bool, SourceError> {
        let TopicPartition { topic, number } = &self.topic_partition;
        let error = match self.client.try_partitions(topic, CHECK_PAUSE) {
            Ok(numbers) if numbers.contains(number) => return Ok(true),
            Ok(_) => KafkaError::MessageConsumption(UnknownPartition),
            Err(error) => error,
        };
        self.fatal_error(&error)?;
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        Ok(severity(code) != Severity::Transient)
    }

    /// After a connection loss, more may have been written since the end was seen.
    fn check_connection_losses(&mut self) {
        let connection_losses = self.client.connection_losses();
        if connection_losses == self.connection_losses {
            return;
        }
        self.connection_losses = connection_losses;
        match self.end {
            End::NotSeen => self.end = End::Unconfirmed,
            End::Seen => self.seek_to_current(),
            End::Unconfirmed | End::Exhausted => {}
        }
    }

    /// Seeks to the current position, so that librdkafka reports the end again.
    fn seek_to_current(&mut self) {
        let offset = to_kafka(self.next_offset);
        self.end = match self.client.seek(
            &self.topic_partition.topic,
            self.topic_partition.number,
            offset,
        ) {
            Ok(()) => {
                self.queue.clear();
                End::NotSeen
            }
            Err(error) => {
                tracing::debug!("{}: cannot look for the end again: {error}", self.name);
                self.connection_losses = self.connection_losses.wrapping_sub(1);
                End::Seen
            }
        };
    }

    /// Whether the brokers know the partition: one that answered may not have heard of it yet.
    fn still_exists(&self) -> bool {
        let TopicPartition { topic, number } = &self.topic_partition;
        (0..CHECKS_MAX).any(|_| {
            std::thread::sleep(CHECK_PAUSE);
            let numbers = self.client.try_partitions(topic, CHECK_PAUSE);
            numbers.is_ok_and(|numbers| numbers.contains(number))
        })
    }

    /// Returns an error of this partition if it is fatal for the job.
    #[cold]
    fn fatal_error(&self, error: &KafkaError) -> Result<(), SourceError> {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let (partition, offset) = (self.name.clone(), self.next_offset);
        let reason = self.client.reason(code);
        self.check_if_remade()?;
        let advice = match severity(code) {
            Severity::Transient => return Ok(()),
            Severity::NotFound if self.still_exists() => return Ok(()),
            Severity::NotFound => {
                return Err(KafkaSourceError::NotFound { partition, offset }.into());
            }
            Severity::OffsetLost => {
                start(&self.client, &self.topic_partition, &self.name, Some(offset))?;
                "its log was truncated or replaced: restore it, or start with a new store"
            }
            Severity::Denied => "check the permissions of the user",
            Severity::Fatal => "fix the cause, and start again",
        };
        Err(KafkaSourceError::Partition { partition, offset, reason, advice }.into())
    }
}

/// Decodes a message into a batch. Returns `false` if its schema is not available yet.
#[inline]
fn decode_message(
    decoder: &mut MessageDecoder,
    batch: &mut Batch,
    offset: u64,
    message: &Message<'_>,
) -> Result<bool, KafkaSourceError> {
    decode_value(decoder, batch, offset, message.payload(), || message.time_ms())
}

/// Like [`decode_message`], for the value and timestamp of a message. An empty message counts as
/// one byte, so that a batch with messages never has zero bytes.
#[inline]
fn decode_value(
    decoder: &mut MessageDecoder,
    batch: &mut Batch,
    offset: u64,
    payload: Option<&[u8]>,
    time_ms: impl Fn() -> Option<i64>,
) -> Result<bool, KafkaSourceError> {
    let Some(payload) = payload else {
        batch.bytes += 1;
        batch.malformed.push(malformed(offset, "the message has no value".into(), b""));
        return Ok(true);
    };
    match decoder.decode(payload, offset)? {
        Decoded::Waiting => return Ok(false),
        Decoded::Event(mut event) => {
            // A producer's claim never raises the time that is trusted: the least time counts.
            let times_ms = [event.record_time_ms, time_ms()].into_iter().flatten();
            event.record_time_ms = times_ms.min();
            batch.events.push(event);
        }
        Decoded::Malformed(reason) => batch.malformed.push(malformed(offset, reason, payload)),
    }
    batch.bytes += payload.len().max(1) as u64;
    Ok(true)
}

#[cold]
fn malformed(offset: u64, reason: String, payload: &[u8]) -> Malformed {
    let location = format!("offset {offset}");
    Malformed { offset, records: 1, location, reason, sample: sample(payload) }
}
