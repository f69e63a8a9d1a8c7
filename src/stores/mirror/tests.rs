//! The copy in memory and the SQLite store answer the same, whatever is committed and asked.

use super::*;
use crate::event::{Kind, VideoId};
use crate::query::QueryInstance;
use crate::stores::memory::MemoryStore;
use crate::stores::snapshot::FinalSums;
use crate::stores::sqlite::fixtures::{
    DISTINCT, KINDS, REQUESTS, TRENDS, deleted, distinct, instances, ledger, request, through,
    trend,
};
use crate::stores::sqlite::{SqliteReader, SqliteStore};
use crate::stores::{Claim, Store};
use crate::time::Definition;
use crate::titles::{TitleChange, TitleUpdate};
use proptest::collection::vec;
use proptest::prelude::*;

const VIDEOS: [u64; 6] = [0, 7, 8, 1 << 62, 1 << 63, u64::MAX];

fn queries() -> Vec<QueryInstance> {
    instances(&[&TRENDS, &REQUESTS, &DISTINCT, &KINDS])
}

fn kind(epoch: i64, events: u64) -> RowChange {
    let row = KINDS.row(Epoch(epoch), [Value::Kind(Kind::Play)], [Value::Count(events)]);
    RowChange { query: 3, row, deleted: false }
}

/// Rows of a publication: choices of a table, an epoch, a video and a number.
type Choices = Vec<(u8, i64, usize, u64)>;

/// A publication with the chosen rows of epochs after `last`.
fn changes(publication: u64, choices: &Choices, last: i64, next_last: i64) -> Changeset {
    let mut rows: BTreeMap<(usize, Epoch, KeyCells), RowChange> = BTreeMap::new();
    let mut counts = Ledger::default();
    for (table, epoch, video, number) in choices {
        let (epoch, video) = (&(*epoch).max(last + 1), VIDEOS[*video]);
        let change = match table {
            0 => deleted(trend(video, *epoch, 0, 0)),
            1..=4 => trend(video, *epoch, *number % 3, *number),
            5 => request(&format!("r{number}"), video, *epoch, number % 2 == 0),
            6 => kind(*epoch, *number),
            _ => distinct(Kind::Play, *epoch, *number),
        };
        counts.merge(&ledger(*epoch, Kind::Play, number % 7, number % 3, 1));
        rows.insert((change.query, change.row.epoch, change.row.key.clone()), change);
    }
    Changeset {
        publication: Publication(publication),
        titles: (!choices.is_empty()).then(|| titles(choices)),
        rows: rows.into_values().collect(),
        ledger: counts,
        final_through: if next_last < 0 { Through::Nothing } else { through(next_last) },
        ..Changeset::default()
    }
}

/// Titles of the chosen videos, which change, go and come again.
fn titles(choices: &Choices) -> TitleUpdate {
    let title = |number: u64| Title {
        title: format!("{} {number}", ["Übung", "night"][number as usize % 2]),
        genre: (!number.is_multiple_of(3)).then(|| format!("Genre {}", number % 5)),
        launched_at_ms: (!number.is_multiple_of(4)).then_some(number.cast_signed()),
    };
    let changes = choices.iter().map(|(_, _, video, number)| {
        let title = (!number.is_multiple_of(7)).then(|| title(*number));
        (*video, TitleChange { video: VideoId(VIDEOS[*video]), title })
    });
    let changes: BTreeMap<usize, TitleChange> = changes.collect();
    let place = format!("kafka:titles/{}", choices.len());
    let next_offset = Some(choices.len() as u64);
    let sources = vec![TitleSource { place, next_offset, ..TitleSource::default() }];
    TitleUpdate { changes: changes.into_values().collect(), sources }
}

