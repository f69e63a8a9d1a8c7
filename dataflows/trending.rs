//! How much more, or less, is each video played than is usual for it when it is shown as often?
//!
//! Definition: P plays among I impressions in epoch e are compared with the expected plays
//! E = I × (what is usual for the video at this time of the day) × (what all other videos have in
//! common in e, as of the publication). `score` is the mid-p value of P under a distribution with
//! mean E, as a number of standard deviations of a normal one: without news, it exceeds 3 as often
//! as a normal number does. `momentum` is Stouffer's sum of the last `recent` scores, with weights
//! that halve every `half_life` epochs. `since` is the epoch in which the present rise began, by a
//! one-sided CUSUM of these scores. The model and its sources are in `src/scores/`.
//! Row: `(video, epoch) → (plays, expected_plays, score, momentum, since)`, one for each row of
//! `trends` with enough history: rank by `momentum`, take alarm from `score`.
//! State: 24 bytes for each row of `trends` in the history, 900 for each row of an open epoch, and
//! the scores of `recent` epochs.
//! Cost: some microseconds for each row of an open epoch that changes, or whose history does.
//! Reader: the row "Trending Now".

use super::trends;
use crate::event::VideoId;
use crate::query::{
    AcceptedLog, Build, Column, ColumnType, DefaultFrom, Parameter, ParameterUnit, Parameters,
    Query, Role, Row, TableRows, Tables, Value,
};
use crate::scores::oracle::{self, ScoredRow, Table};
use crate::scores::{Counts, Exposure, Settings, flow};
use crate::time::Epoch;
use std::collections::BTreeSet;

/// The SQL of a score. Its exposure is time, or else impressions.
macro_rules! score_sql {
    ($is_time:literal) => {
        concat!(
            "WITH exposure(is_time) AS (VALUES (",
            $is_time,
            ")),\n",
            include_str!("scores.sql")
        )
    };
}
pub(super) use score_sql;

/// The query.
pub static QUERY: Query = Query {
    name: "trending",
    about: "how much more each video is played than usual, as often as it is shown",
    version: 1,
    role: Role::Table,
    key: &[Column::new("video_id", ColumnType::Video, "id of a video")],
    values: VALUES,
    parameters: PARAMETERS,
    build: Build::Tables(build),
    reads: &[&trends::QUERY],
    history_epochs,
    oracle: |log, parameters| from_scratch(&QUERY, log, parameters, Exposure::Impressions),
    batch_sql: score_sql!(false),
};

/// The columns of a score.
pub(super) const VALUES: &[Column] = &[
    Column::new("plays", ColumnType::Count, "request ids"),
    Column::new("expected_plays", ColumnType::Thousandths, "thousandths of a play"),
    Column::new("score", ColumnType::Thousandths, "thousandths of a standard deviation"),
    Column::new("momentum", ColumnType::Thousandths, "thousandths of a standard deviation"),
    Column::new("since", ColumnType::Epoch, "first epoch of the present rise, if there is one"),
];

const fn count(
    name: &'static str,
    about: &'static str,
    default: i64,
    bounds: [i64; 2],
) -> Parameter {
    let [min, max] = bounds;
    let default_from = DefaultFrom::Nothing;
    Parameter { name, about, unit: ParameterUnit::Count, default, default_from, min, max }
}

/// A count whose default follows from the definition of epochs.
const fn from(default_from: DefaultFrom, parameter: Parameter) -> Parameter {
    Parameter { default_from, ..parameter }
}

/// The parameters of a score.
pub(super) const PARAMETERS: &[Parameter] = &[
    from(
        DefaultFrom::DayEpochs,
        count(
            "day_epochs",
            "number of epochs in a day, after which the rhythm of a video repeats",
            48,
            [1, 1_440],
        ),
    ),
    count("days", "number of days from which is learned what is usual", 7, [1, 60]),
    from(
        DefaultFrom::OpenEpochs,
        count(
            "guard",
            "number of epochs before its own from which a row learns nothing",
            5,
            [1, 1_000],
        ),
    ),
    count("least_epochs", "number of rows without which a video has no score", 48, [1, 100_000]),
    count(
        "least_plays",
        "number of plays without which a video, or the other videos of an epoch, give no score",
        20,
        [1, 1_000_000],
    ),
    count(
        "prior_plays",
        "number of plays that the usual rate of all videos counts for",
        3,
        [1, 1_000],
    ),
    count(
        "recent",
        "number of epochs that a momentum looks back, including its own",
        24,
        [1, 1_000],
    ),
    count(
        "half_life",
        "number of epochs after which a score weighs half in a momentum",
        2,
        [1, 1_000],
    ),
];

/// The days from which the dispersion is learned.
const EVIDENCE_DAYS: i64 = 3;

fn settings(parameters: &Parameters, exposure: Exposure) -> Settings {
    let get = |name: &str| parameters.get(name);
    Settings {
        exposure,
        day: get("day_epochs"),
        days: get("days"),
        guard: get("guard"),
        evidence_days: EVIDENCE_DAYS,
        least_epochs: get("least_epochs").unsigned_abs() as usize,
        least_plays: get("least_plays") as f64,
        prior_plays: get("prior_plays") as f64,
        recent: get("recent"),
        half_life: get("half_life") as f64,
    }
}

fn build<'scope>(tables: &Tables<'scope>, parameters: &Parameters) -> TableRows<'scope> {
    build_with(&QUERY, tables, parameters, Exposure::Impressions)
}

/// The rows of a query with these columns, for a kind of exposure.
pub(super) fn build_with<'scope>(
    query: &'static Query,
    tables: &Tables<'scope>,
    parameters: &Parameters,
    exposure: Exposure,
) -> TableRows<'scope> {
    let settings = settings(parameters, exposure);
    let counts = tables.rows(&trends::QUERY).map(|row| counts(&row));
    flow::scores(counts, tables.finality(), settings).map(move |row| to_row(query, &row))
}

/// The number of epochs before its own that a row depends on, whatever it is compared with.
pub(super) fn history_epochs(parameters: &Parameters) -> i64 {
    settings(parameters, Exposure::Impressions).history_epochs()
}

/// Returns the video, epoch, and counts of a row of `trends`.
fn counts(row: &Row) -> (VideoId, Epoch, Counts) {
    let (video, epoch, plays, impressions) = trends::counts(row);
    (video, epoch, Counts { plays, impressions })
}

fn to_row(query: &'static Query, row: &ScoredRow) -> Row {
    let values = [
        Value::Count(row.plays),
        Value::Thousandths(row.scored.expected_thousandths),
        Value::Thousandths(row.scored.score.thousandths),
        Value::Thousandths(row.momentum),
        Value::Epoch(row.since.map(Epoch)),
    ];
    query.row(Epoch(row.epoch), [Value::Video(VideoId(row.video))], values)
}

/// The rows of a query with these columns, from scratch.
pub(super) fn from_scratch(
    query: &'static Query,
    log: &AcceptedLog,
    parameters: &Parameters,
    exposure: Exposure,
) -> BTreeSet<Row> {
    let mut table = Table::new();
    for row in (trends::QUERY.oracle)(log, parameters) {
        let (video, epoch, counts) = counts(&row);
        table.entry(video.0).or_default().insert(epoch.0, counts);
    }
    let rows = oracle::rows(&table, &settings(parameters, exposure));
    rows.iter().map(|row| to_row(query, row)).collect()
}
