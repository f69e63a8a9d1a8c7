//! Two jobs on one store: one has it, the other waits and then leaves it alone. Nobody takes it
//! from a job that lives, and everybody from one that has died.

mod common;

use common::program::{Finished, Running, start_processes, trendmark, wait_until};
use common::workspace::{Workspace, lines};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

/// The longest that a job may need to take a store that nobody has, on a busy machine.
const START_MAX: Duration = Duration::from_secs(8);

/// A store with a log, in files or in Kafka.
struct Place {
    folder: Workspace,
    /// `--store`, and the brokers.
    store: Vec<String>,
}

impl Place {
    fn sqlite() -> Place {
        Place::new(vec!["--store".into(), "s.db".into()])
    }

    #[cfg(feature = "kafka")]
    fn kafka(test: &str) -> Option<Place> {
        let servers = common::topics::real_broker(test)?;
        let store = format!("kafka:{}", common::topics::unique("lease"));
        let store = ["--store", &store, "--bootstrap-servers", &servers];
        Some(Place::new(store.map(str::to_owned).to_vec()))
    }

    fn new(store: Vec<String>) -> Place {
        let folder = Workspace::new();
        folder.write("i.jsonl", lines(0..100));
        Place { folder, store }
    }

    fn trendmark(&self, command: &str) -> Command {
        let mut program = trendmark();
        program.current_dir(self.folder.0.path()).arg(command).args(&self.store);
        program
    }

    fn job(&self) -> Command {
        let quick = ["--follow", "--publish-interval", "20ms", "--idle-timeout", "100ms"];
        let mut command = self.trendmark("run");
        command.args(["--impressions", "i.jsonl"]).args(quick);
        command
    }

    fn start(&self, arguments: &[&str]) -> Running {
        Running::start(self.job().args(arguments))
    }

    /// The status, `null` while there is no store.
    fn status(&self) -> Value {
        self.status_and_code(&[]).1
    }

    fn status_and_code(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut command = self.trendmark("status");
        let finished = Running::start(command.args(["--format", "json"]).args(arguments)).finish();
        (finished.code, serde_json::from_str(&finished.stdout).unwrap_or_default())
    }

    /// Checks the exit code of the status, its state, and what it says of the job.
    #[track_caller]
    fn check_status(&self, arguments: &[&str], code: i32, state: &str, said: &str) -> Value {
        let (found, status) = self.status_and_code(arguments);
        assert_eq!((found, status["state"].as_str()), (Some(code), Some(state)), "{status}");
        assert!(status["reason"].as_str().unwrap().contains(said), "{status}");
        status
    }

    /// The path of the store, if it is a file.
    fn database(&self) -> PathBuf {
        self.folder.path("s.db")
    }

    /// Suspends the job of the store between two transactions: as long as a process that has a
    /// database locked is suspended, no other can have it.
    fn suspend(&self, job: &mut Running) {
        let is_locked = || {
            let path = self.database();
            path.exists() && {
                let database = rusqlite::Connection::open(path).unwrap();
                database.busy_timeout(Duration::ZERO).unwrap();
                database.execute_batch("BEGIN IMMEDIATE; ROLLBACK").is_err()
            }
        };
        job.suspend();
        while is_locked() {
            job.resume();
            std::thread::sleep(Duration::from_millis(10));
            job.suspend();
        }
    }

    fn events(&self) -> u64 {
        self.status()["events"]["read"].as_u64().unwrap_or(0)
    }

    /// Waits until a job has the store and has committed so many events.
    fn wait_for(&self, job: &mut Running, events: u64) {
        job.wait_until("its events are committed", || self.events() == events);
    }
}

