//! The declarations of all metrics, in the order in which they are told.

pub mod job;
pub mod partitions;
pub mod process;

use super::Metric;

/// Declares metrics, and lists them.
macro_rules! metrics {
    ($(
        $name:ident = $text:literal, $shape:ident, $unit:expr, [$($label:literal),*],
        $help:literal, $meaning:literal;
    )*) => {
        $(
            #[doc = $help]
            pub static $name: $crate::metrics::Metric = $crate::metrics::Metric {
                name: $text,
                shape: $crate::metrics::Shape::$shape,
                unit: $unit,
                labels: &[$($label),*],
                help: $help,
                meaning: $meaning,
            };
        )*
        /// All of them.
        pub static ALL: &[&$crate::metrics::Metric] = &[$(&$name),*];
    };
}
use metrics;

/// The unit of times.
const SECONDS: Option<&str> = Some("seconds");
/// The unit of sizes.
const BYTES: Option<&str> = Some("bytes");
/// The unit of shares, from 0 to 1.
const RATIO: Option<&str> = Some("ratio");

/// The groups: a title, who has them, and the metrics.
pub static GROUPS: &[(&str, &str, &[&Metric])] = &[
    (
        "The job",
        "Told by process 0, from what is committed. A replay or a restart moves no counter: the \
         store is read at the start.",
        job::ALL,
    ),
    (
        "Partitions",
        "Told by the process that reads the partition, as it is now, except for those with \
         `committed` in their name, which process 0 tells. `topic` is the log (`impressions`, \
         `plays` or `denials`), and `partition` a file, or a topic of Kafka and a number. Each \
         process tells at most 1,000 partitions, those that are behind first.",
        partitions::ALL,
    ),
    ("Processes", "Told by every process, of itself: these begin anew with it.", process::ALL),
];

/// All metrics.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    GROUPS.iter().flat_map(|(_, _, metrics)| metrics.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Shape;
    use std::collections::BTreeSet;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut names = BTreeSet::new();
        for metric in all() {
            let name = metric.name;
            assert!(names.insert(name), "{name} is declared twice");
            assert!(name.starts_with("trendmark_"), "{name}");
            let is_plain = |letter: char| letter.is_ascii_lowercase() || letter == '_';
            assert!(name.chars().all(is_plain), "{name}");
            let stem = name.strip_suffix("_total");
            assert_eq!(stem.is_some(), metric.shape == Shape::Counter, "{name}");
            if let Some(unit) = metric.unit {
                let stem = stem.unwrap_or(name);
                assert!(stem.ends_with(&format!("_{unit}")), "{name} has the unit {unit}");
            }
            assert!(metric.help.ends_with('.') && metric.meaning.ends_with('.'), "{name}");
            assert!(!metric.help.contains('|') && !metric.meaning.contains('|'), "{name}");
        }
    }

    #[test]
    fn what_a_process_measures_says_so() {
        for metric in process::ALL {
            let shared = ["trendmark_ready", "trendmark_keeping_up", "trendmark_build_info"];
            let is_of_process = metric.name.starts_with("trendmark_process_");
            assert!(is_of_process || shared.contains(&metric.name), "{}", metric.name);
        }
    }
}
