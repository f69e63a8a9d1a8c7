//! How much more do counts scatter than those of independent events would?
//!
//! The variance of a count of mean m is m + φ m². How large φ is for a video is learned from its
//! past rows: each one says, for every value on a grid, how well it fits (the logarithm of a normal
//! likelihood with that variance, in which no row counts as further away than some bound). These
//! sums are its *evidence*. What all videos have in common comes in as the prior of each.

use serde::{Deserialize, Serialize};
use std::array;

/// The values of φ that are considered.
pub const GRID: [f64; 8] = [0.0, 0.004, 0.012, 0.03, 0.07, 0.15, 0.3, 0.55];
/// A squared deviation in units of the variance counts as no more than this.
const OUTLIER: f64 = 40.0;
/// What a row of a mean m says is as uncertain as if it were this share of a normal one.
fn weight(mean: f64) -> f64 {
    2.0 * mean / (1.0 + 2.0 * mean)
}

/// The logarithms of likelihoods, up to a common constant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence(pub [f64; GRID.len()]);

/// Shares of the values of the grid, which add up to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shares(pub [f64; GRID.len()]);

impl Evidence {
    /// Adds a row: its squared deviation from a mean.
    #[inline]
    pub fn add(&mut self, squared: f64, mean: f64) {
        let weight = 0.5 * weight(mean);
        for (sum, dispersion) in self.0.iter_mut().zip(GRID) {
            let variance = mean + dispersion * mean * mean;
            *sum -= weight * (logarithm(variance) + (squared / variance).min(OUTLIER));
        }
    }

    /// The shares that follow from the evidence and a prior.
    pub fn posterior(&self, prior: &Shares) -> Shares {
        let most = self.0.iter().fold(f64::MIN, |most, one| most.max(*one));
        let shares = array::from_fn(|at| prior.0[at] * libm::exp(self.0[at] - most));
        Shares(shares).normalised()
    }

    /// How much the evidence tells one value from another: 0 for nothing, at most 1.
    pub fn information(&self) -> f64 {
        let most = self.0.iter().fold(f64::MIN, |most, one| most.max(*one));
        let mean = self.0.iter().sum::<f64>() / GRID.len() as f64;
        ((most - mean) / 64.0).min(1.0)
    }
}

impl Shares {
    /// All values alike.
    pub const EVEN: Shares = Shares([1.0 / GRID.len() as f64; GRID.len()]);

    /// The mean of the values.
    pub fn mean(&self) -> f64 {
        self.0.iter().zip(GRID).map(|(share, dispersion)| share * dispersion).sum()
    }

    fn normalised(self) -> Shares {
        let sum: f64 = self.0.iter().sum();
        Shares(self.0.map(|share| share / sum))
    }

    /// The prior of each video, given how many of all videos have each value: integers in any unit.
    pub fn prior(counted: &[i64; GRID.len()]) -> Shares {
        let sum: i64 = counted.iter().sum();
        // Coarse, so that it does not change with every event.
        let steps = counted.map(|one| 1 + (96 * one.max(0)).checked_div(sum).unwrap_or(0));
        Shares(steps.map(|step| step as f64)).normalised()
    }
}

/// The natural logarithm of a positive number, to 11 digits, by basic operations alone: by the
/// series of the inverse hyperbolic tangent.
#[inline]
fn logarithm(number: f64) -> f64 {
    const HALF_ROOT: i64 = std::f64::consts::FRAC_1_SQRT_2.to_bits().cast_signed();
    let bits = number.to_bits().cast_signed();
    // The number is the mantissa, between √½ and √2, times a power of 2.
    let exponent = (bits - HALF_ROOT) >> 52;
    let mantissa = f64::from_bits((bits - (exponent << 52)).cast_unsigned());
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let squared = ratio * ratio;
    const TERMS: [f64; 7] =
        [1.0, 1.0 / 3.0, 1.0 / 5.0, 1.0 / 7.0, 1.0 / 9.0, 1.0 / 11.0, 1.0 / 13.0];
    let series = TERMS.iter().rev().fold(0.0, |sum, term| sum * squared + term);
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * ratio * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_has_eleven_digits() {
        let mut number = 1e-6;
        while number < 1e12 {
            let error = logarithm(number) - f64::ln(number);
            assert!(error.abs() < 1e-11, "{number}: {error}");
            number *= 1.003;
        }
        assert_eq!(logarithm(1.0), 0.0);
    }

    #[test]
    fn evidence_finds_the_dispersion() {
        // Deviations as large as the dispersion says, in both directions.
        for (at, dispersion) in GRID.into_iter().enumerate() {
            let mut evidence = Evidence::default();
            for _ in 0..300 {
                let mean: f64 = 200.0;
                evidence.add(mean + dispersion * mean * mean, mean);
            }
            let Shares(shares) = evidence.posterior(&Shares::EVEN);
            let best = (0..GRID.len()).max_by(|one, other| shares[*one].total_cmp(&shares[*other]));
            assert_eq!(best, Some(at), "{shares:?}");
            assert!(evidence.information() > 0.99);
        }
    }

    #[test]
    fn without_evidence_the_prior_stays() {
        let prior = Shares::prior(&[0, 0, 3, 1, 0, 0, 0, 0]);
        let Shares(shares) = Evidence::default().posterior(&prior);
        assert!(shares[2] > 0.6 && shares[2] > 2.0 * shares[3] && shares[0] > 0.0);
        assert_eq!(Shares::prior(&[0; GRID.len()]), Shares::EVEN);
        assert_eq!(Evidence::default().information(), 0.0);
    }
}