/// Everything about titles: each, pages of them, genres and where they are from.
fn all_titles(snapshot: &dyn Snapshot) -> String {
    let each = VIDEOS.map(|video| snapshot.title(VideoId(video)).unwrap());
    let [genres, sources] = [
        snapshot.genres().map(|all| format!("{all:?}")),
        snapshot.title_sources().map(|all| format!("{all:?}")),
    ]
    .map(Result::unwrap);
    let mut text = format!("{each:?} {genres} {sources}");
    for number in 0..216 {
        let filter = TitleFilter {
            video: [None, None, Some(VideoId(7)), Some(VideoId(u64::MAX))][number % 4],
            genre: [None, None, Some("Genre 1")][number % 3],
            search: [None, None, Some("übung"), Some("night 4")][number / 4 % 4],
        };
        let page = Page { offset: [0, 1, 3][number / 8 % 3], limit: [9, 2, 0][number / 24 % 3] };
        let mut found = Vec::new();
        let total = snapshot.titles(&filter, page, &mut |video, title| {
            found.push(format!("{video:?} {title:?}"));
        });
        text += &format!("{filter:?} {page:?} {found:?} of {}\n", total.unwrap());
    }
    text
}

/// What a page says.
fn page(
    snapshot: &dyn Snapshot,
    query: &str,
    filter: &RowFilter,
    sort: Sort,
    page: Page,
) -> String {
    let query = snapshot.description().queries.iter().find(|one| one.name == query).unwrap();
    let mut rows = Vec::new();
    let total = snapshot.page(query, filter, sort, page, &mut |stored| {
        rows.push(stored.clone());
        ControlFlow::Continue(())
    });
    format!("{} of {}: {rows:?}", rows.len(), total.unwrap())
}

/// What does not depend on what is asked.
fn all(snapshot: &dyn Snapshot) -> String {
    let mut text = format!("{:?} {:?}", snapshot.progress(), snapshot.ledger().unwrap());
    for name in ["trends", "kinds"] {
        let query = snapshot.description().queries.iter().find(|one| one.name == name).unwrap();
        text += &format!("{:?}", snapshot.latest(query).unwrap());
        for state in snapshot.epochs(query).unwrap() {
            text += &format!("{state:?} {:?}", snapshot.sums(query, state.epoch).unwrap());
        }
    }
    let trends = &snapshot.description().queries[0];
    for (epoch, video) in (0..6).flat_map(|epoch| VIDEOS.map(|video| (epoch, video))) {
        let key = [Value::Video(VideoId(video))];
        text += &format!("{:?}", snapshot.row(trends, Epoch(epoch), &key).unwrap());
    }
    text
}

fn sorts() -> impl Strategy<Value = Sort> {
    let by = prop_oneof![
        Just(SortBy::Epoch),
        Just(SortBy::Final),
        Just(SortBy::Publication),
        (0..2_usize).prop_map(SortBy::Column),
    ];
    (by, any::<bool>()).prop_map(|(by, descending)| Sort { by, descending })
}

fn filters() -> impl Strategy<Value = RowFilter> {
    let epochs = prop_oneof![
        Just(EpochRange::ALL),
        (-1..7_i64, 0..4_i64).prop_map(|(first, more)| EpochRange {
            first: Epoch(first),
            last: Epoch(first + more)
        }),
    ];
    let video = proptest::option::of((0..VIDEOS.len()).prop_map(|at| VideoId(VIDEOS[at])));
    let since = proptest::option::of((0..8_u64).prop_map(Publication));
    (epochs, video, since).prop_map(|(epochs, video, since)| RowFilter { epochs, video, since })
}

fn pages() -> impl Strategy<Value = Page> {
    prop_oneof![
        Just(Page::ALL),
        (0..12_u64, 0..6_u64).prop_map(|(offset, limit)| Page { offset, limit })
    ]
}

