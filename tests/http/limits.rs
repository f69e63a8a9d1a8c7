//! Whatever clients do, the job goes on, and ends when it is asked to.

use super::Served;
use super::common::http::Client;
use super::common::program::{Running, run, start_processes, trendmark};
use super::common::workspace::{Workspace, lines, names, stop};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn small(arguments: &[&str]) -> Served {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..50));
    Served::start(place, &[&["--impressions", "i.jsonl"], arguments].concat())
}

#[test]
fn garbage_is_refused_and_the_job_goes_on() {
    let mut served = small(&["--query", "all"]);
    served.settle();
    let client = served.client;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let paths = prop_oneof!["/[ -~]{0,40}", "/api/v1/[a-z{}/%.]{0,30}", Just("*".to_owned())];
    let names = "(limit|epoch|order|since|video_id|offset|direction|query|[a-z]{1,5})";
    let values = prop_oneof!["-?[0-9]{0,25}", "[a-z_%-]{0,12}", "[ -~]{0,20}"];
    let known = proptest::sample::select(vec![
        "/",
        "/api/v1/job",
        "/api/v1/epochs",
        "/api/v1/queries/trends/rows",
        "/api/v1/trending",
        "/api/v1/videos/1",
        "/api/v1/titles",
        "/api/v1/ledger",
        "/api/v1/membership",
        "/api/v1/partitions.csv",
        "/api/v1/openapi.json",
    ]);
    let urls = prop_oneof![
        paths,
        (known, proptest::collection::vec((names, values), 0..3)).prop_map(|(path, pairs)| {
            let pairs: Vec<_> =
                pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{path}?{}", pairs.join("&"))
        }),
    ];
    let methods =
        prop_oneof![4 => Just("GET"), 1 => Just("POST"), 1 => Just("DELETE"), 1 => Just("X")];
    let checked = runner.run(&(urls, methods), |(url, method)| {
        let url = url.replace([' ', '#'], "+");
        let sent =
            format!("{method} {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        // An answer is there, unless the line is none of HTTP.
        if let Some(answer) = client.send(sent.as_bytes()) {
            prop_assert!(
                [200, 400, 404, 405, 414, 503].contains(&answer.status),
                "{} {:?}",
                sent,
                answer
            );
            if url.starts_with("/api") && answer.status >= 400 && !answer.body.is_empty() {
                let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
                prop_assert_eq!(&json["status"], answer.status);
            }
        }
        Ok(())
    });
    checked.unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..50 {
        let bytes: Vec<u8> = (0..random.random_range(1..2_000)).map(|_| random.random()).collect();
        // It may wait for more of it.
        let mut stream = client.connect();
        let _ = stream.write_all(&bytes);
    }
    assert_eq!(client.get("/api/v1/epochs").status, 200);
    stop(served.job);
}

#[test]
fn what_is_too_long_is_refused() {
    let mut served = small(&[]);
    served.settle();
    let client = served.client;
    let long = format!("/api/v1/titles?search={}", "x".repeat(4_096));
    assert!(client.get(&long).error(414).contains("longer than 4096 bytes"));
    let header = "x".repeat(200_000);
    if let Some(answer) = client
        .send(format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {header}\r\n\r\n").as_bytes())
    {
        assert_eq!(answer.status, 431);
    }
    let many: String = (0..200).map(|number| format!("X-{number}: 1\r\n")).collect();
    let answer = client.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n").as_bytes());
    assert_eq!(answer.unwrap().status, 431);
    assert!(client.ask("POST", "/api/v1/job", &[]).error(405).contains("use GET or HEAD"));
    assert_eq!(client.ask("PUT", "/api/v1/job", &[]).header("allow"), Some("GET, HEAD"));
    assert_eq!(client.get("/healthz").body, "ok\n");
}

#[test]
fn only_local_names_and_clients_with_the_token_are_answered() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..50));
    place.write("token", "s3cret-token\n");
    let arguments = ["--impressions", "i.jsonl", "--http-token-file", "token"];
    let served = Served::start(place, &arguments);
    let client = served.client;
    let job = |headers: &[(&str, &str)]| client.ask("GET", "/api/v1/epochs", headers);
    assert!(job(&[]).error(401).contains("Authorization: Bearer TOKEN"));
    assert_eq!(job(&[]).header("www-authenticate"), Some("Bearer"));
    assert_eq!(job(&[("Authorization", "Bearer s3cret-toke")]).error(401), "the token is wrong");
    client.wait("the job has begun", |_| {
        job(&[("Authorization", "Bearer s3cret-token")]).status == 200
    });
    assert_eq!(client.get("/").status, 200);
    assert_eq!(client.get("/healthz").status, 200);
    // Events may have it in the URL; others may not.
    assert!(client.events("/api/v1/events?token=s3cret-token&since=0", None).next().is_some());
    client.get("/api/v1/events?token=other").error(401);
    client.get("/api/v1/epochs?token=s3cret-token").error(401);
    let evil = [("Host", "evil.example"), ("Authorization", "Bearer s3cret-token")];
    assert!(job(&evil).error(403).contains("names another machine"));
    let said = stop(served.job);
    assert!(!said.contains("s3cret"), "{said}");
}

