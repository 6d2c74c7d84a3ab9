//! Transient or poison: decided here and nowhere else.

use contracts::RegistryError;
use tokio_postgres::error::SqlState;

use crate::Home;

/// What the database's function `expect_rows` raises.
const STALE: &str = "CS001";

/// Why [`run`](crate::run) ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The clients could not be made: a property is wrong.
    #[error(
        "the Kafka client cannot be configured: {0}; check the bootstrap servers and every further Kafka property"
    )]
    Configuration(rdkafka::error::KafkaError),
    /// The stored position of a partition is not in its log any more.
    #[error(
        "{topic}, partition {}: the next record to read is {next_offset}, but the log holds {low} to {high}. {}",
        home.partition,
        position_advice(*home, *next_offset, *low)
    )]
    PositionLost {
        /// The topic's full name.
        topic: String,
        /// The partition.
        home: Home,
        /// The offset that the progress row names.
        next_offset: i64,
        /// The first offset in the log.
        low: i64,
        /// The offset after the last one in the log.
        high: i64,
    },
    /// The last record that was read is not the one that the log holds there.
    #[error(
        "{topic}, partition {}: the record at offset {offset} is not the one that was read there. {}",
        home.partition,
        made_anew(*home)
    )]
    TopicReplaced {
        /// The topic's full name.
        topic: String,
        /// The partition.
        home: Home,
        /// The offset of the record.
        offset: i64,
    },
    /// The database has a schema that this binary does not fit.
    #[error(
        "the database does not fit this binary: {0}; run the migrations of this version (they run at start), and let no older binary write to it"
    )]
    Schema(tokio_postgres::Error),
    /// A part of the runtime ended that never ends.
    #[error("the worker ended unexpectedly: {0}; this is a defect, please report it with the log")]
    Defect(String),
}

fn position_advice(home: Home, next_offset: i64, low: i64) -> String {
    if next_offset >= low {
        return made_anew(home);
    }
    let only = format!(" AND partition = {}", home.partition);
    let remedy = read_from_the_beginning(home, &only);
    format!("Retention removed records before they were read. If their loss is accepted, {remedy}")
}

fn made_anew(home: Home) -> String {
    let remedy = read_from_the_beginning(home, "");
    format!("The topic was deleted and made anew. If that was intended, {remedy}")
}

/// The row stays: it holds messages that may not be on Kafka yet, and the number of the last
/// public one, from which the next ones are counted.
fn read_from_the_beginning(home: Home, only: &str) -> String {
    format!(
        "stop every instance of this service and run in its database: UPDATE progress SET \
         next_offset = NULL, last_record = NULL WHERE topic = '{}'{only}; it then starts at the \
         beginning of the log",
        home.topic.name()
    )
}

/// What goes wrong inside the loop, by what is to be done about it.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Database, broker or registry away, a deadlock, a time-out: wait, learn
    /// again from the progress rows what is committed, go on.
    Transient(String),
    /// Another instance has written the rows that a batch was about to insert, or
    /// relied on: read and handle it again.
    Conflict(String),
    /// The database refuses what the batch writes, and would refuse it again.
    Deterministic(String),
    /// Another owner has claimed a partition: give up all of them and join anew.
    Fenced(String),
    /// The producer or consumer is unusable: build both anew.
    Broken(String),
    /// The service was told to stop while it waited.
    Stopping,
    /// Stop with an error that a person must read.
    Fatal(RunError),
}

impl From<RunError> for Fault {
    fn from(error: RunError) -> Self {
        Fault::Fatal(error)
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(code) = error.code().cloned() else {
            // No SQLSTATE: the connection failed, or a column had another type
            // than the code expects.
            return if error.is_closed() || is_connection_error(&error) {
                Fault::Transient(describe(&error))
            } else {
                Fault::Deterministic(describe(&error))
            };
        };
        match code {
            SqlState::UNIQUE_VIOLATION => Fault::Conflict(describe(&error)),
            ref code if code.code() == STALE => Fault::Conflict(describe(&error)),
            // Data exceptions, violated constraints, limits of the server: the
            // same rows would fail again.
            ref code if matches!(code.code().get(..2), Some("22" | "23" | "54")) => {
                Fault::Deterministic(describe(&error))
            }
            // A table, column or right that is missing: no record is to blame.
            ref code if matches!(code.code().get(..2), Some("42" | "0A")) => {
                Fault::Fatal(RunError::Schema(error))
            }
            // Everything else is the server's state, not the data's: connections,
            // shutdowns, resources, deadlocks, serialization, disk full.
            _ => Fault::Transient(describe(&error)),
        }
    }
}

fn is_connection_error(error: &tokio_postgres::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<std::io::Error>() {
            return true;
        }
        source = cause.source();
    }
    // Errors of the protocol and of the TLS layer have no SQLSTATE and no I/O
    // cause; only conversions of parameters and columns concern the data.
    let text = error.to_string();
    !(text.starts_with("error serializing") || text.starts_with("error deserializing"))
}

fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => match db.constraint() {
            Some(constraint) => {
                format!(
                    "{} (SQLSTATE {}, {constraint})",
                    db.message(),
                    db.code().code()
                )
            }
            None => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        },
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

impl From<RegistryError> for Fault {
    fn from(error: RegistryError) -> Self {
        Fault::Transient(error.to_string())
    }
}
