//! How the payment service answers commands, calls and timers: the glue between
//! the runtime, the state machine and the gateway.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::ids::{CartId, CheckoutId, CommandId, GenericUuid};
use contracts::{ErrorCode, Message, Poison, RecordType, Topic};
use jiff::Timestamp;
use runtime::{Body, Handler, Home, Input, Outbox, Sql};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::authorization::{Authorization, Context};
use crate::gateway::{AuthorizeRequest, Cause, Gateway, Hold, Unsettled, VoidRequest};
use crate::retry::Retry;
use crate::{calls, store};

/// Authorizes and voids payments.
pub struct Payments {
    gateway: Arc<dyn Gateway>,
    /// Limit of one call, all its requests together.
    call_timeout: Duration,
    retry: Retry,
}

/// A call to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// The trace it belongs to, for the logs.
    pub trace_id: [u8; 16],
}

/// What the gateway is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To hold money.
    Authorize(AuthorizeRequest),
    /// To give a hold up.
    Void(VoidRequest),
}

impl Request {
    pub(crate) fn checkout_id(&self) -> CheckoutId {
        match self {
            Self::Authorize(request) => request.checkout_id,
            Self::Void(request) => request.checkout_id,
        }
    }

    pub(crate) fn cart_id(&self) -> CartId {
        match self {
            Self::Authorize(request) => request.cart_id,
            Self::Void(request) => request.cart_id,
        }
    }

    pub(crate) fn attempt(&self) -> i32 {
        match self {
            Self::Authorize(request) => request.attempt,
            Self::Void(request) => request.attempt,
        }
    }

    fn key(&self) -> CommandId {
        match self {
            Self::Authorize(request) => request.key,
            Self::Void(request) => request.key,
        }
    }
}

/// The gateway's answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The checkout that the call was for.
    pub checkout_id: CheckoutId,
    /// What was answered.
    pub outcome: Outcome,
}

/// What the gateway answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To the request to hold money.
    Authorize(Result<Hold, Unsettled>),
    /// To the request to give a hold up.
    Void(Result<(), Unsettled>),
}

/// The rows of one batch.
#[derive(Default)]
pub struct Rows(HashMap<CheckoutId, Entered>);

struct Entered {
    row: Authorization,
    /// Whether the table has it.
    stored: bool,
    changed: bool,
}

impl Payments {
    /// The payment service in front of a gateway.
    pub fn new(gateway: Arc<dyn Gateway>, call_timeout: Duration, retry: Retry) -> Self {
        Self {
            gateway,
            call_timeout,
            retry,
        }
    }
}

impl Rows {
    fn add(&mut self, row: Authorization) {
        let entered = Entered {
            stored: false,
            changed: true,
            row,
        };
        self.0.insert(entered.row.checkout_id, entered);
    }
}

impl Handler for Payments {
    type State = Rows;
    type Call = Call;
    type Answer = Answer;

