//! Sorted runs of showings: how an arrangement keeps them, and how runs are built and merged.
//!
//! A run holds, by request and video, what one round (or many, merged) said of each showing. The
//! stock batches of differential dataflow keep a time and an offset for every value; here all of a
//! run share their round, and whoever reads merged runs asks only what they add up to. That leaves
//! 9 bytes a showing and 20 a request. The filter takes 1 to 2 bytes for each request of the runs
//! that a run was merged from, or for each group of touches that it was sorted from.

use super::filter::Filter;
use super::touches::{self, RequestGroup, group_at};
use crate::event::{RequestId, Touch, VideoId};
use std::cmp::Ordering;

/// Showings in the order of request and video, each once.
#[derive(Debug, Default)]
pub struct Run {
    /// The requests, rising.
    requests: Vec<RequestId>,
    /// Tells that a request is not there, for most that are not.
    filter: Filter,
    /// For each request, the index after its last showing.
    ends: Vec<u32>,
    /// The videos, rising within each request.
    videos: Vec<VideoId>,
    /// What is known of each showing.
    touches: Vec<Touch>,
}

/// The showings of one request: videos and touches side by side.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// The videos, rising.
    pub videos: &'a [VideoId],
    /// What is known of each.
    pub touches: &'a [Touch],
}

impl Group<'_> {
    /// The videos with their touches.
    pub fn iter(&self) -> impl Iterator<Item = (VideoId, Touch)> + '_ {
        self.videos.iter().copied().zip(self.touches.iter().copied())
    }

    /// What is known of one video.
    fn touch(&self, video: VideoId) -> Touch {
        match self.videos.binary_search(&video) {
            Ok(index) => self.touches[index],
            Err(_) => Touch::NONE,
        }
    }
}

impl Run {
    /// Sorts buffers of touches into a run. The groups in which clients send them are sorted as
    /// one.
    pub fn from_touches(buffers: &[Vec<u64>]) -> Run {
        let (mut locations, showings) = locate_groups(buffers);
        locations.sort_unstable_by(|one, other| {
            one.order
                .cmp(&other.order)
                .then_with(|| one.group(buffers).request.cmp(&other.group(buffers).request))
        });
        let range = locations.first().zip(locations.last());
        let range = range.map(|(first, last)| (first.order, last.order));
        let mut run = Run::with_capacity(locations.len(), showings, range);
        let mut showings = Vec::new();
        let mut request = None;
        for group in locations.iter().map(|location| location.group(buffers)) {
            if let Some(request) = request.replace(group.request)
                && request != group.request
            {
                run.push_group(request, &mut showings);
            }
            showings.extend(group.videos.iter().map(|video| (*video, group.touch)));
        }
        if let Some(request) = request {
            run.push_group(request, &mut showings);
        }
        run
    }

    /// A run with room for so many requests, with first words of a range, and showings.
    fn with_capacity(requests: usize, showings: usize, range: Option<(u64, u64)>) -> Run {
        let filter = range.map(|(first, last)| Filter::new(requests, first, last));
        Run {
            requests: Vec::with_capacity(requests),
            filter: filter.unwrap_or_default(),
            ends: Vec::with_capacity(requests),
            videos: Vec::with_capacity(showings),
            touches: Vec::with_capacity(showings),
        }
    }

    /// Appends a request that is greater than all before, and drains its showings.
    fn push_group(&mut self, request: RequestId, group: &mut Vec<(VideoId, Touch)>) {
        consolidate(group);
        self.videos.extend(group.iter().map(|(video, _)| *video));
        self.touches.extend(group.iter().map(|(_, touch)| *touch));
        group.clear();
        self.end_group(request);
    }

    fn end_group(&mut self, request: RequestId) {
        let end = u32::try_from(self.videos.len()).expect("a run holds less than 2^32 showings");
        self.requests.push(request);
        self.filter.insert(request);
        self.ends.push(end);
    }

    /// The number of showings.
    pub fn len(&self) -> usize {
        self.videos.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.videos.is_empty()
    }

    /// The requests with their showings, in order.
    pub fn groups(&self) -> impl Iterator<Item = (RequestId, Group<'_>)> + '_ {
        (0..self.requests.len()).map(|index| (self.requests[index], self.group(index)))
    }

    fn group(&self, index: usize) -> Group<'_> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        let end = self.ends[index] as usize;
        Group { videos: &self.videos[start..end], touches: &self.touches[start..end] }
    }
}

/// Sorts the showings of a request by video, each once with all that is known of it.
pub(super) fn consolidate(showings: &mut Vec<(VideoId, Touch)>) {
    if showings.len() < 2 {
        return;
    }
    showings.sort_unstable_by_key(|(video, _)| *video);
    showings.dedup_by(|(video, touch), (kept, known)| {
        let same = video == kept;
        if same {
            *known = known.or(*touch);
        }
        same
    });
}

