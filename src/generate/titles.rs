//! The titles of a catalogue: a made-up name, a genre and a launch date for every video.
//!
//! Names are combinations of words, in an order that depends on the seed. A catalogue that is
//! larger than the number of combinations goes on with subtitles, so every name is there once.

use super::catalogue::video_of_rank;
use super::keyed::{KeyedRandom, Purpose};
use super::settings::Model;
use super::words::{DOINGS, GENRES, MATTERS, PEOPLE, PLACES, QUALITIES, THINGS, TRADES};
use crate::event::VideoId;
use crate::time::rfc3339;
use rand::{Rng, RngExt};
use std::fmt;

const DAY_MS: i64 = 86_400_000;
/// The share of titles that were launched in the last days before the log.
const NEW_SHARE: f64 = 0.04;
const NEW_DAYS: f64 = 30.0;
/// The age of the oldest titles. Half of the others are younger than a quarter of it.
const DAYS_MAX: f64 = 15.0 * 365.0;

/// How two words become a name: what stands before, between and after them.
struct Pattern {
    before: &'static str,
    first: &'static [&'static str],
    between: &'static str,
    second: &'static [&'static str],
}

const PATTERNS: [Pattern; 10] = [
    pattern("The ", &QUALITIES, " ", &THINGS),
    pattern("", &QUALITIES, " ", &THINGS),
    pattern("My ", &QUALITIES, " ", &THINGS),
    pattern("The ", &THINGS, " of ", &PLACES),
    pattern("", &PLACES, " ", &THINGS),
    pattern("", &PEOPLE, "'s ", &THINGS),
    pattern("", &MATTERS, " in ", &PLACES),
    pattern("The ", &THINGS, " and the ", &TRADES),
    pattern("", &DOINGS, " ", &PLACES),
    pattern("", &DOINGS, " ", &PEOPLE),
];

const fn pattern(
    before: &'static str,
    first: &'static [&'static str],
    between: &'static str,
    second: &'static [&'static str],
) -> Pattern {
    Pattern { before, first, between, second }
}

/// The number of names without subtitles.
const NAMES: u64 = {
    let (mut names, mut at) = (0, 0);
    while at < PATTERNS.len() {
        names += PATTERNS[at].first.len() * PATTERNS[at].second.len();
        at += 1;
    }
    names as u64
};
/// Names are shuffled as numbers of twice as many bits.
const HALF_BITS: u32 = 8;
const _: () = assert!(NAMES > 10_000 && NAMES <= 1 << (2 * HALF_BITS));

/// What is known of a video besides its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    /// The video.
    pub video: VideoId,
    /// The name, which no other video of the catalogue has.
    pub title: String,
    /// The genre: one of a few.
    pub genre: &'static str,
    /// The day of the launch, before the start of the log, in milliseconds.
    pub launched_at_ms: i64,
}

impl Title {
    /// The title of the video at a popularity rank of a model's catalogue.
    pub fn of_rank(model: &Model, rank: u64) -> Title {
        let video = video_of_rank(rank);
        let mut random = KeyedRandom::new(model.seed, Purpose::Title, video.0, 0);
        let genre = GENRES[random.random_range(0..GENRES.len())];
        let (is_new, age): (bool, f64) = (random.random_bool(NEW_SHARE), random.random());
        let days = if is_new { NEW_DAYS * age } else { NEW_DAYS + DAYS_MAX * age * age };
        let launched_ms = model.start_ms - (days * DAY_MS as f64) as i64;
        Title {
            video,
            title: name(model.seed, rank - 1),
            genre,
            launched_at_ms: launched_ms - launched_ms.rem_euclid(DAY_MS),
        }
    }
}

impl fmt::Display for Title {
    /// Writes one JSON object. No name has a letter that JSON would escape.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{{\"video_id\":{},\"title\":\"{}\",\"genre\":\"{}\",\"launched_at\":\"{}\"}}",
            self.video.0,
            self.title,
            self.genre,
            rfc3339(self.launched_at_ms)
        )
    }
}

/// The titles of a model's catalogue, the most popular first.
pub fn titles(model: &Model) -> impl Iterator<Item = Title> + '_ {
    (1..=model.videos).map(|rank| Title::of_rank(model, rank))
}

