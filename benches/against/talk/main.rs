//! The three designs of the talk "Trending Now" (Elliot Chow, QCon San Francisco 2016), which ran
//! on Spark Streaming, on timely alone: only the decoder of JSON is trendmark's.
//!
//! `talk run --design DESIGN --log FOLDER --out FOLDER` processes a JSON Lines log in
//! micro-batches, and `talk rows --out FOLDER` prints what the table holds then. README.md explains
//! the rules.

mod batch_join;
mod harness;
mod log;
mod map_with_state;
mod output;
mod positions;
mod window_join;

use batch_join::BatchJoin;
use clap::{Parser, ValueEnum};
use harness::Job;
use map_with_state::MapWithState;
use std::path::PathBuf;
use window_join::WindowJoin;

// The allocator of trendmark.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
enum Arguments {
    /// Processes a log.
    Run(Run),
    /// Prints the rows of the table as JSON.
    Rows {
        /// Folder of the table.
        #[arg(long)]
        out: PathBuf,
    },
}

/// What a job keeps for its restart.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Recovery {
    /// The offsets after each batch. What was in memory is lost.
    Offsets,
    /// A checkpoint as well, or the offsets of what was in memory, which is read again.
    Checkpoint,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    WindowJoin,
    MapWithState,
    BatchJoin,
}

#[derive(clap::Args, Clone)]
struct Run {
    #[arg(long)]
    design: Which,
    /// Folder of the log, as `trendmark generate` writes it.
    #[arg(long)]
    log: PathBuf,
    /// Folder of the table and of what a restart needs.
    #[arg(long)]
    out: PathBuf,
    #[arg(long, value_enum, default_value = "offsets")]
    recovery: Recovery,
    /// Length of a micro-batch, in seconds of processing time.
    #[arg(long, default_value_t = 60)]
    batch_seconds: u64,
    /// Batches of a window, or without an event of a request before its state times out.
    #[arg(long, default_value_t = 30)]
    window_batches: u64,
    /// Ends the process by SIGKILL in the batch in which so many events have been read.
    #[arg(long)]
    kill_after: Option<u64>,
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

fn main() {
    match Arguments::parse() {
        Arguments::Run(run) => start(run),
        Arguments::Rows { out } => println!("{}", output::rows(&out)),
    }
}

/// Runs the job with the design that was asked for.
fn start(run: Run) {
    let batches = run.window_batches;
    let job = Job::new(run);
    match job.run.design {
        Which::WindowJoin => {
            harness::run(job, move |first| Box::new(WindowJoin::new(batches, first)))
        }
        Which::MapWithState => harness::run(job, move |_| Box::new(MapWithState::new(batches))),
        Which::BatchJoin => harness::run(job, move |_| Box::new(BatchJoin::new(batches))),
    }
}
