//! The commands that `main` executes.

pub mod demo;
pub mod run;
pub mod show;
pub mod status;
pub mod store;
pub mod watch;
