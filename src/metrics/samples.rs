//! The values of all metrics at one moment.

use super::{Distribution, Metric, Shape};
use std::collections::BTreeMap;

/// The value of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// That of a counter or a gauge.
    Number(f64),
    /// That of a histogram.
    Distribution(Distribution),
}

/// The values of all metrics at one moment. What is not known is not in it.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// By the name of the metric and the values of its labels.
    series: BTreeMap<&'static str, BTreeMap<Vec<String>, Value>>,
}

impl Samples {
    /// Sets the value of a series. Numbers that are not finite are left out.
    ///
    /// # Panics
    /// When these are not the labels of the metric, or it is a histogram: a bug.
    pub fn set(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        assert!(metric.shape != Shape::Histogram, "{} is a histogram", metric.name);
        if value.is_finite() {
            self.insert(metric, labels, Value::Number(value));
        }
    }

    /// Sets the value of a series, if it is known.
    ///
    /// # Panics
    /// As [`Samples::set`].
    pub fn set_known(&mut self, metric: &'static Metric, labels: &[&str], value: Option<f64>) {
        if let Some(value) = value {
            self.set(metric, labels, value);
        }
    }

    /// Adds to the value of a series.
    ///
    /// # Panics
    /// As [`Samples::set`].
    pub fn add(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        let before = match self.get(metric, labels) {
            Some(Value::Number(before)) => *before,
            _ => 0.0,
        };
        self.set(metric, labels, before + value);
    }

    /// Sets a histogram.
    ///
    /// # Panics
    /// When these are not the labels of the metric, or it is no histogram: a bug.
    pub fn set_distribution(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        value: Distribution,
    ) {
        assert!(metric.shape == Shape::Histogram, "{} is no histogram", metric.name);
        self.insert(metric, labels, Value::Distribution(value));
    }

    /// Returns the value of a series.
    pub fn get(&self, metric: &Metric, labels: &[&str]) -> Option<&Value> {
        let wanted: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        self.series.get(metric.name)?.get(&wanted)
    }

    /// Returns the series of a metric: the values of its labels, and its value.
    pub fn of(&self, metric: &Metric) -> impl Iterator<Item = (&[String], &Value)> {
        let series = self.series.get(metric.name).into_iter().flatten();
        series.map(|(labels, value)| (labels.as_slice(), value))
    }

    /// Takes in others, which win.
    pub fn merge(&mut self, others: &Samples) {
        for (name, series) in &others.series {
            self.series.entry(name).or_default().extend(series.clone());
        }
    }

    fn insert(&mut self, metric: &'static Metric, labels: &[&str], value: Value) {
        assert_eq!(labels.len(), metric.labels.len(), "the labels of {}", metric.name);
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.series.entry(metric.name).or_default().insert(labels, value);
    }
}