    const NAME: &'static str = "payment";
    const CONSUMES: &'static [Topic] = &[Topic::PaymentsCommands];
    const PRODUCES: &'static [RecordType] = &[
        RecordType::PaymentAuthorized,
        RecordType::PaymentDeclined,
        RecordType::AuthorizationVoided,
    ];
    const STATEMENTS: &'static [&'static str] =
        &[store::LOCK, store::INSERT, store::UPDATE, store::DUE];

    fn reads(&self, batch: &[Input<Answer>]) -> Vec<Sql> {
        let mut checkouts: Vec<Uuid> = batch.iter().filter_map(checkout_of).collect();
        checkouts.sort_unstable();
        checkouts.dedup();
        vec![store::lock(checkouts)]
    }

    fn state(
        &self,
        _batch: &[Input<Answer>],
        rows: Vec<Vec<Row>>,
    ) -> Result<Rows, tokio_postgres::Error> {
        let mut state = Rows::default();
        for row in rows.iter().flatten() {
            let row = store::from_row(row)?;
            let entered = Entered {
                stored: true,
                changed: false,
                row,
            };
            state.0.insert(entered.row.checkout_id, entered);
        }
        Ok(state)
    }

    fn handle(
        &self,
        state: &mut Rows,
        input: &Input<Answer>,
        out: &mut Outbox<Call>,
    ) -> Result<(), Poison> {
        let context = &Context {
            home: input.home,
            now: input.now,
            trace: input.trace,
            retry: &self.retry,
        };
        match &input.body {
            Body::Message(Message::AuthorizePayment(command)) => {
                match state.0.get_mut(&command.checkout_id) {
                    None => state.add(Authorization::begin(command, context, out)),
                    Some(known) => known.changed |= known.row.authorize(command, context, out)?,
                }
            }
            Body::Message(Message::VoidAuthorization(command)) => {
                match state.0.get_mut(&command.checkout_id) {
                    None => state.add(Authorization::bury(command, context, out)),
                    Some(known) => known.changed |= known.row.void(command, context, out)?,
                }
            }
            Body::Message(other) => {
                return Err(Poison::new(
                    ErrorCode::WrongRecordForTopic,
                    format!(
                        "the payment service takes no {}",
                        other.record_type().full_name()
                    ),
                ));
            }
            Body::Timer(checkout) => {
                let checkout = CheckoutId::from_untyped_uuid(*checkout);
                if let Some(known) = state.0.get_mut(&checkout) {
                    known.changed |= known.row.wake(context, out);
                }
            }
            Body::Answer(answer) => {
                if let Some(known) = state.0.get_mut(&answer.checkout_id) {
                    known.changed |= match &answer.outcome {
                        Outcome::Authorize(answer) => {
                            known.row.authorize_answered(answer, context, out)
                        }
                        Outcome::Void(answer) => known.row.void_answered(answer, context, out),
                    };
                }
            }
        }
        Ok(())
    }

    fn writes(&self, state: Rows) -> Vec<Sql> {
        let mut new = Vec::new();
        let mut known = Vec::new();
        for entered in state.0.into_values().filter(|entered| entered.changed) {
            if entered.stored {
                known.push(entered.row);
            } else {
                new.push(entered.row);
            }
        }
        store::writes(new, known)
    }

    fn due(&self, homes: &[Home], now: Timestamp, limit: i64) -> Option<Sql> {
        Some(store::due(homes, now, limit))
    }

    async fn call(&self, call: Call) -> Answer {
        let begun = Instant::now();
        let checkout_id = call.request.checkout_id();
        let gateway = self.gateway.as_ref();
        let outcome = match &call.request {
            Request::Authorize(request) => {
                Outcome::Authorize(self.in_time(gateway.authorize(request)).await)
            }
            Request::Void(request) => Outcome::Void(self.in_time(gateway.void(request)).await),
        };
        calls::record(gateway.name(), &call, &outcome, begun.elapsed());
        Answer {
            checkout_id,
            outcome,
        }
    }

    fn call_key(call: &Call) -> Uuid {
        call.request.key().into_untyped_uuid()
    }
}

impl Payments {
    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, Unsettled>>,
    ) -> Result<T, Unsettled> {
        tokio::time::timeout(self.call_timeout, call)
            .await
            .unwrap_or_else(|_| {
                Err(Unsettled::new(
                    Cause::TimedOut,
                    format!("no answer within {} ms", self.call_timeout.as_millis()),
                ))
            })
    }
}

fn checkout_of(input: &Input<Answer>) -> Option<Uuid> {
    match &input.body {
        Body::Message(message) => message.checkout_id().map(GenericUuid::into_untyped_uuid),
        Body::Timer(checkout) => Some(*checkout),
        Body::Answer(answer) => Some(answer.checkout_id.into_untyped_uuid()),
    }
}

#[cfg(test)]
mod tests;
