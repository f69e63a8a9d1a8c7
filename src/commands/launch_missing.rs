//! `trendmark launch` on systems without the connections and process groups that it uses.

use crate::arguments::LaunchArguments;

/// Why a launch failed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// It is not there.
    #[error("`trendmark launch` needs a Unix system: start each process with `trendmark run`")]
    Missing,
}

impl LaunchError {
    /// The exit code: the same command fails again.
    pub fn exit_code(&self) -> u8 {
        crate::engine::EXIT_USAGE
    }
}

/// Refuses to launch.
///
/// # Errors
/// Always.
pub fn launch(_arguments: &LaunchArguments) -> Result<String, LaunchError> {
    Err(LaunchError::Missing)
}

/// A process of a launch, which no process is here.
pub(super) mod supervised {
    use crate::arguments::ArgumentError;
    use crate::engine::Counters;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    /// Does nothing.
    ///
    /// # Errors
    /// Never.
    pub fn begin(_counters: &Arc<Counters>, _stop: &Arc<AtomicBool>) -> Result<(), ArgumentError> {
        Ok(())
    }
}
