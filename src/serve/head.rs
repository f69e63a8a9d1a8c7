//! What every answer says of the publication that it is of.

use super::table::quoted;
use crate::event::Kind;
use crate::stores::Progress;
use crate::time::{Definition, Epoch, Publication, Through, rfc3339};
use crate::titles::TitleSource;
use std::collections::BTreeMap;

/// The name of the positions in topics of titles.
const TITLES: &str = "titles";

/// A publication, in the words of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub publication: Publication,
    /// The generation of the job.
    pub generation: u64,
    /// The watermark.
    pub watermark: Option<String>,
    /// The start of the last final epoch.
    pub final_through: Option<String>,
    /// The epochs that are final.
    pub through: Through,
    /// When it was committed, if this job has committed it.
    pub published_at: Option<String>,
}

impl Head {
    /// What a progress says, where `latest` is the latest epoch with rows.
    pub fn of(progress: &Progress, definition: &Definition, latest: Option<Epoch>) -> Head {
        let last = match progress.final_through {
            Through::Nothing => None,
            Through::Epoch(last) => Some(last),
            Through::Everything => latest,
        };
        Head {
            publication: progress.publication,
            generation: progress.generation,
            watermark: progress.watermark_ms().map(rfc3339),
            final_through: last.map(|last| definition.start_rfc3339(last)),
            through: progress.final_through,
            published_at: None,
        }
    }

    /// Its members of a JSON object, without braces.
    pub fn members(&self) -> String {
        let text = |text: &Option<String>| text.as_deref().map_or("null".to_owned(), quoted);
        format!(
            "\"publication\":{},\"generation\":{},\"watermark\":{},\"final_through\":{},\
             \"finished\":{},\"published_at\":{}",
            self.publication,
            self.generation,
            text(&self.watermark),
            text(&self.final_through),
            self.through == Through::Everything,
            text(&self.published_at)
        )
    }

    /// The tag of answers as of this publication, by the server of a job that was started once:
    /// another store may have a publication of the same generation and number.
    pub fn tag(&self, server: u64, form: &str) -> String {
        format!("\"{server:016x}-{}-{}-{form}\"", self.generation, self.publication)
    }
}

/// The positions in the logs, and in the topics of titles, as a JSON object.
pub fn positions(progress: &Progress, titles: &[TitleSource]) -> String {
    let mut logs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for topic in Kind::ALL.map(Kind::topic).into_iter().chain([TITLES]) {
        logs.entry(topic).or_default();
    }
    for source in titles {
        // A file of titles is read as a whole.
        let Some(next_offset) = source.next_offset else { continue };
        let entry = format!("{}:{next_offset}", quoted(&source.place));
        logs.entry(TITLES).or_default().push(entry);
    }
    for at in progress.partitions.values() {
        let entry = format!("{}:{}", quoted(&at.partition.name), at.next_offset);
        logs.entry(at.partition.kind.topic()).or_default().push(entry);
    }
    let logs = logs.iter().map(|(topic, at)| format!("\"{topic}\":{{{}}}", at.join(",")));
    format!("{{{}}}", logs.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::sqlite::fixtures::progress;

    #[test]
    fn positions_have_every_log_and_the_topics_of_titles() {
        let at = progress("p\"", 7, 0);
        let partitions = [(at.partition.clone(), at)].into();
        let source = |place: &str, next_offset| TitleSource {
            place: place.into(),
            next_offset,
            ..TitleSource::default()
        };
        let titles = [source("kafka:names/0", Some(9)), source("t.csv", None)];
        let text = positions(&Progress { partitions, ..Progress::default() }, &titles);
        let expected = serde_json::json!({
            "impressions": {}, "plays": {"p\"": 7}, "denials": {}, "titles": {"kafka:names/0": 9},
        });
        assert_eq!(text.parse::<serde_json::Value>().unwrap(), expected);
    }

    #[test]
    fn tags_of_two_servers_differ() {
        let head = Head::of(&Progress::default(), &Definition::default(), None);
        assert_eq!(head.tag(1, "json"), head.tag(1, "json"));
        assert_ne!(head.tag(1, "json"), head.tag(2, "json"));
        assert_ne!(head.tag(1, "json"), head.tag(1, "csv"));
    }
}
