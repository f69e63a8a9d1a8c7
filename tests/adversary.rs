//! What records that are not honest can do to those that are. Of every K consecutive records of a
//! partition, and of its last records if they are fewer, at most a third is anything at all, about
//! other requests and other videos. The rows of the honest ones lie between those of the logs
//! without the others, and those of logs whose watermarks are as far ahead as a maximum leap and a
//! maximum future allow.

mod common;

use common::adversary::{Campaign, HONEST_MAX, campaigns};
use common::{Expected, expect, expect_hasty, plausible};
use proptest::prelude::*;
use std::collections::BTreeMap;
use trendmark::dataflows;
use trendmark::query::{QueryInstance, Value};
use trendmark::time::Epoch;

/// The plays and impressions of each honest video and epoch.
fn counts(expected: &Expected) -> BTreeMap<(u64, Epoch), (u64, u64)> {
    let trends = QueryInstance::new(dataflows::find("trends").unwrap());
    let rows = expected.rows(&trends);
    let counts = rows.into_iter().map(|row| match trends.query.values_of(&row)[..] {
        [Value::Video(video), Value::Count(plays), Value::Count(impressions)] => {
            ((video.0, row.epoch), (plays, impressions))
        }
        ref other => panic!("not a row of trends: {other:?}"),
    });
    counts.filter(|((video, _), _)| *video < HONEST_MAX).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..Default::default() })]

    #[test]
    fn honest_rows_are_those_without_the_others_up_to_a_maximum_leap(campaign in campaigns()) {
        let Campaign { definition, honest, attacked } = campaign;
        let most = counts(&expect(definition, &honest));
        let least = counts(&expect_hasty(definition, &honest));
        let found = counts(&expect(definition, &attacked));
        for (key, (plays, impressions)) in &found {
            let most = most.get(key).copied().unwrap_or_default();
            prop_assert!(*plays <= most.0 && *impressions <= most.1, "{key:?} {found:?} {most:?}");
        }
        for (key, (plays, impressions)) in &least {
            let found = found.get(key).copied().unwrap_or_default();
            prop_assert!(found.0 >= *plays && found.1 >= *impressions, "{key:?} {found:?}");
        }
    }

    #[test]
    fn no_honest_event_is_future_and_no_watermark_is_a_leap_ahead(campaign in campaigns()) {
        let Campaign { definition, honest, attacked } = campaign;
        for ((partition, honest), (_, attacked)) in honest.iter().zip(&attacked) {
            let verdicts = plausible(definition, attacked);
            for (event, is_plausible) in attacked.iter().zip(verdicts) {
                let is_honest = event.video.0 < HONEST_MAX;
                prop_assert!(is_plausible || !is_honest, "{partition} {event:?}");
            }
            let attacked = expect(definition, &vec![(partition.clone(), attacked.clone())]);
            let highest = |log: &[trendmark::event::Event]| {
                log.iter().map(trendmark::event::Event::stamp_ms).max()
            };
            let bound_ms = highest(honest).map(|stamp_ms| {
                stamp_ms + definition.max_leap_ms + definition.max_future_ms
                    - definition.max_delay_ms
            });
            prop_assert!(attacked.watermarks_ms[partition] <= bound_ms, "{partition} {bound_ms:?}");
        }
    }
}
