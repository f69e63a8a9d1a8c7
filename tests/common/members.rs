//! The files of `--sets`, as a reader of Parquet sees them.

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use trendmark::query::Row;
use trendmark::sets::SetFile;

/// A row of a file: the request, the video, whether it was played, and whether it was removed.
pub type Member = (u128, u64, bool, bool);

/// The rows of a file, in their order.
pub fn read(path: &Path) -> Vec<Member> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let mut members = Vec::new();
    for batch in reader {
        let batch = batch.unwrap();
        let names: Vec<_> = batch.schema().fields().iter().map(|one| one.name().clone()).collect();
        assert_eq!(names, ["request_id", "video_id", "shown", "played", "denied"]);
        let requests = batch.column(0).as_fixed_size_binary();
        let videos = batch.column(1).as_primitive::<UInt64Type>();
        let [shown, played, denied] = [2, 3, 4].map(|column| batch.column(column).as_boolean());
        assert!((0..batch.num_rows()).all(|row| shown.value(row) != denied.value(row)));
        members.extend((0..batch.num_rows()).map(|row| {
            let request = u128::from_be_bytes(requests.value(row).try_into().unwrap());
            (request, videos.value(row), played.value(row), denied.value(row))
        }));
    }
    members
}

/// The path of a listed file, which may not have its name yet.
fn path_of(folder: &Path, file: &SetFile) -> PathBuf {
    let name = file.name();
    let folder = folder.join(format!("epoch={}", file.epoch));
    let published = folder.join(&name);
    let is_it = |path: &PathBuf| {
        let found = path.file_name().unwrap().to_str().unwrap();
        found.starts_with('.') && found.ends_with(&format!("-{name}.unpublished"))
    };
    match published.exists() {
        true => published,
        false => {
            let entries = std::fs::read_dir(&folder).unwrap();
            let mut hidden = entries.map(|entry| entry.unwrap().path());
            hidden.find(is_it).unwrap_or_else(|| panic!("{name} is not in {folder:?}"))
        }
    }
}

/// The members in these files: for each epoch, request and video, whether it was played. Every file
/// must have the rows that the list says, sorted. What any file calls denied is no member.
pub fn union(folder: &Path, rows: &BTreeSet<Row>) -> BTreeMap<(i64, u128, u64), bool> {
    let mut union: BTreeMap<(i64, u128, u64), bool> = BTreeMap::new();
    let mut removed = BTreeSet::new();
    for file in rows.iter().map(SetFile::of_row) {
        let members = read(&path_of(folder, &file));
        assert_eq!(members.len() as u64, file.rows);
        let showings: Vec<_> =
            members.iter().map(|(request, video, ..)| (request, video)).collect();
        assert!(showings.is_sorted_by(|one, next| one < next), "{file:?} is not sorted");
        for (request, video, played, denied) in members {
            *union.entry((file.epoch.0, request, video)).or_default() |= played;
            if denied {
                removed.insert((file.epoch.0, request, video));
            }
        }
    }
    union.retain(|member, _| !removed.contains(member));
    union
}

/// The files in a folder of sets, by epoch and name. Hidden ones are only those that the job before
/// the last one has left.
pub fn all_files(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = |folder: &Path| {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let epochs = entries(folder).into_iter().filter(|path| path.is_dir());
    let files = epochs.flat_map(|epoch| entries(&epoch));
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let (hidden, files): (BTreeSet<_>, BTreeSet<_>) =
        files.partition(|path| name(path).starts_with('.'));
    let generations: BTreeSet<String> = hidden
        .iter()
        .map(|path| name(path).trim_start_matches('.').split('-').next().unwrap().to_owned())
        .collect();
    assert!(generations.len() <= 1, "{hidden:?}");
    files
}

/// The files that a list names.
pub fn listed(folder: &Path, rows: &BTreeSet<Row>) -> BTreeSet<PathBuf> {
    let path = |file: SetFile| folder.join(format!("epoch={}", file.epoch)).join(file.name());
    rows.iter().map(SetFile::of_row).map(path).collect()
}
