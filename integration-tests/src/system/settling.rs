//! Waiting until something is so, and until everything is at rest.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use audit::DeadLetter;
use contracts::messages::CartCheckedOut;
use rdkafka::producer::Producer;
use tokio::time::{sleep, timeout};

use super::{LOOK_AGAIN, System};
use crate::PATIENCE;

impl System {
    /// The end of a partition's log; the topic's name is without prefix.
    pub fn end(&self, topic: &str, partition: i32) -> i64 {
        let name = format!("{}{topic}", self.installation.topic_prefix);
        tokio::task::block_in_place(|| {
            let producer = self.producer();
            let client = producer.client();
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
                self.until(&format!("{service} reads {name}"), async || {
                    let sql = format!("{sql} WHERE topic = $1 AND partition = $2");
                    let row = &self.query(service, &sql, &[&topic, &partition]).await[0];
                    row.get::<_, i64>(2) >= end
                })
                .await;
            }
        }
    }

    /// Waits until a condition holds that is looked at again and again.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let looking = async {
            while !holds().await {
                sleep(LOOK_AGAIN).await;
            }
        };
        // A look that hangs is given up, too.
        if timeout(PATIENCE, looking).await.is_err() {
            panic!("not within {PATIENCE:?}: {what}");
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
