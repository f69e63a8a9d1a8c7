//! How many threads and processes share the work, and how they reach each other.

use timely::CommunicationConfig;

/// How many threads and processes share the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Workers, each a thread, in every process.
    pub workers: usize,
    /// The number of this process.
    pub process: usize,
    /// The `host:port` of every process, in the order of their numbers; one process needs none.
    pub addresses: Vec<String>,
}

impl Cluster {
    /// One process with this number of workers.
    pub fn threads(workers: usize) -> Cluster {
        Cluster { workers, process: 0, addresses: Vec::new() }
    }

    /// How many processes there are.
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
