//! Scores as a dataflow, whose timestamps are publications.
//!
//! ```text
//! counts ─┬─▶ sums of each epoch ─▶ activities ─▶ all workers ─┐
//!         └─▶ by video ────────────────────────────────────────┴─▶ what is usual ─┬─────────────┐
//!                  scores ◀─ by video ◀─ all workers ◀─ common ◀─ sums of each epoch            │
//!                     ▲─────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Every operator waits until a publication is complete, and then does what its changes require: a
//! row that changed, the rows whose history has changed, and all rows of an epoch whose common
//! numbers, which are rounded, have changed. The history is kept by video, 24 bytes for each row.
//! The other state is that of the epochs that still may change, and of those before them that
//! their momentum needs.

use super::common::{Common, Habits};
use super::habits::{CountRow, HabitState};
use super::latest::ScoreState;
use super::oracle::ScoredRow;
use super::sums::Sums;
use super::usual::UsualState;
use super::{Counts, Settings};
use crate::event::VideoId;
use crate::query::tables::Finality;
use crate::time::{Epoch, Publication, Through};
use differential_dataflow::hashable::Hashable;
use differential_dataflow::{AsCollection, VecCollection};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::vec::{Broadcast, Map};

/// Rows of counts: video, epoch, counts.
pub type CountRows<'scope> = VecCollection<'scope, Publication, (VideoId, Epoch, Counts), isize>;
/// Values of epochs that all workers know; `None` if there is none any more.
type Shared<'scope, T> = Stream<'scope, Publication, Vec<(i64, Option<T>)>>;

/// Computes the scores of rows.
pub fn scores<'scope>(
    counts: CountRows<'scope>,
    finality: &Finality,
    settings: Settings,
) -> VecCollection<'scope, Publication, ScoredRow, isize> {
    let counts = counts.inner;
    let sums = counts.clone().map(|((_, epoch, counts), publication, diff)| {
        let diff = diff as i64;
        let sums = [diff * counts.plays.cast_signed(), diff * counts.impressions.cast_signed()];
        (epoch.0, publication, sums)
    });
    let activity = move |[plays, impressions]: &[i64; 2]| settings.activity(*plays, *impressions);
    // The rows of a history are retracted, and so are their sums.
    let activities = shared(sums, "Activities", activity, || i64::MIN);
    let first_kept = || {
        let finality = finality.clone();
        move || settings.first_needed(finality.final_through())
    };
    let rows =
        counts.map(|((video, epoch, counts), at, diff)| (at, ((video.0, epoch.0, counts), diff)));
    let by_video = Exchange::new(|row: &(Publication, (CountRow, isize))| row.1.0.0.hashed());
    let mut state = HabitState::new(settings);
    let changes =
        with_shared(rows, by_video, activities, "Habits", finality, move |rows, all, through| {
            state.update(rows, all, through)
        });
    let parts = changes.clone().map(|(at, change)| (change.epoch, at, change.added.0));
    let habits = shared(parts, "HabitsOfAll", Habits::of, first_kept());
    let mut state = UsualState::new(settings);
    let changes =
        with_shared(changes, Pipeline, habits, "Usual", finality, move |rows, all, through| {
            state.update(rows, all, through)
        });
    let parts = changes
        .clone()
        .map(|(at, change)| (change.epoch, at, [change.added.plays, change.added.usual]));
    let common = shared(parts, "Common", Common::of, first_kept());
    let mut state = ScoreState::new(settings);
    let updates =
        with_shared(changes, Pipeline, common, "Scores", finality, move |rows, all, through| {
            state.update(rows, all, through)
        });
    updates.map(|(at, (row, diff))| (row, at, diff)).as_collection()
}

/// What waits until its publication is complete.
struct Pending<A, B> {
    /// The capability to answer.
    capability: Capability<Publication>,
    rows: Vec<A>,
    shared: Vec<B>,
}

/// What waits until publications are complete.
struct Waiting<A, B>(BTreeMap<Publication, Pending<A, B>>);

impl<A, B> Waiting<A, B> {
    fn new() -> Waiting<A, B> {
        Waiting(BTreeMap::new())
    }

