//! How much more, or less, is each video played than is usual for it at this time of the day?
//!
//! Definition: as in `trending`, but not conditioned on how often the video is shown: P plays in
//! epoch e are compared with the plays that are usual for the video, times what all other videos
//! have in common in e. So a video that is suddenly shown everywhere surges, but does not trend.
//! Row: `(video, epoch) → (plays, expected_plays, score, momentum, since)`, one for each row of
//! `trends` with enough history.
//! State and cost: as `trending`.
//! Reader: analysts who ask what the world does, rather than what it thinks of what it is shown.

use super::{trending, trends};
use crate::query::{Build, Column, ColumnType, Parameters, Query, Role, TableRows, Tables};
use crate::scores::Exposure;

/// The query.
pub static QUERY: Query = Query {
    name: "surge",
    about: "how much more each video is played than usual, however often it is shown",
    version: 1,
    role: Role::Table,
    key: &[Column::new("video_id", ColumnType::Video, "id of a video")],
    values: trending::VALUES,
    parameters: trending::PARAMETERS,
    build: Build::Tables(build),
    reads: &[&trends::QUERY],
    history_epochs: trending::history_epochs,
    oracle: |log, parameters| trending::from_scratch(&QUERY, log, parameters, Exposure::Time),
    batch_sql: trending::score_sql!(true),
};

fn build<'scope>(tables: &Tables<'scope>, parameters: &Parameters) -> TableRows<'scope> {
    trending::build_with(&QUERY, tables, parameters, Exposure::Time)
}