fn choices() -> impl Strategy<Value = Choices> {
    vec((0..8_u8, 0..6_i64, 0..6_usize, 0..50_u64), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_copy_and_the_sqlite_store_answer_the_same(
        publications in vec((choices(), -1..3_i64), 1..8),
        filled_at in 0..8_usize,
        asked in vec((any::<bool>(), filters(), sorts(), pages()), 12),
    ) {
        let (definition, queries) = (Definition::default(), queries());
        let description = Description::of(&definition, &queries);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.db");
        let mut file = SqliteStore::open(&path, &definition, &queries, &Claim::default()).unwrap();
        let mut memory = MemoryStore::new(&definition, &queries).take_over();
        let mut mirror = None;
        let (reader, finals) = (SqliteReader::open(&path).unwrap(), FinalSums::default());
        let mut last = -1;
        for (number, (choices, more)) in publications.iter().enumerate() {
            if number == filled_at.min(publications.len() - 1) {
                mirror = Some(Mirror::fill(&mut memory.clone(), &description).unwrap());
            }
            let changes = changes(number as u64 + 1, choices, last, last.max(last + more));
            last = last.max(last + more);
            file.commit(&changes).unwrap();
            memory.commit(&changes).unwrap();
            let Some(mirror) = &mut mirror else { continue };
            mirror.apply(&changes);
            let snapshot = reader.snapshot(&finals).unwrap();
            prop_assert_eq!(all_titles(mirror), all_titles(&snapshot));
            if filled_at == 0 {
                prop_assert_eq!(all(mirror), all(&snapshot));
            }
            for (of_kinds, filter, sort, cut) in &asked {
                let filter = RowFilter { video: filter.video.filter(|_| !of_kinds), ..*filter };
                let query = if *of_kinds { "kinds" } else { "trends" };
                let [ours, theirs] = [mirror as &dyn Snapshot, &snapshot]
                    .map(|snapshot| page(snapshot, query, &filter, *sort, *cut));
                prop_assert_eq!(ours, theirs, "{} {:?} {:?} {:?}", query, filter, sort, cut);
            }
        }
    }
}

#[test]
fn final_epochs_are_forgotten_beyond_the_bounds_and_open_ones_never() {
    let (definition, queries) = (Definition::default(), queries());
    let description = Description::of(&definition, &queries);
    let mut memory = MemoryStore::new(&definition, &queries).take_over();
    let filled = |memory: &MemoryStore, epochs_max, rows_max| {
        Mirror::fill_within(&mut memory.clone(), &description, epochs_max, rows_max).unwrap()
    };
    let mut mirror = filled(&memory, 3, 100);
    let rows = |epoch| (0..10).map(move |video| trend(video, epoch, 0, 1));
    for epoch in 0..10 {
        let publication = Publication(epoch as u64 + 1);
        let final_through = through(epoch - 5);
        let rows = rows(epoch).collect();
        let changes = Changeset { publication, rows, final_through, ..Changeset::default() };
        memory.commit(&changes).unwrap();
        mirror.apply(&changes);
    }
    let kept = |mirror: &Mirror| -> Vec<i64> {
        let states = mirror.epochs(&mirror.description().queries[0]).unwrap();
        states.iter().map(|state| state.epoch.0).collect()
    };
    // Open are 5 to 9.
    assert_eq!(kept(&mirror), [2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(kept(&filled(&memory, 2, 100)), [3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(kept(&filled(&memory, 9, 25)), [3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(kept(&filled(&memory, 9, 0)), [5, 6, 7, 8, 9]);
}

#[test]
fn sets_are_left_out() {
    let (definition, queries) = (Definition::default(), queries());
    let memory = MemoryStore::new(&definition, &queries).take_over();
    let description = Description::of(&definition, &queries);
    let mut mirror = Mirror::fill(&mut memory.clone(), &description).unwrap();
    let rows = vec![request("r", 7, 0, true), trend(7, 0, 1, 1)];
    mirror.apply(&Changeset { publication: Publication(1), rows, ..Changeset::default() });
    let has_rows = |number: usize| mirror.has_rows_of(&mirror.description().queries[number]);
    assert_eq!([has_rows(0), has_rows(1)], [true, false]);
    assert!(mirror.tables[1].is_empty());
}
