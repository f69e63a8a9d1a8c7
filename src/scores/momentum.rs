//! Several epochs together: how strongly a video rises, and since when.

/// The most that a single epoch counts, in thousandths of a standard deviation.
const SCORE_MAX: i64 = 8_000;
/// What an epoch must exceed to add to a rise, likewise.
const DRIFT: i64 = 1_500;

/// The score of a video in an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Standard deviations, in thousandths.
    pub thousandths: i64,
    /// The part of the variance that is the error of what is usual: the same error in all epochs.
    pub shared: f64,
}

impl Score {
    fn bounded(self) -> i64 {
        self.thousandths.clamp(-SCORE_MAX, SCORE_MAX)
    }
}

/// Combines scores, of the epoch itself first and then of those before it, where there are any: by
/// Stouffer's sum, with weights that halve every `half_life` epochs. It is again in thousandths of
/// a standard deviation, as what the errors have in common does not average out.
pub fn momentum(scores: impl IntoIterator<Item = Option<Score>>, half_life: f64) -> i64 {
    let (mut sum, mut own, mut shared) = (0.0, 0.0, 0.0);
    for (age, score) in scores.into_iter().enumerate() {
        let Some(score) = score else { continue };
        let weight = libm::exp2(-(age as f64) / half_life);
        sum += weight * score.bounded() as f64;
        own += weight * weight * (1.0 - score.shared);
        shared += weight * score.shared.sqrt();
    }
    let deviation = (own + shared * shared).sqrt();
    if deviation > 0.0 { libm::round(sum / deviation) as i64 } else { 0 }
}

/// Returns how many epochs ago the present rise began, 0 for the last of the scores, which come in
/// the order of epochs: since when a one-sided CUSUM has been above 0 (E. S. Page, "Continuous
/// Inspection Schemes", Biometrika 41, 1954).
pub fn rising_for(scores: impl ExactSizeIterator<Item = Option<Score>>) -> Option<i64> {
    let last = scores.len() as i64 - 1;
    let (mut sum, mut since) = (0, None);
    for (at, score) in scores.enumerate() {
        sum += score.map_or(0, Score::bounded) - DRIFT;
        if sum <= 0 {
            (sum, since) = (0, None);
        } else if since.is_none() {
            since = Some(last - at as i64);
        }
    }
    since
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(sigmas: f64, shared: f64) -> Option<Score> {
        Some(Score { thousandths: (sigmas * 1_000.0) as i64, shared })
    }

    #[test]
    fn independent_scores_average_out_and_shared_errors_do_not() {
        let alike = |shared| momentum((0..40).map(|_| score(1.0, shared)), 1e9);
        assert_eq!(alike(0.0), 6_325, "√40");
        assert_eq!(alike(1.0), 1_000);
        assert!((1_000..6_325).contains(&alike(0.3)));
        assert_eq!(momentum([score(3.0, 0.2)], 2.0), 3_000);
        assert_eq!(momentum([None, None], 2.0), 0);
        // An epoch that is a half-life older weighs half: (2 + 1/2) / √(1 + 1/4).
        assert_eq!(momentum([score(2.0, 0.0), score(1.0, 0.0)], 1.0), 2_236);
        assert_eq!(momentum([score(2.0, 0.0), None, score(1.0, 0.0)], 2.0), 2_236);
    }

    #[test]
    fn a_rise_begins_where_the_scores_first_exceed_the_drift() {
        for (sigmas, since) in [
            (&[0.0, 0.0, 4.0, 3.0, 1.0][..], Some(2)),
            (&[4.0, 0.0, 0.0, 0.0, 0.0], None),
            (&[2.0, 2.0, 2.0], Some(2)),
            (&[5.0, 0.0, 0.0, 5.0], Some(3)),
            (&[5.0, -9.0, 5.0], Some(0)),
            // A tie ends it.
            (&[2.003, 0.997, 5.0], Some(0)),
            (&[1.0], None),
            (&[], None),
        ] {
            assert_eq!(rising_for(sigmas.iter().map(|one| score(*one, 0.0))), since, "{sigmas:?}");
        }
        assert_eq!(rising_for([score(5.0, 0.0), None, score(2.0, 0.0)].into_iter()), Some(2));
    }
}
