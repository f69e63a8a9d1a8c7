//! Titles of the real program: the store has what the files say, soon after they change, and after
//! restarts and kills; what is no title is counted and told, and what cannot be read is refused.

mod common;

use common::contents::{open, select};
use common::files::gzip;
use common::program::{Running, trendmark};
use common::workspace::{Workspace, lines, rename, stop, wait};
use std::fs;

const INPUT: [&str; 4] = ["--impressions", "i.jsonl", "--titles", "t.jsonl"];

/// The titles of videos 0 and 1 of those that the log has.
const TWO: &str = "{\"video_id\":0,\"title\":\"Zero\"}\n\
    {\"video_id\":\"1\",\"title\":\"One, \\\"quoted\\\"\",\"genre\":\"Drama\",\
    \"launched_at\":\"2026-01-31\"}\n";

/// A folder with a log of the videos 0 to 4, and titles.
fn place(titles: &str) -> Workspace {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..10));
    place.write("t.jsonl", titles);
    place
}

/// Replaces a file of titles at once.
fn replace(place: &Workspace, name: &str, text: &str) {
    place.write("new", text);
    rename(place, "new", name);
}

fn titles(place: &Workspace) -> Vec<String> {
    place.select("video_id, title, genre, launched_at FROM titles")
}

fn sources(place: &Workspace) -> Vec<String> {
    place.select("place, titles, malformed, first_malformed FROM title_sources")
}

fn publications(place: &Workspace) -> i64 {
    place.number("publications FROM job")
}

/// The titles in the view, of each video in each epoch.
fn in_view(place: &Workspace) -> Vec<String> {
    place.select("video_id, title, genre, launched_at, impressions FROM trends")
}

fn wait_for(job: &mut Running, place: &Workspace, expected: &[&str]) {
    job.wait_until(&format!("the titles are {expected:?}"), || titles(place) == expected);
}

#[test]
fn the_views_have_the_titles_and_no_count_changes() {
    let place = place(TWO);
    place.run(&INPUT[..2]).succeeded();
    let rows = "video_id, epoch, epoch_start, plays, impressions, final FROM trends";
    let (before, ledger) = (place.select(rows), place.select("* FROM ledger"));
    assert_eq!(titles(&place), Vec::<String>::new());
    assert_eq!(in_view(&place)[0], "0,,,,2");

    // Into a store that is finished, also.
    place.run(&INPUT).succeeded();
    let one = "1,One, \"quoted\",Drama,2026-01-31T00:00:00Z";
    assert_eq!(titles(&place), ["0,Zero,,", one]);
    assert_eq!(in_view(&place)[..3], ["0,Zero,,,2", &format!("{one},2"), "2,,,,2"]);
    assert_eq!(sources(&place), ["t.jsonl,2,0,"]);
    assert_eq!((place.select(rows), place.select("* FROM ledger")), (before, ledger));
    // Without the flag, the table stays.
    place.run(&INPUT[..2]).succeeded();
    assert_eq!(titles(&place).len(), 2);
}

#[test]
fn every_view_by_video_ends_with_the_titles() {
    let place = place(TWO);
    place.run(&[&INPUT[..], &["--query", "all"]].concat()).succeeded();
    for view in ["trends", "requests", "take_rate", "trending", "surge"] {
        let columns = format!("group_concat(name) FROM pragma_table_info('{view}')");
        let columns = place.select(&columns);
        assert!(columns[0].ends_with(",title,genre,launched_at"), "{view}: {columns:?}");
    }
    let titled = "count(*) FROM requests WHERE title = 'Zero'";
    assert_eq!(place.number(titled), 2);
    let others = "count(*) FROM pragma_table_info('choices') WHERE name = 'title'";
    assert_eq!(place.number(others), 0);
}

