//! An installation with its services, and what a cart service, a subscriber and
//! an operator would do with it.
//!
//! Here: how it is started and stopped, and what its services answer by HTTP.
//! - `publishing`: what is published.
//! - `observing`: what can be seen on the topics.
//! - `databases`: what the services' databases hold.
//! - `failed`: what stays of a test that failed.
//! - `settling`: waiting until something is so, and until everything is at rest.

mod databases;
mod failed;
mod observing;
mod publishing;
mod reading;
mod settling;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use contracts::messages::{CartCheckedOut, CheckoutFailed, CheckoutRejected, OrderCreated};
use contracts::{Codec, RecordType, RegistryConfig, TopicNames};
use flow::Step;
use rdkafka::producer::FutureProducer;
use stack::{
    Installation, Part, PartKind, Process, ProcessSpec, Service, ServiceInstance, ServiceOptions,
    Stopping,
};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::world::{self, Parts};
use crate::{PATIENCE, Proxy, Recorder};

/// Pause between two tries, or looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The services, by name.
pub const SERVICES: &[&str] = Service::NAMES;

/// In [`Options::environment`]: of every service, where nothing else is said of one below.
pub const EVERY: &str = "*";

/// The service that carries out a step.
pub fn participant(step: Step) -> Service {
    let reader = audit::consumer(step.definition().command.record.topic());
    service(reader.expect("a service reads its commands"))
}

/// The services but one, which a test starts later or never.
pub fn all_but(name: &str) -> &'static [&'static str] {
    let others = SERVICES.iter().copied().filter(|service| *service != name);
    // As long as the test, like the rest of its options.
    Vec::leak(others.collect())
}

/// An orchestrator that does not wait long for its participants, and gives up
/// when they are silent rather than hold their commands back. Longer than those take that
/// are there, on a busy machine.
pub const IMPATIENT: &[(&str, &str, &str)] = &[
    ("orchestrator", "REPLY_WAIT_FIRST_MS", "2000"),
    ("orchestrator", "REPLY_WAIT_MAX_MS", "4000"),
    ("orchestrator", "REPLY_TRIES", "3"),
    ("orchestrator", "STUCK_AFTER_TRIES", "2"),
    ("orchestrator", "BRAKE", "off"),
];

/// An orchestrator that soon finds out that a participant is silent, and holds back what
/// is for it; without its brake each checkout would be given up after about five seconds.
pub const QUICK_BRAKE: &[(&str, &str, &str)] = &[
    ("orchestrator", "REPLY_WAIT_FIRST_MS", "1000"),
    ("orchestrator", "REPLY_WAIT_MAX_MS", "2000"),
    ("orchestrator", "REPLY_TRIES", "3"),
    ("orchestrator", "BRAKE_POLL_MS", "250"),
    ("orchestrator", "BRAKE_SILENCE_MS", "3500"),
    ("orchestrator", "BRAKE_PROBES_PER_SECOND", "4"),
    ("orchestrator", "BRAKE_HOLD_MAX_MS", "5000"),
];

/// How an installation of a test differs from the usual one.
#[derive(Clone, Copy)]
pub struct Options {
    /// The services to start.
    pub services: &'static [&'static str],
    /// How many instances of each.
    pub instances: u16,
    /// Variables: service or [`EVERY`], name, value.
    pub environment: &'static [(&'static str, &'static str, &'static str)],
    /// Brokers of parts of its own, for a test that disturbs them; 0: on the
    /// parts that all share.
    pub own_brokers: u16,
    /// Whether parts of its own have a schema registry, for a test that disturbs it: it
    /// costs more to start than a broker.
    pub own_registry: bool,
    /// Whether the services reach their databases and the registry over a
    /// network that the test disturbs.
    pub proxies: bool,
    /// How many of the newest records the recorder remembers at least; a run
    /// without end would fill the memory.
    pub remember: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            services: SERVICES,
            instances: 1,
            environment: &[],
            own_brokers: 0,
            own_registry: false,
            proxies: false,
            remember: usize::MAX,
        }
    }
}

