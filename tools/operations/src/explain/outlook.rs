//! What happens next, or what is wrong, in plain words; and what can be typed.

use contracts::TopicNames;
use contracts::ids::CartId;
use flow::{Saga, State, Step, Waiting};
use jiff::{SignedDuration, Timestamp};

use super::nothing::not_understood;
use super::{Entry, Lag, Record, WaitsFor};
use crate::sagas::Listed;
use crate::show::ago;

/// A timer that is later than this is overdue.
const TIMER_SLACK: SignedDuration = SignedDuration::from_secs(10);

/// What is known of the cart.
pub(super) struct Known<'k> {
    pub(super) cart: CartId,
    pub(super) now: Timestamp,
    pub(super) listed: Option<&'k Listed>,
    pub(super) home_partition: Option<i32>,
    pub(super) waits_for: Option<&'k WaitsFor>,
    pub(super) timeline: &'k [Entry],
    pub(super) lag: &'k [Lag],
    pub(super) names: &'k TopicNames,
    pub(super) search_records: u64,
    pub(super) kafka_answered: bool,
    pub(super) orchestrator_answered: bool,
}

/// The sentence and the commands.
pub(super) fn of(known: &Known<'_>) -> (String, Vec<String>) {
    let Some(listed) = known.listed else {
        return match known.orchestrator_answered {
            true => known.unknown(),
            false => (known.untold(), Vec::new()),
        };
    };
    let Some(saga) = &listed.saga else {
        return (not_understood(listed), Vec::new());
    };
    match saga.progress.state {
        State::Completed => {
            let order = saga
                .order_id()
                .map_or_else(String::new, |order| format!(" {order}"));
            (
                format!(
                    "The checkout ended with order{order}, and OrderCreated tells so. Nothing follows."
                ),
                Vec::new(),
            )
        }
        State::Failed => {
            let why = saga.progress.failure.as_ref().map_or_else(
                || "without a reason".to_owned(),
                |failure| format!("with {} ({})", failure.reason, failure.detail),
            );
            (
                format!(
                    "The checkout failed {why}; nothing is held, and CheckoutFailed tells so. The \
                     cart may be checked out again with a new eventId."
                ),
                Vec::new(),
            )
        }
        State::Abandoned { step } => {
            let owner = step.definition().owner;
            (
                format!(
                    "An operator abandoned the saga at {step}. Nothing follows by itself: what \
                     {owner} and the steps before it still hold is to be settled by hand; the rows \
                     show it."
                ),
                Vec::new(),
            )
        }
        State::InProgress(waiting)
        | State::InDoubt(waiting)
        | State::Compensating(waiting)
        | State::Stuck(waiting) => known.waits(saga, waiting),
    }
}

