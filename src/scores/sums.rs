//! Sums of epochs over all videos, and the values that follow from them.

use std::collections::{BTreeMap, BTreeSet};

/// Sums of numbers by epoch, each with the value that was told last.
pub struct Sums<const N: usize, T, F> {
    value: F,
    sums: BTreeMap<i64, ([i64; N], Option<T>)>,
}

impl<const N: usize, T: Clone + PartialEq, F: Fn(&[i64; N]) -> Option<T>> Sums<N, T, F> {
    /// There are no sums yet. `value` derives a value from a sum.
    pub fn new(value: F) -> Self {
        Sums { value, sums: BTreeMap::new() }
    }

    /// Adds parts to the sums of their epochs. Returns the values that changed, by epoch. Then
    /// forgets the epochs before `first_kept`, for which there will be no parts any more, and the
    /// sums that are 0.
    pub fn add(
        &mut self,
        parts: impl IntoIterator<Item = (i64, [i64; N])>,
        first_kept: i64,
    ) -> Vec<(i64, Option<T>)> {
        let mut changed = BTreeSet::new();
        for (epoch, part) in parts {
            let (sum, _) = self.sums.entry(epoch).or_insert(([0; N], None));
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            changed.insert(epoch);
        }
        let mut told = Vec::new();
        for epoch in changed {
            let Some((sum, before)) = self.sums.get_mut(&epoch) else { continue };
            let after = (self.value)(sum);
            if after != *before {
                before.clone_from(&after);
                told.push((epoch, after));
            }
            if sum.iter().all(|one| *one == 0) {
                self.sums.remove(&epoch);
            }
        }
        if self.sums.first_key_value().is_some_and(|(epoch, _)| *epoch < first_kept) {
            self.sums = self.sums.split_off(&first_kept);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_when_they_change() {
        let mut sums = Sums::new(|[sum]: &[i64; 1]| (*sum >= 10).then_some(sum / 10));
        assert_eq!(sums.add([(1, [9]), (2, [20])], i64::MIN), [(2, Some(2))]);
        assert_eq!(sums.add([(1, [1]), (2, [1])], i64::MIN), [(1, Some(1))]);
        assert_eq!(sums.add([(2, [-10]), (2, [-11])], i64::MIN), [(2, None)]);
        assert_eq!(sums.sums.len(), 1);
    }

    #[test]
    fn the_number_of_epochs_does_not_grow_with_time() {
        let mut sums = Sums::new(|[sum]: &[i64; 1]| Some(*sum));
        for epoch in 0..10_000 {
            assert_eq!(sums.add([(epoch, [7])], epoch - 3), [(epoch, Some(7))]);
            assert!(sums.sums.len() <= 4, "{}", sums.sums.len());
        }
    }
}