/// Of two supervisors that start a job on a new store at once, one has a running job, and the other
/// ends with code 5, on which it does not start another.
fn check_two_starts_at_once(place: &Place) {
    let mut jobs = [place.start(&[]), place.start(&[])];
    let mut ended = None;
    wait_until("one of the jobs gives up", || {
        ended = jobs.iter_mut().position(Running::has_ended);
        ended.is_some()
    });
    let [first, second] = jobs;
    let (loser, mut owner) = if ended == Some(0) { (first, second) } else { (second, first) };
    let who = format!("in use by another job: process {}", owner.id());
    loser.finish().failed(5, &[&who, "waiting 10 s", "--take-over"]);
    place.folder.append("i.jsonl", lines(100..150));
    place.wait_for(&mut owner, 150);
    let status = place.status();
    assert_eq!(status["generation"], 1, "{status}");
    assert_eq!(status["job"]["pid"], owner.id(), "{status}");
    assert_eq!(
        (&status["job"]["state"], &status["job"]["alive"]),
        (&"running".into(), &true.into())
    );
}

/// A job that was killed is replaced at once, one that hangs after its lease has expired; a job
/// that ended says how, and is replaced at once.
fn check_successors(place: &Place) {
    let mut killed = place.start(&[]);
    place.wait_for(&mut killed, 100);
    killed.kill();
    let started = Instant::now();
    let died = killed.finish();
    assert_eq!(died.code, None);
    assert_eq!(place.status()["job"]["alive"], false);
    place.folder.append("i.jsonl", lines(100..150));
    let mut zombie = place.start(&[]);
    place.wait_for(&mut zombie, 150);
    assert!(started.elapsed() < START_MAX, "{:?}", started.elapsed());

    place.suspend(&mut zombie);
    let started = Instant::now();
    let mut owner = place.start(&[]);
    place.folder.append("i.jsonl", lines(150..200));
    place.wait_for(&mut owner, 200);
    let waited = started.elapsed();
    assert!((10..18).contains(&waited.as_secs()), "{waited:?}");
    assert!(owner.stderr().contains("no sign of life of process"), "{}", owner.stderr());
    // It reads the same lines on, and must not commit them.
    zombie.resume();
    zombie.finish().failed(5, &["another job has taken over"]);
    let status = place.status();
    assert_eq!((&status["events"]["read"], &status["generation"]), (&200.into(), &3.into()));
    assert_eq!(status["job"]["pid"], owner.id(), "{status}");

    owner.interrupt();
    owner.finish().succeeded();
    let job = &place.status()["job"];
    assert_eq!((&job["state"], &job["alive"]), (&"stopped".into(), &false.into()));
    place.folder.append("i.jsonl", lines(200..250));
    let started = Instant::now();
    let mut last = place.start(&[]);
    place.wait_for(&mut last, 250);
    assert!(started.elapsed() < START_MAX, "{:?}", started.elapsed());
    assert_eq!(place.status()["generation"], 4);
}

/// A job that waits for a store ends within a second of a signal, and has not touched the store.
fn check_wait_is_interrupted(place: &Place) {
    let mut owner = place.start(&[]);
    place.wait_for(&mut owner, 100);
    for signal in ["INT", "TERM"] {
        let mut waiting = place.start(&[]);
        waiting.wait_until_said("is in use by another job");
        waiting.signal(signal);
        let Finished { stdout, waited, .. } = waiting.finish().succeeded();
        assert!(stdout.contains("stopped while waiting for"), "{stdout}");
        assert!(waited < Duration::from_secs(2), "{waited:?}");
    }
    // `--take-over` does not wait.
    let started = Instant::now();
    let mut successor = place.start(&["--take-over"]);
    let fenced = owner.finish().failed(5, &["another job has taken over", "generation 1"]);
    assert!(started.elapsed() < START_MAX, "{:?}", started.elapsed());
    // The take-over was asked for, so it is not told as if anything had failed.
    let said = fenced.stderr.lines();
    let said: Vec<&str> = said.filter(|line| !line.starts_with("run: ")).collect();
    assert!(said.len() == 1 && said[0].starts_with("error: another job has taken"), "{said:#?}");
    place.folder.append("i.jsonl", lines(100..150));
    place.wait_for(&mut successor, 150);
    assert_eq!(place.status()["generation"], 2);
}

