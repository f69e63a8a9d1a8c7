//! The contents of a store as text: as an analyst reads them, and as the oracle expects them.

use super::files::Written;
use super::{Log, expect, queries};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::path::Path;
use trendmark::dataflows;
use trendmark::query::{Query, QueryInstance, Role, Row, Value};
use trendmark::time::{Definition, rfc3339};

/// The sorted rows of each table and view, as text with the values in the order of the columns.
pub type Contents = BTreeMap<String, Vec<String>>;

/// The contents of a store, without the columns `publication`, which depend on timing.
pub fn contents(store: &Path, of: &[&Query]) -> Contents {
    let mut tables: Vec<(String, String)> =
        of.iter().map(|query| (query.name.to_string(), columns(query).join(", "))).collect();
    let others = [
        (
            "ledger",
            "epoch, kind, events, distinct_events, duplicate_events, late_events, future_events, \
             denied_events",
        ),
        (
            "partitions",
            "topic, partition, next_offset, watermark, watermark_ms, replay_offset, \
             replay_watermark_ms, malformed, idle",
        ),
        ("epochs", "epoch, epoch_start, final"),
    ];
    tables.extend(others.map(|(table, columns)| (table.to_string(), columns.to_string())));
    let connection = open(store);
    let rows = |table: &str, columns: &str| select(&connection, &format!("{columns} FROM {table}"));
    tables.iter().map(|(table, columns)| (table.clone(), rows(table, columns))).collect()
}

/// The contents of a store that do not depend on how its events were read.
pub fn computed(store: &Path) -> Contents {
    let mut contents = contents(store, dataflows::ALL);
    contents.remove("partitions");
    contents
}

/// Opens a store for reading.
pub fn open(store: &Path) -> Connection {
    let connection = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    connection.busy_timeout(super::program::WAIT_MAX).unwrap();
    connection
}

/// The sorted rows of `SELECT selection`.
pub fn select(connection: &Connection, selection: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("SELECT {selection}")).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let values = (0..columns).map(|column| text(row.get_ref(column).unwrap()));
        Ok(values.collect::<Vec<_>>().join(","))
    });
    let mut rows: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
    rows.sort();
    rows
}

/// The number that `SELECT selection` returns.
pub fn number(connection: &Connection, selection: &str) -> i64 {
    connection.query_row(&format!("SELECT {selection}"), [], |row| row.get(0)).unwrap()
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(integer) => integer.to_string(),
        ValueRef::Real(real) => real.to_string(),
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
        ValueRef::Blob(bytes) => format!("{bytes:?}"),
    }
}

fn columns(query: &Query) -> Vec<&'static str> {
    let mut columns: Vec<_> =
        query.key.iter().chain(query.values).map(|column| column.name).collect();
    columns.splice(1..1, ["epoch", "epoch_start"]);
    columns.push("final");
    columns
}

/// The expected contents of a store in which everything is final, from the oracle and from the
/// numbers of records in the files.
pub fn expected(definition: Definition, log: &Log, files: &[Written]) -> Contents {
    let expected = expect(definition, log);
    let mut contents = Contents::new();
    let mut distinct = BTreeMap::new();
    for instance in queries() {
        let QueryInstance { query, .. } = instance;
        for row in expected.rows(&instance) {
            if query.role == Role::Ledger {
                let (kind, counts) = match query.values_of(&row)[..] {
                    [Value::Kind(kind), Value::Count(events), Value::Count(denied)] => {
                        (kind, (events, denied))
                    }
                    _ => panic!("not a row of the ledger: {row:?}"),
                };
                distinct.insert((Some(row.epoch), kind), counts);
            } else {
                let rows = contents.entry(query.name.into()).or_default();
                rows.push(line(definition, query, &row));
            }
        }
    }
    for query in all() {
        contents.entry(query.name.into()).or_default();
    }
    let ledger = expected.fates.iter().map(|((epoch, kind), (accepted, late, future))| {
        let (distinct, denied) = distinct.get(&(*epoch, *kind)).copied().unwrap_or_default();
        let (events, duplicate) = (accepted + late + future, accepted - distinct);
        let epoch = epoch.map(|epoch| epoch.0.to_string()).unwrap_or_default();
        format!("{epoch},{kind},{events},{distinct},{duplicate},{late},{future},{denied}")
    });
    contents.insert("ledger".into(), ledger.collect());
    let mut epochs: Vec<_> = expected.fates.keys().filter_map(|(epoch, _)| *epoch).collect();
    // A play counts for earlier epochs, but creates no rows there unless they have impressions.
    epochs.dedup();
    let epochs = epochs
        .iter()
        .map(|epoch| format!("{},{},1", epoch.0, rfc3339(epoch.0 * definition.epoch_length_ms)));
    contents.insert("epochs".into(), epochs.collect());
    let partitions = log.iter().zip(files).map(|((partition, _), file)| {
        let watermark_ms = expected.watermarks_ms[partition];
        let date = watermark_ms.map(rfc3339).unwrap_or_default();
        let watermark_ms = watermark_ms.map(|ms| ms.to_string()).unwrap_or_default();
        let (topic, name) = (partition.kind.topic(), &partition.name);
        let Written { records, malformed } = file;
        format!(
            "{topic},{name},{records},{date},{watermark_ms},{records},{watermark_ms},{malformed},1"
        )
    });
    contents.insert("partitions".into(), partitions.collect());
    contents.values_mut().for_each(|rows| rows.sort());
    contents
}

fn line(definition: Definition, query: &Query, row: &Row) -> String {
    let mut values: Vec<String> =
        query.values_of(row).iter().map(|value| value.to_string()).collect();
    let start = rfc3339(row.epoch.0 * definition.epoch_length_ms);
    values.splice(1..1, [row.epoch.to_string(), start]);
    values.push("1".into());
    values.join(",")
}

/// The queries that have a table of their own.
pub fn all() -> Vec<&'static Query> {
    let tables = queries().into_iter().map(|instance| instance.query);
    tables.filter(|query| query.role != Role::Ledger).collect()
}
