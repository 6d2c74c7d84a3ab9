//! Where logs begin and end.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::error::{Error, Result};

/// Between two questions.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The first offset in a log and the one after the last. Waits within `limit` for a leader:
/// a topic that was just made, or a broker that has just come back, has none for a moment.
/// Blocks the thread.
///
/// # Errors
/// When Kafka does not answer.
pub fn ends(
    consumer: &BaseConsumer<impl ConsumerContext>,
    topic: &str,
    partition: i32,
    limit: Duration,
) -> Result<(i64, i64)> {
    let begin = Instant::now();
    loop {
        match consumer.fetch_watermarks(topic, partition, limit) {
            Err(error)
                if begin.elapsed() < limit
                    && matches!(
                        error.rdkafka_error_code(),
                        Some(Code::NotLeaderForPartition | Code::LeaderNotAvailable)
                    ) =>
            {
                std::thread::sleep(ASK_AGAIN);
            }
            answer => {
                return answer.map_err(Error::kafka(format!(
                    "cannot ask for the ends of {topic}, partition {partition}"
                )));
            }
        }
    }
}
