//! Answers of the latest publication, by URL: each is made once, however many ask for it.

use super::reply::Reply;
use crate::time::Publication;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// The most answers that are kept.
const ENTRIES_MAX: usize = 512;
/// The most bytes of answers that are kept.
const BYTES_MAX: usize = 32 << 20;

/// Identifies an answer: the path and the query of the URL, and its form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The path and the query, as they were sent.
    pub uri: String,
    /// Whether it is CSV.
    pub is_csv: bool,
    /// For answers that change between publications: the moment, in units of their lifetime.
    pub moment: u64,
}

/// An answer, which is made by the first who asks for it.
pub type Slot = Arc<OnceCell<Reply>>;

/// Answers of the latest publication.
#[derive(Default)]
pub struct Cache {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    publication: Publication,
    slots: HashMap<Key, Slot>,
}

impl Cache {
    /// Drops all answers, as there is no memory for others.
    pub fn clear(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).slots.clear();
    }

    /// Returns the place of an answer as of a publication. Those of earlier ones are dropped.
    pub fn slot(&self, key: Key, publication: Publication) -> Slot {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.publication < publication {
            state.publication = publication;
            state.slots.clear();
        }
        if let Some(slot) = state.slots.get(&key) {
            return Arc::clone(slot);
        }
        let made = |slot: &Slot| slot.get().map_or(0, |reply| reply.body.len());
        let bytes: usize = state.slots.values().map(made).sum();
        if state.slots.len() >= ENTRIES_MAX || bytes >= BYTES_MAX {
            state.slots.clear();
        }
        let slot = Slot::default();
        state.slots.insert(key, Arc::clone(&slot));
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(uri: &str) -> Key {
        Key { uri: uri.to_owned(), is_csv: false, moment: 0 }
    }

    fn reply(bytes: usize) -> Reply {
        Reply::text(200, "text/plain", vec![b'x'; bytes])
    }

    #[test]
    fn an_answer_is_kept_until_the_next_publication() {
        let cache = Cache::default();
        let slot = cache.slot(key("/a"), Publication(1));
        assert!(slot.set(reply(1)).is_ok());
        assert!(Arc::ptr_eq(&slot, &cache.slot(key("/a"), Publication(1))));
        assert!(!Arc::ptr_eq(&slot, &cache.slot(key("/b"), Publication(1))));
        assert!(!Arc::ptr_eq(&slot, &cache.slot(key("/a"), Publication(2))));
    }

    #[test]
    fn what_is_kept_is_bounded_in_answers_and_bytes() {
        let cache = Cache::default();
        let count = || cache.state.lock().unwrap().slots.len();
        for number in 0..3 * ENTRIES_MAX {
            cache.slot(key(&format!("/{number}")), Publication(1));
            assert!(count() <= ENTRIES_MAX);
        }
        cache.slot(key("/large"), Publication(2)).set(reply(BYTES_MAX)).unwrap();
        assert_eq!(count(), 1);
        cache.slot(key("/next"), Publication(2));
        assert_eq!(count(), 1);
    }
}
