//! Tests of the meeting of processes: strangers, silence, other settings, deaths and secrets.

use super::*;
use std::io::Write;

fn addresses<const COUNT: usize>() -> Vec<String> {
    let held: Vec<_> = (0..COUNT).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}

fn cluster(process: usize, addresses: &[String], launch_timeout_ms: u64) -> Cluster {
    let launch_timeout = Duration::from_millis(launch_timeout_ms);
    let addresses = addresses.to_vec();
    Cluster { process, addresses, launch_timeout, ..Cluster::threads(1) }
}

/// Connects all processes at once.
fn met(clusters: &[Cluster]) -> Vec<Result<Connections, String>> {
    std::thread::scope(|scope| {
        let one = |cluster| scope.spawn(move || connect(cluster, &AtomicBool::new(false)));
        let processes: Vec<_> = clusters.iter().map(one).collect();
        processes.into_iter().map(|process| process.join().unwrap()).collect()
    })
}

/// Calls an address until somebody listens.
fn call(address: &str) -> TcpStream {
    let started = Instant::now();
    loop {
        match dial(address) {
            Ok(stream) => return stream,
            Err(_) if started.elapsed() < Duration::from_secs(10) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn every_process_is_connected_with_every_other_and_twice_with_the_first() {
    let addresses = addresses::<4>();
    let clusters = [0, 1, 2, 3].map(|process| cluster(process, &addresses, 20_000));
    let counts = met(&clusters).into_iter().map(|connections| {
        let Connections { data, life } = connections.unwrap();
        (data.iter().flatten().count(), life.iter().flatten().count())
    });
    assert_eq!(counts.collect::<Vec<_>>(), [(3, 3), (3, 1), (3, 1), (3, 1)]);
}

#[test]
fn strangers_are_dropped_and_silent_ones_delay_nobody() {
    let addresses = addresses::<2>();
    let clusters = [0, 1].map(|process| cluster(process, &addresses, 20_000));
    let party = |process, processes| {
        let mut meeting = Meeting::new(&clusters[1]).unwrap();
        let party = Arc::get_mut(&mut meeting.party).unwrap();
        party.greeting.process = process;
        party.greeting.processes = processes;
        party.greeting.to_bytes()
    };
    let first = addresses[0].clone();
    let texts = [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), party(7, 2), party(1, 2)];
    let (held, holding) = channel();
    let strangers = std::thread::spawn(move || {
        // More would wait until the first ones have taken too long.
        let silent: Vec<_> = (0..ANSWERED_MAX - 8).map(|_| call(&first)).collect();
        for text in texts {
            let _ = call(&first).write_all(&text);
            let framed = [b"trndmrk2", &(text.len() as u32).to_be_bytes()[..], &text].concat();
            let _ = call(&first).write_all(&framed);
        }
        held.send(silent).unwrap();
    });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| connect(&clusters[0], &AtomicBool::new(false)).unwrap());
        let silent = holding.recv().unwrap();
        let started = Instant::now();
        let second = connect(&clusters[1], &AtomicBool::new(false)).unwrap();
        assert!(started.elapsed() < GREETING_TIMEOUT, "{:?}", started.elapsed());
        assert!(second.data[0].is_some() && second.data[1].is_none());
        let first = first.join().unwrap();
        assert!(first.data[0].is_none() && first.data[1].is_some());
        drop(silent);
    });
    strangers.join().unwrap();
}

#[test]
fn processes_with_other_settings_say_so_at_once() {
    let field = |name: &str| vec![("field".to_string(), format!("request_id={name}"))];
    let cases = [
        (2, field("r"), "process 1 has --workers 2"),
        (
            1,
            field("s"),
            "process 1 has --field request_id=s, and process 0 has --field request_id=r",
        ),
    ];
    for (workers, settings, expected) in cases {
        let addresses = addresses::<2>();
        let [first, second] = [0, 1].map(|process| cluster(process, &addresses, 60_000));
        let first = Cluster { settings: field("r"), ..first };
        let started = Instant::now();
        let said = met(&[first, Cluster { workers, settings, ..second }]);
        assert!(started.elapsed() < Duration::from_secs(20));
        let [first, second] = &said[..] else { panic!() };
        assert!(first.as_ref().unwrap_err().contains(expected), "{first:?}");
        assert!(second.as_ref().unwrap_err().contains("start all processes with"), "{second:?}");
    }
}