#[test]
fn a_followed_file_changes_the_table_and_the_view_within_seconds() {
    let place = place(TWO);
    let mut job = place.follow(&INPUT);
    wait(&mut job, &place, 10);
    wait_for(&mut job, &place, &["0,Zero,,", "1,One, \"quoted\",Drama,2026-01-31T00:00:00Z"]);
    let before = publications(&place);

    // One is changed, one is gone, one is new; nothing else happens meanwhile.
    let changed = "{\"video_id\":0,\"title\":\"Null\"}\n{\"video_id\":2,\"title\":\"Two\"}\n";
    replace(&place, "t.jsonl", changed);
    wait_for(&mut job, &place, &["0,Null,,", "2,Two,,"]);
    assert_eq!(in_view(&place)[..3], ["0,Null,,,2", "1,,,,2", "2,Two,,,2"]);
    assert!(publications(&place) > before);
    place.append("t.jsonl", "{\"video_id\":3,\"title\":\"Three\"}\n");
    wait_for(&mut job, &place, &["0,Null,,", "2,Two,,", "3,Three,,"]);
    place.append("t.jsonl", "{\"video_id\":2,\"title\":null}\n");
    wait_for(&mut job, &place, &["0,Null,,", "3,Three,,"]);

    // A file that goes keeps its titles.
    fs::remove_file(place.path("t.jsonl")).unwrap();
    job.wait_until_said("cannot read `t.jsonl`");
    assert_eq!(titles(&place), ["0,Null,,", "3,Three,,"]);
    replace(&place, "t.jsonl", "{\"video_id\":4,\"title\":\"Four\"}\n");
    wait_for(&mut job, &place, &["4,Four,,"]);
    assert_eq!(job.stderr().matches("cannot read `t.jsonl`").count(), 1, "{}", job.stderr());
    stop(job);
}

#[test]
fn new_files_of_a_pattern_are_found_and_the_last_path_wins() {
    let place = place(TWO);
    place.write("t/b.csv", "title,video_id,genre,launched_at\nOne of b,1,,1000\nBee,7,,\n");
    place.write("t/a.jsonl", TWO);
    let pattern = ["--impressions", "i.jsonl", "--titles", "t/*"];
    let mut job = place.follow(&pattern);
    wait(&mut job, &place, 10);
    let one = "1,One of b,,1970-01-01T00:00:01Z";
    wait_for(&mut job, &place, &["0,Zero,,", one, "7,Bee,,"]);
    place.write(
        "new",
        gzip(b"{\"video_id\":7,\"title\":\"Sea\"}\n{\"video_id\":1,\"title\":\"C\"}\n"),
    );
    rename(&place, "new", "t/c.jsonl.gz");
    wait_for(&mut job, &place, &["0,Zero,,", "1,C,,", "7,Sea,,"]);
    assert_eq!(sources(&place), ["t/a.jsonl,2,0,", "t/b.csv,2,0,", "t/c.jsonl.gz,2,0,"]);
    replace(&place, "t/b.csv", "video_id,title\n8,\"Eight, \"\"8\"\"\"\n");
    wait_for(&mut job, &place, &["0,Zero,,", "1,C,,", "7,Sea,,", "8,Eight, \"8\",,"]);
    stop(job);
    // What is gone when the next job starts is no longer known.
    fs::remove_file(place.path("t/c.jsonl.gz")).unwrap();
    place.run(&pattern).succeeded();
    let one = "1,One, \"quoted\",Drama,2026-01-31T00:00:00Z";
    assert_eq!(titles(&place), ["0,Zero,,", one, "8,Eight, \"8\",,"]);
    assert_eq!(sources(&place), ["t/a.jsonl,2,0,", "t/b.csv,1,0,"]);
}

