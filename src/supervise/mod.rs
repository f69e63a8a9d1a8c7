//! The supervision of a job on one machine: what `trendmark launch` decides, without doing it.
//!
//! - [`generation`]: the life of a generation, which is all processes of the job from their start
//!   to their end: a state machine without processes, signals or clock.
//! - [`signs`]: what a process and its supervisor tell each other.
//!
//! A job cannot go on without one of its processes, so they live and die together. Nothing that is
//! committed is lost with them, and the next generation goes on from there.

pub mod generation;
pub mod signs;

pub use generation::{Command, Event, Exit, Note, Rules, Supervisor, Verdict};
pub use signs::{Order, Sign};
