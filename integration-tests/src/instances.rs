//! Instances one by one: how they end and return, what they count and own.

use std::time::Duration;

use stack::ServiceInstance;
use tokio::process::Command;

use crate::{PATIENCE, System};

/// One question to an instance; a frozen one does not answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

impl System {
    /// Kills an instance, as `kill -9` does.
    pub async fn kill_instance(&self, name: &str, index: usize) {
        let instance = self.instance(name, index).await;
        instance.process.kill9().expect("killed");
        let ended = instance.process.wait_ended(PATIENCE).await;
        ended.expect("it ended");
    }

    /// Asks an instance to stop and waits for it.
    pub async fn stop_instance(&self, name: &str, index: usize) {
        let instance = self.instance(name, index).await;
        instance.process.terminate().expect("asked to stop");
        let ended = instance.process.wait_ended(PATIENCE).await;
        ended.expect("it ended");
    }

    /// Waits until an instance ends by itself, and returns its log.
    pub async fn ends(&self, name: &str, index: usize) -> String {
        let instance = self.instance(name, index).await;
        let ended = instance.process.wait_ended(PATIENCE).await;
        ended.expect("it ends by itself");
        std::fs::read_to_string(instance.process.log()).expect("a log")
    }

    /// Starts a stopped service that is expected to end by itself, and returns its log.
    pub async fn fails_to_start(&self, name: &str) -> String {
        let instance = self.instance(name, 0).await;
        instance.process.start_again().await.expect("it starts");
        self.ends(name, 0).await
    }

    /// Starts an instance that has ended and waits until it is ready.
    pub async fn restart_instance(&self, name: &str, index: usize) {
        let instance = self.instance(name, index).await;
        let started = instance.start_again(PATIENCE).await;
        started.expect("it starts again");
    }

    /// Freezes an instance, as a machine that hangs would, and waits until it is.
    pub async fn freeze_instance(&self, name: &str, index: usize) {
        let instance = self.instance(name, index).await;
        instance.process.pause().expect("told to freeze");
        let pid = instance.process.pid().expect("it runs");
        self.until_frozen(&format!("{name} {index}"), pid).await;
    }

    /// Waits until a process that was told to freeze has done so.
    pub async fn until_frozen(&self, what: &str, pid: u32) {
        let pid = pid.to_string();
        self.until(&format!("{what} is frozen"), async || {
            let asked = Command::new("ps")
                .args(["-o", "stat=", "-p", &pid])
                .output();
            let state = asked.await.expect("ps tells what a process does").stdout;
            state.trim_ascii_start().starts_with(b"T")
        })
        .await;
    }

    /// Lets a frozen instance go on.
    pub async fn thaw_instance(&self, name: &str, index: usize) {
        let instance = self.instance(name, index).await;
        instance.process.resume().expect("told to go on");
    }

    /// What an instance has counted since its start: the sum of the samples of
    /// a metric that have this label, written as `name="value"`, or all with "".
    pub async fn counted(&self, name: &str, index: usize, metric: &str, label: &str) -> f64 {
        let instance = self.instance(name, index).await;
        counted(self, &instance, metric, label).await
    }

    /// How many partitions the running instances of a service own, each.
    pub async fn owned(&self, name: &str) -> Vec<f64> {
        let mut owned = Vec::new();
        for instance in self.instances(name).await {
            if instance.process.pid().is_some() {
                owned.push(counted(self, &instance, "saga_partitions_owned", "").await);
            }
        }
        owned
    }

    /// How many partitions a service reads.
    async fn to_own(&self, name: &str) -> f64 {
        let rows = self.query(name, "SELECT count(*) FROM progress", &[]).await;
        #[allow(clippy::cast_precision_loss, reason = "some dozens")]
        let all = rows[0].get::<_, i64>(0) as f64;
        all
    }

    /// Waits until an instance owns every partition that its service reads: all others
    /// are gone, or taken to be.
    pub async fn wait_alone(&self, name: &str, index: usize) {
        let all = self.to_own(name).await;
        let what = format!("{name} {index} owns all {all} partitions");
        self.until(&what, async || {
            self.counted(name, index, "saga_partitions_owned", "").await == all
        })
        .await;
    }

    /// Waits until every partition that a service reads has one owner among its
    /// running instances, and each of them has a share.
    pub async fn wait_shared(&self, name: &str) {
        let all = self.to_own(name).await;
        let what = format!("the {all} partitions of {name} are shared by its instances");
        self.until(&what, async || {
            let owned = self.owned(name).await;
            owned.iter().all(|owned| *owned > 0.0) && owned.iter().sum::<f64>() == all
        })
        .await;
    }
}

async fn counted(system: &System, instance: &ServiceInstance, metric: &str, label: &str) -> f64 {
    let url = format!("{}/metrics", instance.http_url().expect("an address"));
    let request = system.http.get(&url).timeout(ANSWER_LIMIT);
    let response = request.send().await;
    let response = response.unwrap_or_else(|error| panic!("{url}: {error}"));
    sum(&response.text().await.expect("text"), metric, label)
}

/// Of the Prometheus text format.
fn sum(text: &str, metric: &str, label: &str) -> f64 {
    text.lines()
        .filter_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
            (name == metric && labels.contains(label)).then(|| value.parse::<f64>().ok())?
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_label() {
        let text = "# TYPE saga_faults_total counter\n\
                    saga_faults_total{kind=\"fenced\"} 2\n\
                    saga_faults_total{kind=\"broken\"} 3\n\
                    saga_faults_totally 7\n\
                    saga_partitions_owned 16\n";
        assert_eq!(sum(text, "saga_faults_total", "kind=\"fenced\""), 2.0);
        assert_eq!(sum(text, "saga_faults_total", ""), 5.0);
        assert_eq!(sum(text, "saga_partitions_owned", ""), 16.0);
        assert_eq!(sum(text, "saga_none", ""), 0.0);
    }
}