#[test]
fn what_is_no_title_is_counted_and_told_and_the_others_count() {
    let wrong = "no JSON\n{\"video_id\":7}\n{\"video_id\":-1,\"title\":\"x\"}\n\
        {\"video_id\":7,\"title\":\" \"}\n{\"video_id\":8,\"title\":\"x\",\"genre\":1}\n\
        {\"video_id\":8,\"title\":\"x\",\"launched_at\":\"soon\"}\n[7,\"x\"]\n";
    let place = place(&[wrong, TWO].concat());
    let said = place.run(&INPUT).succeeded().stderr;
    assert!(
        said.contains("titles: 7 records of `t.jsonl` are no titles; first: line 1: "),
        "{said}"
    );
    assert_eq!(titles(&place).len(), 2);
    let told = sources(&place);
    assert!(told[0].starts_with("t.jsonl,2,7,line 1: "), "{told:?}");

    // A file that gets better says so.
    let mut job = place.follow(&INPUT);
    replace(&place, "t.jsonl", TWO);
    job.wait_until("the file is right", || sources(&place) == ["t.jsonl,2,0,"]);
    // In CSV, an empty title is none, and a row may be too short.
    place.write("t.csv", "video_id,title\n7,\n8\nx,y\n9,Nine\n");
    stop(job);
    place.run(&["--impressions", "i.jsonl", "--titles", "t.csv"]).succeeded();
    assert_eq!(titles(&place), ["9,Nine,,"]);
    assert_eq!(sources(&place), ["t.csv,1,3,line 2: `title` is empty"]);
}

#[test]
fn titles_of_a_file_that_is_damaged_later_stay() {
    let place = place(TWO);
    place.write("t.csv", "video_id,title\n9,Nine\n");
    let both = ["--impressions", "i.jsonl", "--titles", "t.jsonl", "t.csv"];
    let mut job = place.follow(&both);
    wait(&mut job, &place, 10);
    job.wait_until("the titles are there", || titles(&place).len() == 3);
    replace(&place, "t.csv", "id,name\n9,Neun\n");
    job.wait_until_said(
        "titles: cannot read `t.csv`: its header has no column `video_id`; its titles",
    );
    replace(&place, "t.jsonl", "{\"video_id\":0,\"title\":\"Null\"}\n");
    wait_for(&mut job, &place, &["0,Null,,", "9,Nine,,"]);
    replace(&place, "t.csv", "video_id,title\n9,Neun\n");
    wait_for(&mut job, &place, &["0,Null,,", "9,Neun,,"]);
    stop(job);
}

#[test]
fn what_cannot_be_read_at_the_start_is_said_with_code_2() {
    let place = place(TWO);
    place.write("t.txt", TWO);
    place.write("t.csv", "id,title\n1,x\n");
    fs::create_dir(place.path("folder")).unwrap();
    let run = |file: &str| place.run(&["--impressions", "i.jsonl", "--titles", file]);
    let nothing = "there is no such file; give a file of titles, or a pattern";
    for (file, said) in [
        ("absent.jsonl", nothing),
        ("none-*.jsonl", nothing),
        ("folder", nothing),
        ("t.txt", "cannot read the titles in `t.txt`: its name must end in .jsonl, .ndjson"),
        ("t.csv", "cannot read the titles in `t.csv`: its header has no column `video_id`"),
        ("a[", "is no pattern"),
        ("https://there/t.csv", "`https://…` is a URL"),
        ("", "--titles is empty: give a file, a pattern or a topic"),
    ] {
        // A file that is not there may come.
        let code = if said == nothing { 1 } else { 2 };
        run(file).failed(code, &["error: ", said]);
    }
    place.run(&INPUT).succeeded();
    assert_eq!(titles(&place).len(), 2);
}

