//! The threads and processes of a job, and their addresses.

use timely::CommunicationConfig;

/// The threads and processes of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The number of workers in each process; each is a thread.
    pub workers: usize,
    /// The number of this process.
    pub process: usize,
    /// The `host:port` of every process, in the order of their numbers; empty for one process.
    pub addresses: Vec<String>,
}

impl Cluster {
    /// A single process with this number of workers.
    pub fn threads(workers: usize) -> Cluster {
        Cluster { workers, process: 0, addresses: Vec::new() }
    }

    /// The number of processes.
    pub fn processes(&self) -> usize {
        self.addresses.len().max(1)
    }

    pub(super) fn communication(&self) -> CommunicationConfig {
        match (self.processes(), self.workers) {
            (1, 1) => CommunicationConfig::Thread,
            (1, workers) => CommunicationConfig::Process(workers),
            (_, threads) => CommunicationConfig::Cluster {
                threads,
                process: self.process,
                addresses: self.addresses.clone(),
                report: false,
                zerocopy: false,
            },
        }
    }
}
