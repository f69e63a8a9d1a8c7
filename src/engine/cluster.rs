//! The threads and processes of a job, and their addresses.

use super::connect::connect;
use super::peers::Peers;
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
    /// The secret that the processes share, so that no other program can join; empty for none.
    pub secret: Vec<u8>,
    /// The settings that must be the same in every process: names of flags, and values.
    pub settings: Vec<(String, String)>,
}

/// The communication of the workers of a process.
pub(super) struct Communication {
    /// One builder for each worker.
    pub builders: Vec<AllocatorBuilder>,
    /// Must live as long as the workers.
    pub guard: Box<dyn Any + Send>,
    /// The other processes.
    pub peers: Peers,
}

impl Cluster {
    /// How long processes wait for each other by default.
    pub const LAUNCH_TIMEOUT: Duration = Duration::from_secs(60);

    /// A single process with this number of workers.
    pub fn threads(workers: usize) -> Cluster {
        Cluster {
            workers,
            process: 0,
            addresses: Vec::new(),
            launch_timeout: Cluster::LAUNCH_TIMEOUT,
            secret: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// The number of processes.
    pub fn processes(&self) -> usize {
        self.addresses.len().max(1)
    }

    /// Prepares the communication of the workers of this process, after connecting it with the
    /// others.
    pub(super) fn communication(
        &self,
        hooks: Hooks,
        stop: &AtomicBool,
    ) -> Result<Communication, String> {
        if self.processes() > 1 {
            return self.networked(hooks, stop);
        }
        let inside = match self.workers {
            1 => CommunicationConfig::Thread,
            workers => CommunicationConfig::Process(workers),
        };
        let (builders, guard) = inside.try_build_with(hooks)?;
        Ok(Communication { builders, guard, peers: Peers::default() })
    }

    fn networked(&self, hooks: Hooks, stop: &AtomicBool) -> Result<Communication, String> {
        let connections = connect(self, stop)?;
        let (refill, spill) = (hooks.refill.clone(), hooks.spill.clone());
        let inside = ProcessBuilder::new_typed_vector(self.workers, refill, spill);
        let sockets = connections.data;
        let (builders, guard) =
            initialize_networking_from_sockets(inside, sockets, self.process, self.workers, hooks)
                .map_err(|error| error.to_string())?;
        Ok(Communication {
            builders: builders.into_iter().map(AllocatorBuilder::Tcp).collect(),
            guard: Box::new(guard),
            peers: Peers::watch(connections.life, &self.addresses),
        })
    }
}
