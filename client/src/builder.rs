//! How a client is set up.

use crate::client::{Client, Handle};
use crate::driver::Driver;
use crate::shared::{JobRequest, Shared};
use crate::{Error, ErrorCode, Limits, Result, entropy};
use duet_client_core::{ClientConfiguration, ClientCore, Nanoseconds};
use std::sync::Arc;
use std::time::Duration;

/// Settings of a client. [`Client::builder`] makes one.
#[derive(Clone)]
pub struct ClientBuilder {
    configuration: ClientConfiguration,
}

/// Without the secret.
impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ClientConfiguration { seeds, program, timeout, limits, .. } = &self.configuration;
        f.debug_struct("ClientBuilder")
            .field("seeds", seeds)
            .field("program", program)
            .field("timeout", &Duration::from_nanos(*timeout))
            .field("limits", limits)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    pub(crate) fn new(addresses: &str) -> ClientBuilder {
        let seeds = addresses.split(',').map(str::trim).filter(|address| !address.is_empty());
        let seeds = seeds.map(str::to_owned).collect();
        ClientBuilder {
            configuration: ClientConfiguration::new(seeds, entropy::identity(), entropy::random()),
        }
    }

    /// Time after which an operation ends, with all its repeats: five seconds unless told otherwise, at most an hour.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> ClientBuilder {
        let timeout = timeout.clamp(Duration::from_millis(1), Duration::from_secs(3_600));
        self.configuration.timeout = timeout.as_nanos() as Nanoseconds;
        self
    }

    /// The cluster's secret.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<Vec<u8>>) -> ClientBuilder {
        self.configuration.secret = secret.into();
        self
    }

    /// Name of the program, for the logs of the nodes.
    #[must_use]
    pub fn program(mut self, name: impl Into<String>) -> ClientBuilder {
        self.configuration.program = name.into();
        self
    }

    /// Bounds of what the client holds at once.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> ClientBuilder {
        self.configuration.limits = limits;
        self
    }

    pub(crate) fn configuration(self) -> Result<ClientConfiguration> {
        if self.configuration.seeds.is_empty() {
            let detail = "no address of a data or management node is given";
            return Err(Error::new(ErrorCode::InvalidRequest, detail));
        }
        self.configuration.seeds.iter().try_for_each(|address| crate::address::check(address))?;
        Ok(self.configuration)
    }

    /// Starts the client's task on the current runtime, which must have IO and time enabled, and waits until one of the addresses has told the cluster's map.
    ///
    /// # Errors
    /// `InvalidRequest` at once when an address is not `host:port`; `NodeUnreachable` with the cause for each address when
    /// none answers in time; `WrongSecret` and the like when one refuses; `InvalidRequest`
    /// outside a runtime.
    pub async fn connect(self) -> Result<Client> {
        let configuration = self.configuration()?;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            let detail = "the client needs a tokio runtime; without one use duet_client::blocking";
            return Err(Error::new(ErrorCode::InvalidRequest, detail));
        };
        let shared = Arc::new(Shared::default());
        let timeout = Duration::from_nanos(configuration.timeout);
        let driver = Driver::new(ClientCore::new(configuration, 0), Arc::clone(&shared));
        // The task ends when the last handle is dropped.
        drop(runtime.spawn(driver));
        let client = Client { handle: Arc::new(Handle { shared, timeout }) };
        client.handle.shared.job(JobRequest::Refresh).await?;
        Ok(client)
    }
}
