//! The time in the operators of a worker, from timely's own log.
//!
//! The log is installed only if somebody may ask. It is told of the beginning and the end of every
//! call of an operator, some hundred at a time. Times are added up by the names of dataflow and
//! operator: those of all epochs together, so that there are as many as there are names.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use timely::logging::{ParkEvent, StartStop, TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

/// The most pairs of names; what has other ones counts as `other`.
const NAMES_MAX: usize = 200;

/// The times of a worker's operators.
#[derive(Debug, Default)]
pub struct OperatorLog(Mutex<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    /// The names of the dataflows, by the first number of the address of their operators.
    dataflows: HashMap<usize, String>,
    operators: HashMap<usize, Operator>,
    /// The operators that run, the innermost last.
    running: Vec<Running>,
    times: BTreeMap<(String, String), Duration>,
    waited: Duration,
    waits_since: Option<Duration>,
}

#[derive(Debug)]
struct Operator {
    /// Of its dataflow.
    number: usize,
    name: String,
    /// Whether it is a whole dataflow.
    is_dataflow: bool,
    time: Duration,
}

#[derive(Debug)]
struct Running {
    id: usize,
    since: Duration,
    /// The time of the operators inside.
    inside: Duration,
}

impl OperatorLog {
    /// Installs the log on a worker, before its first dataflow.
    pub fn install(self: &Arc<OperatorLog>, worker: &Worker) {
        let log = Arc::clone(self);
        if let Some(mut registry) = worker.log_register() {
            registry.insert::<TimelyEventBuilder, _>("timely", move |_, events| {
                if let Some(events) = events {
                    log.lock().record(events);
                    events.clear();
                }
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the worker has waited for messages, or for time to pass.
    pub fn waited(&self) -> Duration {
        self.lock().waited
    }

    /// The times in operators, by the names of dataflow and operator. What an operator contains
    /// does not count as its own.
    pub fn times(&self) -> BTreeMap<(String, String), Duration> {
        let recorded = self.lock();
        let mut times = recorded.times.clone();
        for operator in recorded.operators.values() {
            recorded.add_to(&mut times, operator);
        }
        times
    }

    /// Returns the name of an operator, with its dataflow.
    pub fn name(&self, id: usize) -> Option<String> {
        let recorded = self.lock();
        let operator = recorded.operators.get(&id)?;
        Some(format!("{} of the dataflow {}", operator.name, recorded.dataflow(operator.number)))
    }
}

impl Recorded {
    fn record(&mut self, events: &[(Duration, TimelyEvent)]) {
        for (at, event) in events {
            match event {
                TimelyEvent::Schedule(event) => match event.start_stop {
                    StartStop::Start => {
                        self.running.push(Running {
                            id: event.id,
                            since: *at,
                            inside: Duration::ZERO,
                        });
                    }
                    StartStop::Stop => self.stop(event.id, *at),
                },
                TimelyEvent::Park(ParkEvent::Park(_)) => self.waits_since = Some(*at),
                TimelyEvent::Park(ParkEvent::Unpark) => {
                    let since = self.waits_since.take().unwrap_or(*at);
                    self.waited += at.saturating_sub(since);
                }
                TimelyEvent::Operates(event) => {
                    let Some(number) = event.addr.first().copied() else { continue };
                    let is_dataflow = event.addr.len() == 1;
                    if is_dataflow {
                        self.dataflows.insert(number, event.name.clone());
                    }
                    let (name, time) = (event.name.clone(), Duration::ZERO);
                    let operator = Operator { number, name, is_dataflow, time };
                    self.operators.insert(event.id, operator);
                }
                TimelyEvent::Shutdown(event) => self.remove(event.id),
                _ => {}
            }
        }
    }

    fn stop(&mut self, id: usize, at: Duration) {
        let Some(ended) = self.running.pop_if(|running| running.id == id) else { return };
        let whole = at.saturating_sub(ended.since);
        if let Some(outer) = self.running.last_mut() {
            outer.inside += whole;
        }
        if let Some(operator) = self.operators.get_mut(&id) {
            operator.time += whole.saturating_sub(ended.inside);
        }
    }

    /// Adds the time of an operator that has ended to those of its name.
    fn remove(&mut self, id: usize) {
        let Some(operator) = self.operators.remove(&id) else { return };
        let mut times = std::mem::take(&mut self.times);
        self.add_to(&mut times, &operator);
        self.times = times;
        if operator.is_dataflow {
            self.dataflows.remove(&operator.number);
        }
    }

    fn add_to(&self, times: &mut BTreeMap<(String, String), Duration>, operator: &Operator) {
        if operator.time.is_zero() {
            return;
        }
        let name = if operator.is_dataflow { "(progress)" } else { operator.name.as_str() };
        let mut names = (class(self.dataflow(operator.number)).to_owned(), name.to_owned());
        if times.len() >= NAMES_MAX && !times.contains_key(&names) {
            names = ("other".to_owned(), "other".to_owned());
        }
        *times.entry(names).or_default() += operator.time;
    }

    fn dataflow(&self, number: usize) -> &str {
        self.dataflows.get(&number).map_or("other", String::as_str)
    }
}

/// The name of a dataflow without the number of its epoch.
fn class(dataflow: &str) -> &str {
    dataflow.split(' ').next().unwrap_or(dataflow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use timely::logging::{OperatesEvent, ScheduleEvent, ShutdownEvent};

    fn at(micros: u64, event: impl Into<TimelyEvent>) -> (Duration, TimelyEvent) {
        (Duration::from_micros(micros), event.into())
    }

    fn operates(id: usize, addr: &[usize], name: &str) -> TimelyEvent {
        OperatesEvent { id, addr: addr.to_vec(), name: name.into() }.into()
    }

    #[test]
    fn times_are_added_up_by_name_without_what_is_inside() {
        let mut recorded = Recorded::default();
        recorded.record(&[
            at(0, operates(1, &[0, 1], "Showings")),
            at(0, operates(2, &[0], "epoch 7")),
            at(0, operates(3, &[4, 1], "Showings")),
            at(0, operates(4, &[4], "epoch 8")),
            at(10, ScheduleEvent::start(2)),
            at(12, ScheduleEvent::start(1)),
            at(32, ScheduleEvent::stop(1)),
            at(35, ScheduleEvent::stop(2)),
            at(40, ScheduleEvent::start(3)),
            at(41, ScheduleEvent::stop(3)),
            at(50, ParkEvent::park(None)),
            at(57, ParkEvent::unpark()),
            at(60, ScheduleEvent::start(99)),
            at(61, ScheduleEvent::stop(99)),
            at(62, ShutdownEvent { id: 1 }),
            at(62, ShutdownEvent { id: 2 }),
            at(63, ScheduleEvent::stop(98)),
        ]);
        assert_eq!(recorded.operators.len(), 2);
        assert_eq!((recorded.waited, recorded.dataflows.len()), (Duration::from_micros(7), 1));
        let log = OperatorLog(Mutex::new(recorded));
        let named = |dataflow: &str, operator: &str, micros| {
            ((dataflow.to_owned(), operator.to_owned()), Duration::from_micros(micros))
        };
        let expected = [named("epoch", "(progress)", 5), named("epoch", "Showings", 21)];
        assert_eq!(log.times(), expected.into());
        assert_eq!(log.name(3).as_deref(), Some("Showings of the dataflow epoch 8"));
    }

    #[test]
    fn the_number_of_names_is_bounded() {
        let mut recorded = Recorded::default();
        for id in 0..1_000 {
            let name = format!("operator {id}");
            recorded.record(&[
                at(0, operates(id, &[7, id], &name)),
                at(1, ScheduleEvent::start(id)),
                at(2, ScheduleEvent::stop(id)),
                at(3, ShutdownEvent { id }),
            ]);
        }
        assert_eq!(recorded.times.len(), NAMES_MAX + 1);
        assert_eq!(recorded.times.values().sum::<Duration>(), Duration::from_micros(1_000));
    }
}
