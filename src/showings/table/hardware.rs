//! What the processor can do and Rust does not offer as such: hints that memory is needed soon, and
//! the comparison of a whole cache line. The only unsafe code of the state. Where the instructions
//! are missing, and under Miri, plain code gives the same results.

use super::blocks::Line;

/// Asks the processor to load an element of a slice into its caches. It changes nothing but speed.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], index: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    x86_64::prefetch(slice.as_ptr().wrapping_add(index));
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (slice, index);
}

/// Returns a bit for each word of a line that equals `value` after it was masked.
#[inline(always)]
pub fn equal(line: &Line, mask: u32, value: u32) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    return x86_64::equal(line, mask, value);
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    return equal_plainly(line, mask, value);
}

/// As [`equal`], one word at a time.
#[cfg_attr(all(target_arch = "x86_64", not(miri)), allow(dead_code))]
fn equal_plainly(line: &Line, mask: u32, value: u32) -> u32 {
    let words = line.0.iter().enumerate();
    words.fold(0, |bits, (at, word)| bits | (u32::from(word & mask == value) << at))
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[allow(unsafe_code)]
mod x86_64 {
    use super::Line;
    use std::arch::x86_64::{
        __m128i, _MM_HINT_T0, _mm_and_si128, _mm_cmpeq_epi32, _mm_movemask_epi8, _mm_packs_epi16,
        _mm_packs_epi32, _mm_prefetch, _mm_set1_epi32,
    };

    #[inline(always)]
    pub fn prefetch<T>(address: *const T) {
        // SAFETY: a prefetch is a hint. It yields no value, and it cannot fault: the processor
        // ignores it if the address is not mapped. So any address is allowed.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }

    #[inline(always)]
    pub fn equal(line: &Line, mask: u32, value: u32) -> u32 {
        // SAFETY: every processor of this architecture has SSE2.
        unsafe { equal_sse2(bytemuck::cast_ref(line), mask, value) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn equal_sse2(line: &[__m128i; 4], mask: u32, value: u32) -> u32 {
        let mask = _mm_set1_epi32(mask.cast_signed());
        let value = _mm_set1_epi32(value.cast_signed());
        let [first, second, third, fourth] =
            line.map(|four| _mm_cmpeq_epi32(_mm_and_si128(four, mask), value));
        let low = _mm_packs_epi32(first, second);
        let high = _mm_packs_epi32(third, fourth);
        _mm_movemask_epi8(_mm_packs_epi16(low, high)).cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Miri is some hundred times slower.
    const CASES: u32 = if cfg!(miri) { 4 } else { 256 };

    proptest! {
        #![proptest_config(ProptestConfig { cases: CASES, ..Default::default() })]

        #[test]
        fn both_comparisons_agree(
            words in prop::array::uniform16(0..4u32),
            shift in 0..30u32,
            mask in prop::sample::select(vec![!0, !7, 0x5555_5555]),
            value in 0..4u32,
        ) {
            let line = Line(words.map(|word| word << shift));
            let value = (value << shift) & mask;
            prop_assert_eq!(equal(&line, mask, value), equal_plainly(&line, mask, value));
        }
    }
}
