//! What `/metrics` has answered.

use crate::common::http::Client;
use std::collections::BTreeMap;

/// The series of one answer, in the format of Prometheus, and the types of the metrics.
#[derive(Clone, Debug)]
pub struct Scrape {
    series: BTreeMap<String, f64>,
    counters: Vec<String>,
}

impl Scrape {
    pub fn of(client: &Client) -> Scrape {
        let answer = client.get("/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        let (mut series, mut counters) = (BTreeMap::new(), Vec::new());
        for line in answer.body.lines() {
            match line.strip_prefix("# ") {
                Some(comment) => {
                    let words: Vec<&str> = comment.split(' ').collect();
                    if words[0] == "TYPE" && words[2] == "counter" {
                        counters.push(words[1].to_owned());
                    }
                }
                None => {
                    let (name, value) = line.rsplit_once(' ').unwrap();
                    let before = series.insert(name.to_owned(), value.parse().unwrap());
                    assert_eq!(before, None, "{name} is there twice");
                }
            }
        }
        Scrape { series, counters }
    }

    /// The value of the series with exactly these labels.
    pub fn value(&self, name: &str, labels: &str) -> Option<f64> {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        self.series.get(&format!("{name}{labels}")).copied()
    }

    /// The labels of the series of a metric.
    pub fn series(&self, name: &str) -> Vec<&str> {
        let named = self.series.keys().filter_map(|series| series.strip_prefix(name));
        named.filter(|rest| rest.is_empty() || rest.starts_with('{')).collect()
    }

    /// The sum of the series of a metric that have this among their labels, if there are any.
    pub fn sum(&self, name: &str, label: &str) -> Option<f64> {
        let found = self.series(name).into_iter().filter(|labels| labels.contains(label));
        let values: Vec<f64> =
            found.map(|labels| self.series[&format!("{name}{labels}")]).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Compares the counters that do not belong to a process with those of an earlier answer.
    #[track_caller]
    pub fn assert_no_counter_of_the_job_fell(&self, earlier: &Scrape) {
        let of_job = |series: &&String| {
            let name = series.split('{').next().unwrap();
            !name.starts_with("trendmark_process_")
                && earlier.counters.iter().any(|one| one == name)
        };
        for series in earlier.series.keys().filter(of_job) {
            let (before, after) = (earlier.series[series], self.series.get(series));
            // Before the store is open, nothing is told.
            assert!(after.is_none_or(|after| *after >= before), "{series}: {before}, {after:?}");
        }
    }
}