impl Known<'_> {
    pub(super) fn records(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.timeline.iter().filter_map(|entry| match entry {
            Entry::Record(record) => Some(record.as_ref()),
            Entry::Transition(_) => None,
        })
    }

    /// The newest dead letter of this cart that is of one of these topics.
    pub(super) fn dead_letter(&self, topics: &[contracts::Topic]) -> Option<&Record> {
        let dlqs: Vec<&str> = topics.iter().map(|topic| self.names.dlq(*topic)).collect();
        self.records()
            .rev()
            .find(|record| dlqs.contains(&record.topic.as_str()))
    }

    fn waits(&self, saga: &Saga, waiting: Waiting) -> (String, Vec<String>) {
        let definition = waiting.step.definition();
        let forward = matches!(saga.progress.state, State::InProgress(_));
        let record = match forward {
            true => definition.command.record,
            false => definition.compensation.record,
        };
        let (command, owner) = (record.name(), definition.owner);
        let service = self.waits_for.map_or(owner, |waits| waits.service.as_str());

        if let Some((why, first)) = self.trouble(waiting, record, service) {
            let mut commands = vec![first];
            commands.extend(self.actions(waiting.step, forward));
            commands.retain(|command| !command.is_empty());
            return (why, commands);
        }
        let due = waiting.due_at;
        let sent = match waiting.tries {
            0 => format!("{command} is not sent yet"),
            1 => format!("{command} was sent once, {}", ago(waiting.since, self.now)),
            tries => format!(
                "{command} was sent {tries} times since {}",
                ago(waiting.since, self.now)
            ),
        };
        let what = match (waiting.held, forward) {
            (true, _) => format!(
                "The brake holds {owner} back, which is silent or far behind; {sent}. The checkout \
                 waits and looks again at {due}; it goes on by itself when {owner} answers. Look \
                 at {owner}, not at this cart."
            ),
            (false, true) => {
                let tries = definition.retry.tries;
                format!(
                    "{sent}; {owner} has not answered. Without an answer it is sent again at {due}; \
                     after the last try (the {tries}th, unless configured) the step is in doubt \
                     and everything is undone."
                )
            }
            (false, false) => format!(
                "{sent} to undo {}; {owner} has not acknowledged it. It is sent again at {due}, and \
                 so on without end; when it is acknowledged the saga goes on by itself.",
                waiting.step
            ),
        };
        (what, self.actions(waiting.step, forward))
    }

    /// What keeps the saga from going on, where that can be seen; and the command
    /// to begin with.
    fn trouble(
        &self,
        waiting: Waiting,
        command: contracts::RecordType,
        service: &str,
    ) -> Option<(String, String)> {
        let definition = waiting.step.definition();
        let answers = [
            definition.success.record.topic(),
            definition.compensation.acknowledged_by.topic(),
        ];
        // An older one was overcome: the saga has moved on since.
        let letter = self
            .dead_letter(&[&[command.topic()][..], &answers].concat())
            .filter(|letter| letter.at.is_none_or(|at| at >= waiting.since));
        if let Some(letter) = letter {
            let why = letter.remark.as_deref().unwrap_or_default();
            return Some((
                format!(
                    "A record of this cart is a dead letter on {}, partition {}, offset {}: {why}. \
                     Mend the cause, then redrive it; without that the command is sent again at {}.",
                    letter.topic, letter.partition, letter.offset, waiting.due_at
                ),
                redrive(letter),
            ));
        }
        let unread = |topics: &[contracts::Topic]| {
            let names: Vec<&str> = topics.iter().map(|topic| self.names.name(*topic)).collect();
            self.records().find_map(|record| {
                let lag = self
                    .lag
                    .iter()
                    .find(|lag| lag.topic == record.topic && lag.partition == record.partition)?;
                let position = lag.position?;
                (names.contains(&record.topic.as_str()) && record.offset >= position)
                    .then_some((record, record.offset - position))
            })
        };
        if let Some((record, ahead)) = unread(&answers) {
            return Some((
                format!(
                    "The answer, {}, is on {}, partition {}, offset {}, and the orchestrator has \
                     {ahead} offsets to read before it. If that number does not fall, see whether \
                     the orchestrator runs and what its log says.",
                    record.record_type, record.topic, record.partition, record.offset
                ),
                String::new(),
            ));
        }
        if let Some((record, ahead)) = unread(&[command.topic()]) {
            return Some((
                format!(
                    "{} is on {}, partition {}, offset {}, and the {service} service has {ahead} \
                     offsets to read before it. If that number does not fall, see whether the \
                     {service} service runs and what its log says; the saga goes on by itself when \
                     it answers.",
                    record.record_type, record.topic, record.partition, record.offset
                ),
                String::new(),
            ));
        }
        let wake_at = self.listed?.wake_at?;
        let late = self.now.duration_since(wake_at);
        (late > TIMER_SLACK).then(|| {
            (
                format!(
                    "The saga's timer was due {} and has not fired: no instance of the \
                     orchestrator takes care of {}, partition {}. See whether the orchestrator \
                     runs, and whether it reads that partition.",
                    ago(wake_at, self.now),
                    self.names.name(contracts::Topic::ShoppingCheckouts),
                    self.home_partition.unwrap_or_default(),
                ),
                String::new(),
            )
        })
    }

    fn actions(&self, step: Step, forward: bool) -> Vec<String> {
        let cart = self.cart;
        let line = |rest: String| format!("checkoutctl sagas {rest} --reason '…'");
        match forward {
            true => vec![
                line(format!("retry {cart}")),
                line(format!("compensate {cart}")),
            ],
            false => vec![
                line(format!("retry {cart}")),
                line(format!("resolve {cart} --step {step} --evidence '…'")),
                line(format!("abandon {cart}")),
            ],
        }
    }
}

/// The command that publishes a dead letter again.
pub(super) fn redrive(letter: &Record) -> String {
    format!(
        "checkoutctl dlq redrive {}:{}:{} --reason '…' --dry-run",
        letter.topic, letter.partition, letter.offset
    )
}

