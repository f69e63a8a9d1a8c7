//! The table of completeness, and what a store keeps so that the next job can go on.

use super::curves::{Curve, Estimate, Unknown};
use crate::event::Kind;
use crate::time::Epoch;
use serde::{Deserialize, Serialize};

/// How much of the events of an epoch has arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completeness {
    /// The epoch.
    pub epoch: Epoch,
    /// The kind of the events.
    pub kind: Kind,
    /// The number of accepted events that were read, duplicates included.
    pub seen: u64,
    /// The number of records in the logs of the kind that were not read, of whatever epoch; unknown
    /// where a source cannot tell.
    pub unread: Option<u64>,
    /// The share of the events of the epoch that was read, from 0 to 1; none where it is unknown.
    pub share: Option<f64>,
    /// The lower end of its 90 % interval.
    pub share_low: Option<f64>,
    /// The upper end of the interval.
    pub share_high: Option<f64>,
    /// Why the share is unknown.
    pub unknown: Option<String>,
}

impl Completeness {
    /// Creates the row of an epoch and kind.
    pub fn new(
        (epoch, kind): (Epoch, Kind),
        seen: u64,
        unread: Option<u64>,
        estimate: Result<Estimate, Unknown>,
    ) -> Completeness {
        let unknown = estimate.err().map(|reason| reason.to_string());
        let estimate = estimate.ok();
        let rounded = |share: f64| libm::round(share * 1e6) / 1e6;
        Completeness {
            epoch,
            kind,
            seen,
            unread,
            share: estimate.map(|estimate| rounded(estimate.share)),
            share_low: estimate.map(|estimate| rounded(estimate.low)),
            share_high: estimate.map(|estimate| rounded(estimate.high)),
            unknown,
        }
    }
}

/// A curve as a store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredCurve {
    /// The epoch.
    pub epoch: Epoch,
    /// The kind of the events.
    pub kind: Kind,
    /// The first epoch of the kind that the logs have whole.
    pub first_whole: Option<Epoch>,
    /// The curve.
    pub curve: Curve,
}

/// What a publication changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CompletenessUpdate {
    /// The rows that changed.
    pub rows: Vec<Completeness>,
    /// The curves that changed.
    pub curves: Vec<StoredCurve>,
    /// The curves that are too old to be of use.
    pub forgotten: Vec<(Epoch, Kind)>,
}
