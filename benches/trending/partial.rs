//! The scores of rows while their epoch is still going on.

use crate::judge::{is_quiet, shares_beyond};
use crate::methods::settings;
use crate::world::{DAY, DAYS, WARM_UP_DAYS, World};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};
use trendmark::scores::oracle::{Table, scores_in};
use trendmark::scores::{Counts, Exposure};

/// Minutes after the begin of an epoch.
pub const MINUTES: [u64; 4] = [1, 5, 15, 25];
/// Epochs that are looked at in each world.
pub const EPOCHS: i64 = 24;
const EPOCH_MINUTES: f64 = 30.0;
/// From an impression to its play, as `trendmark generate` has it: the median, and sigma.
const PLAY_DELAY: (f64, f64) = (0.5, 1.2);

/// The shares of quiet rows beyond 2, 3 and 4, so many minutes after the begin of their epochs, and
/// the number of rows.
pub fn beyond(world: &World, minutes: u64, epochs: i64) -> ([f64; 3], usize) {
    let mut random = ChaCha8Rng::seed_from_u64(minutes);
    let mut found = Vec::new();
    let first = WARM_UP_DAYS * DAY;
    for number in 0..epochs {
        let epoch = first + number * (DAYS * DAY - first) / epochs;
        let table = at(world, epoch, minutes as f64, &mut random);
        for (title, _, scored) in scores_in(&table, epoch, &settings(Exposure::Impressions)) {
            if is_quiet(world, title, epoch) {
                found.push(scored.score.thousandths as f64 / 1e3);
            }
        }
    }
    (shares_beyond(&found), found.len())
}

/// What is known so many minutes after the begin of an epoch: of the rows of this epoch, a part.
fn at(world: &World, epoch: i64, minutes: f64, random: &mut ChaCha8Rng) -> Table {
    let delay = LogNormal::new(f64::ln(PLAY_DELAY.0), PLAY_DELAY.1).unwrap();
    let mut table = Table::new();
    for (title, rows) in &world.table {
        let mut known = rows.range(..epoch).map(|(at, counts)| (*at, *counts)).collect();
        if let Some(counts) = rows.get(&epoch) {
            let part = part_of(*counts, minutes, &delay, random);
            if part.impressions > 0 {
                std::collections::BTreeMap::insert(&mut known, epoch, part);
            }
        }
        table.insert(*title, known);
    }
    table
}

/// The impressions so far, and those plays of them whose delay is over.
fn part_of(
    counts: Counts,
    minutes: f64,
    delay: &LogNormal<f64>,
    random: &mut ChaCha8Rng,
) -> Counts {
    let mut part = Counts { plays: 0, impressions: 0 };
    for number in 0..counts.impressions {
        let shown = random.random_range(0.0..EPOCH_MINUTES);
        if shown > minutes {
            continue;
        }
        part.impressions += 1;
        // The impressions that are played are those with the least numbers.
        let is_played = number < counts.plays && shown + delay.sample(random) <= minutes;
        part.plays += u64::from(is_played);
    }
    part
}