/// The networks between the services and what they stand on.
pub struct Proxies {
    pub registry: Proxy,
    /// By service.
    pub databases: BTreeMap<&'static str, Proxy>,
}

impl Proxies {
    async fn start(installation: &Installation) -> Self {
        let mut databases = BTreeMap::new();
        for service in Service::ALL {
            let url = installation.database_url(*service);
            databases.insert(service.name(), Proxy::start(address_in(url)).await);
        }
        Self {
            registry: Proxy::start(address_in(&installation.registry_url)).await,
            databases,
        }
    }

    /// The services' addresses: the near ends.
    fn apply(&self, installation: &Installation, mut options: ServiceOptions) -> ServiceOptions {
        let through = |url: &str, proxy: &Proxy| url.replace(address_in(url), &proxy.address());
        let registry = through(&installation.registry_url, &self.registry);
        options = options.env("SCHEMA_REGISTRY_URL", registry);
        for of in Service::ALL {
            let url = installation.database_url(*of);
            let url = through(url, &self.databases[of.name()]);
            options = options.env_of(*of, "DATABASE_URL", url);
        }
        options
    }
}

/// "host:port" of a URL.
fn address_in(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest
        .split_once('/')
        .map_or(rest, |(authority, _)| authority);
    rest.rsplit_once('@').map_or(rest, |(_, address)| address)
}

/// How a checkout ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    Created(OrderCreated),
    Failed(CheckoutFailed),
    Rejected(CheckoutRejected),
}

/// The states of what is held, or not, for a cart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    pub reservation: Option<String>,
    pub authorization: Option<String>,
    pub order: Option<String>,
}

impl Holdings {
    pub fn new(
        reservation: Option<&str>,
        authorization: Option<&str>,
        order: Option<&str>,
    ) -> Self {
        Self {
            reservation: reservation.map(str::to_owned),
            authorization: authorization.map(str::to_owned),
            order: order.map(str::to_owned),
        }
    }
}

/// A product that no other test has.
pub fn product() -> String {
    format!("sku-{}", Uuid::new_v4().simple())
}

/// An installation with its services, and clients of it.
pub struct System {
    pub names: TopicNames,
    pub registry: RegistryConfig,
    pub recorder: Recorder,
    pub http: reqwest::Client,
    codec: Codec,
    producer: std::sync::Mutex<FutureProducer>,
    installation: Installation,
    parts: Parts,
    options: Options,
    instances: Mutex<Vec<Arc<ServiceInstance>>>,
    proxies: Option<Proxies>,
    environment: Vec<(&'static str, &'static str, String)>,
    published: AtomicUsize,
}

/// Its services end with it: idle ones of all tests that are over would slow the
/// others down, and take their connections away.
impl Drop for System {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_logs();
        }
        for instance in self.instances.get_mut() {
            // What has ended already cannot be killed.
            let _ = instance.process.kill9();
        }
    }
}

