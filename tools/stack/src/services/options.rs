//! Which services are started, and how they differ from the usual ones.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::Service;

/// From the start of a service until it is ready, on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(180);

/// What to start, and what differs from the services' own defaults.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    pub(super) instances: BTreeMap<Service, u16>,
    pub(super) environment: Vec<(Option<Service>, String, String)>,
    pub(super) arguments: Vec<(Service, String)>,
    pub(super) ready_limit: Duration,
    pub(crate) programs: Option<PathBuf>,
}

impl Default for ServiceOptions {
    /// One instance of each, as they come.
    fn default() -> Self {
        Self {
            instances: Service::ALL.iter().map(|service| (*service, 1)).collect(),
            environment: Vec::new(),
            arguments: Vec::new(),
            ready_limit: READY_LIMIT,
            programs: None,
        }
    }
}

impl ServiceOptions {
    /// None at all, until [`ServiceOptions::instances`] asks for some.
    pub fn none() -> Self {
        Self {
            instances: BTreeMap::new(),
            ..Self::default()
        }
    }

    /// So many instances of this service; 0 leaves it out.
    #[must_use]
    pub fn instances(mut self, service: Service, instances: u16) -> Self {
        self.instances.insert(service, instances);
        self
    }

    /// Sets a variable for all services.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((None, name.into(), value.into()));
        self
    }

    /// Sets a variable for one service.
    #[must_use]
    pub fn env_of(
        mut self,
        service: Service,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Self {
        self.environment
            .push((Some(service), name.into(), value.into()));
        self
    }

    /// Adds a command-line argument for one service.
    #[must_use]
    pub fn argument_of(mut self, service: Service, argument: impl Into<String>) -> Self {
        self.arguments.push((service, argument.into()));
        self
    }

    /// Takes the services' programs from this folder instead of building them.
    #[must_use]
    pub fn programs(mut self, folder: PathBuf) -> Self {
        self.programs = Some(folder);
        self
    }

    /// How long each may take until it is ready.
    #[must_use]
    pub fn ready_limit(mut self, limit: Duration) -> Self {
        self.ready_limit = limit;
        self
    }
}
