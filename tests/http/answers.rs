//! Every answer has the numbers of the store at the same publication, as JSON and as CSV.

use super::Served;
use super::common::contents::{number, select};
use super::common::http::Answer;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusqlite::Connection;
use serde_json::Value;
use std::cmp::Ordering;

const QUERIES: [&str; 7] =
    ["trends", "requests", "choices", "take_rate", "trending", "surge", "crowded"];

/// A value of JSON as CSV has it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The lines of CSV without the header, and the names in the header.
fn csv(answer: &Answer) -> (Vec<String>, Vec<Vec<String>>) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
    let mut lines = answer.body.lines().map(|line| line.split(',').map(str::to_owned).collect());
    (lines.next().unwrap(), lines.collect())
}

/// The rows of JSON as CSV has them: the values of these columns.
fn of_json(answer: &Answer, names: &[String]) -> Vec<Vec<String>> {
    let row = |row: &Value| names.iter().map(|name| text(&row[name])).collect();
    answer.rows().iter().map(row).collect()
}

/// The rows of a query as its view has them, with the publication at the end.
fn of_store(store: &Connection, query: &str) -> Vec<String> {
    match query {
        "trends" => select(
            store,
            "trends.video_id, trends.epoch, trends.epoch_start, trends.plays, trends.impressions, \
             trends.final, trends_rows.publication, title, genre, launched_at \
             FROM trends JOIN trends_rows USING (epoch, video_id)",
        ),
        query => select(store, &format!("* FROM {query}")),
    }
}

#[test]
fn every_query_has_the_rows_of_the_store_as_json_and_csv() {
    let served = Served::generated(1);
    let mut with_rows = 0;
    for query in QUERIES {
        let path = format!("/api/v1/queries/{query}/rows?limit=10000");
        let mut json = Vec::new();
        served.at_same_publication(&path, |answer, store| {
            let (names, _) = csv(&served.client.get(&path.replace("/rows?", "/rows.csv?")));
            json = of_json(answer, &names);
            let mut lines: Vec<String> = json.iter().map(|row| row.join(",")).collect();
            lines.sort();
            assert_eq!(lines, of_store(store, query), "{query}");
            assert_eq!(answer.json()["total"], json.len(), "{query}");
        });
        let (_, rows) = csv(&served.client.get(&path.replace("/rows?", "/rows.csv?")));
        assert_eq!(rows, json, "{query}");
        let accepted = served.client.ask("GET", &path, &[("Accept", "text/csv")]);
        assert_eq!(csv(&accepted).1, json, "{query}");
        with_rows += usize::from(!json.is_empty());
    }
    assert!(with_rows >= 6, "{with_rows}");
}

/// Compares values as numbers if they are, and nothing before all others.
fn compare(one: &str, other: &str) -> Ordering {
    let number = |text: &str| text.parse::<i128>().ok();
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        _ => one.cmp(other),
    }
}

/// The rows that are asked for, from all rows in the order of epoch and key.
fn expected(
    names: &[String],
    rows: &[Vec<String>],
    order: Option<(&str, bool)>,
    keeps: impl Fn(&dyn Fn(&str) -> String) -> bool,
) -> Vec<Vec<String>> {
    let at = |name: &str| names.iter().position(|one| one == name).unwrap();
    let kept = rows.iter().filter(|row| keeps(&|name: &str| row[at(name)].clone()));
    let mut kept: Vec<Vec<String>> = kept.cloned().collect();
    if let Some((name, descending)) = order {
        let at = at(name);
        kept.sort_by(|one, other| {
            let order = compare(&one[at], &other[at]);
            if descending { order.reverse() } else { order }
        });
    }
    kept
}

/// The last columns of rows of a video.
const TITLE_COLUMNS: [&str; 3] = ["title", "genre", "launched_at"];

