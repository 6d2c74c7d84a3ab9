//! Why the audit could not look.

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the audit could not look; says nothing about what it would have found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kafka does not answer, or a topic is missing.
    #[error("{doing}: {cause}")]
    Kafka {
        /// What was being done, naming the topic.
        doing: String,
        /// librdkafka's error.
        cause: rdkafka::error::KafkaError,
    },
    /// A database does not answer, or is not that of the service.
    #[error("{doing}: {}", describe(cause))]
    Database {
        /// What was being done, naming database and table.
        doing: String,
        /// PostgreSQL's error.
        cause: tokio_postgres::Error,
    },
    /// The schema registry does not answer.
    #[error("the schema registry cannot be asked: {0}")]
    Registry(#[from] contracts::RegistryError),
    /// Something else; the text says what, and what to do.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// For `map_err`: wraps an error of Kafka with what was being done.
    pub fn kafka(doing: impl Into<String>) -> impl FnOnce(rdkafka::error::KafkaError) -> Self {
        let doing = doing.into();
        move |cause| Self::Kafka { doing, cause }
    }

    /// For `map_err`: wraps an error of PostgreSQL with what was being done.
    pub fn database(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let doing = doing.into();
        move |cause| Self::Database { doing, cause }
    }
}

/// What went wrong on PostgreSQL: the server's own message where there is one, else
/// the chain of causes.
pub fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", db.message(), db.code().code());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
