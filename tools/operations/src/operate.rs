//! Operators' inputs to sagas: published on `ordering.operations`, and awaited in
//! the history of each saga.

use std::collections::BTreeMap;
use std::time::Duration;

use audit::{Error, Result, Target};
use contracts::ids::{CartId, CheckoutId, GenericUuid, OperationId};
use contracts::messages::{OperationAction, SagaOperation};
use contracts::{Codec, RecordType, Topic};
use flow::{Brakes, Input, Outcome, Rules, Saga, Step};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::databases::Db;
use crate::publish::{Place, Publisher, Unsent};
use crate::row::column;
use crate::sagas::Listed;
use crate::show::{BAD, GOOD, WARN, clean, paint, table};

/// The records that operators cause, for [`Codec::connect`].
const WRITES: &[RecordType] = &[RecordType::SagaOperation];
/// Inputs that are on their way at once.
const IN_FLIGHT: usize = 100;
/// Pause between two looks at the history.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

const ANSWERS: &str = "
SELECT partition, record_offset, outcome, reason, state, step
FROM saga_transitions
WHERE cart_id = ANY($1) AND topic = 'ordering.operations' AND record_offset IS NOT NULL
    AND at >= $2";

/// What an operator wants, why and on what grounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What is to be done.
    pub action: OperationAction,
    /// Who asks.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// The step that is meant; sagas at another step refuse.
    pub step: Option<Step>,
    /// What proves that nothing is held, for a resolution.
    pub evidence: Option<String>,
}

/// What came of a wish for one cart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was done.
    Operated,
    /// It would be done: this was a dry run.
    WouldBeOperated,
    /// The saga refuses it.
    Refused,
    /// No answer came in time, or Kafka was lost while it was published; it may still be
    /// done.
    Unanswered,
    /// Kafka did not take it, or it was not tried, after Kafka was lost.
    NotPublished,
}

/// What came of a wish for one cart, and how its saga stands now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Operated {
    /// The cart.
    pub cart_id: CartId,
    /// The checkout that was meant: a later one of the cart is not touched.
    pub checkout_id: CheckoutId,
    /// What came of it.
    pub result: Verdict,
    /// Why not, where it was not done.
    pub detail: Option<String>,
    /// The state after it.
    pub state: String,
    /// The step after it.
    pub step: Option<String>,
}

impl Operated {
    /// Whether it was done, or would be.
    pub fn is_done(&self) -> bool {
        matches!(self.result, Verdict::Operated | Verdict::WouldBeOperated)
    }

    /// It is not known that Kafka has it.
    fn not_sent(&mut self, unsent: &Unsent) {
        (self.result, self.detail) = match unsent {
            Unsent::Unknown(_) => (
                Verdict::Unanswered,
                Some(format!(
                    "{unsent}; ask later: checkoutctl explain {}",
                    self.cart_id
                )),
            ),
            Unsent::Refused(_) | Unsent::NotTried(_) => {
                (Verdict::NotPublished, Some(unsent.to_string()))
            }
        };
    }
}

impl Wish {
    fn operation(&self, of: &Listed) -> SagaOperation {
        SagaOperation {
            operation_id: OperationId::from_untyped_uuid(Uuid::new_v4()),
            cart_id: of.cart_id,
            checkout_id: Some(of.checkout_id),
            action: self.action,
            step: self.step.map(|step| step.to_string()),
            evidence: self.evidence.clone(),
            operator: self.operator.clone(),
            reason: self.reason.clone(),
            requested_at: Timestamp::now(),
        }
    }

    /// What would come of it now: the orchestrator's own function is asked, and
    /// nothing is published. A saga that this version does not understand is refused.
    pub fn rehearse(&self, sagas: &[Listed]) -> Vec<Operated> {
        let rehearsed = sagas.iter().map(|listed| match &listed.saga {
            Some(saga) => self.rehearse_one(listed, saga),
            None => not_understood(listed),
        });
        rehearsed.collect()
    }

