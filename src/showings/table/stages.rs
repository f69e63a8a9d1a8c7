//! Touches on their way into the table: they pass through stages in groups.

use crate::event::{RequestId, Touch, VideoId};

/// The touches of a group.
pub const GROUP: usize = 16;
/// The groups that are under way: one is taken, one gets its hints, one is applied, and the lines
/// of those between are on their way.
pub const STAGES: usize = 4;

/// A touch on its way through the stages.
#[derive(Clone, Copy, Default)]
pub struct Staged {
    pub request: RequestId,
    pub video: VideoId,
    pub tag: u32,
    /// What is likely the number of the request; 0 if it is likely unknown.
    pub request_hint: u32,
    /// What is likely the number of the video.
    pub video_hint: u32,
    pub touch: Touch,
    /// Whether the touch before is of another request, or was not looked at.
    pub is_first: bool,
}

/// A group of touches.
#[derive(Clone, Copy, Default)]
pub struct Group {
    pub touches: [Staged; GROUP],
    pub len: usize,
}

impl Group {
    pub fn touches(&mut self) -> &mut [Staged] {
        &mut self.touches[..self.len]
    }
}

/// The touches of a buffer that are not taken yet.
#[derive(Clone, Copy)]
pub struct Rest<'a> {
    /// The requests after this one.
    pub words: &'a [u64],
    /// The request whose videos are being taken, its tag and its touch.
    pub request: RequestId,
    pub tag: u32,
    pub touch: Touch,
    pub videos: &'a [VideoId],
}

impl<'a> Rest<'a> {
    /// Returns all touches of a buffer.
    pub fn new(words: &'a [u64]) -> Rest<'a> {
        let words = words.get(1..).unwrap_or_default();
        Rest { words, request: RequestId::default(), tag: 0, touch: Touch::NONE, videos: &[] }
    }
}