/// Every process of a job that is fenced ends with code 5: a supervisor of any of them must not
/// start it again.
fn check_all_processes_of_a_fenced_job(place: &Place) {
    let hosts = place.folder.0.path().join("hosts");
    let mut job = start_processes(2, &hosts, |_| place.job());
    place.wait_for(&mut job[0], 100);
    let mut successor = place.start(&["--take-over"]);
    for process in job {
        let finished = process.finish().failed(5, &["another job has taken over"]);
        assert!(finished.waited < Duration::from_secs(12), "{finished:#?}");
    }
    place.folder.append("i.jsonl", lines(100..150));
    place.wait_for(&mut successor, 150);
}

/// A job that is refused, because the store has another definition, takes nothing from the job that
/// has the store, also with `--take-over`.
fn check_a_refused_job_takes_nothing(place: &Place) {
    let mut owner = place.start(&[]);
    place.wait_for(&mut owner, 100);
    let other = ["--take-over", "--join-window", "7"];
    place.start(&other).finish().failed(1, &["was written with", "join"]);
    place.start(&[]).finish().failed(5, &["is in use by another job"]);
    // A lock may be gone all the same, if a job died when it had taken it away.
    if place.database().exists() {
        std::fs::remove_file(place.folder.path("s.db.lock")).unwrap();
        place.start(&[]).finish().failed(5, &["is in use by another job"]);
    }
    place.folder.append("i.jsonl", lines(100..150));
    place.wait_for(&mut owner, 150);
    assert_eq!(place.status()["generation"], 1);
}

/// A job takes its store only when all its processes have met: until then it has nothing to lose,
/// and another job may have the store. A job that finds it taken ends in all processes.
fn check_a_job_whose_second_process_is_late(place: &Place) {
    let hosts = place.folder.0.path().join("hosts");
    common::program::write_hostfile(2, &hosts);
    let process = |number: &str| {
        let mut command = place.job();
        command.args(["--processes", "2", "--process", number, "--hostfile"]).arg(&hosts);
        Running::start(&mut command)
    };
    let first = process("0");
    let since = Instant::now();
    let mut owner = place.start(&[]);
    place.wait_for(&mut owner, 100);
    assert!(since.elapsed() < START_MAX, "{:?}", since.elapsed());
    std::thread::sleep(Duration::from_secs(12).saturating_sub(since.elapsed()));
    for process in [process("1"), first] {
        process.finish().failed(5, &["in use by another job"]);
    }
    place.folder.append("i.jsonl", lines(100..150));
    place.wait_for(&mut owner, 150);
    assert_eq!(place.status()["generation"], 1);
}

/// The status tells whether the job runs as it should, by its exit code too.
fn check_whether_it_runs(place: &Place) {
    let mut job = place.start(&[]);
    place.wait_for(&mut job, 100);
    let status = place.check_status(&[], 0, "running", "running: process");
    assert_eq!((&status["running"], &status["behind"]), (&true.into(), &0.into()), "{status}");
    assert_eq!((&status["pid"], &status["job"]["pid"]), (&job.id().into(), &job.id().into()));
    assert!(status["host"].is_string() && status["rate"].is_u64(), "{status}");
    // In Kafka, the next renewal of the lease tells of the commit.
    let age_ms = || place.status()["last_commit_age_ms"].as_u64();
    wait_until("the commit is told", || age_ms().is_some_and(|age_ms| age_ms < 30_000));

    place.suspend(&mut job);
    wait_until("its lease has expired", || place.status_and_code(&[]).0 == Some(3));
    let status = place.check_status(&[], 3, "stale", "no sign of life for 1");
    assert_eq!((&status["running"], &status["job"]["state"]), (&false.into(), &"running".into()));
    job.resume();
    wait_until("it has renewed its lease", || place.status_and_code(&[]).0 == Some(0));

    job.kill();
    job.finish();
    place.check_status(&[], 3, "stale", "died, last sign of life");
    let table = Running::start(&mut place.trendmark("status")).finish();
    assert_eq!(table.code, Some(3), "{table:#?}");
    assert!(table.stdout.contains(" stale: died, last sign of life"), "{table:#?}");

    place.folder.append("i.jsonl", lines(100..150));
    let mut job = place.start(&[]);
    place.wait_for(&mut job, 150);
    job.interrupt();
    job.finish().succeeded();
    place.check_status(&[], 0, "stopped", "stopped, ");
    let mut last = place.trendmark("run");
    Running::start(last.args(["--impressions", "i.jsonl"])).finish().succeeded();
    let status = place.check_status(&[], 0, "finished", "finished, ");
    assert_eq!(status["running"], false, "{status}");
}