#[cfg(test)]
mod tests {
    use contracts::ids::GenericUuid;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn saga(state: &str, held: bool) -> Saga {
        let cart = json!({"customerId": Uuid::nil(), "items": [], "total": 1, "currency": "EUR"});
        let progress = json!({
            "checkoutId": Uuid::from_u128(1), "state": state, "step": "AUTHORIZE_PAYMENT",
            "tries": 2, "since": "2026-01-01T00:00:00Z", "dueAt": "2026-01-01T00:01:00Z",
            "held": held, "startedAt": "2026-01-01T00:00:00Z",
            "updatedAt": "2026-01-01T00:00:00Z",
        });
        crate::sagas::understood(Uuid::nil(), cart, progress).unwrap()
    }

    fn record(topic: &str, offset: i64, remark: Option<&str>) -> Entry {
        Entry::Record(Box::new(Record::sample(topic, offset, remark)))
    }

    fn lag(topic: &str, position: i64) -> Lag {
        Lag {
            service: "payment".to_owned(),
            topic: topic.to_owned(),
            partition: 0,
            position: Some(position),
            end: 100,
            unread: 100 - position,
            exact: true,
        }
    }

    fn told(saga: &Saga, timeline: &[Entry], lag: &[Lag], wake_at: &str) -> (String, Vec<String>) {
        let listed = Listed::new(saga.clone(), Some(wake_at.parse().unwrap()));
        of(&Known {
            cart: CartId::from_untyped_uuid(Uuid::nil()),
            now: "2026-01-01T00:00:30Z".parse().unwrap(),
            listed: Some(&listed),
            home_partition: Some(2),
            waits_for: None,
            timeline,
            lag,
            names: &TopicNames::default(),
            search_records: 10,
            kafka_answered: true,
            orchestrator_answered: true,
        })
    }

    const NOT_DUE: &str = "2026-01-01T00:01:00Z";

    #[test]
    fn who_waits_is_told_for_what_and_what_can_be_done() {
        let (text, commands) = told(&saga("IN_PROGRESS", false), &[], &[], NOT_DUE);
        assert!(text.contains("AuthorizePayment was sent 2 times"), "{text}");
        assert!(
            text.contains("sent again at 2026-01-01T00:01:00Z"),
            "{text}"
        );
        assert!(commands.iter().any(|line| line.contains("compensate")));
        let (text, _) = told(&saga("IN_PROGRESS", true), &[], &[], NOT_DUE);
        assert!(text.contains("The brake holds payments back"), "{text}");
        let (text, commands) = told(&saga("STUCK", false), &[], &[], NOT_DUE);
        assert!(text.contains("VoidAuthorization"), "{text}");
        assert!(commands.iter().any(|line| line.contains("resolve")));
        assert!(!commands.iter().any(|line| line.contains("compensate")));
    }

    #[test]
    fn what_keeps_a_saga_from_going_on_comes_first() {
        let saga = saga("IN_PROGRESS", false);
        let timer = told(&saga, &[], &[], "2026-01-01T00:00:01Z").0;
        assert!(timer.contains("has not fired"), "{timer}");
        assert!(timer.contains("partition 2"), "{timer}");

        let command = [record("payments.commands", 90, None)];
        let behind = told(&saga, &command, &[lag("payments.commands", 40)], NOT_DUE).0;
        assert!(behind.contains("has 50 offsets to read"), "{behind}");
        let handled = told(&saga, &command, &[lag("payments.commands", 91)], NOT_DUE).0;
        assert!(handled.contains("has not answered"), "{handled}");

        let answer = [record("payments.outcomes", 7, None)];
        let unread = told(&saga, &answer, &[lag("payments.outcomes", 5)], NOT_DUE).0;
        assert!(
            unread.contains("the orchestrator has 2 offsets"),
            "{unread}"
        );

        let letter = [record(
            "payments.commands.dlq",
            3,
            Some("put aside by payment"),
        )];
        let (dead, commands) = told(&saga, &letter, &[], NOT_DUE);
        assert!(
            dead.contains("dead letter on payments.commands.dlq"),
            "{dead}"
        );
        assert!(commands[0].contains("dlq redrive payments.commands.dlq:0:3"));
        let mut old = letter.clone();
        if let Entry::Record(record) = &mut old[0] {
            record.at = Some("2025-12-31T23:59:59Z".parse().unwrap());
        }
        let overcome = told(&saga, &old, &[], NOT_DUE).0;
        assert!(!overcome.contains("dead letter"), "{overcome}");
        let elsewhere = [record("ordering.replies.dlq", 3, Some("put aside"))];
        let other = told(&saga, &elsewhere, &[], NOT_DUE).0;
        assert!(!other.contains("dead letter"), "of another step: {other}");
    }
}
