//! How the payment service answers commands, calls and timers: the glue between
//! the runtime, the state machine and the gateway.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::ids::{CartId, CheckoutId, CommandId, GenericUuid};
use contracts::{ErrorCode, Message, Poison, RecordType, Topic};
use jiff::Timestamp;
use runtime::{Body, Handler, Home, Input, Outbox, RowVersion, Sql};
use service::{RowCache, Rows};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::authorization::{Authorization, Changed, Context};
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
pub struct Authorizations(Rows<CheckoutId, Authorization>);

/// The rows of former batches.
pub struct Kept(RowCache<CheckoutId, Authorization>);

impl runtime::Cache for Kept {
    fn new(max_rows: usize) -> Self {
        Self(RowCache::new(max_rows))
    }
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

impl Authorizations {
    fn add(&mut self, row: Authorization) {
        self.0.put(row.checkout_id, row);
    }

    /// Does something to the row of a checkout, if there is one; false where there is
    /// none. It is written if that changes it.
    fn change<E>(
        &mut self,
        checkout: CheckoutId,
        deed: impl FnOnce(&mut Authorization) -> Result<Changed, E>,
    ) -> Result<bool, E> {
        let Some(mut row) = self.0.get(&checkout).cloned() else {
            return Ok(false);
        };
        if deed(&mut row)? {
            self.0.put(checkout, row);
        }
        Ok(true)
    }
}

impl Handler for Payments {
    type State = Authorizations;
    type Cache = Kept;
    type Call = Call;
    type Answer = Answer;

    const NAME: &'static str = "payment";
    const CONSUMES: &'static [Topic] = &[Topic::PaymentsCommands];
    const PRODUCES: &'static [RecordType] = &[
        RecordType::PaymentAuthorized,
        RecordType::PaymentDeclined,
        RecordType::AuthorizationVoided,
    ];
    const STATEMENTS: &'static [&'static str] = &[
        store::LOCK,
        store::INSERT,
        store::UPDATE,
        store::COMPARE,
        store::DUE,
    ];

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
    ) -> Result<Authorizations, tokio_postgres::Error> {
        let mut state = Authorizations::default();
        for row in rows.iter().flatten() {
            let version = RowVersion::of(row)?;
            let row = store::from_row(row)?;
            state.0.add(row.checkout_id, version, row);
        }
        Ok(state)
    }

    fn recall(&self, batch: &[Input<Answer>], kept: &mut Kept) -> Option<Authorizations> {
        let mut state = Authorizations::default();
        for input in batch {
            if let Body::Message(Message::AuthorizePayment(command)) = &input.body {
                state
                    .0
                    .recall_or_presume_new(&command.checkout_id, &mut kept.0);
            } else if let Some(checkout) = checkout_of(input) {
                let checkout = CheckoutId::from_untyped_uuid(checkout);
                if !state.0.recall(&checkout, &mut kept.0) {
                    return None;
                }
            }
        }
        Some(state)
    }

    fn is_certain(&self, state: &Authorizations) -> bool {
        state.0.is_certain()
    }

    fn keep(&self, state: &Authorizations, kept: &mut Kept, written: &RowVersion) {
        // While a call is out its answer is to come; after that, hardly anything.
        state.0.keep(&mut kept.0, written, |row| {
            row.wake_at.is_some().then(|| row.clone())
        });
    }

    fn handle(
        &self,
        state: &mut Authorizations,
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
                let checkout = command.checkout_id;
                if !state.change(checkout, |row| row.authorize(command, context, out))? {
                    state.add(Authorization::begin(command, context, out));
                }
            }
            Body::Message(Message::VoidAuthorization(command)) => {
                let checkout = command.checkout_id;
                if !state.change(checkout, |row| row.void(command, context, out))? {
                    state.add(Authorization::bury(command, context, out));
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
                state.change(checkout, |row| Ok::<_, Poison>(row.wake(context, out)))?;
            }
            Body::Answer(answer) => {
                state.change(answer.checkout_id, |row| {
                    Ok::<_, Poison>(match &answer.outcome {
                        Outcome::Authorize(answer) => row.authorize_answered(answer, context, out),
                        Outcome::Void(answer) => row.void_answered(answer, context, out),
                    })
                })?;
            }
        }
        Ok(())
    }

    fn writes(&self, state: Authorizations) -> Vec<Sql> {
        store::writes(state.0)
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