/// Where a group of touches is.
struct GroupLocation {
    /// The first word of its request, which settles almost every comparison.
    order: u64,
    buffer: u32,
    start: u32,
}

impl GroupLocation {
    fn group<'a>(&self, buffers: &'a [Vec<u64>]) -> RequestGroup<'a> {
        group_at(&buffers[self.buffer as usize], self.start as usize)
    }
}

/// Where all groups are, and how many touches they have together.
fn locate_groups(buffers: &[Vec<u64>]) -> (Vec<GroupLocation>, usize) {
    let mut showings = 0;
    let mut locations = Vec::new();
    for (buffer, words) in buffers.iter().enumerate() {
        locations.extend(touches::request_groups(words).map(|(start, group)| {
            showings += group.videos.len();
            GroupLocation { order: group.request.0[0], buffer: buffer as u32, start: start as u32 }
        }));
    }
    (locations, showings)
}

/// A merge of two runs that can be done a little at a time.
pub struct Merge {
    result: Run,
    left: usize,
    right: usize,
}

impl Merge {
    /// Starts to merge two runs.
    pub fn new(left: &Run, right: &Run) -> Merge {
        let requests = left.requests.len() + right.requests.len();
        let first = left.requests.first().into_iter().chain(right.requests.first()).min();
        let last = left.requests.last().max(right.requests.last());
        let range = first.zip(last);
        let range = range.map(|(RequestId([first, _]), RequestId([last, _]))| (*first, *last));
        let result = Run::with_capacity(requests, left.len() + right.len(), range);
        Merge { result, left: 0, right: 0 }
    }

    /// Two runs merged at once.
    pub fn all(left: &Run, right: &Run) -> Run {
        let mut merge = Merge::new(left, right);
        merge.work(left, right, usize::MAX);
        merge.done()
    }

    /// Merges at least one request, and about `showings_max` showings. Returns how many were
    /// moved; fewer than `showings_max` only when nothing is left.
    pub fn work(&mut self, left: &Run, right: &Run, showings_max: usize) -> usize {
        let before = self.result.len();
        while self.result.len() - before < showings_max {
            let order = match (left.requests.get(self.left), right.requests.get(self.right)) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => one.cmp(other),
            };
            match order {
                Ordering::Less => self.copy(left, self.left),
                Ordering::Greater => self.copy(right, self.right),
                Ordering::Equal => self.join(left, right),
            }
            self.left += usize::from(order.is_le());
            self.right += usize::from(order.is_ge());
        }
        self.result.len() - before
    }

    /// The merged run. All of the work must have been done.
    pub fn done(mut self) -> Run {
        // Requests in both runs leave room to spare, which lives as long as the run does.
        let spare = self.result.videos.capacity() - self.result.videos.len();
        if spare > self.result.videos.len() / 8 {
            self.result.videos.shrink_to_fit();
            self.result.touches.shrink_to_fit();
            self.result.requests.shrink_to_fit();
            self.result.ends.shrink_to_fit();
        }
        self.result
    }

    fn copy(&mut self, source: &Run, index: usize) {
        let group = source.group(index);
        self.result.videos.extend_from_slice(group.videos);
        self.result.touches.extend_from_slice(group.touches);
        self.result.end_group(source.requests[index]);
    }

    fn join(&mut self, left: &Run, right: &Run) {
        let request = left.requests[self.left];
        let (one, other) = (left.group(self.left), right.group(self.right));
        let (mut next, mut next_other) = (0, 0);
        while next < one.videos.len() || next_other < other.videos.len() {
            let order = match (one.videos.get(next), other.videos.get(next_other)) {
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
                (Some(video), Some(other_video)) => video.cmp(other_video),
            };
            let (video, touch) = match order {
                Ordering::Less => (one.videos[next], one.touches[next]),
                Ordering::Greater => (other.videos[next_other], other.touches[next_other]),
                Ordering::Equal => {
                    (one.videos[next], one.touches[next].or(other.touches[next_other]))
                }
            };
            self.result.videos.push(video);
            self.result.touches.push(touch);
            next += usize::from(order.is_le());
            next_other += usize::from(order.is_ge());
        }
        self.result.end_group(request);
    }
}

/// Runs to look requests up in, in rising order.
pub struct Lookup<'a> {
    /// Each run with the index of its first request that is not less than the last one that was
    /// searched for in it.
    runs: Vec<(&'a Run, usize)>,
    found: Vec<Group<'a>>,
}

