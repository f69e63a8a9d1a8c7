//! The HTTP server of `run` and `demo`.

use super::kafka;
use super::run::RunError;
use crate::arguments::{HttpSettings, Plan, StoreLocation};
use crate::engine::Counters;
use crate::serve::{JobFacts, Listener, ReaderOpener, Server, Snapshots};
use crate::stores::StoreReader;
use crate::stores::description::Description;
use crate::time::clock_ms;
use std::net::SocketAddr;
use std::path::absolute;
use std::sync::Arc;

/// An address that is taken, before anything is read.
pub struct Listening {
    listener: Listener,
    address: SocketAddr,
}

impl Listening {
    /// Listens where a plan says, if it does.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub fn begin(plan: &Plan) -> Result<Option<Listening>, RunError> {
        let Some(HttpSettings { address, token }) = &plan.http else { return Ok(None) };
        let listener = address.of_process(plan.cluster.process).listen()?;
        let address = listener.local_addr().map_err(RunError::Http)?;
        if !address.ip().is_loopback() && token.is_none() {
            tracing::warn!(
                "whoever reaches http://{address}/ can read the results of this job: give \
                 --http-token-file, or an address that only this machine reaches"
            );
        }
        Ok(Some(Listening { listener, address }))
    }

    /// The URL of the page.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Starts the server of this process.
    ///
    /// # Errors
    /// When the system gives it no thread.
    pub fn serve(self, plan: &Plan, counters: &Arc<Counters>) -> Result<Server, RunError> {
        let (job, counters) = (facts(plan), Arc::clone(counters));
        if plan.cluster.process > 0 {
            let server = Server::elsewhere(self.listener, elsewhere(plan), job, counters);
            return server.map_err(RunError::Http);
        }
        let token = plan.http.as_ref().and_then(|http| http.token.clone());
        let snapshots = snapshots(plan);
        Server::of_job(self.listener, job, snapshots, counters, token).map_err(RunError::Http)
    }
}

/// What other processes than the first one answer.
fn elsewhere(plan: &Plan) -> String {
    let process = plan.cluster.process;
    let first = plan.cluster.addresses.first().and_then(|first| first.rsplit_once(':'));
    let host = first.map_or("its host", |(host, _)| host);
    let place = match plan.http.as_ref().map(|http| http.address.port) {
        Some(port) if port > 0 => format!("http://{host}:{port}/"),
        _ => format!("{host}, at the address that it prints when it starts"),
    };
    format!("this is process {process} of the job; process 0 has the API: {place}")
}

fn facts(plan: &Plan) -> JobFacts {
    let store = match &plan.store {
        StoreLocation::Sqlite(path) => {
            let path = absolute(path).unwrap_or_else(|_| path.clone());
            format!("sqlite {}", path.display())
        }
        StoreLocation::Kafka { .. } => plan.store.to_string(),
    };
    JobFacts {
        started_at_ms: clock_ms(),
        definition: plan.settings.definition,
        store,
        queries: plan.settings.queries.clone(),
        workers: plan.cluster.workers,
        processes: plan.cluster.processes(),
        sets: plan.settings.sets.as_ref().map(|sets| sets.folder.clone()),
        process: plan.cluster.process,
        ready_within: plan.ready_within,
        state_max: plan.settings.state_max,
    }
}

fn snapshots(plan: &Plan) -> Snapshots {
    match &plan.store {
        StoreLocation::Sqlite(path) => Snapshots::of_file(path.clone()),
        StoreLocation::Kafka { topic } => {
            let description = Description::of(&plan.settings.definition, &plan.settings.queries);
            let (settings, topic) = (plan.kafka.clone(), topic.clone());
            let open: ReaderOpener = Box::new(move || {
                let Some(settings) = &settings else {
                    unreachable!("a plan with topics has brokers")
                };
                let reader: Box<dyn StoreReader + Send> = kafka::reader(settings, &topic)?;
                Ok(reader)
            });
            Snapshots::of_copy(description, open)
        }
    }
}
