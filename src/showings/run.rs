//! Sorted runs of showings: the layout of an arrangement, and how runs are built and merged.
//!
//! A run holds the touches of one round (or of many, merged), by request and video. The stock
//! batches of differential dataflow store a time and an offset for every value. Here all showings
//! of a run share one round, and readers of merged runs need only the accumulated touches. That
//! leaves 9 bytes per showing and 20 per request. The filter takes 1 to 2 bytes per request of the
//! runs that a run was merged from, or per group of touches that it was sorted from.

use super::filter::Filter;
use super::touches::{self, RequestGroup, group_at};
use crate::event::{RequestId, Touch, VideoId};
use std::cmp::Ordering;

/// Distinct showings, ordered by request and video.
#[derive(Debug, Default)]
pub struct Run {
    /// The requests, in ascending order.
    requests: Vec<RequestId>,
    /// Rules out most requests that are not in the run.
    filter: Filter,
    /// For each request, the index after its last showing.
    ends: Vec<u32>,
    /// The videos, in ascending order within each request.
    videos: Vec<VideoId>,
    /// The touch of each showing.
    touches: Vec<Touch>,
}

/// The showings of one request, as parallel slices of videos and touches.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// The videos, in ascending order.
    pub videos: &'a [VideoId],
    /// The touch of each video.
    pub touches: &'a [Touch],
}

impl Group<'_> {
    /// Returns the videos with their touches.
    pub fn iter(&self) -> impl Iterator<Item = (VideoId, Touch)> + '_ {
        self.videos.iter().copied().zip(self.touches.iter().copied())
    }

    /// Returns the touch of a video.
    fn touch(&self, video: VideoId) -> Touch {
        match self.videos.binary_search(&video) {
            Ok(index) => self.touches[index],
            Err(_) => Touch::NONE,
        }
    }
}

impl Run {
    /// Sorts buffers of touches into a run. Groups are sorted as wholes, since clients send touches
    /// in groups.
    pub fn from_touches(buffers: &[Vec<u64>]) -> Run {
        let (mut locations, showings) = locate_groups(buffers);
        locations.sort_unstable_by(|one, other| {
            one.first_word
                .cmp(&other.first_word)
                .then_with(|| one.group(buffers).request.cmp(&other.group(buffers).request))
        });
        let range = locations.first().zip(locations.last());
        let range = range.map(|(first, last)| (first.first_word, last.first_word));
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

    /// Creates an empty run with room for requests with first words in `range`, and for showings.
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

    /// Appends a request that is greater than all earlier ones, and drains its showings.
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

    /// Returns the number of showings.
    pub fn len(&self) -> usize {
        self.videos.len()
    }

    /// Whether it has no showings.
    pub fn is_empty(&self) -> bool {
        self.videos.is_empty()
    }

    /// Returns the requests with their showings, in order.
    pub fn groups(&self) -> impl Iterator<Item = (RequestId, Group<'_>)> + '_ {
        (0..self.requests.len()).map(|index| (self.requests[index], self.group(index)))
    }

    fn group(&self, index: usize) -> Group<'_> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        let end = self.ends[index] as usize;
        Group { videos: &self.videos[start..end], touches: &self.touches[start..end] }
    }
}

/// Sorts the showings of a request by video, and merges the touches of each video.
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

/// The location of a group of touches.
struct GroupLocation {
    /// The first word of its request, which decides almost every comparison.
    first_word: u64,
    buffer: u32,
    start: u32,
}

impl GroupLocation {
    fn group<'a>(&self, buffers: &'a [Vec<u64>]) -> RequestGroup<'a> {
        group_at(&buffers[self.buffer as usize], self.start as usize)
    }
}

/// Returns the locations of all groups, and their total number of touches.
fn locate_groups(buffers: &[Vec<u64>]) -> (Vec<GroupLocation>, usize) {
    let mut showings = 0;
    let mut locations = Vec::new();
    for (buffer, words) in buffers.iter().enumerate() {
        locations.extend(touches::request_groups(words).map(|(start, group)| {
            showings += group.videos.len();
            GroupLocation {
                first_word: group.request.0[0],
                buffer: buffer as u32,
                start: start as u32,
            }
        }));
    }
    (locations, showings)
}

/// A merge of two runs that can be done in steps.
pub struct Merge {
    result: Run,
    left: usize,
    right: usize,
}

impl Merge {
    /// Starts a merge of two runs.
    pub fn new(left: &Run, right: &Run) -> Merge {
        let requests = left.requests.len() + right.requests.len();
        let first = left.requests.first().into_iter().chain(right.requests.first()).min();
        let last = left.requests.last().max(right.requests.last());
        let range = first.zip(last);
        let range = range.map(|(RequestId([first, _]), RequestId([last, _]))| (*first, *last));
        let result = Run::with_capacity(requests, left.len() + right.len(), range);
        Merge { result, left: 0, right: 0 }
    }

    /// Merges two runs at once.
    pub fn all(left: &Run, right: &Run) -> Run {
        let mut merge = Merge::new(left, right);
        merge.work(left, right, usize::MAX);
        merge.done()
    }

    /// Merges whole requests until at least `showings_max` showings have been moved. Returns the
    /// number moved, which is less than `showings_max` only when nothing is left.
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

    /// Returns the merged run. All work must have been done.
    pub fn done(mut self) -> Run {
        // Requests in both runs leave spare capacity, which would live as long as the run.
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

/// Looks up requests in runs, in ascending order.
pub struct Lookup<'a> {
    /// Each run with the index of its first request that is not less than the last one searched
    /// for in it.
    runs: Vec<(&'a Run, usize)>,
    found: Vec<Group<'a>>,
}

impl<'a> Lookup<'a> {
    /// Creates a lookup that starts at the first request of every run.
    pub fn new(runs: impl IntoIterator<Item = &'a Run>) -> Lookup<'a> {
        let runs = runs.into_iter().map(|run| (run, 0)).collect();
        Lookup { runs, found: Vec::new() }
    }

    /// Moves to a request, which must not be less than the previous one.
    pub fn seek(&mut self, request: RequestId) {
        self.found.clear();
        for (run, next) in &mut self.runs {
            if run.filter.may_contain(request) {
                *next = gallop(&run.requests, *next, request);
                if run.requests.get(*next) == Some(&request) {
                    self.found.push(run.group(*next));
                }
            }
        }
    }

    /// Returns the touch of a video of the current request, accumulated over all runs.
    #[inline]
    pub fn touch(&self, video: VideoId) -> Touch {
        self.found.iter().fold(Touch::NONE, |known, group| known.or(group.touch(video)))
    }

    /// Returns the showings of the current request, run by run; a video may occur repeatedly.
    pub fn showings(&self) -> impl Iterator<Item = (VideoId, Touch)> + '_ {
        self.found.iter().flat_map(|group| group.iter())
    }
}

/// Returns the first index from `start` on whose request is not less than `request`.
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

    /// Few requests and videos, so that they recur. Some touches come in groups.
    fn chunks() -> impl Strategy<Value = Vec<Vec<Said>>> {
        let same = (0..12u64, vec((0..6u64, 1..8u8), 1..4))
            .prop_map(|(request, said)| said.into_iter().map(move |(v, t)| (request, v, t)));
        let chunk = vec(same, 0..20).prop_map(|same| same.into_iter().flatten().collect());
        vec(chunk, 0..4)
    }

    fn request(number: u64) -> RequestId {
        // Three first words, spread over their range, and several requests with each.
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
        fn a_lookup_merges_the_showings_of_all_runs(runs in vec((chunks(), chunks()), 0..5)) {
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
