//! The runtime of every service of the checkout saga: a batch of inputs in, one
//! database transaction of one or two round trips, messages out.
//!
//! For each partition it consumes, a service's own database holds one row of
//! the table `progress`: the next offset, the epoch of the owner and the
//! messages that are not yet known to be on Kafka. That row is inbox, outbox and
//! fence at once. It moves in the same transaction as the service's own rows,
//! so a crash at any point loses nothing and repeats nothing in effect.
//!
//! - `handler`: what a service supplies; it does no I/O.
//! - `worker`: the loop, from start to graceful stop.
//! - `ownership`: partitions, from their assignment to their being given up.
//! - `leftovers`: what a former owner may not have published.
//! - `batch`: the inputs of one transaction, and what is known of each.
//! - `commit`: one batch, from decoding to publishing; poison is found here.
//! - `transact`: its transaction, with or without reading.
//! - `progress`: the rows of the table `progress`.
//! - `version`: what a row that is kept in memory is compared by.
//! - `session`: one database connection with prepared, pipelined statements.
//! - `positions`: whether a stored position fits the log that is there.
//! - `intake`: the consumer and its rebalances.
//! - `rejoin`: how long it may be on its way into its group.
//! - `polled`: a producer with a thread that serves its events.
//! - `publisher`: the producer and what is not yet acknowledged.
//! - `lane`: the transactions in which public records are published.
//! - `traffic`: what Kafka clients send and receive.
//! - `readers`: whether an open transaction holds the readers of public topics back.
//! - `calls`: the bounded pool for calls to the outside.
//! - `fault`: transient or poison, decided in one place.
//! - `clock`: the time, in one place.
//! - `failpoint`: where tests kill a service; not in what is shipped.
//! - `dlq`: what a dead-letter record looks like.

mod batch;
mod calls;
mod clock;
mod combined;
mod commit;
mod dlq;
mod failpoint;
mod fault;
mod handler;
mod health;
mod intake;
mod lane;
mod leftovers;
mod measure;
mod ownership;
mod polled;
mod polling;
mod positions;
mod progress;
mod publisher;
mod readers;
mod rebalance;
mod rejoin;
mod session;
mod settings;
mod stored;
mod topics;
mod trace;
mod traffic;
mod transact;
mod version;
mod worker;

pub use fault::RunError;
pub use handler::{Body, Cache, Handler, Home, Input, Observations, Outbox, Sql};
pub use health::{Health, HealthReport};
pub use measure::begin_to_count;
pub use progress::MIGRATIONS;
pub use session::{Connector, connector_without_tls};
pub use settings::{KafkaSettings, Settings};
pub use topics::missing_topics;
pub use version::RowVersion;
pub use worker::run;