#[test]
fn pages_orders_and_filters_are_those_of_all_rows() {
    let served = Served::generated(2);
    let mut random = ChaCha8Rng::seed_from_u64(2);
    for query in QUERIES {
        let path = format!("/api/v1/queries/{query}/rows");
        let (names, rows) = csv(&served.client.get(&format!("{path}.csv?limit=10000")));
        let at = |name: &str| names.iter().position(|one| one == name).unwrap();
        for _ in 0..40 {
            let mut parameters = Vec::new();
            let mut any = |name: &str| match &rows[..] {
                [] => String::new(),
                rows => rows[random.random_range(0..rows.len())][at(name)].clone(),
            };
            let (epoch, since) = (any("epoch"), any("publication"));
            let video = names.contains(&"video_id".to_owned()).then(|| any("video_id"));
            let epoch = Some(epoch).filter(|one| !one.is_empty() && random.random_bool(0.4));
            let video = video.filter(|one| !one.is_empty() && random.random_bool(0.3));
            let since = Some(since).filter(|one| !one.is_empty() && random.random_bool(0.4));
            parameters.extend(epoch.iter().map(|epoch| format!("epoch={epoch}")));
            parameters.extend(video.iter().map(|video| format!("video_id={video}")));
            parameters.extend(since.iter().map(|since| format!("since={since}")));
            // Rows are ordered by their own columns, not by those of titles.
            let is_own = |name: &&String| !TITLE_COLUMNS.contains(&name.as_str());
            let own: Vec<&String> = names.iter().filter(is_own).collect();
            let name = own[random.random_range(0..own.len())].clone();
            let order = random.random_bool(0.7).then(|| (name.as_str(), random.random()));
            parameters.extend(order.map(|(name, descending)| {
                format!("order={}{name}", if descending { "-" } else { "" })
            }));
            let (offset, limit) = (random.random_range(0..30), random.random_range(0..50));
            parameters.extend([format!("offset={offset}"), format!("limit={limit}")]);
            let question = format!("{path}?{}", parameters.join("&"));
            let all = expected(&names, &rows, order, |value| {
                epoch.as_ref().is_none_or(|epoch| value("epoch") == *epoch)
                    && video.as_ref().is_none_or(|video| value("video_id") == *video)
                    && since.as_ref().is_none_or(|since| {
                        compare(&value("publication"), since) == Ordering::Greater
                    })
            });
            let answer = served.client.get(&question);
            let page: Vec<_> = all.iter().skip(offset).take(limit).cloned().collect();
            assert_eq!(of_json(&answer, &names), page, "{question}");
            assert_eq!(answer.json()["total"], all.len(), "{question}");
        }
    }
}

#[test]
fn epochs_ledger_and_partitions_are_those_of_the_store() {
    let served = Served::generated(3);
    served.at_same_publication("/api/v1/epochs?order=epoch&limit=10000", |answer, store| {
        let names = ["epoch", "epoch_start", "final", "publication"].map(str::to_owned);
        let rows = of_json(answer, &names).iter().map(|row| row.join(",")).collect::<Vec<_>>();
        let columns = "epoch, epoch_start, final, publication";
        let with_rows = "epoch IN (SELECT epoch FROM trends)";
        assert_eq!(rows, select(store, &format!("{columns} FROM epochs WHERE {with_rows}")));
        for row in answer.rows() {
            let epoch = &row["epoch"];
            let of_epoch = format!("FROM trends WHERE epoch = {epoch}");
            let sums = ["sum(impressions)", "sum(plays)", "count(*)"];
            let sums = sums.map(|sum| number(store, &format!("{sum} {of_epoch}")));
            assert_eq!(
                ["impressions", "plays", "videos"].map(|name| row[name].as_i64()),
                sums.map(Some)
            );
            for (name, kind) in [("impressions", "impression"), ("plays", "play")] {
                let of = |column: &str| {
                    let selected = format!("coalesce({column}, 'null') FROM completeness WHERE ");
                    select(store, &format!("{selected} epoch = {epoch} AND kind = '{kind}'"))
                };
                for column in ["seen", "unread"] {
                    let told = row["completeness"][name][column].to_string();
                    assert_eq!(of(column), [told], "{epoch} {kind} {column}");
                }
                for column in ["share", "share_low", "share_high"] {
                    let told = row["completeness"][name][column].as_f64();
                    let stored: Vec<_> = of(column).iter().map(|text| text.parse().ok()).collect();
                    assert_eq!(stored, [told], "{epoch} {kind} {column}");
                }
            }
        }
    });
    let names = [
        "epoch",
        "kind",
        "events",
        "distinct_events",
        "duplicate_events",
        "late_events",
        "future_events",
    ];
    served.at_same_publication("/api/v1/ledger?limit=10000", |answer, store| {
        let mut rows: Vec<String> =
            of_json(answer, &names.map(str::to_owned)).iter().map(|row| row.join(",")).collect();
        rows.sort();
        assert_eq!(rows, select(store, &format!("{} FROM ledger", names.join(", "))));
    });
    let names = ["topic", "partition", "next_offset", "watermark", "idle", "malformed"];
    served.at_same_publication("/api/v1/partitions", |answer, store| {
        let mut rows: Vec<String> =
            of_json(answer, &names.map(str::to_owned)).iter().map(|row| row.join(",")).collect();
        rows.sort();
        assert_eq!(rows, select(store, &format!("{} FROM partitions", names.join(", "))));
        for row in answer.rows() {
            let [topic, name] = ["topic", "partition"].map(|name| row[name].as_str().unwrap());
            assert_eq!(answer.json()["positions"][topic][name], row["next_offset"]);
        }
    });
}

