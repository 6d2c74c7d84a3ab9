//! The services without work: their processor time, and how soon one is ready.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use stack::{Progress, Service, Stack};

use crate::processes::{Looker, spent_us};
use crate::side::Side;

/// For a service to stop, and to be ready again.
const LIMIT: Duration = Duration::from_secs(180);

/// A variant without work.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rest {
    pub(crate) variant: String,
    /// Processor time by process, in percent of one core; empty when not measured.
    pub(crate) idle_cpu_percent: BTreeMap<String, f64>,
    /// From the start of a service's process until it says that it is ready, in ms.
    pub(crate) ready_ms: BTreeMap<String, f64>,
}

/// Looks at each variant for so long while nothing is checked out, then stops one
/// instance of each service after another and starts it again.
///
/// # Errors
/// When a service does not stop, or is not ready again in time.
pub(crate) async fn measure(
    stack: &Stack,
    sides: &[Side],
    idle: Duration,
    progress: &Progress,
) -> anyhow::Result<Vec<Rest>> {
    let mut rests: Vec<Rest> = sides
        .iter()
        .map(|side| Rest {
            variant: side.name.clone(),
            ..Rest::default()
        })
        .collect();
    if !idle.is_zero() {
        let task = progress.task("idle");
        task.update(format!("{} s without carts", idle.as_secs()));
        let mut lookers: Vec<Looker> = sides
            .iter()
            .map(|side| Looker::new(stack, Some(&side.services)))
            .collect();
        let begin = Instant::now();
        let before: Vec<_> = lookers.iter_mut().map(Looker::look).collect();
        tokio::time::sleep(idle).await;
        let us = begin.elapsed().as_secs_f64() * 1e6;
        for ((rest, looker), before) in rests.iter_mut().zip(&mut lookers).zip(before) {
            let after = looker.look();
            let percent = |name: &String| spent_us(&before, &after, name) / us * 100.0;
            rest.idle_cpu_percent = after
                .keys()
                .map(|name| (name.clone(), percent(name)))
                .collect();
        }
        task.done("measured");
    }
    let task = progress.task("start to ready");
    for (rest, side) in rests.iter_mut().zip(sides) {
        for service in Service::ALL {
            task.update(format!("{service}, {}", side.name));
            let instance = side.services.one(*service)?;
            instance.process.terminate()?;
            instance.process.wait_ended(LIMIT).await?;
            let begin = Instant::now();
            instance
                .start_again(LIMIT)
                .await
                .with_context(|| format!("{service}, started again"))?;
            let ms = begin.elapsed().as_secs_f64() * 1e3;
            rest.ready_ms.insert(service.name().to_owned(), ms);
        }
    }
    task.done("measured");
    Ok(rests)
}
