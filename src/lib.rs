//! trendmark: exact real-time trends from two logs, impressions and plays.

#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod acceptance;
pub mod arguments;
pub mod commands;
pub mod completeness;
pub mod console;
#[path = "../dataflows/mod.rs"]
pub mod dataflows;
pub mod decode;
pub mod engine;
pub mod event;
pub mod features;
#[cfg(test)]
mod fixtures;
pub mod generate;
pub mod kafka;
pub mod log;
pub mod metrics;
pub mod panics;
pub mod query;
pub mod scores;
pub mod serve;
pub mod sets;
pub mod showings;
pub mod sources;
pub mod stores;
pub mod supervise;
pub mod time;
pub mod titles;