#[test]
fn a_restart_writes_only_what_has_changed() {
    let place = place(TWO);
    place.run(&INPUT).succeeded();
    let store = open(&place.path("s.db"));
    let written = "CREATE TABLE written (video);
        CREATE TRIGGER new AFTER INSERT ON titles BEGIN
            INSERT INTO written VALUES (new.video_id);
        END;
        CREATE TRIGGER gone AFTER DELETE ON titles BEGIN
            INSERT INTO written VALUES (-old.video_id);
        END;";
    store.execute_batch(written).unwrap();
    drop(store);
    let written = || place.select("video FROM written");
    place.run(&INPUT).succeeded();
    // The same titles in other bytes are the same.
    place.append("t.jsonl", "\n\n");
    place.run(&INPUT).succeeded();
    let mut job = place.follow(&INPUT);
    place.append("i.jsonl", lines(10..20));
    wait(&mut job, &place, 20);
    stop(job);
    assert_eq!(written(), Vec::<String>::new());
    replace(&place, "t.jsonl", "{\"video_id\":0,\"title\":\"Null\"}\n");
    place.run(&INPUT).succeeded();
    assert_eq!(
        (titles(&place), written()),
        (vec!["0,Null,,".into()], vec!["-1".into(), "0".into()])
    );
}

#[test]
fn titles_are_those_of_the_files_however_often_a_job_is_killed() {
    let place = place("");
    let mut last = Vec::new();
    for number in 0..15u64 {
        let mut job = place.follow(&INPUT);
        place.append("i.jsonl", lines(10 * number..10 * number + 10));
        last = (0..40).map(|video| format!("{video},{number}-{video},,")).collect();
        let titles = (0..40)
            .map(|video| format!("{{\"video_id\":{video},\"title\":\"{number}-{video}\"}}\n"));
        replace(&place, "t.jsonl", &titles.collect::<String>());
        std::thread::sleep(std::time::Duration::from_millis(50 * number));
        // Never a part of an update.
        let updates =
            place.number("count(DISTINCT substr(title, 1, instr(title, '-'))) FROM titles");
        assert!(updates <= 1, "{updates} updates at once");
        job.kill();
        job.finish();
    }
    place.run(&INPUT).succeeded();
    last.sort();
    assert_eq!(titles(&place), last);
}

#[test]
fn the_files_are_named_in_a_configuration_file_too() {
    let place = place(TWO);
    place.write("job.toml", "impressions = [\"i.jsonl\"]\ntitles = [\"t.jsonl\"]\n");
    place.run(&["--config", "job.toml"]).succeeded();
    assert_eq!(titles(&place).len(), 2);
}

#[test]
fn several_processes_have_the_titles_once() {
    let place = place(TWO);
    let hosts = place.path("hosts");
    let finished = common::program::run_processes(2, &hosts, |_| place.command(&INPUT));
    finished.into_iter().for_each(|one| drop(one.succeeded()));
    assert_eq!(titles(&place).len(), 2);
}