#[test]
fn only_processes_with_the_same_secret_meet() {
    let secrets: [[&str; 2]; 4] = [["a", "a"], ["a", "b"], ["a", ""], ["", "b"]];
    for pair in secrets {
        let addresses = addresses::<2>();
        let clusters = [0, 1].map(|process| Cluster {
            secret: pair[process].into(),
            ..cluster(process, &addresses, if pair[0] == pair[1] { 20_000 } else { 1_500 })
        });
        let found = met(&clusters);
        assert!(found.iter().all(|one| one.is_ok() == (pair[0] == pair[1])), "{found:?}");
        if pair[0] != pair[1] {
            let expected = "the processes of this job do not share a secret: give all of them the";
            for said in found {
                let said = said.unwrap_err();
                assert!(said.starts_with(expected), "{said}");
            }
        }
    }
}

#[test]
fn a_process_that_ends_before_all_have_met_is_noticed_at_once() {
    let addresses = addresses::<3>();
    let clusters = [0, 1].map(|process| cluster(process, &addresses, 60_000));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| connect(&clusters[0], &AtomicBool::new(false)));
        let second = scope.spawn(|| connect(&clusters[1], &stop));
        std::thread::sleep(Duration::from_millis(500));
        stop.store(true, Ordering::Relaxed);
        assert!(second.join().unwrap().is_err());
        let started = Instant::now();
        let said = first.join().unwrap().unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(said.starts_with("process 1 at ") && said.contains("before all"), "{said}");
    });
}

#[test]
fn a_process_that_is_started_twice_does_not_join_twice() {
    let addresses = addresses::<3>();
    let clusters = [0, 1].map(|process| cluster(process, &addresses, 3_000));
    // The second instance listens elsewhere.
    let mut other = addresses.clone();
    other[1] = "127.0.0.1:0".into();
    let twin = Cluster { addresses: other, ..clusters[1].clone() };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| connect(&clusters[0], &AtomicBool::new(false)));
        let second = scope.spawn(|| connect(&clusters[1], &AtomicBool::new(false)));
        std::thread::sleep(Duration::from_millis(500));
        let said = connect(&twin, &AtomicBool::new(false)).unwrap_err();
        assert!(said.contains("was it started twice?"), "{said}");
        for one in [first, second] {
            let said = one.join().unwrap().unwrap_err();
            assert!(said.contains("missing: process 2 at"), "{said}");
        }
    });
}

#[test]
fn a_missing_process_is_named() {
    let addresses = addresses::<3>();
    let said = connect(&cluster(1, &addresses, 100), &AtomicBool::new(false)).unwrap_err();
    let expected = "not all 3 processes connected within 0.1 s; missing: process 0 at ";
    assert!(said.starts_with(expected) && said.contains("(Connection refused"), "{said}");
    let later = format!("process 2 at {} (it has not called); start each", addresses[2]);
    assert!(said.contains(&later), "{said}");
    let stopped = connect(&cluster(1, &addresses, 60_000), &AtomicBool::new(true));
    assert!(stopped.unwrap_err().contains("stopped"));
    let taken = TcpListener::bind(&addresses[1]).unwrap();
    let said = connect(&cluster(1, &addresses, 100), &AtomicBool::new(false)).unwrap_err();
    assert!(said.starts_with(&format!("cannot listen at {}: ", addresses[1])), "{said}");
    drop(taken);
}

/// The system accepts connections for a process that is suspended.
#[test]
fn a_process_that_listens_and_says_nothing_is_not_said_to_be_absent() {
    let addresses = addresses::<2>();
    let suspended = TcpListener::bind(&addresses[0]).unwrap();
    let said = connect(&cluster(1, &addresses, 100), &AtomicBool::new(false)).unwrap_err();
    let address = suspended.local_addr().unwrap();
    let expected = format!("process 0 at {address} (the connection is open, but nothing is said: ");
    assert!(said.contains(&expected) && said.contains("suspended"), "{said}");
}
