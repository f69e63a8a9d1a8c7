//! A filter that rules out most of the requests that are not in a run, without a search.
//!
//! A play is looked up in every epoch whose impressions it may follow, and in every run of each.
//! Nearly all of these lookups find nothing, and a search costs several cache misses.

use crate::event::RequestId;

/// The number of cells per request; the actual number is between half and twice of it. An absent
/// request meets a set bit with a probability of about one in this number.
const CELLS_PER_REQUEST: usize = 8;

/// A Bloom filter whose only hash function preserves order. The range of the first words of a run's
/// requests is divided into cells; a cell has a bit, which is set if a request lies in it. Building
/// a run, or looking up requests in order, accesses the filter in order too, so it stays in the
/// cache.
///
/// Ids are scrambled, so first words spread evenly. If they clustered in few cells, the filter
/// would be useless, but never wrong.
#[derive(Debug, Default)]
pub struct Filter {
    /// The smallest first word.
    first: u64,
    /// The binary logarithm of the number of first words per cell.
    shift: u32,
    cells: Vec<u64>,
}

impl Filter {
    /// Creates a filter for at most `requests` requests, with first words from `first` to `last`.
    pub fn new(requests: usize, first: u64, last: u64) -> Filter {
        let wanted = (requests * CELLS_PER_REQUEST).next_power_of_two().max(64);
        let span_bits = u64::BITS - (last - first).leading_zeros();
        let shift = span_bits.saturating_sub(wanted.ilog2());
        let cells = ((last - first) >> shift) as usize + 1;
        Filter { first, shift, cells: vec![0; cells.div_ceil(64)] }
    }

    #[inline]
    fn cell(&self, request: RequestId) -> (usize, u64) {
        let RequestId([order, _]) = request;
        let cell = order.wrapping_sub(self.first) >> self.shift;
        ((cell / 64) as usize, 1 << (cell % 64))
    }

    /// Adds a request, whose first word must be in the range.
    #[inline]
    pub fn insert(&mut self, request: RequestId) {
        let (word, bit) = self.cell(request);
        self.cells[word] |= bit;
    }

    /// Whether the request may have been added. `false` is certain.
    #[inline]
    pub fn may_contain(&self, request: RequestId) -> bool {
        let (word, bit) = self.cell(request);
        self.cells.get(word).is_some_and(|cells| cells & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn filter(requests: &[RequestId]) -> Filter {
        let first_words = || requests.iter().map(|RequestId([first, _])| *first);
        let (first, last) = (first_words().min().unwrap(), first_words().max().unwrap());
        let mut filter = Filter::new(requests.len(), first, last);
        requests.iter().for_each(|request| filter.insert(*request));
        filter
    }

    /// First words all over the range, at its ends, and close together.
    fn requests() -> impl Strategy<Value = Vec<RequestId>> {
        let anywhere = prop_oneof![any::<u64>(), 0..200u64, Just(u64::MAX), Just(1 << 63)];
        vec((anywhere, any::<u64>()).prop_map(|(first, second)| RequestId([first, second])), 1..99)
    }

    proptest! {
        #[test]
        fn an_added_request_may_be_contained(requests in requests(), others in requests()) {
            let filter = filter(&requests);
            prop_assert!(requests.iter().all(|request| filter.may_contain(*request)));
            // Other requests may be looked up, also out of the range. A false positive shares its
            // cell with a request that was added.
            let cells: BTreeSet<_> = requests.iter().map(|request| filter.cell(*request)).collect();
            for request in others.into_iter().filter(|request| filter.may_contain(*request)) {
                prop_assert!(cells.contains(&filter.cell(request)));
            }
        }
    }

    #[test]
    fn most_absent_requests_are_ruled_out() {
        // Multiples of the golden ratio spread evenly, and differently for the two sets.
        let spread = |number: u64| RequestId([number.wrapping_mul(0x9E37_79B9_7F4A_7C15), 0]);
        let filter = filter(&(0..10_000).map(spread).collect::<Vec<_>>());
        let met =
            (1_000_000..1_010_000).filter(|number| filter.may_contain(spread(*number))).count();
        assert!(met < 10_000 / 4, "{met} of 10,000 absent requests meet a set bit");
    }

    #[test]
    fn no_request_is_in_an_empty_filter() {
        assert!(!Filter::default().may_contain(RequestId([0, 0])));
    }
}
