//! The threads and processes of a job, and their addresses.

use super::connect::connect;
use std::any::Any;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use timely::CommunicationConfig;
use timely::communication::allocator::ProcessBuilder;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::{AllocatorBuilder, Hooks};

/// The threads and processes of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The number of workers in each process; each is a thread.
    pub workers: usize,
    /// The number of this process.
    pub process: usize,
    /// The `host:port` of every process, in the order of their numbers; empty for one process.
    pub addresses: Vec<String>,
    /// How long the processes wait for each other at the start.
    pub launch_timeout: Duration,
}

impl Cluster {
    /// How long processes wait for each other by default.
    pub const LAUNCH_TIMEOUT: Duration = Duration::from_secs(60);

    /// A single process with this number of workers.
    pub fn threads(workers: usize) -> Cluster {
        let (addresses, launch_timeout) = (Vec::new(), Cluster::LAUNCH_TIMEOUT);
        Cluster { workers, process: 0, addresses, launch_timeout }
    }

    /// The number of processes.
    pub fn processes(&self) -> usize {
        self.addresses.len().max(1)
    }

    /// Prepares the communication of the workers of this process, after connecting it with the
    /// others. The second value must live as long as the workers.
    pub(super) fn communication(
        &self,
        hooks: Hooks,
        stop: &AtomicBool,
    ) -> Result<(Vec<AllocatorBuilder>, Box<dyn Any + Send>), String> {
        match (self.processes(), self.workers) {
            (1, 1) => CommunicationConfig::Thread.try_build_with(hooks),
            (1, workers) => CommunicationConfig::Process(workers).try_build_with(hooks),
            (_, workers) => {
                let sockets = connect(self, stop)?;
                let (refill, spill) = (hooks.refill.clone(), hooks.spill.clone());
                let inside = ProcessBuilder::new_typed_vector(workers, refill, spill);
                let (builders, guard) = initialize_networking_from_sockets(
                    inside,
                    sockets,
                    self.process,
                    workers,
                    hooks,
                )
                .map_err(|error| error.to_string())?;
                let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
                Ok((builders, Box::new(guard)))
            }
        }
    }
}
