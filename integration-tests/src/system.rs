//! An installation with its services, and what a cart service, a subscriber and
//! an operator would do with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use audit::DeadLetter;
use contracts::ids::GenericUuid;
use contracts::messages::{
    CartCheckedOut, CheckoutFailed, CheckoutRejected, OrderCreated, SagaState, SetStock,
};
use contracts::{Codec, Message, RecordType, RegistryConfig, Topic, TopicNames, TraceContext};
use flow::Step;
use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use stack::{
    Installation, Part, PartKind, Process, ProcessSpec, Service, ServiceInstance, ServiceOptions,
    Stopping,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::world::{self, Parts};
use crate::{PATIENCE, Proxy, Recorder, Seen, carts};

/// Where the logs of tests that failed are kept.
const FAILED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/failed-tests");

/// Pause between two tries to publish.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The services, by name.
pub const SERVICES: &[&str] = Service::NAMES;

/// The services but one, which a test starts later or never.
pub fn all_but(name: &str) -> &'static [&'static str] {
    let others = SERVICES.iter().copied().filter(|service| *service != name);
    // As long as the test, like the rest of its options.
    Vec::leak(others.collect())
}

/// An orchestrator that does not wait long for its participants, and gives up
/// when they are silent rather than hold their commands back.
pub const IMPATIENT: &[(&str, &str, &str)] = &[
    ("orchestrator", "REPLY_WAIT_FIRST_MS", "200"),
    ("orchestrator", "REPLY_WAIT_MAX_MS", "400"),
    ("orchestrator", "REPLY_TRIES", "3"),
    ("orchestrator", "STUCK_AFTER_TRIES", "2"),
    ("orchestrator", "BRAKE", "off"),
];

