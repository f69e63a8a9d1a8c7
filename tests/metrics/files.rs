//! The files that are written for Prometheus, Grafana and people name only metrics that there are.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use trendmark::metrics::{Shape, list, reference};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The names of the series that there are.
fn known() -> BTreeSet<String> {
    let names = list::all().flat_map(|metric| match metric.shape {
        Shape::Histogram => {
            ["_bucket", "_sum", "_count"].map(|end| format!("{}{end}", metric.name)).to_vec()
        }
        _ => vec![metric.name.to_owned()],
    });
    names.collect()
}

#[test]
fn every_metric_of_the_dashboard_and_the_alerts_is_declared() {
    let known = known();
    let mut broken = Vec::new();
    for path in [
        "deploy/grafana/dashboard.json",
        "deploy/prometheus/alerts.yml",
        "deploy/prometheus/alerts_test.yml",
    ] {
        let text = read(path);
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let words = text.split(|letter| !is_word(letter));
        let named: BTreeSet<&str> = words.filter(|word| word.starts_with("trendmark_")).collect();
        assert!(named.len() > 5, "{path}: {named:?}");
        let unknown = named.into_iter().filter(|name| !known.contains(*name));
        broken.extend(unknown.map(|name| format!("{path}: no metric `{name}`")));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_reference_is_that_of_the_list() {
    let path = root().join("docs/metrics.md");
    if std::env::var_os("TRENDMARK_WRITE_REFERENCE").is_some() {
        std::fs::write(&path, reference::page()).unwrap();
    }
    let same = read("docs/metrics.md") == reference::page();
    assert!(same, "docs/metrics.md differs from src/metrics: its first line says how to write it");
}

#[test]
fn every_alert_has_a_summary_an_action_and_a_place_in_the_documentation() {
    let alerts = read("deploy/prometheus/alerts.yml");
    let troubleshooting = read("docs/troubleshooting.md");
    let blocks: Vec<&str> = alerts.split("- alert: ").skip(1).collect();
    assert!((8..=15).contains(&blocks.len()), "few alerts, not {}", blocks.len());
    for block in blocks {
        let name = block.lines().next().unwrap();
        for key in ["severity: ", "summary: \"", "action: \""] {
            assert!(block.contains(key), "{name} has no {key}");
        }
        let anchor = format!("runbook_url: docs/troubleshooting.md#{}\n", name.to_lowercase());
        assert!(block.contains(&anchor), "{name}: {anchor}");
        assert!(troubleshooting.contains(&format!("\n### {name}\n")), "{name} is not described");
    }
}

#[test]
fn the_rules_pass_the_checks_of_prometheus() {
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let mut promtool = Command::new("promtool");
        promtool.current_dir(root().join("deploy/prometheus")).args(arguments);
        with_input(promtool, "");
    }
}

/// Runs a command that must succeed, and returns what it says on standard error. Says that this was
/// skipped if there is no such program. Not by `eprintln`, which is hidden when a test succeeds.
pub fn with_input(mut command: Command, input: &str) -> Option<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        let skipped = b"SKIPPED: checks of metrics need promtool (Debian: prometheus)\n";
        std::io::stderr().write_all(skipped).unwrap();
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, error) = (said(&ended.stdout), said(&ended.stderr));
    assert!(ended.status.success(), "{command:?}: {out}{error}");
    Some(error)
}