impl<'a> Lookup<'a> {
    /// A lookup that starts at the first request of every run.
    pub fn new(runs: impl IntoIterator<Item = &'a Run>) -> Lookup<'a> {
        let runs = runs.into_iter().map(|run| (run, 0)).collect();
        Lookup { runs, found: Vec::new() }
    }

    /// Moves to a request that is not less than the last one sought.
    pub fn seek(&mut self, request: RequestId) {
        self.found.clear();
        for (run, next) in &mut self.runs {
            if run.filter.may_hold(request) {
                *next = gallop(&run.requests, *next, request);
                if run.requests.get(*next) == Some(&request) {
                    self.found.push(run.group(*next));
                }
            }
        }
    }

    /// What all runs together know of a video of the request that was sought.
    #[inline]
    pub fn touch(&self, video: VideoId) -> Touch {
        self.found.iter().fold(Touch::NONE, |known, group| known.or(group.touch(video)))
    }

    /// All showings of the request that was sought, run by run; a video may come repeatedly.
    pub fn showings(&self) -> impl Iterator<Item = (VideoId, Touch)> + '_ {
        self.found.iter().flat_map(|group| group.iter())
    }
}

/// The first index from `start` on whose request is not less than `request`.
fn gallop(requests: &[RequestId], start: usize, request: RequestId) -> usize {
    let mut step = 1;
    let mut low = start;
    while low + step <= requests.len() && requests[low + step - 1] < request {
        low += step;
        step *= 2;
    }
    let high = (low + step - 1).min(requests.len());
    low + requests[low..high].partition_point(|other| *other < request)
}

#[cfg(test)]
mod tests {
    use super::super::touches::{Lanes, Pool};
    use super::*;
    use crate::time::Round;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Model = BTreeMap<(RequestId, VideoId), Touch>;

    type Said = (u64, u64, u8);

    /// Few requests and videos, so that they meet. Some come together.
    fn chunks() -> impl Strategy<Value = Vec<Vec<Said>>> {
        let same = (0..12u64, vec((0..6u64, 1..8u8), 1..4))
            .prop_map(|(request, said)| said.into_iter().map(move |(v, t)| (request, v, t)));
        let chunk = vec(same, 0..20).prop_map(|same| same.into_iter().flatten().collect());
        vec(chunk, 0..4)
    }

    fn request(number: u64) -> RequestId {
        // Three first words, all over their range, and several requests of each.
        RequestId([number / 4 * (u64::MAX / 2), number])
    }

    fn run(chunks: &[Vec<Said>]) -> Run {
        let buffer = |chunk: &Vec<Said>| {
            let mut lanes = Lanes::new(1, Pool::default());
            for (number, video, touch) in chunk {
                let full = lanes.push(
                    Round::from_word(1),
                    request(*number),
                    VideoId(*video),
                    Touch(*touch),
                );
                assert!(full.is_none());
            }
            let touches = lanes.drain().next().unwrap_or_default();
            touches.into_owned(&Pool::default())
        };
        Run::from_touches(&chunks.iter().map(buffer).collect::<Vec<_>>())
    }

    fn model(chunks: &[Vec<Said>]) -> Model {
        let mut model = Model::new();
        for (number, video, touch) in chunks.iter().flatten() {
            let known = model.entry((request(*number), VideoId(*video))).or_default();
            *known = known.or(Touch(*touch));
        }
        model
    }

    fn content(run: &Run) -> Vec<((RequestId, VideoId), Touch)> {
        let groups = run.groups();
        groups
            .flat_map(|(request, group)| {
                group
                    .iter()
                    .map(move |(video, touch)| ((request, video), touch))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_run_holds_each_showing_once_in_order(chunks in chunks()) {
            prop_assert_eq!(content(&run(&chunks)), model(&chunks).into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn a_merge_in_small_steps_equals_sorting_both_at_once(
            left in chunks(), right in chunks(), step in 1..9usize,
        ) {
            let (one, other) = (run(&left), run(&right));
            let mut merge = Merge::new(&one, &other);
            while merge.work(&one, &other, step) >= step {}
            let both = [left, right].concat();
            prop_assert_eq!(content(&merge.done()), content(&run(&both)));
        }

        #[test]
        fn a_lookup_finds_what_all_runs_know(runs in vec((chunks(), chunks()), 0..5)) {
            let all = |(one, other): &(Vec<_>, Vec<_>)| [&one[..], &other[..]].concat();
            let both = model(&runs.iter().flat_map(all).collect::<Vec<_>>());
            let merged = |(one, other): &(Vec<_>, Vec<_>)| Merge::all(&run(one), &run(other));
            let runs: Vec<Run> = runs.iter().map(merged).collect();
            let mut lookup = Lookup::new(&runs);
            for request in (0..12).map(request) {
                lookup.seek(request);
                for video in (0..6).map(VideoId) {
                    let known = both.get(&(request, video)).copied().unwrap_or_default();
                    prop_assert_eq!(lookup.touch(video), known);
                }
            }
        }
    }
}
