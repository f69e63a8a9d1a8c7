//! The flags of `launch`: those of `run`, and how long a process may be silent.

use super::limits::{WEEK_MS, checked_span, invalid_value};
use super::{ArgumentError, RunArguments};
use crate::time::Span;
use clap::Args;
use std::ffi::OsString;
use std::time::Duration;

/// The flags of `trendmark launch`.
#[derive(Args, Clone, Debug)]
pub struct LaunchArguments {
    /// How long a process may be silent until it counts as frozen, and all are started again; a
    /// worker may make no step three times as long
    #[arg(long, value_name = "DURATION", default_value = "30s", help_heading = "Launch")]
    pub frozen_after: Span,

    /// The flags of `run`.
    #[command(flatten)]
    pub run: RunArguments,
}

/// A job whose processes are started and watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchPlan {
    /// The number of processes.
    pub processes: usize,
    /// How long a process may be silent.
    pub frozen_after: Duration,
    /// Whether the addresses of the processes are given; otherwise free ports are taken.
    pub has_addresses: bool,
    /// Whether the first generation takes the store from a job that lives.
    pub take_over: bool,
}

impl LaunchArguments {
    /// Checks the arguments, those of `run` too, which are complete.
    ///
    /// # Errors
    /// When a process would refuse them, or they say what `launch` must decide.
    pub fn plan(&self, complete: &RunArguments) -> Result<LaunchPlan, ArgumentError> {
        let plan = complete.plan()?;
        if self.run.process.is_some() || complete.process != Some(0) {
            let what = "--process is for `run`: `launch` starts and numbers all processes itself";
            return Err(ArgumentError::Conflict(what.into()));
        }
        if complete.take_over && !self.run.take_over {
            let what = "take-over in the configuration would take the store at each start: give \
                        --take-over on the command line of `launch`, which heeds it once";
            return Err(ArgumentError::Conflict(what.into()));
        }
        checked_span("frozen-after", Some(self.frozen_after), 1_000, WEEK_MS)?;
        let frozen_after = self.frozen_after.duration();
        let poll_interval = plan.settings.poll_interval;
        if poll_interval > frozen_after {
            let least = format!(
                "a worker makes no step for --poll-interval {}: it must be at least as long",
                Span::of(poll_interval)
            );
            return Err(invalid_value("frozen-after", self.frozen_after, &least));
        }
        Ok(LaunchPlan {
            processes: plan.cluster.processes(),
            frozen_after,
            has_addresses: complete.hostfile.is_some(),
            take_over: self.run.take_over,
        })
    }

    /// Returns the arguments of `run` among those of `launch`, without what `launch` decides for
    /// each process and generation.
    pub fn for_run(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
        const WITH_VALUE: [&str; 2] = ["--frozen-after", "--processes"];
        let mut kept = Vec::new();
        let mut given = given.into_iter();
        while let Some(word) = given.next() {
            let text = word.to_string_lossy();
            if WITH_VALUE.contains(&text.as_ref()) {
                given.next();
                continue;
            }
            let has_value =
                text.split_once('=').is_some_and(|(flag, _)| WITH_VALUE.contains(&flag));
            if !has_value && text != "--take-over" {
                kept.push(word);
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, Command};
    use clap::Parser;

    fn parsed(flags: &str) -> LaunchArguments {
        let words = ["trendmark", "launch"].into_iter().chain(flags.split_whitespace());
        match Arguments::try_parse_from(words).unwrap().command {
            Command::Launch(arguments) => *arguments,
            other => panic!("{other:?}"),
        }
    }

    fn plan(flags: &str) -> Result<LaunchPlan, String> {
        let arguments = parsed(flags);
        let complete = arguments.run.with_config().map_err(|error| error.to_string())?;
        arguments.plan(&complete).map_err(|error| error.to_string())
    }

    #[test]
    fn processes_get_the_arguments_of_run() {
        let cases = [
            ("--processes 2 --impressions a b --store s", "--impressions a b --store s"),
            ("--impressions a --processes=2 --frozen-after=5s", "--impressions a"),
            ("--frozen-after 5s --take-over --process-x y", "--process-x y"),
            ("--plays --frozen-after", "--plays"),
        ];
        for (given, expected) in cases {
            let kept = LaunchArguments::for_run(given.split(' ').map(OsString::from));
            let kept: Vec<_> = kept.iter().map(|word| word.to_str().unwrap()).collect();
            assert_eq!(kept.join(" "), expected, "{given}");
        }
    }

    #[test]
    fn what_run_refuses_and_what_launch_decides_is_refused() {
        let given = "--impressions a --store s";
        let two = LaunchPlan {
            processes: 2,
            frozen_after: Duration::from_secs(5),
            has_addresses: false,
            take_over: true,
        };
        let flags = "--processes 2 --frozen-after 5s --take-over";
        assert_eq!(plan(&format!("{given} {flags}")), Ok(two));
        assert_eq!(plan(given).unwrap().frozen_after, Duration::from_secs(30));
        let refused = [
            ("--store s", "give --impressions or --plays, or both"),
            ("--impressions a --store s --processes 0", "--processes is 0"),
            ("--impressions a --store s --process 0", "numbers all processes itself"),
            ("--impressions a --store s --processes 2 --process 1", "numbers all"),
            ("--impressions a --store s --frozen-after 999ms", "--frozen-after is 999ms"),
            ("--impressions a --store s --poll-interval 1m", "--poll-interval 1m: it must be"),
        ];
        for (flags, said) in refused {
            let error = plan(flags).unwrap_err();
            assert!(error.contains(said), "{flags}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("job.toml");
        std::fs::write(&config, "take-over = true\n").unwrap();
        let error = plan(&format!("{given} --config {}", config.display())).unwrap_err();
        assert!(error.contains("on the command line of `launch`"), "{error}");
        std::fs::write(&config, "process = 1\nprocesses = 2\n").unwrap();
        let error = plan(&format!("{given} --config {}", config.display())).unwrap_err();
        assert!(error.contains("numbers all processes itself"), "{error}");
    }
}
