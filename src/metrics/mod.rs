//! The metrics of a job: one list, from which everything about them follows.
//!
//! `/metrics` is encoded from it, docs/metrics.md is written from it, and every name in the
//! dashboard and in the alert rules must be in it. A value that is not known is left out, and never
//! 0.
//!
//! The encoder is ours: the crate `prometheus-client` writes its text in the format of OpenMetrics
//! only, and keeps values where here they are looked up when somebody asks.
//!
//! - [`list`]: the declarations.
//! - [`Samples`]: the values of one moment.
//! - [`encode`]: the two text formats.
//! - [`Histogram`]: a distribution that threads add to.
//! - [`mod@reference`]: the page of documentation.

pub mod encode;
pub mod histogram;
pub mod list;
pub mod reference;
mod samples;

pub use histogram::{Distribution, Histogram};
pub use samples::{Samples, Value};

/// A declared metric.
#[derive(Debug)]
pub struct Metric {
    /// The name in Prometheus; that of a counter ends in `_total`.
    pub name: &'static str,
    /// What its values are.
    pub shape: Shape,
    /// The base unit, which its name has as a suffix; none for plain numbers.
    pub unit: Option<&'static str>,
    /// The names of the labels.
    pub labels: &'static [&'static str],
    /// What it is, in a line.
    pub help: &'static str,
    /// What it means for somebody on call.
    pub meaning: &'static str,
}

/// What the values of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A sum that only grows.
    Counter,
    /// A number that goes up and down.
    Gauge,
    /// A distribution, in cumulative buckets.
    Histogram,
}

impl Shape {
    /// The name of the type in both text formats.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Counter => "counter",
            Shape::Gauge => "gauge",
            Shape::Histogram => "histogram",
        }
    }
}
