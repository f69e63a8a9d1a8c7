//! Reads `--field`: where the fields of the records are, in all logs or in one.

use super::ArgumentError;
use crate::decode::{FIELDS, FieldPath, LogFields};
use crate::event::Kind;

/// Returns the paths of the fields for values of `--field`, `[LOG.]FIELD=PATH`. A value for
/// one log is stronger than one for all, and of equally strong ones the last counts.
///
/// # Errors
/// If a value is not of this form, or two fields of a log cannot both have a value.
pub(super) fn log_fields(given: &[String]) -> Result<LogFields, ArgumentError> {
    let settings = given.iter().map(|text| setting(text)).collect::<Result<Vec<_>, _>>()?;
    let mut fields = LogFields::default();
    let (for_one, for_all): (Vec<_>, Vec<_>) =
        settings.into_iter().partition(|(kind, ..)| kind.is_some());
    for (kind, field, path) in for_all.into_iter().chain(for_one) {
        for kind in Kind::ALL.into_iter().filter(|&one| kind.is_none_or(|kind| kind == one)) {
            fields.of_mut(kind).set(field, path.clone());
        }
    }
    for kind in Kind::ALL {
        let paths = fields.of(kind);
        if let Some((one, other)) = paths.conflict() {
            let log = kind.topic();
            return Err(refused(
                &given.join(", "),
                &format!("{one} and {other} of {log} cannot share a path or lie in each other"),
            ));
        }
    }
    Ok(fields)
}

/// Returns the log, if it is for one only, the name of the field, and its path.
fn setting(text: &str) -> Result<(Option<Kind>, &str, FieldPath), ArgumentError> {
    let Some((name, path)) = text.split_once('=') else {
        return Err(refused(
            text,
            "must be FIELD=PATH, or FIELD with `impressions.`, `plays.` or `denials.`",
        ));
    };
    let (kind, field) = match name.split_once('.') {
        Some((log, field)) => match Kind::of_topic(log) {
            Some(kind) => (Some(kind), field),
            None => return Err(refused(text, "the logs are impressions, plays and denials")),
        },
        None => (None, name),
    };
    if !FIELDS.contains(&field) {
        let fields = "the fields are request_id, video_id, event_time and record_time";
        return Err(refused(text, fields));
    }
    if field == "video_id" && kind.is_some_and(|kind| !kind.has_video()) {
        return Err(refused(text, "a denial is of a request, and has no video_id"));
    }
    let path = path.parse().map_err(|error| refused(text, &format!("{error}")))?;
    Ok((kind, field, path))
}

fn refused(given: &str, limit: &str) -> ArgumentError {
    ArgumentError::Limit { flag: "field", given: given.into(), limit: limit.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(given: &[&str]) -> Result<LogFields, String> {
        let given: Vec<_> = given.iter().map(|text| text.to_string()).collect();
        log_fields(&given).map_err(|error| error.to_string())
    }

    /// Returns the paths of `request_id` in impressions and in plays.
    fn request_ids(given: &[&str]) -> (String, String) {
        let fields = read(given).unwrap();
        let path = |kind| fields.of(kind).request_id.to_string();
        (path(Kind::Impression), path(Kind::Play))
    }

    #[test]
    fn a_field_is_mapped_in_both_logs_or_in_one() {
        for (given, impressions, plays) in [
            (vec![], "request_id", "request_id"),
            (vec!["request_id=a.b"], "a.b", "a.b"),
            (vec!["plays.request_id=page_id"], "request_id", "page_id"),
            (vec!["impressions.request_id=x", "plays.request_id=y"], "x", "y"),
            (vec!["plays.request_id=y", "request_id=x"], "x", "y"),
            (vec!["request_id=x", "plays.request_id=y"], "x", "y"),
            (vec!["request_id=x", "request_id=z"], "z", "z"),
            (vec!["request_id=a=b"], "a=b", "a=b"),
        ] {
            assert_eq!(request_ids(&given), (impressions.into(), plays.into()), "{given:?}");
        }
    }

    #[test]
    fn a_name_that_another_field_of_the_other_log_has_is_no_conflict() {
        let fields = read(&["plays.request_id=video_id", "plays.video_id=request_id"]).unwrap();
        assert_eq!(fields.impressions, Default::default());
        assert_eq!(fields.plays.texts()[1], "request_id");
    }

    #[test]
    fn what_is_not_a_mapping_is_refused_with_the_reason() {
        for (given, reason) in [
            (vec!["request_id"], "must be FIELD=PATH"),
            (vec!["video=v"], "the fields are request_id, "),
            (vec!["plays.video=v"], "the fields are request_id, "),
            (vec!["play.video_id=v"], "the logs are impressions, plays and denials"),
            (vec!["denials.video_id=v"], "has no video_id"),
            (vec!["plays.video_id.x=v"], "the fields are request_id, "),
            (vec!["video_id="], "every name between the dots"),
            (vec!["video_id=a..b"], "every name between the dots"),
            (vec![r"video_id=a\b"], "a backslash in a path"),
            (vec!["video_id=request_id"], "request_id and video_id of impressions cannot share"),
            (vec!["plays.video_id=request_id"], "request_id and video_id of plays cannot share"),
            (vec!["video_id=a", "request_id=a.b"], "video_id and request_id of impressions"),
        ] {
            let error = read(&given).unwrap_err();
            assert!(error.starts_with(&format!("--field is {}", given.join(", "))), "{error}");
            assert!(error.contains(reason), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            given in proptest::collection::vec(
                "(impressions|plays|denials|)[.]?(request_id|video_id|)[=]?[a-c.\\\\=é]{0,6}", 0..5,
            ),
        ) {
            if let Ok(fields) = log_fields(&given) {
                let written = |kind: Kind| {
                    let paths = FIELDS.into_iter().zip(fields.of(kind).all());
                    let paths = paths.filter_map(|(field, path)| Some((field, path?)));
                    let paths = paths.map(|(field, path)| format!("{kind}s.{field}={path}"));
                    paths.collect::<Vec<_>>()
                };
                let written = Kind::ALL.map(written).concat();
                prop_assert_eq!(log_fields(&written).unwrap(), fields);
            }
        }
    }
}
