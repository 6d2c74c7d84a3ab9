//! Looks at the service's own database from time to time and moves the brakes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use deadpool_postgres::Pool;
use flow::Step;
use jiff::Timestamp;
use metrics::{describe_gauge, gauge};
use tokio::time::{Instant, sleep, timeout};

use super::controller::{Condition, Controller, Limits, Seen};
use super::status::Participant;
use super::{Brake, first_pause};

/// Where a brake stands.
const BRAKE: &str = "participant_brake";
/// What is out.
const OUT: &str = "participant_commands_out";
/// What is held.
const HELD: &str = "participant_sagas_held";

/// Limit of one query.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Counting the crowd takes at most one part in this of the time.
const REST_FACTOR: u32 = 10;

/// How far the replies are consumed, by all instances: some dozen rows at most.
pub(crate) const ANSWERS: &str = "
SELECT topic, COALESCE(sum(next_offset), 0)::int8 FROM progress
WHERE topic = ANY($1::text[]) GROUP BY topic";

/// The sagas that have not ended, by what they wait for. Those that are stuck do
/// not count as out: they may be so for days, and say nothing of the others.
pub(crate) const CROWD: &str = "
SELECT step,
       count(*) FILTER (WHERE state <> 'STUCK' AND progress ->> 'tries' <> '0'),
       count(*) FILTER (WHERE progress ->> 'held' = 'true')
FROM sagas WHERE wake_at IS NOT NULL AND step IS NOT NULL GROUP BY step";

/// Gives the metrics their help texts.
pub(crate) fn describe_metrics() {
    describe_gauge!(
        BRAKE,
        "Brake of a participant, by participant: 0 open, 1 opening step by step, 2 closed"
    );
    describe_gauge!(
        OUT,
        "Commands to a participant that are out and unanswered, by participant"
    );
    describe_gauge!(
        HELD,
        "Sagas that wait for a participant that is held, by participant"
    );
}

#[derive(Clone, Copy, Debug, Default)]
struct Crowd {
    out: u64,
    held: u64,
}

/// What is known of one participant.
struct Watched {
    step: Step,
    controller: Controller,
    crowd: Crowd,
    since: Timestamp,
}

/// Moves the brakes for as long as the service runs; returns at once where they
/// are switched off.
pub(crate) async fn watch(brake: Arc<Brake>, pool: Pool) {
    let Some(limits) = brake.limits else {
        return;
    };
    let mut watched: Vec<_> = Step::ALL
        .iter()
        .map(|step| Watched {
            step: *step,
            controller: Controller::new(),
            crowd: Crowd::default(),
            since: Timestamp::now(),
        })
        .collect();
    let mut looked_at = Instant::now();
    let mut count_at = looked_at;
    let mut sighted = false;
    loop {
        match look(&pool, &mut watched, &mut count_at).await {
            Ok(answers) => {
                let elapsed = looked_at.elapsed();
                looked_at = Instant::now();
                sighted = true;
                for one in &mut watched {
                    let topic = reply_topic(one.step);
                    let seen = Seen {
                        answers: answers.get(topic).copied().unwrap_or_default(),
                        sent: brake.take_sent(one.step),
                        out: one.crowd.out,
                        held: one.crowd.held,
                    };
                    one.take(seen, elapsed, &limits);
                }
                brake.show(watched.iter().map(|one| one.shown(&limits)).collect());
            }
            // The tables are made while the service starts.
            Err(error) if !sighted => {
                tracing::debug!(
                    error = format!("{error:#}"),
                    "no look at the participants yet"
                );
            }
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "the participants were not looked at; their brakes stay as they are"
            ),
        }
        let starting = watched
            .iter()
            .any(|one| one.controller.condition() == Condition::Starting);
        let pause = if starting {
            first_pause(&limits)
        } else {
            limits.poll
        };
        for one in &watched {
            brake.set(one.step, one.controller.condition(), &limits, pause);
        }
        sleep(pause).await;
    }
}

/// The answers by topic, and from time to time the crowd.
async fn look(
    pool: &Pool,
    watched: &mut [Watched],
    count_at: &mut Instant,
) -> anyhow::Result<BTreeMap<String, i64>> {
    let looking = async {
        let client = pool.get().await?;
        if Instant::now() >= *count_at {
            let begin = Instant::now();
            let statement = client.prepare_cached(CROWD).await?;
            let rows = client.query(&statement, &[]).await?;
            let mut crowds = BTreeMap::new();
            for row in &rows {
                let crowd = Crowd {
                    out: u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or_default(),
                    held: u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or_default(),
                };
                crowds.insert(row.try_get::<_, String>(0)?, crowd);
            }
            for one in watched.iter_mut() {
                one.crowd = crowds.get(one.step.name()).copied().unwrap_or_default();
            }
            *count_at = Instant::now() + begin.elapsed().saturating_mul(REST_FACTOR);
        }
        let topics: Vec<_> = Step::ALL.iter().map(|step| reply_topic(*step)).collect();
        let statement = client.prepare_cached(ANSWERS).await?;
        let rows = client.query(&statement, &[&topics]).await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect()
    };
    timeout(READ_TIMEOUT, looking)
        .await
        .context("the database did not answer in time")?
}

fn reply_topic(step: Step) -> &'static str {
    step.definition().success.record.topic().name()
}

impl Watched {
    fn take(&mut self, seen: Seen, elapsed: Duration, limits: &Limits) {
        let before = self.controller.condition();
        let now = self.controller.look(seen, elapsed, limits);
        let participant = self.step.definition().owner;
        gauge!(BRAKE, "participant" => participant).set(now.level());
        gauge!(OUT, "participant" => participant).set(self.crowd.out as f64);
        gauge!(HELD, "participant" => participant).set(self.crowd.held as f64);
        if now.label() == before.label() {
            return;
        }
        self.since = Timestamp::now();
        let (state, was) = (now.label(), before.label());
        let (out, held) = (self.crowd.out, self.crowd.held);
        match now {
            Condition::Closed(_) => tracing::warn!(
                participant,
                state,
                commands_out = out,
                sagas_held = held,
                probes_per_second = limits.probes_per_second,
                "holding commands back from a participant that is silent or far behind; checkouts \
                 wait for it and are given up only when older than CHECKOUT_LIMIT_SECONDS. Look at \
                 that service: does it run, is its consumer lag growing, what does its log say. \
                 Nothing need be done here: when it answers, commands are let go"
            ),
            Condition::Ramping(per_second) => tracing::info!(
                participant,
                per_second,
                sagas_held = held,
                "a participant answers again; letting commands go, twice as many at each look"
            ),
            // At each start.
            Condition::Open if before == Condition::Starting => {
                tracing::debug!(participant, "commands to a participant flow freely");
            }
            Condition::Open | Condition::Starting => {
                tracing::info!(participant, was, "commands to a participant flow freely");
            }
        }
    }

    fn shown(&self, limits: &Limits) -> Participant {
        let condition = self.controller.condition();
        Participant {
            participant: self.step.definition().owner,
            state: condition.label(),
            since: Some(self.since),
            permitted_per_second: condition.per_second(limits),
            commands_out: self.crowd.out,
            sagas_held: self.crowd.held,
        }
    }
}
