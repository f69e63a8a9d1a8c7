//! The titles of videos as records: one for each video, `{"video_id":7}`, and one with the key
//! `"sources"` for what was read of the files. A title that is gone is a tombstone.

use crate::event::VideoId;
use crate::time::{parse_rfc3339_ms, rfc3339};
use crate::titles::{Title, TitleChange, TitleTable, TitleUpdate};
use serde_json::{Value, json};

const SOURCES_KEY: &str = "sources";

/// Passes the keys and values of an update to `send`.
pub(super) fn write<E>(
    update: &TitleUpdate,
    mut send: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
) -> Result<(), E> {
    for TitleChange { video, title } in &update.changes {
        let key = json!({ "video_id": video.0 }).to_string();
        let value = title.as_ref().map(|Title { title, genre, launched_at_ms }| {
            let launched_at = launched_at_ms.map(rfc3339);
            let record = json!({
                "video_id": video.0, "title": title, "genre": genre, "launched_at": launched_at,
            });
            record.to_string()
        });
        send(key.as_bytes(), value.as_deref().map(str::as_bytes))?;
    }
    let sources = json!(update.sources).to_string();
    send(json!(SOURCES_KEY).to_string().as_bytes(), Some(sources.as_bytes()))
}

/// Applies a record. Returns `None` if it is not one of titles.
pub(super) fn apply(table: &mut TitleTable, key: &[u8], value: Option<&[u8]>) -> Option<()> {
    let key: Value = serde_json::from_slice(key).ok()?;
    if key == SOURCES_KEY {
        table.sources = serde_json::from_slice(value?).ok()?;
        return Some(());
    }
    let video = VideoId(key["video_id"].as_u64()?);
    let Some(value) = value else {
        table.titles.remove(&video);
        return Some(());
    };
    let value: Value = serde_json::from_slice(value).ok()?;
    let text = |field: &str| value[field].as_str();
    let launched_at_ms = match text("launched_at") {
        Some(time) => Some(parse_rfc3339_ms(time).ok()?),
        None => None,
    };
    let (title, genre) = (text("title")?.to_owned(), text("genre").map(str::to_owned));
    table.titles.insert(video, Title { title, genre, launched_at_ms });
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::titles::TitleSource;

    #[test]
    fn titles_are_read_back_from_their_records() {
        let title = |title: &str, genre: Option<&str>, launched_at_ms| Title {
            title: title.into(),
            genre: genre.map(str::to_owned),
            launched_at_ms,
        };
        let change = |video, title| TitleChange { video: VideoId(video), title };
        let source = TitleSource { place: "t.csv".into(), titles: 3, ..TitleSource::default() };
        let updates = [
            TitleUpdate {
                changes: vec![
                    change(u64::MAX, Some(title("\"Ω\"", Some("Drama"), Some(1_767_225_600_500)))),
                    change(0, Some(title("zero", None, None))),
                ],
                sources: vec![],
            },
            TitleUpdate { changes: vec![change(0, None)], sources: vec![source] },
        ];
        let (mut expected, mut read) = (TitleTable::default(), TitleTable::default());
        for update in updates {
            expected.apply(&update);
            write(&update, |key, value| apply(&mut read, key, value).ok_or(())).unwrap();
            assert_eq!(read, expected);
        }
        assert_eq!(apply(&mut read, b"7", None), None);
        assert_eq!(apply(&mut read, b"{\"video_id\":7}", Some(b"{}")), None);
    }
}
