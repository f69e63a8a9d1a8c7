//! How probable is a count at least, and at most, as large as the observed one?
//!
//! A count with mean m and variance m + ψ m² is negative binomial if ψ > 0, binomial if ψ < 0, and
//! Poisson in between. Its tails are regularised incomplete beta functions (Abramowitz and Stegun
//! 26.5.24 and 26.5.26), computed by their continued fraction (26.5.8) with the method of Lentz.
//!
//! Half of the probability of the observed count goes to each side (*mid-p*): then the tails of
//! counts are on average as probable as they say.

/// The least distance of ψ from 0. The distributions beyond are practically Poisson's.
const DISPERSION_MIN: f64 = 1e-7;
/// The most terms of a continued fraction.
const TERMS_MAX: u32 = 10_000;
const TINY: f64 = 1e-300;

/// The probabilities of both sides of an observed count, which add up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tails {
    /// Of less, and half of as much.
    pub lower: f64,
    /// Of more, and half of as much.
    pub upper: f64,
}

impl Tails {
    /// Returns the tails of a count with a mean above 0 and a dispersion ψ.
    ///
    /// For ψ < 0, the count must be at most -1 / ψ, up to rounding, and the mean below that.
    pub fn of(count: u64, mean: f64, dispersion: f64) -> Tails {
        let count = count as f64;
        if dispersion < 0.0 {
            binomial(count, mean, (-1.0 / dispersion.min(-DISPERSION_MIN)).max(count))
        } else {
            negative_binomial(count, mean, 1.0 / dispersion.max(DISPERSION_MIN))
        }
    }

    /// From the side that is summed up; the other side is what is left.
    fn from_upper(upper: f64) -> Tails {
        Tails { lower: 1.0 - upper, upper }
    }

    fn from_lower(lower: f64) -> Tails {
        Tails { lower, upper: 1.0 - lower }
    }
}

fn negative_binomial(count: f64, mean: f64, size: f64) -> Tails {
    let more = mean / (mean + size);
    let fewer = size / (mean + size);
    let logarithm = libm::lgamma(count + size) - libm::lgamma(count + 1.0) - libm::lgamma(size)
        + count * libm::log(more)
        + size * libm::log(fewer);
    let here = libm::exp(logarithm);
    if count >= mean {
        let front = more * (count + size) / (count + 1.0);
        Tails::from_upper(here * (0.5 + front * fraction(count + 1.0, size, more)))
    } else {
        Tails::from_lower(here * (0.5 + count / size * fraction(size, count, fewer)))
    }
}

fn binomial(count: f64, mean: f64, trials: f64) -> Tails {
    let rate = mean / trials;
    let rest = trials - count;
    let logarithm =
        libm::lgamma(trials + 1.0) - libm::lgamma(count + 1.0) - libm::lgamma(rest + 1.0)
            + count * libm::log(rate)
            + rest * libm::log(1.0 - rate);
    let here = libm::exp(logarithm);
    if count >= mean {
        let front = rate * rest / (count + 1.0);
        Tails::from_upper(here * (0.5 + front * fraction(count + 1.0, rest, rate)))
    } else {
        let front = (1.0 - rate) * count / (rest + 1.0);
        Tails::from_lower(here * (0.5 + front * fraction(rest + 1.0, count, 1.0 - rate)))
    }
}

