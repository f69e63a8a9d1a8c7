//! What share of the requests that showed a video played it, recently, and how certain is that?
//!
//! Definition: with P plays among I impressions, the take rate is P / I. Its bounds are those of
//! the 95 % Wilson score interval (E. B. Wilson, JASA 22, 1927), the roots p of
//! (P / I - p)² = z² p (1 - p) / I. `rate` is the rate of the epoch, `recent_rate` the rate of the
//! sums over the last `epochs` epochs, including its own.
//! Row: `(video, epoch) → rate, recent_plays, recent_impressions, recent_rate`, rates with bounds,
//! in millionths, the bounds rounded outwards; one for each row of `trends`.
//! State: a sum per video and epoch, for the history, the open epochs and the `epochs - 1` after.
//! Cost: `epochs` updates for each row of `trends` that changes.
//! Reader: analysts who rank videos by how often they are played when shown.

use super::trends;
use crate::event::VideoId;
use crate::query::{
    AcceptedLog, Build, Column, ColumnType, DefaultFrom, Parameter, ParameterUnit, Parameters,
    Query, Role, Row, TableRows, Tables, Value,
};
use crate::time::Epoch;
use differential_dataflow::operators::CountTotal;
use std::collections::BTreeSet;

/// The query.
pub static QUERY: Query = Query {
    name: "take_rate",
    about: "plays per impression of each video, in each epoch and recently, with 95 % bounds",
    version: 1,
    role: Role::Table,
    key: &[Column::new("video_id", ColumnType::Video, "id of a video")],
    values: &[
        Column::new("rate", ColumnType::Rate, "millionths"),
        Column::new("rate_low", ColumnType::Rate, "millionths"),
        Column::new("rate_high", ColumnType::Rate, "millionths"),
        Column::new("recent_plays", ColumnType::Count, "request ids"),
        Column::new("recent_impressions", ColumnType::Count, "request ids"),
        Column::new("recent_rate", ColumnType::Rate, "millionths"),
        Column::new("recent_rate_low", ColumnType::Rate, "millionths"),
        Column::new("recent_rate_high", ColumnType::Rate, "millionths"),
    ],
    parameters: &[Parameter {
        name: "epochs",
        about: "number of epochs in the recent rate, including its own",
        unit: ParameterUnit::Count,
        default: 4,
        default_from: DefaultFrom::Nothing,
        min: 1,
        max: 336,
    }],
    build: Build::Tables(build),
    reads: &[&trends::QUERY],
    history_epochs: |parameters| parameters.get("epochs") - 1,
    oracle,
    batch_sql: "
        WITH sums AS (
                 SELECT own.video_id, own.epoch, own.plays AS p, own.impressions AS i,
                        sum(past.plays)::BIGINT AS rp, sum(past.impressions)::BIGINT AS ri
                 FROM trends AS own JOIN trends AS past
                   ON past.video_id = own.video_id
                  AND past.epoch BETWEEN own.epoch - $epochs + 1 AND own.epoch
                 GROUP BY ALL),
             parts AS (
                 SELECT *, 3.841458820694124::DOUBLE AS z2, p::DOUBLE / i AS f,
                        rp::DOUBLE / ri AS rf
                 FROM sums),
             intervals AS (
                 SELECT *, f + z2 / (2.0 * i::DOUBLE) AS c, rf + z2 / (2.0 * ri::DOUBLE) AS rc,
                        sqrt(z2 * (f * (1.0 - f) / i + z2 / (4.0 * i::DOUBLE * i))) AS h,
                        sqrt(z2 * (rf * (1.0 - rf) / ri + z2 / (4.0 * ri::DOUBLE * ri))) AS rh,
                        1.0 + z2 / i AS s, 1.0 + z2 / ri AS rs
                 FROM parts)
        SELECT video_id, epoch, (2000000 * p + i) // (2 * i) AS rate,
               greatest(0, floor((c - h) / s * 1e6))::BIGINT AS rate_low,
               least(1000000, ceil((c + h) / s * 1e6))::BIGINT AS rate_high,
               rp AS recent_plays, ri AS recent_impressions,
               (2000000 * rp + ri) // (2 * ri) AS recent_rate,
               greatest(0, floor((rc - rh) / rs * 1e6))::BIGINT AS recent_rate_low,
               least(1000000, ceil((rc + rh) / rs * 1e6))::BIGINT AS recent_rate_high
        FROM intervals",
};

/// z²: the square of the two-sided 95 % quantile of the standard normal distribution.
const Z_SQUARED: f64 = 3.841_458_820_694_124;
const MILLION: u64 = 1_000_000;