impl System {
    /// The installation that tests share which disturb nobody.
    pub async fn shared() -> &'static Self {
        world::shared().await
    }

    /// An installation of a test's own.
    pub async fn start(name: &str, options: Options) -> Self {
        Self::start_with(name, options, Vec::new()).await
    }

    /// An installation whose services need to be told what is known only now,
    /// such as an address: service, name, value.
    pub async fn start_with(
        name: &str,
        options: Options,
        environment: Vec<(&'static str, &'static str, String)>,
    ) -> Self {
        let parts = match options.own_brokers {
            0 => Parts::shared().await,
            brokers => Parts::own(brokers, options.own_registry).await,
        };
        let installation = parts.installation(name).await;
        let names = installation.topics();
        let registry = installation.registry();
        let codec = Codec::connect(&registry, names.clone(), RecordType::ALL)
            .await
            .expect("all schemas are registered");
        let producer = publishing::producer(&installation).into();
        let proxies = match options.proxies {
            true => Some(Proxies::start(&installation).await),
            false => None,
        };
        let system = Self {
            recorder: Recorder::start(&installation.bootstrap_servers, &codec, options.remember),
            http: reqwest::Client::new(),
            names,
            registry,
            codec,
            producer,
            installation,
            parts,
            options,
            instances: Mutex::default(),
            proxies,
            environment,
            published: AtomicUsize::new(0),
        };
        let services: Vec<Service> = options.services.iter().map(|name| service(name)).collect();
        system.start_instances(&services, options.instances).await;
        system
    }

    async fn start_instances(&self, services: &[Service], instances: u16) {
        self.start_more(services, instances, &[])
            .await
            .unwrap_or_else(|error| panic!("the services do not start: {error:#}"));
    }

    async fn start_more(
        &self,
        services: &[Service],
        instances: u16,
        variables: &[(&str, &str)],
    ) -> stack::Result<Vec<Arc<ServiceInstance>>> {
        // A killed instance holds its partitions for the session time-out; six
        // seconds is the least that a broker grants.
        let mut options = ServiceOptions::none()
            // In a storm there is no quiet moment to join a group in.
            .ready_limit(PATIENCE)
            .env("SESSION_TIMEOUT_MS", "6000")
            .env("HTTP_TIMEOUT_MS", "60000")
            .env("DATABASE_POOL_SIZE", "2");
        for service in services {
            options = options.instances(*service, instances);
        }
        for (of, name, value) in self.options.environment {
            options = match *of {
                EVERY => options.env(*name, *value),
                of => options.env_of(service(of), *name, *value),
            };
        }
        for (of, name, value) in &self.environment {
            options = options.env_of(service(of), *name, value);
        }
        if let Some(proxies) = &self.proxies {
            options = proxies.apply(&self.installation, options);
        }
        for (name, value) in variables {
            options = options.env(*name, *value);
        }
        let started = self
            .parts
            .start_services(&self.installation, &options)
            .await?;
        let started: Vec<_> = started.instances.into_iter().map(Arc::new).collect();
        self.instances.lock().await.extend(started.iter().cloned());
        Ok(started)
    }

    /// Starts a service, anew if it has been stopped or killed.
    pub async fn start_service(&self, name: &str) {
        let ended = {
            let instances = self.instances.lock().await;
            let ended = instances.iter().find(|instance| {
                instance.service.name() == name && instance.process.pid().is_none()
            });
            ended.cloned()
        };
        if let Some(instance) = ended {
            instance
                .start_again(PATIENCE)
                .await
                .expect("it starts again");
            return;
        }
        self.start_instances(&[service(name)], self.options.instances)
            .await;
    }

    /// One more instance of a service.
    pub async fn add_instance(&self, name: &str) -> Arc<ServiceInstance> {
        self.add_instance_with(name, &[]).await
    }

    /// One more instance of a service, with variables that the others do not have.
    pub async fn add_instance_with(
        &self,
        name: &str,
        variables: &[(&str, &str)],
    ) -> Arc<ServiceInstance> {
        let added = self.start_more(&[service(name)], 1, variables).await;
        let added = added.unwrap_or_else(|error| panic!("{name} does not start: {error:#}"));
        Arc::clone(&added[0])
    }

    /// The same; none if it ends before it is ready.
    pub async fn try_add_instance(
        &self,
        name: &str,
        variables: &[(&str, &str)],
    ) -> Option<Arc<ServiceInstance>> {
        let added = self.start_more(&[service(name)], 1, variables).await;
        added.ok()?.into_iter().next()
    }

    /// An instance of a service, counted from 0 in the order of their start,
    /// whether it runs or not.
    pub async fn instance(&self, name: &str, index: usize) -> Arc<ServiceInstance> {
        let instances = self.instances(name).await;
        let instance = instances.into_iter().nth(index);
        instance.unwrap_or_else(|| panic!("{name} has no instance {index}"))
    }

    /// All instances of a service, in the order of their start.
    pub async fn instances(&self, name: &str) -> Vec<Arc<ServiceInstance>> {
        let instances = self.instances.lock().await;
        let of = instances
            .iter()
            .filter(|instance| instance.service.name() == name);
        of.cloned().collect()
    }

    /// Does something to an instance of a service, counted from 0 in the order
    /// of their start, whether it runs or not.
    pub async fn with_instance<T>(
        &self,
        name: &str,
        index: usize,
        act: impl AsyncFnOnce(&ServiceInstance) -> T,
    ) -> T {
        act(&*self.instance(name, index).await).await
    }

    /// Starts another program beside the services. It ends with the parts, however this
    /// program ends; what it says is in its log.
    pub async fn run_beside(
        &self,
        name: &str,
        program: PathBuf,
        args: Vec<String>,
        env: Vec<(String, String)>,
    ) -> Process {
        let folder = self.parts.stack.folder().to_path_buf();
        let name = format!("{name}-{}", Uuid::new_v4().simple());
        let spec = ProcessSpec {
            log: folder.join(format!("{name}.log")),
            name,
            program,
            args,
            env,
            folder,
            user: None,
            stopping: Stopping::default(),
        };
        self.parts.run(spec).await
    }

    /// The parts of this kind. Disturb only those of a system's own.
    pub fn parts(&self, kind: PartKind) -> Vec<&Part> {
        let parts = self.parts.stack.parts().iter();
        parts.filter(|part| part.kind == kind).collect()
    }

    /// The networks of a system that was started with some.
    pub fn proxies(&self) -> &Proxies {
        self.proxies.as_ref().expect("Options::proxies is set")
    }

    /// Where everything is.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Kills an instance, as `kill -9` does.
    pub async fn kill(&self, name: &str) {
        let instances = self.instances.lock().await;
        let instance = running(&instances, name);
        instance.process.kill9().expect("killed");
        instance
            .process
            .wait_ended(PATIENCE)
            .await
            .expect("it ended");
    }

    /// Asks an instance to stop and waits for it.
    pub async fn stop(&self, name: &str) {
        let instances = self.instances.lock().await;
        let instance = running(&instances, name);
        instance.process.terminate().expect("asked to stop");
        instance
            .process
            .wait_ended(PATIENCE)
            .await
            .expect("it ended");
    }

    /// The address of a service's HTTP server with a path.
    pub async fn url(&self, name: &str, path: &str) -> String {
        let instances = self.instances.lock().await;
        let base = running(&instances, name).http_url().expect("an address");
        format!("{base}{path}")
    }

    pub async fn get_status(&self, service: &str, path: &str) -> u16 {
        self.get(service, path).await.status().as_u16()
    }

    pub async fn get_text(&self, service: &str, path: &str) -> String {
        self.get(service, path).await.text().await.expect("text")
    }

    pub async fn get_json(&self, service: &str, path: &str) -> serde_json::Value {
        let response = self.get(service, path).await;
        assert_eq!(response.status(), 200, "{service}{path}");
        response.json().await.expect("JSON")
    }

    async fn get(&self, service: &str, path: &str) -> reqwest::Response {
        let url = self.url(service, path).await;
        self.http
            .get(&url)
            .timeout(PATIENCE)
            .send()
            .await
            .unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    /// The customer-visible status of a cart.
    pub async fn status(&self, cart: &CartCheckedOut) -> serde_json::Value {
        self.get_json("orchestrator", &format!("/checkouts/{}", cart.cart_id))
            .await
    }

    /// The log of an instance of a service.
    pub async fn log(&self, name: &str, index: usize) -> String {
        self.with_instance(name, index, async |instance| {
            std::fs::read_to_string(instance.process.log()).expect("a log")
        })
        .await
    }

    /// Waits until the first instance of a service has logged this text.
    pub async fn until_logged(&self, name: &str, text: &str) {
        self.until(&format!("{name} logs {text:?}"), async || {
            self.log(name, 0).await.contains(text)
        })
        .await;
    }
}

fn service(name: &str) -> Service {
    *Service::ALL
        .iter()
        .find(|service| service.name() == name)
        .unwrap_or_else(|| panic!("no service is called {name}"))
}

fn running<'a>(instances: &'a [Arc<ServiceInstance>], name: &str) -> &'a ServiceInstance {
    instances
        .iter()
        .find(|instance| instance.service.name() == name && instance.process.pid().is_some())
        .unwrap_or_else(|| panic!("{name} does not run"))
}
