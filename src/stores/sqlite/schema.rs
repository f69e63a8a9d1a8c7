//! The SQL schema of a store: compact tables, and views for analysts.
//!
//! A query `Q` has the table `Q_rows`, clustered by epoch and key, and the view `Q`, which adds the
//! start of the epoch and whether it is final, and shows request ids as UUIDs. `publication` is the
//! number of the publication in which a row last changed: `WHERE publication > N` selects the rows
//! that changed after publication N. To avoid a full scan of a large table, also skip the epochs
//! without changes: `AND epoch IN (SELECT epoch FROM epochs WHERE publication > N)`.

use crate::query::{ColumnType, Role};
use crate::stores::description::{Description, StoredColumn, StoredQuery};

/// Marks the file as a store (`trmk`), for `PRAGMA application_id` and the program `file`.
pub(super) const APPLICATION_ID: i64 = 0x7472_6d6b;

const RESERVED: [&str; 11] = [
    "job",
    "queries",
    "columns",
    "parameters",
    "epochs",
    "ledger",
    "partitions",
    "titles",
    "title_sources",
    "completeness",
    "curves",
];

const FIXED_TABLES: &str = "
-- The definition and the progress of the store; one row.
CREATE TABLE job (
    epoch_length_ms INTEGER NOT NULL,
    join_window_epochs INTEGER NOT NULL,
    max_delay_ms INTEGER NOT NULL,
    max_future_ms INTEGER NOT NULL,
    max_leap_ms INTEGER NOT NULL,
    leap_support INTEGER NOT NULL,
    from_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    written_by TEXT NOT NULL, -- the version of trendmark that created the store
    generation INTEGER NOT NULL, -- the number of jobs so far; only the latest may write
    publications INTEGER NOT NULL, -- the number of the last publication
    final_through INTEGER, -- this epoch and all before it are final; null: see `finished`
    finished INTEGER NOT NULL, -- 1: every epoch is final, as all logs were read to their ends
    lease TEXT NOT NULL -- the job that has the store, and how it ended; in JSON
);
CREATE TABLE queries (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    role TEXT NOT NULL
);
CREATE TABLE parameters (
    id INTEGER PRIMARY KEY,
    query TEXT NOT NULL,
    name TEXT NOT NULL,
    unit TEXT NOT NULL,
    value INTEGER NOT NULL
);
CREATE TABLE columns (
    id INTEGER PRIMARY KEY,
    query TEXT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    is_key INTEGER NOT NULL,
    unit TEXT NOT NULL
);
-- Every epoch that has rows or events. `publication` is the last one that changed any of them.
-- `digest` is the sum of the hashes of its rows in all queries and of its showings (request,
-- video, shown, played), for comparing two stores.
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    epoch_start TEXT NOT NULL,
    final INTEGER NOT NULL,
    publication INTEGER NOT NULL,
    digest INTEGER NOT NULL
);
CREATE INDEX epochs_open ON epochs (epoch) WHERE final = 0;
CREATE TABLE partitions (
    topic TEXT NOT NULL,
    partition TEXT NOT NULL,
    next_offset INTEGER NOT NULL,
    watermark TEXT,
    watermark_ms INTEGER,
    replay_offset INTEGER NOT NULL,
    replay_watermark_ms INTEGER,
    block_offset INTEGER NOT NULL, -- where reading resumes: the block of events of replay_offset
    block_watermark_ms INTEGER,
    supported_ms INTEGER, -- the supported time before the block
    decisions TEXT NOT NULL, -- the decisions on stamps that a replay repeats, in JSON
    malformed INTEGER NOT NULL,
    idle INTEGER NOT NULL,
    file TEXT, -- the file that holds it, and how it begins, in JSON
    lost TEXT, -- what is, or may be, missing of it, in JSON
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE ledger_rows (
    epoch INTEGER, -- NULL for rejected events far from the watermark
    kind TEXT NOT NULL,
    accepted INTEGER NOT NULL,
    late INTEGER NOT NULL,
    future INTEGER NOT NULL
);
CREATE UNIQUE INDEX ledger_rows_key ON ledger_rows (ifnull(epoch, ''), kind);
-- What `--titles` tells of videos. The views of queries join it.
CREATE TABLE titles (
    video_id PRIMARY KEY NOT NULL,
    title TEXT NOT NULL,
    genre TEXT,
    launched_at TEXT -- RFC 3339
) WITHOUT ROWID;
-- Which share of the events of an epoch has arrived. An estimate: it is in no digest.
CREATE TABLE completeness (
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL, -- impression or play
    seen INTEGER NOT NULL, -- accepted events, duplicates included
    unread INTEGER, -- records of the kind that are not read, of any epoch; null: unknown
    share REAL, -- of the events of the epoch, from 0 to 1; null: unknown
    share_low REAL, -- the 90 % interval
    share_high REAL,
    unknown TEXT, -- why the share is unknown
    PRIMARY KEY (epoch, kind)
) WITHOUT ROWID;
-- What the estimates rest on, in JSON.
CREATE TABLE curves (
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    curve TEXT NOT NULL,
    PRIMARY KEY (epoch, kind)
) WITHOUT ROWID;
CREATE TABLE title_sources (
    place TEXT PRIMARY KEY NOT NULL, -- a file, or a partition of a topic
    titles INTEGER NOT NULL, -- records that are titles, or take one back
    malformed INTEGER NOT NULL,
    first_malformed TEXT, -- where the first of those is, and what is wrong with it
    next_offset INTEGER -- of a partition: the offset after the last record that was read
) WITHOUT ROWID;
";

/// The columns of the view `ledger`.
pub(super) const LEDGER_COLUMNS: &str = "epoch, kind, events, distinct_events, \
     duplicate_events, late_events, future_events, denied_events";

/// Returns the statements that create the tables and views of a new store.
///
/// # Panics
/// When the name of a query is reserved, or a name is not a plain identifier: a bug in the list of
/// queries.
pub(super) fn create(description: &Description) -> String {
    let mut statements = FIXED_TABLES.to_owned();
    for query in &description.queries {
        assert_names(query);
        statements += &create_table(query);
        statements += &match query.role {
            Role::Ledger => create_ledger_view(query),
            Role::Main | Role::Table | Role::Set => create_view(query),
        };
    }
    format!(
        "{statements}PRAGMA application_id = {APPLICATION_ID};\n\
         PRAGMA user_version = {};",
        crate::stores::description::FORMAT
    )
}

fn assert_names(query: &StoredQuery) {
    let is_plain = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    assert!(!RESERVED.contains(&query.name.as_str()), "no query can be named `{}`", query.name);
    for name in query.columns().map(|column| &column.name).chain([&query.name]) {
        assert!(is_plain(name), "`{name}` is not a plain table or column name");
    }
}

/// Returns the table name of a query.
pub(super) fn table(query: &StoredQuery) -> String {
    format!("{}_rows", query.name)
}

/// Returns the column names of a query's view, which are also used when its rows are printed.
pub fn view_columns(query: &StoredQuery) -> Vec<&str> {
    let mut view: Vec<&str> = query.columns().map(|column| column.name.as_str()).collect();
    view.splice(1..1, ["epoch", "epoch_start"]);
    view.push("final");
    if query.role != Role::Main {
        view.push("publication");
    }
    view
}

fn create_table(query: &StoredQuery) -> String {
    let mut columns = vec!["epoch INTEGER NOT NULL".to_owned()];
    columns.extend(query.columns().map(|column| {
        let declared = match column.column_type {
            ColumnType::Video => "",
            ColumnType::Request => "BLOB",
            ColumnType::Count
            | ColumnType::Rate
            | ColumnType::Thousandths
            | ColumnType::Epoch
            | ColumnType::Flag => "INTEGER",
            ColumnType::Kind | ColumnType::Digest => "TEXT",
        };
        let required = if column.column_type == ColumnType::Epoch { "" } else { " NOT NULL" };
        format!("{} {declared}{required}", column.name)
    }));
    columns.push("publication INTEGER NOT NULL".to_owned());
    columns.push(format!("PRIMARY KEY ({})", key_names(query).join(", ")));
    format!("CREATE TABLE {} (\n    {}\n) WITHOUT ROWID;\n", table(query), columns.join(",\n    "))
}

fn create_view(query: &StoredQuery) -> String {
    let table = table(query);
    let columns: Vec<String> = view_columns(query)
        .into_iter()
        .map(|name| match query.columns().find(|column| column.name == name) {
            Some(column) if column.column_type == ColumnType::Request => {
                format!("{} AS {name}", uuid_text(&format!("{table}.{name}")))
            }
            Some(_) => format!("{table}.{name} AS {name}"),
            None if name == "epoch" || name == "publication" => format!("{table}.{name} AS {name}"),
            None => format!("epochs.{name} AS {name}"),
        })
        .chain(titled(query).into_iter().flatten())
        .collect();
    let titles = titled(query).map_or(String::new(), |_| {
        let video = &query.key[0].name;
        format!("\nLEFT JOIN titles ON titles.video_id = {table}.{video}")
    });
    format!(
        "CREATE VIEW {} AS\nSELECT\n    {}\nFROM {table}\nJOIN epochs ON epochs.epoch = \
         {table}.epoch{titles};\n",
        query.name,
        columns.join(",\n    ")
    )
}

/// The last columns of the view of a query whose rows are of a video.
pub const TITLE_COLUMNS: [&str; 3] = ["title", "genre", "launched_at"];

/// Returns these columns of a query, if it has them.
fn titled(query: &StoredQuery) -> Option<[String; 3]> {
    query.is_of_video().then(|| TITLE_COLUMNS.map(|name| format!("titles.{name} AS {name}")))
}

/// Creates the view `ledger`, which joins the counts of the workers with the ledger query's rows.
fn create_ledger_view(query: &StoredQuery) -> String {
    let (table, kind) = (table(query), &query.key[0].name);
    let (distinct, denied) = (&query.values[0].name, &query.values[1].name);
    format!(
        "CREATE VIEW ledger AS\nSELECT\n    \
             ledger_rows.epoch AS epoch,\n    \
             ledger_rows.kind AS kind,\n    \
             accepted + late + future AS events,\n    \
             coalesce({distinct}, 0) AS distinct_events,\n    \
             accepted - coalesce({distinct}, 0) AS duplicate_events,\n    \
             late AS late_events,\n    \
             future AS future_events,\n    \
             coalesce({denied}, 0) AS denied_events\n\
         FROM ledger_rows\n\
         LEFT JOIN {table}\n    \
             ON {table}.epoch = ledger_rows.epoch AND {table}.{kind} = ledger_rows.kind;\n"
    )
}

/// Returns an expression for the 36-character form of the UUID in a 16-byte column.
fn uuid_text(column: &str) -> String {
    let part = |(start, bytes)| format!("hex(substr({column}, {start}, {bytes}))");
    let parts = [(1, 4), (5, 2), (7, 2), (9, 2), (11, 6)].map(part);
    format!("lower({})", parts.join(" || '-' || "))
}

fn key_names(query: &StoredQuery) -> Vec<&str> {
    let mut names = vec!["epoch"];
    names.extend(query.key.iter().map(|column| column.name.as_str()));
    names
}

/// Returns the statement that inserts or replaces a row: epoch, key, values, publication.
pub(super) fn upsert(query: &StoredQuery) -> String {
    let parameters = vec!["?"; 1 + query.columns().count() + 1];
    format!("REPLACE INTO {} VALUES ({})", table(query), parameters.join(", "))
}

/// Returns the statement that deletes a row: epoch, key.
pub(super) fn delete(query: &StoredQuery) -> String {
    let names: Vec<String> = key_names(query).iter().map(|name| format!("{name} = ?")).collect();
    format!("DELETE FROM {} WHERE {}", table(query), names.join(" AND "))
}

/// Returns the terms that order rows by a column, videos as unsigned integers. SQLite sorts text
/// after integers, so only texts of different lengths need an extra term.
pub(super) fn order_terms(column: &StoredColumn) -> Vec<String> {
    let name = &column.name;
    match column.column_type {
        ColumnType::Video => {
            let length = format!("CASE typeof({name}) WHEN 'text' THEN length({name}) ELSE 0 END");
            vec![length, name.clone()]
        }
        _ => vec![name.clone()],
    }
}

/// Returns the terms that order the rows of an epoch by key, videos as unsigned integers.
pub(super) fn key_order(query: &StoredQuery) -> String {
    query.key.iter().flat_map(order_terms).collect::<Vec<_>>().join(", ")
}

/// Returns the terms that order the rows of an epoch by values, largest first, then by key.
pub(super) fn value_order(query: &StoredQuery) -> String {
    let mut terms: Vec<String> =
        query.values.iter().map(|column| format!("{} DESC", column.name)).collect();
    terms.push(key_order(query));
    terms.join(", ")
}