#[test]
fn a_long_token_is_one_in_the_url_of_events_too() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..50));
    let token = "t0ken".repeat(200);
    place.write("token", format!("{token}\n"));
    let arguments = ["--impressions", "i.jsonl", "--http-token-file", "token"];
    let served = Served::start(place, &arguments);
    let path = format!("/api/v1/events?token={token}&since=0");
    assert!(served.client.events(&path, None).next().is_some());
    let said = stop(served.job);
    assert!(!said.contains("t0ken"), "{said}");
}

#[test]
fn a_job_answers_at_any_loopback_address() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..50));
    let arguments = ["--impressions", "i.jsonl", "--http-address", "127.0.0.2:0"];
    let job = place.follow(&arguments);
    let client = Client::of(&job);
    assert_eq!(client.address.ip().to_string(), "127.0.0.2");
    client.wait("the job has begun", |client| client.get("/api/v1/epochs").status == 200);
    client.ask("GET", "/api/v1/epochs", &[("Host", "127.0.0.3")]).error(403);
    stop(job);
}

/// Asks for a large answer, and reads its status only.
fn ask_and_wait(client: &Client, path: &str) -> (String, TcpStream) {
    let mut stream = client.connect();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    (String::from_utf8_lossy(&status).into_owned(), stream)
}

#[test]
fn large_answers_that_nobody_takes_are_bounded_and_then_others_are_answered() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..50));
    let name = "x".repeat(1_000);
    let titles: String = (0..8_000).map(|video| format!("{video},{name}\n")).collect();
    place.write("t.csv", format!("video_id,title\n{titles}"));
    let mut served = Served::start(place, &["--impressions", "i.jsonl", "--titles", "t.csv"]);
    served.settle();
    let client = served.client;
    // More than an answer may have.
    let said = client.get("/api/v1/titles?limit=8000").error(400);
    assert!(said.contains("more than 8 MiB: ask for fewer with `limit`"), "{said}");
    // About 7 MiB each.
    let path = |offset: usize| format!("/api/v1/titles?limit=7000&offset={offset}");
    let mut held = Vec::new();
    let refused = loop {
        let (status, stream) = ask_and_wait(&client, &path(held.len()));
        if status != "HTTP/1.1 200" {
            break status;
        }
        held.push(stream);
        assert!(held.len() < 60, "nothing is refused");
    };
    assert_eq!(refused, "HTTP/1.1 503");
    assert!(held.len() > 15, "{}", held.len());
    drop(held);
    client.wait("others are answered", |client| client.get(&path(900)).status == 200);
    stop(served.job);
}