fn build<'scope>(tables: &Tables<'scope>, parameters: &Parameters) -> TableRows<'scope> {
    let epochs = parameters.get("epochs");
    let counts = tables.rows(&trends::QUERY).map(|row| trends::counts(&row));
    let sums = counts
        .clone()
        .explode(move |(video, epoch, plays, impressions)| {
            let counts = (plays.cast_signed() as isize, impressions.cast_signed() as isize);
            (0..epochs).map(move |later| ((video, epoch.plus(later)), counts))
        })
        .count_total();
    counts
        .map(|(video, epoch, plays, impressions)| ((video, epoch), (plays, impressions)))
        .join_map(sums, |(video, epoch), own, (plays, impressions)| {
            row(
                *video,
                *epoch,
                *own,
                (plays.cast_unsigned() as u64, impressions.cast_unsigned() as u64),
            )
        })
}

/// Returns the row for the plays and impressions of the epoch and of the recent epochs.
fn row(video: VideoId, epoch: Epoch, own: (u64, u64), recent: (u64, u64)) -> Row {
    let (plays, impressions) = recent;
    let counts = [plays, impressions].map(Value::Count);
    let rates = rates(own).into_iter().chain(counts).chain(rates(recent));
    QUERY.row(epoch, [Value::Video(video)], rates)
}

/// Returns the rate and its bounds. Basic floating-point operations and square roots give the same
/// result on every platform.
fn rates((plays, impressions): (u64, u64)) -> [Value; 3] {
    let rate = (2 * MILLION * plays + impressions) / (2 * impressions);
    let share = plays as f64 / impressions as f64;
    let n = impressions as f64;
    let center = share + Z_SQUARED / (2.0 * n);
    let half = (Z_SQUARED * (share * (1.0 - share) / n + Z_SQUARED / (4.0 * n * n))).sqrt();
    let scale = 1.0 + Z_SQUARED / n;
    let low = ((center - half) / scale * MILLION as f64).floor().max(0.0) as u64;
    let high = ((center + half) / scale * MILLION as f64).ceil() as u64;
    [rate, low, high.min(MILLION)].map(Value::Rate)
}

fn oracle(log: &AcceptedLog, parameters: &Parameters) -> BTreeSet<Row> {
    let trends = (trends::QUERY.oracle)(log, parameters);
    let trends: Vec<_> = trends.iter().map(trends::counts).collect();
    let rows = trends.iter().map(|(video, epoch, plays, impressions)| {
        let first = epoch.plus(1 - parameters.get("epochs"));
        let recent = trends
            .iter()
            .filter(|(other, at, _, _)| other == video && (first..=*epoch).contains(at));
        let recent =
            recent.fold((0, 0), |(p, i), (_, _, plays, impressions)| (p + plays, i + impressions));
        let own = oracle_rates(*plays, *impressions);
        let counts = [Value::Count(recent.0), Value::Count(recent.1)];
        let values = own.into_iter().chain(counts).chain(oracle_rates(recent.0, recent.1));
        QUERY.row(*epoch, [Value::Video(*video)], values)
    });
    rows.collect()
}

/// Returns the rate to the nearest millionth, and its bounds: on each side the first millionth
/// outside the interval, or else 0 or 1, found by bisection with integers.
fn oracle_rates(plays: u64, impressions: u64) -> [Value; 3] {
    const MILLION: i128 = 1_000_000;
    // In units of 10⁻¹⁵.
    const Z_SQUARED: i128 = 3_841_458_820_694_124;
    let (plays, impressions) = (i128::from(plays), i128::from(impressions));
    let is_inside = |rate: i128| {
        let distance = plays * MILLION - rate * impressions;
        distance * distance * 1_000_000_000_000_000
            <= Z_SQUARED * impressions * rate * (MILLION - rate)
    };
    let nearest = (plays * MILLION * 2 + impressions) / (impressions * 2);
    // Rates are inside from the lower root to `nearest`, and from there to the upper root.
    let low = bisect(nearest, 0, is_inside);
    let high = bisect(nearest, MILLION, is_inside);
    [nearest, low, high].map(|rate| Value::Rate(rate.unsigned_abs() as u64))
}

/// Returns the first number from `inside` towards `end` that is not inside, or else `end`.
fn bisect(mut inside: i128, end: i128, is_inside: impl Fn(i128) -> bool) -> i128 {
    let mut outside = end;
    while (inside - outside).abs() > 1 {
        let middle = (inside + outside) / 2;
        if is_inside(middle) { inside = middle } else { outside = middle }
    }
    outside
}