/// The name with this number, from 0: beyond the first names, a name with a subtitle.
fn name(seed: u64, number: u64) -> String {
    let (round, place) = (number / NAMES, number % NAMES);
    let name = combination(shuffled(seed, round, place));
    match round {
        0 => name,
        _ => format!("{name}: {}", combination(shuffled(seed, 0, (round - 1) % NAMES))),
    }
}

/// The combination of words with this number, which is less than [`NAMES`].
fn combination(mut number: u64) -> String {
    for Pattern { before, first, between, second } in &PATTERNS {
        let names = (first.len() * second.len()) as u64;
        if number < names {
            let (one, other) = (number as usize / second.len(), number as usize % second.len());
            return format!("{before}{}{between}{}", first[one], second[other]);
        }
        number -= names;
    }
    unreachable!("the patterns have NAMES combinations")
}

/// The place of a name in the shuffled order of a round: a bijection of the numbers below
/// [`NAMES`]. A Feistel network permutes the numbers of a few bits, again while one is too large.
fn shuffled(seed: u64, round: u64, place: u64) -> u64 {
    let mask = (1 << HALF_BITS) - 1;
    let mut number = place;
    loop {
        let (mut left, mut right) = (number >> HALF_BITS, number & mask);
        for step in 0..4 {
            let key = (round << 8) | step;
            let hash = KeyedRandom::new(seed, Purpose::Names, key, right).next_u64();
            (left, right) = (right, left ^ (hash & mask));
        }
        number = (left << HALF_BITS) | right;
        if number < NAMES {
            return number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn model(videos: u64, seed: u64) -> Model {
        Model { videos, seed, ..Model::default() }
    }

    #[test]
    fn every_video_has_one_title_with_a_name_of_its_own() {
        let model = model(3 * NAMES, 1);
        let all: Vec<Title> = titles(&model).collect();
        let names: HashSet<&str> = all.iter().map(|title| title.title.as_str()).collect();
        let videos: HashSet<VideoId> = all.iter().map(|title| title.video).collect();
        assert_eq!((names.len(), videos.len()), (all.len(), all.len()));
        let few = &all[..NAMES as usize];
        assert!(few.iter().all(|title| !title.title.contains(':')), "the first have no subtitle");
        let letters = |name: &str| {
            name.chars().all(|letter| letter.is_ascii_alphabetic() || " :'".contains(letter))
        };
        assert!(names.iter().all(|name| letters(name)));
    }

    #[test]
    fn the_largest_catalogue_has_a_name_for_its_last_video() {
        let rank = crate::generate::settings::VIDEOS_MAX;
        assert!(rank / NAMES < NAMES, "so a subtitle is not used twice");
        assert!(Title::of_rank(&model(rank, 1), rank).title.contains(": "));
    }

    #[test]
    fn another_seed_gives_other_names() {
        let names = |seed| titles(&model(100, seed)).map(|title| title.title).collect::<Vec<_>>();
        assert_eq!(names(1), names(1));
        let (one, other) = (names(1), names(2));
        assert!(one.iter().zip(&other).filter(|(one, other)| one == other).count() < 5);
    }

    #[test]
    fn launches_are_before_the_log_and_some_of_them_shortly() {
        let model = model(10_000, 1);
        let ages_ms: Vec<i64> =
            titles(&model).map(|title| model.start_ms - title.launched_at_ms).collect();
        assert!(ages_ms.iter().all(|age_ms| *age_ms >= 0));
        let younger = |days: i64| ages_ms.iter().filter(|age_ms| **age_ms <= days * DAY_MS).count();
        assert!((300..600).contains(&younger(30)), "{}", younger(30));
        assert!((2_000..5_000).contains(&younger(2 * 365)), "{}", younger(2 * 365));
        assert!(younger(14 * 365) < 10_000);
    }

    #[test]
    fn genres_are_about_equally_common() {
        let model = model(12_000, 1);
        for genre in GENRES {
            let count = titles(&model).filter(|title| title.genre == genre).count();
            assert!((850..1_150).contains(&count), "{genre}: {count}");
        }
    }

    #[test]
    fn a_line_is_an_object_with_four_fields() {
        let title = Title::of_rank(&model(100, 1), 1);
        let value: serde_json::Value = serde_json::from_str(&title.to_string()).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 4);
        assert_eq!(value["video_id"], title.video.0);
        assert_eq!(value["title"], title.title);
        assert_eq!(value["genre"], title.genre);
        let launched = value["launched_at"].as_str().unwrap();
        assert!(launched.ends_with("T00:00:00Z"), "{launched}");
    }
}