#[test]
fn a_token_or_an_address_that_cannot_be_used_is_said_before_anything_is_read() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..50));
    place.write("empty", "\n");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let input = ["--impressions", "i.jsonl"];
    let run = |arguments: &[&str]| place.run(&[&input[..], arguments].concat());
    run(&["--http-address", &address]).failed(
        1,
        &[
            &format!("error: cannot serve HTTP at {address}: "),
            "give another port with --http-address",
        ],
    );
    run(&["--http-address", "8080"]).failed(2, &["`8080` is not HOST:PORT"]);
    run(&["--http-token-file", "empty"]).failed(2, &["--http-token-file needs --http-address"]);
    let local = ["--http-address", "127.0.0.1:0", "--http-token-file"];
    let wrong = |file| run(&[&local[..], &[file]].concat());
    wrong("empty").failed(2, &["cannot use the token in `empty`: it is empty"]);
    wrong("absent").failed(2, &["cannot use the token in `absent`: No such file"]);
    assert_eq!(names(&place), ["empty", "i.jsonl"]);
}

#[test]
fn a_job_with_open_streams_and_slow_clients_ends_in_time_and_leaves_one_file() {
    let mut served = small(&[]);
    served.settle();
    let client = served.client;
    let mut streams: Vec<_> = (0..30).map(|_| client.events("/api/v1/events", None)).collect();
    let idle: Vec<_> = (0..10).map(|_| client.connect()).collect();
    let mut half = client.connect();
    half.write_all(b"GET /api/v1/epochs HTTP/1.1\r\nHost: loc").unwrap();
    let Served { place, job, .. } = served;
    let began = Instant::now();
    job.interrupt();
    let finished = job.finish().succeeded();
    assert!(began.elapsed() < Duration::from_secs(5), "{finished:?}");
    assert!(streams.iter_mut().all(|stream| stream.next().is_none()));
    drop((idle, half));
    assert_eq!(names(&place), ["i.jsonl", "s.db"]);
    assert!(!finished.stderr.contains("WARN"), "{}", finished.stderr);
}

#[test]
fn connections_beyond_the_limit_are_told_to_try_again() {
    let mut served = small(&[]);
    served.settle();
    let client = served.client;
    let held: Vec<_> = (0..1_024).map(|_| client.connect()).collect();
    let mut refused = None;
    client.wait("a connection is refused", |client| {
        refused = client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        refused.as_ref().is_some_and(|answer| answer.status == 503)
    });
    assert!(refused.unwrap().error(503).starts_with("too many connections"));
    drop(held);
    client.wait("others are answered again", |client| {
        client
            .send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .is_some_and(|answer| answer.status == 200)
    });
    stop(served.job);
}

#[test]
fn other_processes_say_where_the_api_is() {
    let place = Workspace::new();
    place.write("i.jsonl", lines(0..50));
    let jobs = start_processes(2, &place.path("hosts"), |_| {
        let mut command = place.command(&["--impressions", "i.jsonl", "--follow"]);
        command.args(["--http-address", "127.0.0.1:0", "--workers", "1"]);
        command
    });
    let [first, second] = [0, 1].map(|number| Client::of(&jobs[number]));
    first.wait("the job has begun", |client| client.get("/api/v1/epochs").status == 200);
    assert_eq!(second.get("/healthz").body, "ok\n");
    let said = second.get("/api/v1/epochs").error(404);
    assert!(said.starts_with("this is process 1 of the job; process 0 has the API: "), "{said}");
    jobs[0].interrupt();
    for job in jobs {
        job.finish().succeeded();
    }
}

#[test]
fn a_demo_prints_its_url_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = trendmark();
    demo.env("TMPDIR", folder.path()).args(["demo", "--for", "3s", "--rate", "2000"]);
    let finished = Running::start(&mut demo).finish().succeeded();
    assert!(finished.stdout.starts_with("http://127.0.0.1:"), "{}", finished.stdout);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let held = TcpListener::bind(&taken).unwrap();
    run(["demo", "--for", "1s", "--http-address", &taken]).failed(1, &["cannot serve HTTP at"]);
    drop(held);
}