    fn rehearse_one(&self, listed: &Listed, saga: &Saga) -> Operated {
        let operation = self.operation(listed);
        let transition = flow::next(
            Some(saga.clone()),
            &Input::Operator(&operation),
            Timestamp::now(),
            &Rules::default(),
            Brakes::OPEN,
        );
        let state = transition.saga.as_ref().unwrap_or(saga).progress.state;
        let (result, detail) = match transition.outcome {
            Outcome::OperatorRefused(refusal) => (Verdict::Refused, refusal.to_string()),
            _ => {
                let messages = transition.messages.iter();
                let sends: Vec<_> = messages.map(|sent| sent.record_type().name()).collect();
                let sends = format!("would publish {}", sends.join(", "));
                (Verdict::WouldBeOperated, sends)
            }
        };
        Operated {
            result,
            detail: Some(detail),
            state: state.kind().to_string(),
            step: state.step().map(|step| step.to_string()),
            ..unanswered(listed)
        }
    }

    /// Publishes it for each of these sagas and waits until the history shows what
    /// came of it, at most for `wait`. `tell` hears how far it is. A saga that this
    /// version does not understand is refused, and nothing is published for it. Where
    /// Kafka or the database is lost meanwhile, each result says what is known of it.
    ///
    /// # Errors
    /// When Kafka, the registry or the orchestrator's database cannot be reached;
    /// nothing was published then.
    pub async fn carry_out(
        &self,
        target: &Target,
        sagas: &[Listed],
        wait: Duration,
        tell: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Vec<Operated>> {
        tell("connecting to the orchestrator's database");
        let db = Db::orchestrator(target, target.kafka.timeout).await?;
        tell("asking the schema registry");
        let codec = Codec::connect(&target.registry, target.topics.clone(), WRITES).await?;
        let publisher = Publisher::new(&target.kafka)?;
        // The history's times are the orchestrator's; its clock may be behind ours.
        let begin = Timestamp::now();
        let since = begin
            .checked_sub(jiff::SignedDuration::from_hours(1))
            .unwrap_or(begin);
        let mut all: Vec<Operated> = sagas
            .iter()
            .map(|listed| match listed.saga {
                Some(_) => unanswered(listed),
                None => not_understood(listed),
            })
            .collect();
        let understood = sagas.iter().enumerate();
        let understood: Vec<_> = understood
            .filter(|(_, listed)| listed.saga.is_some())
            .collect();
        let total = understood.len();
        let mut open: BTreeMap<Place, usize> = BTreeMap::new();
        let mut publishing = stream::iter(understood)
            .map(async |(index, listed)| {
                let operation = self.operation(listed).into();
                (index, publisher.message(&codec, &operation).await)
            })
            .buffered(IN_FLIGHT);
        tell(&format!("0 of {total} published"));
        while let Some((index, place)) = publishing.next().await {
            match place {
                Ok(place) => {
                    open.insert(place, index);
                }
                Err(unsent) => all[index].not_sent(&unsent),
            }
            tell(&format!("{} of {total} published", open.len()));
        }

        let (published, deadline) = (open.len(), Instant::now() + wait);
        while !open.is_empty() && Instant::now() < deadline {
            if let Err(error) = take_answers(&db, since, &mut open, &mut all).await {
                for index in open.values() {
                    let one = &mut all[*index];
                    one.detail = Some(format!(
                        "published, but it cannot be read what came of it: {error}; ask later: \
                         checkoutctl explain {}",
                        one.cart_id
                    ));
                }
                break;
            }
            tell(&format!(
                "{} of {published} have answered",
                published - open.len()
            ));
            if !open.is_empty() {
                sleep(LOOK_AGAIN).await;
            }
        }
        Ok(all)
    }
}

/// Looks into the history for what came of those that are open.
async fn take_answers(
    db: &Db,
    since: Timestamp,
    open: &mut BTreeMap<Place, usize>,
    all: &mut [Operated],
) -> Result<()> {
    let carts: Vec<Uuid> = open
        .values()
        .map(|index| all[*index].cart_id.into_untyped_uuid())
        .collect();
    for row in db.query(ANSWERS, &[&carts, &since]).await? {
        let place = (column(&row, "partition")?, column(&row, "record_offset")?);
        let (outcome, reason): (String, String) =
            (column(&row, "outcome")?, column(&row, "reason")?);
        let (state, step) = (column(&row, "state")?, column(&row, "step")?);
        let Some(index) = open.remove(&place) else {
            continue;
        };
        let one = &mut all[index];
        (one.state, one.step) = (state, step);
        (one.result, one.detail) = match outcome.as_str() {
            "operated" => (Verdict::Operated, None),
            _ => (Verdict::Refused, Some(reason)),
        };
    }
    Ok(())
}

/// Nothing is asked of a saga that nobody here can say the answer of.
fn not_understood(listed: &Listed) -> Operated {
    Operated {
        result: Verdict::Refused,
        detail: listed.note.clone(),
        ..unanswered(listed)
    }
}

fn unanswered(listed: &Listed) -> Operated {
    Operated {
        cart_id: listed.cart_id,
        checkout_id: listed.checkout_id,
        result: Verdict::Unanswered,
        detail: Some(format!(
            "the history does not show it yet; see whether the orchestrator reads {}",
            Topic::OrderingOperations
        )),
        state: listed.state.clone(),
        step: listed.step.clone(),
    }
}

/// The sagas of these carts, and the carts that have none.
///
/// # Errors
/// When the orchestrator's database cannot be asked.
pub async fn of_carts(
    target: &Target,
    carts: &[CartId],
    timeout: Duration,
) -> Result<(Vec<Listed>, Vec<CartId>)> {
    let filter = crate::sagas::Filter {
        carts: carts.to_vec(),
        ..crate::sagas::Filter::default()
    };
    let most = u32::try_from(carts.len())
        .map_err(|_| Error::Invalid("too many carts at once".to_owned()))?;
    let page = crate::sagas::list(target, &filter, None, most, timeout).await?;
    let missing = carts.iter().copied().filter(|cart| {
        let found = |saga: &Listed| saga.cart_id == *cart;
        !page.sagas.iter().any(found)
    });
    let missing = missing.collect();
    Ok((page.sagas, missing))
}

/// A table for people, with colours.
pub fn text(all: &[Operated]) -> String {
    let rows = all.iter().map(|one| {
        let (style, result) = match one.result {
            Verdict::Operated => (GOOD, "done"),
            Verdict::WouldBeOperated => (GOOD, "would be done"),
            Verdict::Refused => (BAD, "refused"),
            Verdict::Unanswered => (WARN, "no answer yet"),
            Verdict::NotPublished => (BAD, "not published"),
        };
        vec![
            one.cart_id.to_string(),
            paint(style, result),
            clean(&one.state),
            clean(one.step.as_deref().unwrap_or_default()),
            clean(one.detail.as_deref().unwrap_or_default()),
        ]
    });
    table(&["CART", "RESULT", "STATE", "STEP", ""], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sagas::example;

    #[test]
    fn only_the_saga_that_is_not_understood_is_refused() {
        let wish = Wish {
            action: OperationAction::Retry,
            operator: "night shift".to_owned(),
            reason: "a test".to_owned(),
            step: None,
            evidence: None,
        };
        let sagas = [
            example("STUCK", Step::FIRST.name()),
            example("STUCK", "SHIP_PARCEL"),
        ];
        let rehearsed = wish.rehearse(&sagas);
        let results: Vec<_> = rehearsed.iter().map(|one| one.result).collect();
        assert_eq!(results, [Verdict::WouldBeOperated, Verdict::Refused]);
        let detail = rehearsed[1].detail.as_deref().unwrap_or_default();
        assert!(detail.contains("SHIP_PARCEL"), "{detail}");
        assert_eq!(rehearsed[1].step.as_deref(), Some("SHIP_PARCEL"));
    }

    #[test]
    fn not_published_is_told_only_where_that_is_known() {
        let told = |unsent: &Unsent| {
            let mut one = unanswered(&example("STUCK", Step::FIRST.name()));
            one.not_sent(unsent);
            (one.result, one.detail.unwrap_or_default())
        };
        let why = || "no answer".to_owned();
        for unsent in [Unsent::Refused(why()), Unsent::NotTried(why())] {
            assert_eq!(told(&unsent).0, Verdict::NotPublished, "{unsent}");
        }
        let (result, detail) = told(&Unsent::Unknown(why()));
        assert_eq!(result, Verdict::Unanswered);
        for part in ["not known", "no answer", "checkoutctl explain "] {
            assert!(detail.contains(part), "{part}: {detail}");
        }
    }
}
