//! trendmark: exact real-time trends from two logs, impressions and plays.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod arguments;
#[path = "../dataflows/mod.rs"]
pub mod dataflows;
pub mod decode;
pub mod demo;
pub mod digest;
pub mod engine;
pub mod event;
pub mod generate;
pub mod kafka;
pub mod ledger;
pub mod panics;
pub mod query;
pub mod rounds;
pub mod run;
pub mod show;
pub mod showings;
pub mod sources;
pub mod status;
pub mod stores;
pub mod time;
pub mod watch;
pub mod watermark;
