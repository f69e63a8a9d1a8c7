//! The completeness of epochs as records: a row has the key `{"epoch":983568,"kind":"play"}`, and
//! the curve that it rests on the same key with `"curve":true`.

use crate::completeness::{Completeness, CompletenessUpdate, StoredCurve};
use crate::event::Kind;
use crate::time::Epoch;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What was read of the topic.
#[derive(Default)]
pub(super) struct Records {
    pub rows: BTreeMap<(Epoch, Kind), Completeness>,
    pub curves: BTreeMap<(Epoch, Kind), StoredCurve>,
}

/// Passes the keys and values of an update to `send`.
pub(super) fn write<E>(
    update: &CompletenessUpdate,
    mut send: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
) -> Result<(), E> {
    for row in &update.rows {
        let key = json!({ "epoch": row.epoch.0, "kind": row.kind.name() });
        send(key.to_string().as_bytes(), Some(json!(row).to_string().as_bytes()))?;
    }
    let curve_key = |epoch: Epoch, kind: Kind| {
        json!({ "epoch": epoch.0, "kind": kind.name(), "curve": true }).to_string()
    };
    for stored in &update.curves {
        let key = curve_key(stored.epoch, stored.kind);
        send(key.as_bytes(), Some(json!(stored).to_string().as_bytes()))?;
    }
    for (epoch, kind) in &update.forgotten {
        send(curve_key(*epoch, *kind).as_bytes(), None)?;
    }
    Ok(())
}

/// Applies a record. Returns `None` if it is not one of completeness.
pub(super) fn apply(records: &mut Records, key: &[u8], value: Option<&[u8]>) -> Option<()> {
    let key: Value = serde_json::from_slice(key).ok()?;
    let name = (Epoch(key["epoch"].as_i64()?), Kind::named(key["kind"].as_str()?)?);
    match (key["curve"] == true, value) {
        (true, Some(value)) => {
            records.curves.insert(name, serde_json::from_slice(value).ok()?);
        }
        (true, None) => drop(records.curves.remove(&name)),
        (false, Some(value)) => {
            records.rows.insert(name, serde_json::from_slice(value).ok()?);
        }
        (false, None) => drop(records.rows.remove(&name)),
    }
    Some(())
}
