//! A message that cannot be decoded yet.

use super::queue::Message;

/// A message that waits for its schema, or for the messages before it.
pub(super) struct Held {
    pub offset: u64,
    pub time_ms: Option<i64>,
    pub payload: Option<Vec<u8>>,
}

impl Held {
    #[cold]
    pub fn of(message: &Message<'_>, offset: u64) -> Held {
        let payload = message.payload().map(<[u8]>::to_vec);
        Held { offset, time_ms: message.time_ms(), payload }
    }

    pub fn bytes(&self) -> usize {
        self.payload.as_ref().map_or(0, Vec::len)
    }
}
