//! How much of provisional epochs has arrived, as text for people.

use crate::completeness::Completeness;
use crate::event::Kind;
use crate::time::Epoch;
use std::collections::BTreeSet;

/// Returns a line for each of some epochs: the share of its events that has arrived, of each kind.
pub(super) fn text(
    rows: &[Completeness],
    epochs: &BTreeSet<Epoch>,
    label: impl Fn(Epoch) -> String,
) -> String {
    let lines = epochs.iter().filter_map(|epoch| {
        let of = |kind: Kind| {
            let is_it = |row: &&Completeness| row.epoch == *epoch && row.kind == kind;
            let row = rows.iter().find(is_it)?;
            Some(format!("{} {}", kind.topic(), share(row)))
        };
        let kinds: Vec<_> = [Kind::Impression, Kind::Play].into_iter().filter_map(of).collect();
        let told = !kinds.is_empty();
        told.then(|| format!("  {} has arrived: {}\n", label(*epoch), kinds.join(", ")))
    });
    lines.collect()
}

/// `97.2 % (95.8 to 98.4)`, or why it is unknown.
fn share(row: &Completeness) -> String {
    match (row.share, row.share_low, row.share_high, &row.unknown) {
        (Some(share), Some(low), Some(high), _) => {
            let percent = |share: f64| 100.0 * share;
            format!("{:.1} % ({:.1} to {:.1})", percent(share), percent(low), percent(high))
        }
        (_, _, _, Some(reason)) => format!("unknown ({reason})"),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completeness::{Estimate, Unknown};

    #[test]
    fn shares_are_told_with_their_intervals_or_the_reason_why_not() {
        let share = Ok(Estimate { share: 0.972, low: 0.958, high: 0.984 });
        let rows = [
            Completeness::new((Epoch(7), Kind::Impression), 9, None, share),
            Completeness::new((Epoch(7), Kind::Play), 9, None, Err(Unknown::TooFew)),
            Completeness::new((Epoch(8), Kind::Play), 9, None, share),
        ];
        let told = text(&rows, &BTreeSet::from([Epoch(7), Epoch(9)]), |epoch| epoch.to_string());
        let expected = "  7 has arrived: impressions 97.2 % (95.8 to 98.4), plays unknown (too few \
                        past epochs)\n";
        assert_eq!(told, expected);
    }
}