/// What the view has of a video and an epoch: the values of these columns.
fn of_video(store: &Connection, columns: &str, table: &str, row: &Value) -> Vec<String> {
    let (epoch, video) = (&row["epoch"], row["video_id"].as_str().unwrap());
    let found = select(
        store,
        &format!("{columns} FROM {table} WHERE epoch = {epoch} AND video_id = {video}"),
    );
    found.first().map_or_else(Vec::new, |row| row.split(',').map(str::to_owned).collect())
}

/// Compares a row of what is trending with the rows of the queries that it is joined from.
fn check_joined(row: &Value, store: &Connection, latest: i64) {
    let columns = "plays, expected_plays, score, momentum, since, final";
    let ours = ["plays", "expected_plays", "score", "momentum", "since", "final"];
    let ours = ours.map(|name| text(&row[name])).to_vec();
    assert_eq!(ours, of_video(store, columns, "trending", row));
    let rates = ["rate", "rate_low", "rate_high"].map(|name| text(&row[name])).to_vec();
    assert_eq!(rates, of_video(store, "rate, rate_low, rate_high", "take_rate", row));
    let shown = of_video(store, "impressions", "trends", row);
    assert_eq!(vec![text(&row["impressions"])], shown);
    let names = ["epoch", "plays", "impressions"];
    let point = |point: &Value| names.map(|name| text(&point[name])).join(",");
    let ours: Vec<String> = row["spark"].as_array().unwrap().iter().map(point).collect();
    let video = row["video_id"].as_str().unwrap();
    let past = format!("epoch BETWEEN {} AND {latest}", latest - 23);
    let selection = format!("{} FROM trends WHERE video_id = {video} AND {past}", names.join(", "));
    assert_eq!(ours, select(store, &selection));
}

#[test]
fn trending_is_joined_with_the_other_queries_and_ordered_by_momentum() {
    let served = Served::generated(4);
    let mut video = String::new();
    served.at_same_publication("/api/v1/trending?limit=1000", |answer, store| {
        let rows = answer.rows();
        assert!(!rows.is_empty());
        let latest = number(store, "max(epoch) FROM trending");
        assert_eq!(
            answer.json()["total"],
            number(store, &format!("count(*) FROM trending WHERE epoch = {latest}"))
        );
        let momenta: Vec<i64> = rows.iter().map(|row| row["momentum"].as_i64().unwrap()).collect();
        assert!(momenta.is_sorted_by(|one, next| one >= next), "{momenta:?}");
        for (at, row) in rows.iter().enumerate() {
            assert_eq!((&row["rank"], &row["epoch"]), (&(at + 1).into(), &latest.into()));
            check_joined(row, store, latest);
        }
        video = rows[0]["video_id"].as_str().unwrap().to_owned();
    });
    let falling = served.client.get("/api/v1/trending?limit=1000&direction=falling").rows();
    let rising = served.client.get("/api/v1/trending?limit=3").rows();
    assert_eq!(rising.len(), 3);
    let momentum = |row: &Value| row["momentum"].as_i64().unwrap();
    assert!(falling.is_sorted_by_key(momentum) && momentum(&falling[0]) <= momentum(&rising[0]));
    let least = falling.iter().map(|row| row["impressions"].as_u64().unwrap()).max().unwrap();
    let most_shown = served.client.get(&format!("/api/v1/trending?min_impressions={least}"));
    assert!(!most_shown.rows().is_empty());
    assert!(most_shown.rows().iter().all(|row| row["impressions"] == least));
    assert_eq!(most_shown.json()["total"], most_shown.rows().len());
    // No title is known, so none is of a genre.
    assert!(served.client.get("/api/v1/trending?genre=Drama").rows().is_empty());
    served.at_same_publication(&format!("/api/v1/videos/{video}?epochs=2000"), |answer, store| {
        let names =
            ["epoch", "impressions", "plays", "rate", "score", "momentum"].map(str::to_owned);
        let rows: Vec<String> = of_json(answer, &names).iter().map(|row| row.join(",")).collect();
        let joined = "trends LEFT JOIN take_rate USING (epoch, video_id) LEFT JOIN trending USING \
                      (epoch, video_id)";
        let columns = "trends.epoch, trends.impressions, trends.plays, rate, score, momentum";
        assert_eq!(
            rows,
            select(store, &format!("{columns} FROM {joined} WHERE video_id = {video}"))
        );
        assert_eq!(answer.json()["title"], Value::Null);
    });
    assert_eq!(served.client.get("/api/v1/videos/1?epochs=3").rows(), Vec::<Value>::new());
}