    fn at(
        &mut self,
        publication: Publication,
        capability: impl FnOnce() -> Capability<Publication>,
    ) -> &mut Pending<A, B> {
        self.0.entry(publication).or_insert_with(|| Pending {
            capability: capability(),
            rows: Vec::new(),
            shared: Vec::new(),
        })
    }

    /// The next publication, if it is complete.
    fn next(&mut self, is_open: impl Fn(&Publication) -> bool) -> Option<Pending<A, B>> {
        let first = self.0.first_entry()?;
        (!is_open(first.key())).then(|| first.remove())
    }
}

/// Adds up numbers by epoch, derives a value from the sums, and tells all workers when it changes.
/// Of epochs before `first_kept` there are no parts any more.
fn shared<'scope, const N: usize, T>(
    parts: Stream<'scope, Publication, Vec<(i64, Publication, [i64; N])>>,
    name: &str,
    value: impl Fn(&[i64; N]) -> Option<T> + 'static,
    first_kept: impl Fn() -> i64 + 'static,
) -> Shared<'scope, T>
where
    [i64; N]: Serialize + DeserializeOwned,
    T: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + 'static,
{
    let mut waiting: Waiting<(i64, [i64; N]), ()> = Waiting::new();
    let mut sums = Sums::new(value);
    let by_epoch = |part: &(i64, Publication, [i64; N])| part.0.hashed();
    let changes = parts.unary_frontier::<CapacityContainerBuilder<Vec<_>>, _, _, _>(
        Exchange::new(by_epoch),
        name,
        move |_, _| {
            move |(input, frontier), output| {
                input.for_each(|capability, chunk| {
                    for (epoch, publication, part) in chunk.drain(..) {
                        let now = || capability.delayed(&publication, 0);
                        waiting.at(publication, now).rows.push((epoch, part));
                    }
                });
                while let Some(Pending { capability, rows, .. }) =
                    waiting.next(|publication| frontier.less_equal(publication))
                {
                    let changed = sums.add(rows, first_kept());
                    output.session(&capability).give_iterator(changed.into_iter());
                }
            }
        },
    );
    changes.broadcast()
}

/// Passes rows, and values of epochs that all workers know, to a state as soon as a publication is
/// complete. Returns what it answers.
fn with_shared<'scope, A, T, B, P>(
    rows: Stream<'scope, Publication, Vec<(Publication, A)>>,
    pact: P,
    shared: Shared<'scope, T>,
    name: &str,
    finality: &Finality,
    mut update: impl FnMut(Vec<A>, Vec<(i64, Option<T>)>, Through) -> Vec<B> + 'static,
) -> Stream<'scope, Publication, Vec<(Publication, B)>>
where
    A: 'static,
    T: Clone + 'static,
    B: Clone + 'static,
    P: ParallelizationContract<Publication, Vec<(Publication, A)>>,
{
    let finality = finality.clone();
    let mut waiting = Waiting::new();
    rows.binary_frontier::<_, CapacityContainerBuilder<Vec<_>>, _, _, _, _>(
        shared,
        pact,
        Pipeline,
        name,
        move |_, _| {
            move |(rows, rows_frontier), (shared, shared_frontier), output| {
                rows.for_each(|capability, chunk| {
                    for (at, row) in chunk.drain(..) {
                        waiting.at(at, || capability.delayed(&at, 0)).rows.push(row);
                    }
                });
                shared.for_each(|capability, chunk| {
                    let Some(at) = capability.least().copied() else { return };
                    waiting.at(at, || capability.delayed(&at, 0)).shared.append(chunk);
                });
                let is_open = |at: &Publication| {
                    rows_frontier.less_equal(at) || shared_frontier.less_equal(at)
                };
                while let Some(Pending { capability, rows, shared }) = waiting.next(is_open) {
                    let at = *capability.time();
                    let answers = update(rows, shared, finality.final_through());
                    let answers = answers.into_iter().map(|answer| (at, answer));
                    output.session(&capability).give_iterator(answers);
                }
            }
        },
    )
}
