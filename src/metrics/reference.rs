//! The page of documentation, written from the list.

use super::list;
use std::fmt::Write;

/// What stands before the tables.
const INTRODUCTION: &str = include_str!("reference.md");

/// Returns the text of docs/metrics.md.
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (title, about, metrics) in list::GROUPS {
        // A string takes everything.
        let _ = write!(page, "\n## {title}\n\n{about}\n\n");
        page += "| metric | type | labels | what it is | on call |\n|---|---|---|---|---|\n";
        for metric in *metrics {
            let labels = metric.labels.iter().map(|label| format!("`{label}`"));
            let labels = labels.collect::<Vec<_>>().join(", ");
            let (name, shape) = (metric.name, metric.shape.name());
            let (help, meaning) = (metric.help, metric.meaning);
            let _ = writeln!(page, "| `{name}` | {shape} | {labels} | {help} | {meaning} |");
        }
    }
    page
}