#[test]
fn a_member_of_a_set_is_told_from_rows_and_from_files() {
    let served = Served::generated(5);
    let ask = |served: &Served, row: &[String]| {
        let path = format!(
            "/api/v1/membership?request_id={}&epoch={}&video_id={}",
            row[0], row[1], row[2]
        );
        served.client.get(&path).json()["member"].clone()
    };
    let members =
        select(&served.store(), "request_id, epoch, video_id, played, final FROM requests");
    for member in members.iter().step_by(50) {
        let row: Vec<String> = member.split(',').map(str::to_owned).collect();
        let found = ask(&served, &row);
        let flags = ["shown", "played", "final"].map(|name| text(&found[name]));
        assert_eq!(flags, ["1".to_owned(), row[3].clone(), row[4].clone()], "{member}");
    }
    let other = ["none", "981792", "7"].map(str::to_owned);
    assert_eq!(ask(&served, &other)["shown"], false);
    #[cfg(feature = "parquet")]
    from_files(&members, ask);
}

/// The same log, with its sets in files.
#[cfg(feature = "parquet")]
fn from_files(members: &[String], ask: impl Fn(&Served, &[String]) -> Value) {
    let place = super::Workspace::new();
    let out = place.text("logs");
    let shape = ["--impressions", "4000", "--videos", "40", "--duration", "9h", "--seed", "5"];
    super::run(["generate", "--out", &out, "--partitions", "2"].iter().chain(&shape)).succeeded();
    let logs = ["--impressions", "logs/impressions-*", "--plays", "logs/plays-*", "--sets", "sets"];
    let mut files = Served::start(place, &logs);
    files.settle();
    for member in members.iter().step_by(50) {
        let row: Vec<String> = member.split(',').map(str::to_owned).collect();
        let found = ask(&files, &row);
        assert_eq!(["shown", "played"].map(|name| text(&found[name])), ["1", &row[3]], "{member}");
        let other = [row[0].clone(), row[1].clone(), "18446744073709551615".to_owned()];
        assert_eq!(ask(&files, &other)["shown"], false);
    }
}

#[test]
fn an_answer_names_its_publication_and_is_not_sent_twice() {
    let served = Served::generated(6);
    let client = served.client;
    served.at_same_publication("/api/v1/epochs", |answer, store| {
        let json = answer.json();
        assert_eq!(json["publication"], number(store, "publications FROM job"));
        assert_eq!(json["generation"], number(store, "generation FROM job"));
        let last =
            select(store, "epoch_start FROM epochs WHERE epoch = (SELECT final_through FROM job)");
        assert_eq!(json["final_through"].as_str(), last.first().map(String::as_str));
        assert_eq!(json["finished"], false);
        assert!(json["published_at"].is_string());
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    });
    let tag = client.get("/api/v1/epochs").header("etag").unwrap().to_owned();
    let again = client.ask("GET", "/api/v1/epochs", &[("If-None-Match", &tag)]);
    assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(&*tag)));
    let csv = client.ask("GET", "/api/v1/epochs.csv", &[("If-None-Match", &tag)]);
    assert_eq!(csv.status, 200);
    let head = client.ask("HEAD", "/api/v1/epochs", &[]);
    let length = client.get("/api/v1/epochs").body.len().to_string();
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some(&*length));
    // What changes between publications has no tag.
    assert_eq!(client.get("/api/v1/job").header("etag"), None);
    let queries: Vec<_> = client.get("/api/v1/queries").rows();
    assert!(queries.iter().map(|row| row["name"].as_str().unwrap()).eq(QUERIES));
    assert_eq!(client.get("/api/v1/titles").json()["genres"], Value::Array(vec![]));
}

#[test]
fn the_page_has_the_tables_without_any_script() {
    let served = Served::generated(7);
    let page = served.client.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().contains("script-src 'self'"));
    let top = &served.client.get("/api/v1/trending?limit=1").rows()[0];
    for part in [top["video_id"].as_str().unwrap(), "<tr>", "provisional", "Publication "] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    assert!(!page.body.contains("<!--"), "{}", page.body);
}

#[test]
fn a_job_without_a_query_says_what_to_start_it_with() {
    let place = super::Workspace::new();
    place.write("i.jsonl", super::common::workspace::lines(0..50));
    let mut served = Served::start(place, &["--impressions", "i.jsonl"]);
    served.settle();
    let client = served.client;
    assert!(client.get("/api/v1/trending").error(404).contains("`--query trending`"));
    let member = "/api/v1/membership?video_id=1&epoch=0&request_id=r";
    assert!(client.get(member).error(404).contains("`--sets DIR`"));
    let unknown = client.get("/api/v1/queries/trending/rows").error(404);
    assert_eq!(unknown, "the job has no query `trending`: it has trends");
    assert!(client.get("/").body.contains("--query trending"));
    // An epoch is given as a number, a time in it, or as the latest.
    for epoch in ["0", "1970-01-01T00:29:59Z", "latest"] {
        let rows = client.get(&format!("/api/v1/queries/trends/rows?epoch={epoch}")).rows();
        assert_eq!(rows.len(), 5, "{epoch}");
    }
    assert!(served.store_path().exists());
}