/// Returns a B(a, b) Iₓ(a, b) / (xᵃ (1 - x)ᵇ), where Iₓ is the regularised incomplete beta
/// function. It converges fast for x below about a / (a + b).
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    if b <= 0.0 {
        return 0.0;
    }
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut numerators, mut denominators, mut result) = (1.0, 0.0, 1.0);
    for term in 0..TERMS_MAX {
        let m = f64::from(term / 2);
        let coefficient = if term % 2 == 0 {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        } else {
            (m + 1.0) * (b - m - 1.0) * x / ((a + 2.0 * m + 1.0) * (a + 2.0 * m + 2.0))
        };
        denominators = 1.0 / away(1.0 + coefficient * denominators);
        numerators = away(1.0 + coefficient / numerators);
        let factor = numerators * denominators;
        result *= factor;
        if (factor - 1.0).abs() < 1e-12 {
            break;
        }
    }
    1.0 / result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tails of a count by adding up the probabilities of all others.
    fn added_up(count: u64, probability_of: impl Fn(u64) -> f64) -> Tails {
        let half = probability_of(count) / 2.0;
        Tails {
            lower: (0..count).map(&probability_of).sum::<f64>() + half,
            upper: (count + 1..count + 4_000).map(&probability_of).sum::<f64>() + half,
        }
    }

    fn assert_close(found: Tails, expected: Tails, case: &str) {
        for (one, other) in [(found.lower, expected.lower), (found.upper, expected.upper)] {
            let relative = (one - other).abs() / other.max(1e-14);
            assert!(relative < 1e-6, "{case}: {found:?}, not {expected:?}");
        }
    }

    #[test]
    fn tails_are_the_sums_of_probabilities() {
        for (mean, dispersion) in [(0.3, 0.5), (2.0, 0.1), (40.0, 0.02), (300.0, 0.3)] {
            let size: f64 = 1.0 / dispersion;
            // By the ratio of consecutive probabilities.
            let mut all = vec![(size / (size + mean)).powf(size)];
            for count in 0..8_000_u64 {
                let ratio = (count as f64 + size) / (count as f64 + 1.0) * mean / (mean + size);
                all.push(all[count as usize] * ratio);
            }
            for count in [0, 1, 2, 5, 20, 41, 100, 500] {
                let expected = added_up(count, |count| all[count as usize]);
                let case = format!("{count} of mean {mean}, dispersion {dispersion}");
                assert_close(Tails::of(count, mean, dispersion), expected, &case);
            }
        }
    }

    #[test]
    fn a_negative_dispersion_is_that_of_trials() {
        for (trials, rate) in [(1_u64, 0.3), (10, 0.05), (200, 0.4), (1_000, 0.01)] {
            let (all, mean) = (trials as f64, trials as f64 * rate);
            let probability = |count: u64| {
                let chosen: f64 =
                    (0..count).map(|one| (all - one as f64) / (one as f64 + 1.0)).product();
                let rest = trials.saturating_sub(count) as i32;
                chosen * f64::powi(rate, count as i32) * f64::powi(1.0 - rate, rest)
            };
            for count in [0, 1, 3, 10, 90].into_iter().filter(|count| *count <= trials) {
                let half = probability(count) / 2.0;
                let expected = Tails {
                    lower: (0..count).map(probability).sum::<f64>() + half,
                    upper: (count + 1..=trials).map(probability).sum::<f64>() + half,
                };
                let case = format!("{count} of {trials} at {rate}");
                assert_close(Tails::of(count, mean, -1.0 / all), expected, &case);
            }
        }
    }

    #[test]
    fn without_dispersion_it_is_poisson() {
        for (count, mean) in [(0_u64, 0.5), (3, 0.5), (70, 50.0), (30, 50.0)] {
            let probability = |count: u64| {
                let ways: f64 = (1..=count).map(|one| mean / one as f64).product();
                ways * f64::exp(-mean)
            };
            let half = probability(count) / 2.0;
            let lower = (0..count).map(probability).sum::<f64>() + half;
            let upper = (count + 1..count + 200).map(probability).sum::<f64>() + half;
            for dispersion in [0.0, -1e-12] {
                let found = Tails::of(count, mean, dispersion);
                assert!((found.lower / lower - 1.0).abs() < 1e-4, "{count}: {found:?} {lower}");
                assert!((found.upper / upper - 1.0).abs() < 1e-4, "{count}: {found:?} {upper}");
            }
        }
    }
}