/// What a job of another host has left is judged by whether it changes, as the clocks differ.
fn check_status_of_another_host(place: &Place) {
    let mut job = place.start(&[]);
    place.wait_for(&mut job, 100);
    job.interrupt();
    job.finish().succeeded();
    let database = rusqlite::Connection::open(place.database()).unwrap();
    let since_1970 = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let renew = |database: &rusqlite::Connection, ahead_s: i64, committed_s: i64| {
        let now_ms = i64::try_from(since_1970().as_millis()).unwrap() + ahead_s * 1_000;
        let sql = "UPDATE job SET lease = json_set(lease, '$.machine', 'another', '$.host', \
                   'beta', '$.state', 'running', '$.renewed_ms', ?1, '$.since_ms', ?2, \
                   '$.committed_ms', ?2)";
        let moments = [now_ms, now_ms - committed_s * 1_000];
        assert_eq!(database.execute(sql, moments).unwrap(), 1);
    };
    renew(&database, -5, 600);
    let started = Instant::now();
    place.check_status(&[], 0, "running", " on beta");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    // It was killed, and its clock is an hour wrong.
    for ahead_s in [-3_600, 3_600] {
        renew(&database, ahead_s, 600);
        place.check_status(&[], 3, "stale", "no sign of life for ");
    }
    std::thread::scope(|scope| {
        let renewing = scope.spawn(|| {
            let database = rusqlite::Connection::open(place.database()).unwrap();
            for _ in 0..40 {
                renew(&database, -3_600, 600);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        std::thread::sleep(Duration::from_millis(300));
        place.check_status(&[], 0, "running", " on beta");
        renewing.join().unwrap();
    });
    // It lives, but commits nothing.
    place.folder.append("i.jsonl", lines(100..150));
    renew(&database, 0, 61);
    place.check_status(&[], 3, "stale", "it is behind and has committed nothing for 61 s");
    place.check_status(&["--stale-after", "2m"], 0, "running", " on beta");
    assert_eq!(place.status()["behind"], 50);
    database.execute("UPDATE job SET lease = ''", []).unwrap();
    let status = place.check_status(&[], 4, "unknown", "none has left a lease");
    assert_eq!((&status["host"], &status["pid"]), (&Value::Null, &Value::Null), "{status}");
}

#[test]
fn the_status_of_a_job_of_another_host_does_not_depend_on_its_clock() {
    check_status_of_another_host(&Place::sqlite());
}

#[test]
fn the_status_of_a_job_tells_whether_it_runs() {
    check_whether_it_runs(&Place::sqlite());
}

#[test]
#[cfg(feature = "kafka")]
fn the_status_of_a_job_on_kafka_tells_whether_it_runs() {
    let Some(place) = Place::kafka("the status of a job on Kafka") else { return };
    check_whether_it_runs(&place);
}

#[test]
fn a_job_whose_second_process_is_late_takes_the_store_from_nobody() {
    check_a_job_whose_second_process_is_late(&Place::sqlite());
}

#[test]
fn a_refused_job_takes_nothing_from_the_job_that_has_the_store() {
    check_a_refused_job_takes_nothing(&Place::sqlite());
}

#[test]
fn all_processes_of_a_fenced_job_end_with_code_5() {
    check_all_processes_of_a_fenced_job(&Place::sqlite());
}

#[test]
#[cfg(feature = "kafka")]
fn all_processes_of_a_fenced_job_on_kafka_end_with_code_5() {
    let Some(place) = Place::kafka("the processes of a fenced job on Kafka") else { return };
    check_all_processes_of_a_fenced_job(&place);
}

#[test]
#[cfg(feature = "kafka")]
fn a_job_whose_second_process_is_late_takes_the_store_in_kafka_from_nobody() {
    let Some(place) = Place::kafka("a job on Kafka whose second process is late") else { return };
    check_a_job_whose_second_process_is_late(&place);
}

#[test]
#[cfg(feature = "kafka")]
fn a_refused_job_takes_nothing_from_the_job_that_has_the_store_in_kafka() {
    let Some(place) = Place::kafka("a refused job on Kafka") else { return };
    check_a_refused_job_takes_nothing(&place);
}

/// A start that has to wait for the brokers renews its lease as a job that runs does, and a start
/// that is asked to stop says so in it.
#[test]
#[cfg(feature = "kafka")]
fn a_job_that_takes_long_to_start_keeps_the_store_in_kafka() {
    use common::topics::{Cluster, TIMEOUT};
    use rdkafka::producer::{BaseRecord, Producer};
    use trendmark::stores::kafka::KafkaReader;
    use trendmark::stores::{LeaseState, StoreReader};
    let Some(place) = Place::kafka("a slow start on Kafka") else { return };
    let mut first = place.start(&[]);
    place.wait_for(&mut first, 100);
    first.interrupt();
    first.finish().succeeded();
    let topic = place.store[1].strip_prefix("kafka:").unwrap();
    let cluster = Cluster::at(&place.store[3]);
    // The ledger is read to its end, and an open transaction hides the end.
    let writer = cluster.transactional_writer();
    writer.producer.begin_transaction().unwrap();
    let ledger = format!("{topic}-ledger");
    let record = BaseRecord::to(&ledger).key("key").payload("{}").partition(0);
    writer.producer.send(record).unwrap();
    writer.flush();
    // `status` would wait for that end too.
    let lease = || {
        let lease = KafkaReader::open(&cluster.settings, topic).unwrap().lease().unwrap().unwrap();
        (lease.process.pid, lease.state, lease.generation)
    };
    let start = || {
        let mut slow = place.start(&[]);
        let id = slow.id();
        slow.wait_until("it takes the store", || {
            let (pid, state, _) = lease();
            (pid, state) == (id, LeaseState::Starting)
        });
        slow
    };
    let stopped = start();
    stopped.interrupt();
    let id = stopped.id();
    let waited = stopped.finish().succeeded().waited;
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    assert_eq!(lease(), (id, LeaseState::Stopped, 2));

    let mut slow = start();
    let who = format!("in use by another job: process {}", slow.id());
    place.start(&[]).finish().failed(5, &[&who]);
    assert_eq!(lease(), (slow.id(), LeaseState::Starting, 3));
    writer.producer.abort_transaction(TIMEOUT).unwrap();
    place.folder.append("i.jsonl", lines(100..150));
    place.wait_for(&mut slow, 150);
    let status = place.status();
    assert_eq!((&status["job"]["state"], &status["generation"]), (&"running".into(), &3.into()));
}

#[test]
fn of_two_jobs_that_start_at_once_one_has_the_store() {
    check_two_starts_at_once(&Place::sqlite());
}

#[test]
fn a_job_that_died_is_replaced_at_once_and_one_that_hangs_after_ten_seconds() {
    check_successors(&Place::sqlite());
}

#[test]
fn a_job_that_waits_for_a_store_ends_when_asked() {
    check_wait_is_interrupted(&Place::sqlite());
}

#[test]
#[cfg(feature = "kafka")]
fn of_two_jobs_that_start_at_once_one_has_the_store_in_kafka() {
    let Some(place) = Place::kafka("two jobs on a store in Kafka") else { return };
    check_two_starts_at_once(&place);
}

#[test]
#[cfg(feature = "kafka")]
fn a_job_on_kafka_that_died_is_replaced_at_once_and_one_that_hangs_after_ten_seconds() {
    let Some(place) = Place::kafka("the successors of a job on Kafka") else { return };
    check_successors(&place);
}

#[test]
#[cfg(feature = "kafka")]
fn a_job_that_waits_for_a_store_in_kafka_ends_when_asked() {
    let Some(place) = Place::kafka("a job that waits for a store in Kafka") else { return };
    check_wait_is_interrupted(&place);
}
