//! The queue of a partition, from which messages are taken many at a time: taken one by one, as
//! rdkafka offers, a message costs librdkafka and its wrapper about twice as much.
//!
//! rdkafka has no such call, so this is the only unsafe code of the sources. It relies on what
//! `rdkafka.h` says of `rd_kafka_queue_get_partition`, `rd_kafka_queue_forward`,
//! `rd_kafka_consume_batch_queue`, `rd_kafka_message_destroy` and `rd_kafka_queue_destroy`:
//!
//! - A queue is owned by who got it, until it is destroyed, and outlives no client. Here it is
//!   destroyed on drop, and holds the client.
//! - A message that was taken is owned by who took it, with its bytes, until it is destroyed, and
//!   outlives no client. It is destroyed when a [`Message`] is dropped, which cannot outlive the
//!   queue, or with the queue.
//! - Any thread may make these calls, but a queue is of one worker here, and not `Sync`.

use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_message_timestamp,
    rd_kafka_queue_destroy, rd_kafka_queue_forward, rd_kafka_queue_get_partition,
    rd_kafka_timestamp_type_t,
};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::{RDKafkaMessage, RDKafkaQueue, RDKafkaRespErr};
use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};
use std::slice;
use std::sync::Arc;

/// The maximum number of messages that are taken at a time. They hold the bytes of as many, which
/// the limits of librdkafka's queues have bounded until then.
const TAKEN_MAX: usize = 1024;

/// The queue of a partition.
pub(super) struct Queue<C: ConsumerContext> {
    queue: NonNull<RDKafkaQueue>,
    /// The messages that were taken and not returned yet, the next one last.
    taken: RefCell<Vec<NonNull<RDKafkaMessage>>>,
    /// What librdkafka writes to.
    room: RefCell<Box<[*mut RDKafkaMessage; TAKEN_MAX]>>,
    /// Fields are dropped after `drop`, so it outlives the queue and the messages.
    _consumer: Arc<BaseConsumer<C>>,
}

#[allow(unsafe_code)]
impl<C: ConsumerContext> Queue<C> {
    /// Splits off the queue of a partition from that of the client. `None` if there is no such
    /// partition.
    pub(super) fn split(
        consumer: &Arc<BaseConsumer<C>>,
        topic: &str,
        number: i32,
    ) -> Option<Queue<C>> {
        let topic = CString::new(topic).ok()?;
        let client = consumer.client().native_ptr();
        // SAFETY: the client is alive, as `consumer` holds it; the topic ends in a zero byte.
        let queue = unsafe { rd_kafka_queue_get_partition(client, topic.as_ptr(), number) };
        let queue = NonNull::new(queue)?;
        // SAFETY: the queue is alive and owned; no destination means that it keeps its messages.
        unsafe { rd_kafka_queue_forward(queue.as_ptr(), null_mut()) };
        Some(Queue {
            queue,
            taken: RefCell::default(),
            room: RefCell::new(Box::new([null_mut(); TAKEN_MAX])),
            _consumer: Arc::clone(consumer),
        })
    }

    /// Returns what is next, if there is anything. Does not wait.
    #[inline]
    pub(super) fn next(&self) -> Option<Next<'_>> {
        let next = self.taken.borrow_mut().pop();
        let message = match next {
            Some(message) => message,
            None => self.take()?,
        };
        let message = Message { message, _queue: PhantomData };
        Some(match message.error() {
            None => Next::Message(message),
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR__PARTITION_EOF) => Next::End(message.offset()),
            Some(error) => Next::Error(KafkaError::MessageConsumption(error.into())),
        })
    }

    /// Drops the messages that were taken and not returned.
    pub(super) fn clear(&self) {
        for message in self.taken.borrow_mut().drain(..) {
            drop(Message { message, _queue: PhantomData });
        }
    }

    /// Takes messages from librdkafka, and returns the first.
    fn take(&self) -> Option<NonNull<RDKafkaMessage>> {
        let mut room = self.room.borrow_mut();
        // SAFETY: the queue is alive, and there is room for so many pointers. Their messages are
        // ours from now on.
        let count = unsafe {
            rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, room.as_mut_ptr(), room.len())
        };
        // A negative number is an error of the arguments, and has no messages.
        let count = usize::try_from(count).unwrap_or(0);
        let mut taken = self.taken.borrow_mut();
        taken.extend(room[..count].iter().rev().copied().filter_map(NonNull::new));
        taken.pop()
    }
}

#[allow(unsafe_code)]
impl<C: ConsumerContext> Drop for Queue<C> {
    fn drop(&mut self) {
        self.clear();
        // SAFETY: the queue is owned and not used any more, and the client is dropped after it.
        unsafe { rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// What a queue has next.
pub(super) enum Next<'q> {
    Message(Message<'q>),
    /// The end of the partition: everything before this offset was returned, or is not to be, as
    /// markers of transactions and aborted messages. This is not the position that the client
    /// tells: taking messages together, librdkafka (2.12) counts the end as one of them.
    End(u64),
    Error(KafkaError),
}

/// A message, which is destroyed when it is dropped.
pub(super) struct Message<'q> {
    message: NonNull<RDKafkaMessage>,
    /// It must not outlive the queue, which holds the client.
    _queue: PhantomData<&'q Cell<()>>,
}

#[allow(unsafe_code)]
impl Message<'_> {
    #[inline]
    fn get(&self) -> &RDKafkaMessage {
        // SAFETY: the message is alive until `drop`, and nothing writes to it.
        unsafe { self.message.as_ref() }
    }

    /// The error in place of a message, if it is one.
    #[inline]
    fn error(&self) -> Option<RDKafkaRespErr> {
        let error = self.get().err;
        (error != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).then_some(error)
    }

    /// Returns its offset.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        u64::try_from(self.get().offset).unwrap_or(0)
    }

    /// Returns its value, if it has one.
    #[inline]
    pub(super) fn payload(&self) -> Option<&[u8]> {
        let payload = NonNull::new(self.get().payload.cast::<u8>())?;
        // SAFETY: the payload has so many bytes, which are alive as long as the message, and
        // nothing writes to them. `rdkafka.h`: "Message payload", "Message payload length".
        Some(unsafe { slice::from_raw_parts(payload.as_ptr(), self.get().len) })
    }

    /// Returns its timestamp in milliseconds, if it has one.
    #[inline]
    pub(super) fn time_ms(&self) -> Option<i64> {
        let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, and `kind` is written before the call returns.
        let time_ms = unsafe { rd_kafka_message_timestamp(self.message.as_ptr(), &mut kind) };
        let is_available = kind != rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        (is_available && time_ms != -1).then_some(time_ms)
    }
}

#[allow(unsafe_code)]
impl Drop for Message<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the message is owned, and not used any more.
        unsafe { rd_kafka_message_destroy(self.message.as_ptr()) };
    }
}