/// Writes a Parquet file of the titles of three records, with a time of any unit, and a column of a
/// type that no title has.
#[cfg(feature = "parquet")]
fn write_parquet(place: &Workspace, name: &str, launched_at: arrow_array::ArrayRef) {
    use arrow_array::types::IntervalDayTime;
    use arrow_array::{ArrayRef, IntervalDayTimeArray, RecordBatch, StringArray, UInt64Array};
    use std::sync::Arc;
    let columns: [(&str, ArrayRef); 5] = [
        ("video_id", Arc::new(UInt64Array::from(vec![u64::MAX, 7, 7]))),
        ("more", Arc::new(IntervalDayTimeArray::from(vec![IntervalDayTime::new(1, 2); 3]))),
        ("title", Arc::new(StringArray::from(vec![Some("Max"), Some("Seven"), None]))),
        ("genre", Arc::new(StringArray::from(vec![None, Some("Drama"), None]))),
        ("launched_at", launched_at),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.map(|(name, column)| (name, column, name != "video_id")),
    )
    .unwrap();
    let file = fs::File::create(place.path(name)).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[cfg(feature = "parquet")]
#[test]
fn titles_are_read_from_parquet_with_times_of_any_unit_beside_columns_of_any_type() {
    use arrow_array::{
        ArrayRef, Date32Array, Int64Array, TimestampMicrosecondArray, TimestampMillisecondArray,
        TimestampNanosecondArray,
    };
    use std::sync::Arc;
    let second = |of_second: i64| vec![Some(of_second), None, None];
    let times: [ArrayRef; 4] = [
        Arc::new(TimestampMillisecondArray::from(second(1_000))),
        Arc::new(TimestampMicrosecondArray::from(second(1_000_000))),
        Arc::new(TimestampNanosecondArray::from(second(1_000_000_000))),
        Arc::new(Int64Array::from(second(1_000))),
    ];
    let place = place("");
    for launched_at in times {
        write_parquet(&place, "t.parquet", launched_at);
        place.run(&["--impressions", "i.jsonl", "--titles", "t.parquet"]).succeeded();
        assert_eq!(titles(&place), ["18446744073709551615,Max,,1970-01-01T00:00:01Z"]);
    }
    write_parquet(&place, "t.parquet", Arc::new(Date32Array::from(vec![Some(1), None, None])));
    place.run(&["--impressions", "i.jsonl", "--titles", "t.parquet"]).succeeded();
    assert_eq!(titles(&place), ["18446744073709551615,Max,,1970-01-02T00:00:00Z"]);
}

#[cfg(feature = "parquet")]
#[test]
fn a_damaged_parquet_file_never_ends_a_job_that_follows_it() {
    use arrow_array::TimestampMillisecondArray;
    use std::sync::Arc;
    let place = place("");
    let times = || Arc::new(TimestampMillisecondArray::from(vec![Some(1_000), None, None]));
    write_parquet(&place, "t.parquet", times());
    let whole = fs::read(place.path("t.parquet")).unwrap();
    let mut job = place.follow(&["--impressions", "i.jsonl", "--titles", "t.parquet"]);
    wait(&mut job, &place, 10);
    let max = "18446744073709551615,Max,,1970-01-01T00:00:01Z";
    wait_for(&mut job, &place, &[max]);
    // Bytes of pages, of their headers, and of the footer.
    for at in (4..whole.len() - 8).step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        place.write("new", damaged);
        rename(&place, "new", "t.parquet");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    place.write("new", &whole[..whole.len() / 2]);
    rename(&place, "new", "t.parquet");
    job.wait_until_said("cannot read `t.parquet`");
    place.write("new", &whole);
    rename(&place, "new", "t.parquet");
    wait_for(&mut job, &place, &[max]);
    stop(job);
}

#[cfg(feature = "kafka")]
#[test]
fn a_store_in_kafka_has_the_titles_in_a_compacted_topic() {
    use common::store_topics::StoreTopics;
    let Some(topics) = StoreTopics::new("titles_in_kafka") else { return };
    let place = place(TWO);
    let servers = topics.settings.bootstrap_servers.clone();
    let run = || {
        let mut command = trendmark();
        command.current_dir(place.0.path()).arg("run").args(INPUT);
        command.args(["--store", &format!("kafka:{}", topics.topic)]);
        Running::start(command.args(["--bootstrap-servers", &servers])).finish().succeeded();
        topics.table("-titles")
    };
    let table = run();
    assert_eq!(table.len(), 3, "{table:?}");
    assert_eq!(table["{\"video_id\":1}"]["launched_at"], "2026-01-31T00:00:00Z");
    assert_eq!(table["\"sources\""][0]["titles"], 2);
    replace(&place, "t.jsonl", "{\"video_id\":0,\"title\":\"Null\"}\n");
    let table = run();
    assert_eq!(table.len(), 2, "{table:?}");
    assert_eq!(table["{\"video_id\":0}"]["title"], "Null");
}

#[test]
fn a_job_without_the_flag_writes_no_titles_and_reads_none() {
    let place = place(TWO);
    let mut command = trendmark();
    command.current_dir(place.0.path()).args(["run", "--store", "other.db"]).args(&INPUT[..2]);
    Running::start(&mut command).finish().succeeded();
    let store = open(&place.path("other.db"));
    assert_eq!(select(&store, "count(*) FROM titles"), ["0"]);
    assert_eq!(select(&store, "count(*) FROM title_sources"), ["0"]);
}
