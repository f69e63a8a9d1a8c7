//! The values of `--kafka-format`: a format for the topics of all logs, or of one.

use crate::decode::MessageFormat;
use crate::event::Kind;
use clap::ValueEnum;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A format, for one log or for all: `[LOG=]FORMAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GivenFormat {
    log: Option<Kind>,
    format: MessageFormat,
}

/// A text that is not `[LOG=]FORMAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write json, avro or protobuf, for one log with `impressions=`, `plays=` or `denials=` before \
     it, such as plays=json"
)]
pub struct FormatError;

impl FromStr for GivenFormat {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<GivenFormat, FormatError> {
        let (log, format) = match text.split_once('=') {
            Some((log, format)) => (Some(Kind::of_topic(log).ok_or(FormatError)?), format),
            None => (None, text),
        };
        let format = MessageFormat::from_str(format, false).map_err(|_| FormatError)?;
        Ok(GivenFormat { log, format })
    }
}

impl fmt::Display for GivenFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(log) = self.log {
            write!(formatter, "{}=", log.topic())?;
        }
        formatter.write_str(self.format.name())
    }
}

/// Returns the format of a log: that given for it, or else for all; of several the last.
pub(super) fn format_of(given: &[GivenFormat], kind: Kind) -> MessageFormat {
    let last = |log| given.iter().rev().find(|given| given.log == log).map(|given| given.format);
    last(Some(kind)).or_else(|| last(None)).unwrap_or_default()
}

/// The default: JSON for all logs.
pub(super) const DEFAULT: GivenFormat = GivenFormat { log: None, format: MessageFormat::Json };

/// Writes formats as a text, or several as a list.
///
/// # Errors
/// When the serializer fails.
pub(super) fn serialize<S: Serializer>(
    formats: &[GivenFormat],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match formats {
        [format] => serializer.collect_str(format),
        formats => serializer.collect_seq(formats.iter().map(ToString::to_string)),
    }
}

/// Reads formats from a text or a list of texts.
///
/// # Errors
/// When a text is not `[LOG=]FORMAT`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<GivenFormat>, D::Error> {
    #[derive(Deserialize, Serialize)]
    #[serde(untagged)]
    enum OneOrSeveral {
        One(String),
        Several(Vec<String>),
    }
    let texts = match OneOrSeveral::deserialize(deserializer)? {
        OneOrSeveral::One(text) => vec![text],
        OneOrSeveral::Several(texts) => texts,
    };
    let formats = texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom));
    formats.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_of_all_logs_or_of_one() {
        use MessageFormat::{Avro, Json, Protobuf};
        for (given, expected) in [
            (&[][..], [Json, Json, Json]),
            (&["avro"], [Avro, Avro, Avro]),
            (&["plays=avro"], [Json, Avro, Json]),
            (&["impressions=avro", "plays=json"], [Avro, Json, Json]),
            (&["plays=json", "protobuf"], [Protobuf, Json, Protobuf]),
            (&["avro", "protobuf", "denials=json"], [Protobuf, Protobuf, Json]),
        ] {
            let parsed: Vec<GivenFormat> = given.iter().map(|text| text.parse().unwrap()).collect();
            let formats = Kind::ALL.map(|kind| format_of(&parsed, kind));
            assert_eq!(formats, expected, "{given:?}");
            let written: Vec<String> = parsed.iter().map(ToString::to_string).collect();
            assert_eq!(written, given);
        }
        for wrong in ["", "xml", "play=json", "plays=", "=json", "plays=json=", "Avro"] {
            assert_eq!(wrong.parse::<GivenFormat>(), Err(FormatError), "{wrong}");
        }
    }
}
