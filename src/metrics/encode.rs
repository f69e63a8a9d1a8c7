//! The text formats of `/metrics`: that of Prometheus (0.0.4), and OpenMetrics (1.0.0).

use super::histogram::BOUNDS;
use super::{Distribution, Metric, Samples, Shape, Value};
use std::fmt::Write;

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus 0.0.4, which everything reads.
    Prometheus,
    /// OpenMetrics 1.0.0, for those who ask for it.
    OpenMetrics,
}

impl Format {
    /// The format for a client with this header `Accept`.
    pub fn accepted(accept: &str) -> Format {
        let wants = |kind: &str| {
            let mut parts = kind.split(';').map(str::trim);
            let is_named = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("application/openmetrics-text"));
            let is_refused = parts.any(|part| {
                let weight = part.strip_prefix("q=").and_then(|weight| weight.parse::<f64>().ok());
                weight == Some(0.0)
            });
            is_named && !is_refused
        };
        match accept.split(',').any(wants) {
            true => Format::OpenMetrics,
            false => Format::Prometheus,
        }
    }

    /// The type of the body.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Returns the text of samples of these metrics, in their order.
pub fn encode<'a>(
    metrics: impl IntoIterator<Item = &'a Metric>,
    samples: &Samples,
    format: Format,
) -> String {
    let mut text = String::new();
    for metric in metrics {
        let mut series = samples.of(metric).peekable();
        if series.peek().is_none() {
            continue;
        }
        head(&mut text, metric, format);
        for (labels, value) in series {
            let labels = metric.labels.iter().copied().zip(labels.iter().map(String::as_str));
            let labels: Vec<(&str, &str)> = labels.collect();
            match value {
                Value::Number(number) => line(&mut text, metric.name, &labels, *number),
                Value::Distribution(all) => distribution(&mut text, metric.name, &labels, all),
            }
        }
    }
    if format == Format::OpenMetrics {
        text += "# EOF\n";
    }
    text
}

/// The name under which a metric is described: in OpenMetrics that of a counter has no `_total`.
fn family(metric: &Metric, format: Format) -> &str {
    match format {
        Format::OpenMetrics if metric.shape == Shape::Counter => {
            metric.name.strip_suffix("_total").unwrap_or(metric.name)
        }
        _ => metric.name,
    }
}

fn head(text: &mut String, metric: &Metric, format: Format) {
    let name = family(metric, format);
    let help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
    // OpenMetrics escapes quotes too.
    let help = if format == Format::OpenMetrics { help.replace('"', "\\\"") } else { help };
    *text += &format!("# HELP {name} {help}\n# TYPE {name} {}\n", metric.shape.name());
    if let (Format::OpenMetrics, Some(unit)) = (format, metric.unit) {
        *text += &format!("# UNIT {name} {unit}\n");
    }
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    text.push_str(name);
    for (number, (label, value)) in labels.iter().enumerate() {
        let separator = if number == 0 { '{' } else { ',' };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        // A string takes everything.
        let _ = write!(text, "{separator}{label}=\"{value}\"");
    }
    let end = if labels.is_empty() { "" } else { "}" };
    let _ = writeln!(text, "{end} {value}");
}

fn distribution(text: &mut String, name: &str, labels: &[(&str, &str)], all: &Distribution) {
    let bounds = BOUNDS.iter().map(|bound| format!("{bound:?}")).chain(["+Inf".to_owned()]);
    let bucket = format!("{name}_bucket");
    for (bound, number) in bounds.zip(&all.cumulative) {
        let labels = [labels, &[("le", bound.as_str())]].concat();
        line(text, &bucket, &labels, *number as f64);
    }
    line(text, &format!("{name}_sum"), labels, all.sum_seconds);
    let count = all.cumulative.last().copied().unwrap_or(0);
    line(text, &format!("{name}_count"), labels, count as f64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;
    use std::time::Duration;

    static EVENTS: Metric = Metric {
        name: "trendmark_some_events_total",
        shape: Shape::Counter,
        unit: None,
        labels: &["topic", "partition"],
        help: "Events of a \"log\".",
        meaning: "",
    };
    static AGE: Metric = Metric {
        name: "trendmark_age_seconds",
        shape: Shape::Gauge,
        unit: Some("seconds"),
        labels: &[],
        help: "An age.",
        meaning: "",
    };
    static TIMES: Metric = Metric {
        name: "trendmark_times_seconds",
        shape: Shape::Histogram,
        unit: Some("seconds"),
        labels: &[],
        help: "Times.",
        meaning: "",
    };

    fn samples() -> Samples {
        let mut samples = Samples::default();
        samples.set(&EVENTS, &["plays", "a\\b\"c\nd"], 3.0);
        samples.set(&EVENTS, &["plays", "é"], 1e15);
        samples.set(&AGE, &[], f64::NAN);
        samples
    }

    #[test]
    fn both_formats_are_as_their_specifications_say() {
        let metrics = [&EVENTS, &AGE, &TIMES];
        let mut samples = samples();
        let prometheus = "# HELP trendmark_some_events_total Events of a \"log\".\n\
            # TYPE trendmark_some_events_total counter\n\
            trendmark_some_events_total{topic=\"plays\",partition=\"a\\\\b\\\"c\\nd\"} 3\n\
            trendmark_some_events_total{topic=\"plays\",partition=\"é\"} 1000000000000000\n";
        assert_eq!(encode(metrics, &samples, Format::Prometheus), prometheus);
        samples.set(&AGE, &[], 0.25);
        let text = encode(metrics, &samples, Format::OpenMetrics);
        assert!(text.starts_with("# HELP trendmark_some_events Events of a \\\"log\\\".\n# TYPE "));
        assert!(text.contains("\ntrendmark_some_events_total{topic="), "{text}");
        let age = "# TYPE trendmark_age_seconds gauge\n# UNIT trendmark_age_seconds seconds\n\
            trendmark_age_seconds 0.25\n# EOF\n";
        assert!(text.ends_with(age), "{text}");
    }

    #[test]
    fn a_histogram_has_cumulative_buckets_a_sum_and_a_count() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_millis(2));
        let mut samples = Samples::default();
        samples.set_distribution(&TIMES, &[], histogram.now());
        let text = encode([&TIMES], &samples, Format::Prometheus);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines[0], "trendmark_times_seconds_bucket{le=\"0.001\"} 0");
        assert_eq!(lines[8], "trendmark_times_seconds_bucket{le=\"1.0\"} 1");
        assert_eq!(lines[BOUNDS.len()], "trendmark_times_seconds_bucket{le=\"+Inf\"} 1");
        assert_eq!(lines[BOUNDS.len() + 1], "trendmark_times_seconds_sum 0.002");
        assert_eq!(lines.last(), Some(&"trendmark_times_seconds_count 1"));
    }

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        for (accept, expected) in [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Prometheus),
            ("application/openmetrics-text;version=1.0.0;q=0.7,text/plain", Format::OpenMetrics),
            ("text/plain, APPLICATION/OpenMetrics-text", Format::OpenMetrics),
            ("application/openmetrics-text;q=0", Format::Prometheus),
        ] {
            assert_eq!(Format::accepted(accept), expected, "{accept}");
        }
    }
}
