//! What every answer says of the publication that it is of.

use super::table::quoted;
use crate::event::Kind;
use crate::stores::Progress;
use crate::time::{Definition, Epoch, Publication, Through, rfc3339};
use std::collections::BTreeMap;

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

    /// The tag of answers as of this publication.
    pub fn tag(&self, form: &str) -> String {
        format!("\"{}-{}-{form}\"", self.generation, self.publication)
    }
}

/// The positions in the logs, as a JSON object.
pub fn positions(progress: &Progress) -> String {
    let mut logs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    // The third log is not read yet.
    for topic in Kind::ALL.map(Kind::topic).into_iter().chain(["denials"]) {
        logs.entry(topic).or_default();
    }
    for at in progress.partitions.values() {
        let entry = format!("{}:{}", quoted(&at.partition.name), at.next_offset);
        logs.entry(at.partition.kind.topic()).or_default().push(entry);
    }
    let logs = logs.iter().map(|(topic, at)| format!("\"{topic}\":{{{}}}", at.join(",")));
    format!("{{{}}}", logs.collect::<Vec<_>>().join(","))
}