/// How an installation of a test differs from the usual one.
#[derive(Clone, Copy)]
pub struct Options {
    /// The services to start.
    pub services: &'static [&'static str],
    /// How many instances of each.
    pub instances: u16,
    /// Variables: service, name, value.
    pub environment: &'static [(&'static str, &'static str, &'static str)],
    /// Brokers of parts of its own, for a test that disturbs them; 0: on the
    /// parts that all share.
    pub own_brokers: u16,
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
    producer: FutureProducer,
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

    /// Copies the logs of the services and the parts to where they outlive a test that
    /// fails.
    fn keep_logs(&mut self) {
        let folder = Path::new(FAILED).join(self.installation.topic_prefix.trim_end_matches('.'));
        let services = self.instances.get_mut().iter();
        let services = services.map(|instance| instance.process.log().to_path_buf());
        let parts = self.parts.stack.parts().iter();
        let parts = parts.filter_map(|part| Some(part.process.as_ref()?.log().to_path_buf()));
        let kept = std::fs::create_dir_all(&folder).and_then(|()| {
            for log in services.chain(parts) {
                std::fs::copy(&log, folder.join(log.file_name().unwrap_or_default()))?;
            }
            Ok(())
        });
        match kept {
            Ok(()) => eprintln!("the logs of this test's system: {}", folder.display()),
            Err(error) => eprintln!("the logs of this test's system are lost: {error}"),
        }
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
            brokers => Parts::own(brokers).await,
        };
        let installation = parts.installation(name).await;
        let names = installation.topics();
        let registry = installation.registry();
        let codec = Codec::connect(&registry, names.clone(), RecordType::ALL)
            .await
            .expect("all schemas are registered");
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &installation.bootstrap_servers)
            .set("partitioner", "murmur2_random")
            .set("message.max.bytes", "2000000")
            // Tests add partitions and wait for them.
            .set("topic.metadata.refresh.interval.ms", "1000")
            .create()
            .expect("a producer");
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
            .env("DATABASE_POOL_SIZE", "2");
        for service in services {
            options = options.instances(*service, instances);
        }
        for (of, name, value) in self.options.environment {
            options = options.env_of(service(of), *name, *value);
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

    /// Starts a stopped service that is expected to end by itself, and returns
    /// its log.
    pub async fn fails_to_start(&self, name: &str) -> String {
        let instances = self.instances.lock().await;
        let instance = instances
            .iter()
            .find(|instance| instance.service.name() == name)
            .expect("an instance");
        instance.process.start_again().await.expect("it starts");
        instance
            .process
            .wait_ended(PATIENCE)
            .await
            .expect("it ended by itself");
        std::fs::read_to_string(instance.process.log()).expect("a log")
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

    /// A message in the wire format.
    pub fn encode(&self, message: &Message) -> Vec<u8> {
        self.codec.encode(message).expect("it encodes")
    }

    /// Publishes as the cart service does.
    pub async fn publish(&self, cart: &CartCheckedOut) {
        self.publish_message(&cart.clone().into()).await;
        self.published.fetch_add(1, Ordering::Relaxed);
    }

    /// How many carts it has published.
    pub fn published(&self) -> usize {
        self.published.load(Ordering::Relaxed)
    }

    /// Publishes several carts without waiting in between.
    pub async fn publish_all(&self, carts: &[&CartCheckedOut]) {
        futures::future::join_all(carts.iter().map(|cart| self.publish(cart))).await;
    }

    /// Publishes a cart as part of a trace.
    pub async fn publish_traced(&self, cart: &CartCheckedOut, trace: &TraceContext) {
        let message: Message = cart.clone().into();
        let headers = contracts::headers(&message, "/shop/carts", cart.occurred_at, trace);
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let value = self.encode(&message);
        self.publish_raw(
            Topic::ShoppingCheckouts,
            Some(message.key().as_bytes()),
            Some(&value),
            &headers,
        )
        .await;
    }

    pub async fn publish_message(&self, message: &Message) {
        let value = self.encode(message);
        let key = message.key();
        self.publish_raw(
            message.record_type().topic(),
            Some(key.as_bytes()),
            Some(&value),
            &[],
        )
        .await;
    }

    /// Publishes on a topic and partition of the caller's choice, as soon as the
    /// partition is there.
    pub async fn publish_at(&self, topic: Topic, partition: i32, message: &Message) {
        let value = self.encode(message);
        let key = message.key();
        let record = || {
            FutureRecord::to(self.names.name(topic))
                .partition(partition)
                .key(&key)
                .payload(&value)
        };
        let begin = Instant::now();
        while let Err((error, _)) = self.producer.send(record(), PATIENCE).await {
            assert!(begin.elapsed() < PATIENCE, "not published: {error}");
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Publishes whatever bytes.
    pub async fn publish_raw(
        &self,
        topic: Topic,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) {
        let mut owned = OwnedHeaders::new();
        for (name, value) in headers {
            owned = owned.insert(Header {
                key: name,
                value: Some(*value),
            });
        }
        let mut record: FutureRecord<'_, [u8], [u8]> =
            FutureRecord::to(self.names.name(topic)).headers(owned);
        record.key = key;
        record.payload = value;
        self.producer
            .send(record, PATIENCE)
            .await
            .unwrap_or_else(|(error, _)| panic!("not published: {error}"));
    }

    /// Publishes a record once more, as it is.
    pub async fn publish_again(&self, seen: &Seen) {
        let topic = self.names.topic(&seen.topic).expect("one of ours");
        let headers: Vec<(&str, &[u8])> = seen
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let (key, payload) = (seen.key.as_deref(), seen.payload.as_deref());
        self.publish_raw(topic, key, payload, &headers).await;
    }

    /// Sets the stock of a product and waits until it is set.
    pub async fn set_stock(&self, product: &str, on_hand: i64) {
        let command = SetStock {
            command_id: contracts::ids::CommandId::from_untyped_uuid(Uuid::new_v4()),
            product_id: product.to_owned(),
            on_hand,
        };
        let id = command.command_id;
        self.publish_message(&command.into()).await;
        self.recorder
            .wait_for("the stock is set", |seen| {
                seen.iter()
                    .any(|seen| {
                        matches!(&seen.message, Some(Message::StockSet(set)) if set.command_id == id)
                    })
                    .then_some(())
            })
            .await;
    }

    /// On hand and reserved, of a product.
    pub async fn stock(&self, product: &str) -> (i64, i64) {
        let sql = "SELECT on_hand, reserved FROM stock WHERE product_id = $1";
        let rows = self.query("inventory", sql, &[&product]).await;
        (rows[0].get(0), rows[0].get(1))
    }

    /// Fails unless every record of this cart is part of this trace.
    pub fn assert_traced(&self, cart: &CartCheckedOut, trace: &TraceContext) {
        let trace = &trace.to_string()[..35];
        for seen in self.recorder.all() {
            if seen.message.as_ref().and_then(Message::cart_id) == Some(cart.cart_id) {
                let parent = seen.header("traceparent").expect("a traceparent");
                assert_eq!(&parent[..35], trace, "{:?}", seen.record_type());
            }
        }
    }

    /// How the checkout of this event ended, as soon as it has.
    pub async fn outcome(&self, cart: &CartCheckedOut) -> Outcome {
        self.recorder
            .wait_for(&format!("the outcome of {}", cart.cart_id), |seen| {
                outcomes(seen, cart).into_iter().next()
            })
            .await
    }

    /// Fails unless this event has exactly one outcome on the public topics, in
    /// exactly one record.
    pub async fn assert_one_outcome(&self, cart: &CartCheckedOut) {
        let outcomes = outcomes(&self.recorder.all(), cart);
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    }

    /// Waits until every record of this cart that is on a topic has been
    /// handled: a marker cart of the same key goes the same way behind it.
    pub async fn quiesce(&self, cart: &CartCheckedOut) {
        let before = self.recorder.of_cart(cart.cart_id).len();
        let marker = carts::again(cart);
        self.publish(&marker).await;
        let marked = self.recorder.wait_for("the marker's outcome", |seen| {
            outcomes(seen, &marker).into_iter().next()
        });
        marked.await;
        assert!(self.recorder.of_cart(cart.cart_id).len() > before);
    }

    /// The dead letter of the record that carried this marker.
    pub async fn dead_letter(&self, topic: Topic, marker: &str) -> Seen {
        let dlq = self.names.dlq(topic).to_owned();
        self.recorder
            .wait_for("a dead letter", |seen| {
                seen.iter()
                    .find(|seen| {
                        seen.topic == dlq && seen.header("marker").as_deref() == Some(marker)
                    })
                    .cloned()
            })
            .await
    }

    /// Why a cart was refused: the code of its dead letter, or the reason of its
    /// failure.
    pub async fn refusal(&self, cart: &CartCheckedOut) -> String {
        let dlq = self.names.dlq(Topic::ShoppingCheckouts).to_owned();
        let key = cart.cart_id.to_string();
        self.recorder
            .wait_for("a refusal", |seen| {
                seen.iter().find_map(|seen| match &seen.message {
                    Some(Message::CheckoutFailed(failed)) if failed.cart_id == cart.cart_id => {
                        serde_json::to_value(failed.reason)
                            .ok()
                            .and_then(|reason| Some(reason.as_str()?.to_owned()))
                    }
                    _ if seen.topic == dlq && seen.key.as_deref() == Some(key.as_bytes()) => {
                        seen.header("__connect.errors.exception.class.name")
                    }
                    _ => None,
                })
            })
            .await
    }

    /// Waits for a record of this type about a cart.
    pub async fn record(&self, cart: &CartCheckedOut, record: RecordType) {
        self.recorder
            .wait_for(&format!("a {record}"), |seen| {
                seen.iter()
                    .filter_map(|seen| seen.message.as_ref())
                    .any(|message| {
                        message.cart_id() == Some(cart.cart_id) && message.record_type() == record
                    })
                    .then_some(())
            })
            .await;
    }

    /// Waits for a snapshot of a cart's saga in this state.
    pub async fn snapshot(&self, cart: &CartCheckedOut, state: SagaState) {
        self.recorder
            .wait_for(&format!("a snapshot {state:?}"), |seen| {
                seen.iter()
                    .any(|seen| {
                        matches!(&seen.message, Some(Message::SagaSnapshot(snapshot))
                            if snapshot.cart_id == cart.cart_id && snapshot.state == state)
                    })
                    .then_some(())
            })
            .await;
    }

    /// The compensating commands of a cart, each the first time it was sent, by
    /// the time of their publication.
    pub fn undo_order(&self, cart: &CartCheckedOut) -> Vec<RecordType> {
        let mut sent: BTreeMap<Timestamp, RecordType> = BTreeMap::new();
        for seen in self.recorder.all() {
            let Some(message) = &seen.message else {
                continue;
            };
            let record = message.record_type();
            let is_undo = Step::ALL
                .iter()
                .any(|step| step.definition().compensation.record == record);
            if is_undo
                && message.cart_id() == Some(cart.cart_id)
                && !sent.values().any(|sent| *sent == record)
            {
                let time = seen.header("ce_time").expect("a time");
                let time: Timestamp = time.parse().expect("RFC 3339");
                sent.insert(time, record);
            }
        }
        sent.into_values().collect()
    }

    /// Rows of a service's database.
    pub async fn query(
        &self,
        name: &str,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Vec<tokio_postgres::Row> {
        let client = self
            .installation
            .connect(service(name))
            .await
            .expect("a connection");
        client
            .query(sql, params)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// A connection of its own to a service's database, as the service has.
    pub async fn connect(&self, name: &str) -> tokio_postgres::Client {
        let connected = self.installation.connect(service(name)).await;
        connected.expect("a connection")
    }

    /// Runs statements in a service's database, as the service may.
    pub async fn execute(&self, name: &str, sql: &str) {
        run(&self.connect(name).await, sql).await;
    }

    /// Runs statements as PostgreSQL's administrator; `{}` stands for the name
    /// of a service's database, and of its user.
    pub async fn administer(&self, name: &str, sql: &str) {
        let admin = &self.parts(PartKind::Postgres)[0].url;
        let (client, connection) = tokio_postgres::connect(admin, tokio_postgres::NoTls)
            .await
            .expect("a connection");
        tokio::spawn(connection);
        run(&client, &sql.replace("{}", self.database(name))).await;
    }

    /// Fails if anything is on a dead-letter topic.
    pub fn assert_no_dead_letters(&self) {
        let dead: Vec<_> = self
            .recorder
            .all()
            .into_iter()
            .filter(|seen| seen.topic.ends_with(".dlq"))
            .map(|seen| (seen.topic, seen.headers))
            .collect();
        assert!(dead.is_empty(), "dead letters: {dead:?}");
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
        self.wait_until(&format!("{name} logs {text:?}"), async || {
            self.log(name, 0).await.contains(text)
        })
        .await;
    }

    /// Cuts all connections to a service's database but the one that asks.
    pub async fn cut_connections(&self, name: &str) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = '{}' AND pid <> pg_backend_pid()";
        self.administer(name, sql).await;
    }

    /// The name of a service's database, and of its user.
    pub fn database(&self, name: &str) -> &str {
        let url = self.installation.database_url(service(name));
        url.rsplit_once('/').map_or(url, |(_, database)| database)
    }

    /// The end of a partition's log; the topic's name is without prefix.
    pub fn end(&self, topic: &str, partition: i32) -> i64 {
        let name = format!("{}{topic}", self.installation.topic_prefix);
        tokio::task::block_in_place(|| {
            let client = self.producer.client();
            client.fetch_watermarks(&name, partition, PATIENCE)
        })
        .expect("watermarks")
        .1
    }

    /// Waits until every record that is there now has been read and handled.
    pub async fn wait_consumed(&self) {
        let sql = "SELECT topic, partition, COALESCE(next_offset, 0) FROM progress";
        for service in self.options.services {
            for row in self.query(service, sql, &[]).await {
                let (topic, partition): (String, i32) = (row.get(0), row.get(1));
                let name = format!("{}{topic}", self.installation.topic_prefix);
                let end = self.end(&topic, partition);
                self.wait_until(&format!("{service} reads {name}"), async || {
                    let sql = format!("{sql} WHERE topic = $1 AND partition = $2");
                    let row = &self.query(service, &sql, &[&topic, &partition]).await[0];
                    row.get::<_, i64>(2) >= end
                })
                .await;
            }
        }
    }

    /// Waits until a condition holds that is looked at again and again.
    pub async fn wait_until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let begin = Instant::now();
        while !holds().await {
            assert!(
                begin.elapsed() < PATIENCE,
                "{what}: not within {PATIENCE:?}"
            );
            sleep(LOOK_AGAIN).await;
        }
    }

    /// What is held for the checkout of this event.
    pub async fn holdings(&self, cart: &CartCheckedOut) -> Holdings {
        let checkout = cart.event_id.into_untyped_uuid();
        let mut states = Vec::new();
        for (service, table) in [
            ("inventory", "reservations"),
            ("payment", "authorizations"),
            ("order", "orders"),
        ] {
            // A service that was never started has no tables yet.
            let migrated = self
                .query(service, "SELECT to_regclass($1) IS NOT NULL", &[&table])
                .await[0]
                .get(0);
            let sql = format!("SELECT state::text FROM {table} WHERE checkout_id = $1");
            let rows = match migrated {
                true => self.query(service, &sql, &[&checkout]).await,
                false => Vec::new(),
            };
            states.push(rows.first().map(|row| row.get(0)));
        }
        let [reservation, authorization, order] =
            <[Option<String>; 3]>::try_from(states).expect("three");
        Holdings {
            reservation,
            authorization,
            order,
        }
    }

    /// Waits until every checkout has an outcome and everything adds up and is
    /// at rest; fails with what does not.
    pub async fn assert_settled(&self, carts: &[CartCheckedOut]) {
        self.assert_settled_but(carts, |_| false).await;
    }

    /// The same, but for dead letters that the test itself has caused.
    pub async fn assert_settled_but(
        &self,
        carts: &[CartCheckedOut],
        expected: impl Fn(&DeadLetter) -> bool + Send + Sync + 'static,
    ) {
        let report = self.settle(expected).await;
        assert!(
            report.violations.is_empty(),
            "not at rest, or lost, or doubled: {report}"
        );
        let checkouts: BTreeSet<_> = carts.iter().map(|cart| cart.event_id).collect();
        assert!(
            report.carts >= checkouts.len() as u64,
            "{} carts were published, and only these are on the topic: {report}",
            checkouts.len()
        );
    }

    /// Waits until everything is at rest, and reports what was found then, or
    /// when patience ends.
    pub async fn settle(
        &self,
        expected: impl Fn(&DeadLetter) -> bool + Send + Sync + 'static,
    ) -> audit::Report {
        self.try_settle(expected, |_| (), PATIENCE)
            .await
            .unwrap_or_else(|error| panic!("no audit: {error}"))
    }

    /// The same, within a limit; `tell` is told what is waited for.
    pub async fn try_settle(
        &self,
        expected: impl Fn(&DeadLetter) -> bool + Send + Sync + 'static,
        tell: impl Fn(&str) + Send + Sync + 'static,
        limit: Duration,
    ) -> audit::Result<audit::Report> {
        let options = audit::Options {
            expected: Some(Arc::new(expected)),
            tell: Some(Arc::new(tell)),
            ..audit::Options::default()
        };
        audit::settle(&self.installation.audit_target(), &options, limit).await
    }
}

fn service(name: &str) -> Service {
    *Service::ALL
        .iter()
        .find(|service| service.name() == name)
        .unwrap_or_else(|| panic!("no service is called {name}"))
}

async fn run(client: &tokio_postgres::Client, sql: &str) {
    client
        .batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

fn running<'a>(instances: &'a [Arc<ServiceInstance>], name: &str) -> &'a ServiceInstance {
    instances
        .iter()
        .find(|instance| instance.service.name() == name && instance.process.pid().is_some())
        .unwrap_or_else(|| panic!("{name} does not run"))
}

fn outcome_of(seen: &Seen, cart: &CartCheckedOut) -> Option<Outcome> {
    let checkout = contracts::ids::checkout_id(cart.event_id);
    match seen.message.clone()? {
        Message::OrderCreated(order) if order.checkout_id == checkout => {
            Some(Outcome::Created(order))
        }
        Message::CheckoutFailed(failed) if failed.checkout_id == checkout => {
            Some(Outcome::Failed(failed))
        }
        Message::CheckoutRejected(rejected) if rejected.checkout_id == checkout => {
            Some(Outcome::Rejected(rejected))
        }
        _ => None,
    }
}

fn outcomes(seen: &[Seen], cart: &CartCheckedOut) -> Vec<Outcome> {
    seen.iter()
        .filter_map(|seen| outcome_of(seen, cart))
        .collect()
}
