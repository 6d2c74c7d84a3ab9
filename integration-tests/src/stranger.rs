//! A stranger on the public topics, whose transaction hangs.

use std::time::Duration;

use contracts::Topic;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use uuid::Uuid;

use crate::{PATIENCE, System};

/// The broker ends what hangs longer.
const OPEN_FOR_MS: &str = "120000";
/// One request to the broker, which may be away.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// A transaction that is open.
pub struct Stranger(ThreadedProducer<DefaultProducerContext>);

impl Stranger {
    /// Begins a transaction and writes one record into it, as soon as the broker is
    /// there.
    pub async fn begin(system: &System, topic: Topic) -> Self {
        let topic = system.names.name(topic).to_owned();
        let mut config = ClientConfig::new();
        config
            .set(
                "bootstrap.servers",
                &system.installation().bootstrap_servers,
            )
            .set("transactional.id", format!("a-stranger-{}", Uuid::new_v4()))
            .set("transaction.timeout.ms", OPEN_FOR_MS);
        blocking(move || {
            let producer: ThreadedProducer<DefaultProducerContext> =
                config.create().expect("a producer");
            again(|| producer.init_transactions(REQUEST_LIMIT));
            producer.begin_transaction().expect("begun");
            let record = BaseRecord::<(), [u8]>::to(&topic).partition(0);
            let sent = producer.send(record.payload(b"unfinished"));
            sent.unwrap_or_else(|(error, _)| panic!("not sent: {error}"));
            Self(producer)
        })
        .await
    }

    /// Aborts it, as soon as the broker is there.
    pub async fn abort(self) {
        blocking(move || again(|| self.0.abort_transaction(REQUEST_LIMIT))).await;
    }
}

/// Until it is done.
fn again(ask: impl Fn() -> rdkafka::error::KafkaResult<()>) {
    let begin = std::time::Instant::now();
    while let Err(error) = ask() {
        assert!(begin.elapsed() < PATIENCE, "no answer of Kafka: {error}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(act).await;
    done.expect("it does not panic")
}
