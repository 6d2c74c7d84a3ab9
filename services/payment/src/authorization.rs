//! The life of one authorization: a state machine without I/O and without a clock.
//!
//! ```text
//!                 ┌── placed ──► AUTHORIZED ── void ──► VOIDING ── given up ──► VOIDED
//! REQUESTED ──────┤                                        ▲                      ▲
//!  (call out)     ├── placed, void requested ──────────────┘ (call out)           │
//!                 ├── refused ──► DECLINED ── void ───────────────────────────────┤
//!                 └── refused, void requested ────────────────────────────────────┤
//! nothing ─────── void ───────────────────────────────────────────────────────────┘
//! ```
//!
//! Only REQUESTED and VOIDING have a call out, and only they have a wake-up time,
//! at which the call is made again with the same key, for ever. A repeated command
//! gets the reply it got before. Whatever answers a call that is not out changes
//! nothing.

mod checks;
mod replies;

use contracts::Poison;
use contracts::TraceContext;
use contracts::ids::{self, AuthorizationId, CartId, CheckoutId, CommandId, CustomerId};
use contracts::messages::{AuthorizePayment, DeclineReason, VoidAuthorization};
use jiff::Timestamp;
use runtime::{Home, Outbox};

use self::checks::{check_command, check_other_command, is_currency, kept_currency};
use crate::gateway::{AuthorizeRequest, Hold, Unsettled, VoidRequest};
use crate::handler::{Call, Request};
use crate::retry::Retry;

/// Where an authorization stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// The gateway is asked to hold the money.
    Requested,
    /// The money is held.
    Authorized,
    /// No money is held.
    Declined,
    /// The gateway is asked to give the hold up.
    Voiding,
    /// No money is held, and none ever will be.
    Voided,
}

impl State {
    const ALL: [Self; 5] = [
        Self::Requested,
        Self::Authorized,
        Self::Declined,
        Self::Voiding,
        Self::Voided,
    ];

    /// The state as the table has it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::Authorized => "AUTHORIZED",
            Self::Declined => "DECLINED",
            Self::Voiding => "VOIDING",
            Self::Voided => "VOIDED",
        }
    }

    /// The state of this name in the table.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// What a transition may know of its surroundings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// Where the input arrived; calls are answered there.
    pub(crate) home: Home,
    /// The time of the batch.
    pub(crate) now: Timestamp,
    /// The trace of the input.
    pub(crate) trace: TraceContext,
    /// The pauses between attempts.
    pub(crate) retry: &'a Retry,
}

/// A row of the table `authorizations`; its migration describes the columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorization {
    pub(crate) checkout_id: CheckoutId,
    pub(crate) cart_id: CartId,
    pub(crate) customer_id: Option<CustomerId>,
    pub(crate) authorize_command_id: Option<CommandId>,
    pub(crate) void_command_id: Option<CommandId>,
    pub(crate) state: State,
    pub(crate) void_requested: bool,
    pub(crate) amount: Option<i64>,
    pub(crate) currency: Option<String>,
    pub(crate) authorization_id: Option<AuthorizationId>,
    pub(crate) gateway_reference: Option<String>,
    pub(crate) decline_reason: Option<DeclineReason>,
    pub(crate) attempts: i32,
    pub(crate) requested_at: Timestamp,
    pub(crate) authorized_at: Option<Timestamp>,
    pub(crate) declined_at: Option<Timestamp>,
    pub(crate) voided_at: Option<Timestamp>,
    pub(crate) home: Home,
    pub(crate) traceparent: String,
    pub(crate) wake_at: Option<Timestamp>,
}

/// Whether a transition changed the row.
pub(crate) type Changed = bool;

impl Authorization {
    fn new(checkout_id: CheckoutId, cart_id: CartId, state: State, context: &Context<'_>) -> Self {
        Self {
            checkout_id,
            cart_id,
            customer_id: None,
            authorize_command_id: None,
            void_command_id: None,
            state,
            void_requested: false,
            amount: None,
            currency: None,
            authorization_id: None,
            gateway_reference: None,
            decline_reason: None,
            attempts: 0,
            requested_at: context.now,
            authorized_at: None,
            declined_at: None,
            voided_at: None,
            home: context.home,
            traceparent: context.trace.to_string(),
            wake_at: None,
        }
    }

    /// The first command of a checkout is to authorize.
    ///
    /// A negative amount and a currency that is no ISO 4217 code are declined with
    /// PROCESSING_ERROR, without a call: the saga waits for a reply, and gets one. An
    /// amount of 0 is authorized without a call: there is nothing to hold.
    pub(crate) fn begin(
        command: &AuthorizePayment,
        context: &Context<'_>,
        out: &mut Outbox<Call>,
    ) -> Self {
        let mut row = Self::new(
            command.checkout_id,
            command.cart_id,
            State::Requested,
            context,
        );
        row.customer_id = command.customer_id;
        row.note(command);
        if command.amount < 0 || !is_currency(&command.currency) {
            row.decline(DeclineReason::ProcessingError, context.now);
            row.reply_declined(out);
        } else if command.amount == 0 {
            row.hold(None, context.now);
            row.state = State::Authorized;
            row.reply_authorized(out);
        } else {
            row.ask(1, context, out);
        }
        row
    }

    /// The first command of a checkout is to void: leaves a tombstone, by which a late
    /// command to authorize is refused.
    pub(crate) fn bury(
        command: &VoidAuthorization,
        context: &Context<'_>,
        out: &mut Outbox<Call>,
    ) -> Self {
        let mut row = Self::new(command.checkout_id, command.cart_id, State::Voided, context);
        row.void_command_id = Some(command.command_id);
        row.settle_voided(context.now);
        row.reply_voided(out);
        row
    }

    /// A command to authorize, for a checkout that is known.
    ///
    /// # Errors
    /// A command that contradicts what is known of the checkout.
    pub(crate) fn authorize(
        &mut self,
        command: &AuthorizePayment,
        context: &Context<'_>,
        out: &mut Outbox<Call>,
    ) -> Result<Changed, Poison> {
        self.check_cart(command.cart_id)?;
        check_command(self.authorize_command_id, command.command_id)?;
        check_other_command(self.void_command_id, command.command_id)?;
        self.check_terms(command)?;
        match self.state {
            // The call is out, or its timer will make it again.
            State::Requested => Ok(false),
            State::Authorized => {
                self.reply_authorized(out);
                Ok(false)
            }
            State::Declined => {
                self.reply_declined(out);
                Ok(false)
            }
            State::Voiding | State::Voided => {
                // A refusal that was sent before, perhaps for another reason, is repeated;
                // otherwise this is the refusal from now on.
                let first = self.declined_at.is_none();
                if first {
                    self.note(command);
                    self.decline_reason = Some(DeclineReason::Voided);
                    self.declined_at = Some(context.now);
                }
                self.reply_declined(out);
                Ok(first)
            }
        }
    }

    /// A command to void, for a checkout that is known.
    ///
    /// # Errors
    /// A command that contradicts what is known of the checkout.
    pub(crate) fn void(
        &mut self,
        command: &VoidAuthorization,
        context: &Context<'_>,
        out: &mut Outbox<Call>,
    ) -> Result<Changed, Poison> {
        self.check_cart(command.cart_id)?;
        check_command(self.void_command_id, command.command_id)?;
        check_other_command(self.authorize_command_id, command.command_id)?;
        let first = self.void_command_id.is_none();
        self.void_command_id = Some(command.command_id);
        match self.state {
            State::Requested => {
                self.void_requested = true;
                Ok(first)
            }
            State::Authorized => {
                self.give_up(context, out);
                Ok(true)
            }
            State::Declined => {
                self.settle_voided(context.now);
                self.reply_voided(out);
                Ok(true)
            }
            State::Voiding => Ok(false),
            State::Voided => {
                self.reply_voided(out);
                Ok(false)
            }
        }
    }

    /// The gateway's answer to the request to hold the money.
    pub(crate) fn authorize_answered(
        &mut self,
        answer: &Result<Hold, Unsettled>,
        context: &Context<'_>,
        out: &mut Outbox<Call>,
    ) -> Changed {
        if self.state != State::Requested {
            return false;
        }
        match answer {
            Ok(Hold::Placed { reference }) => {
                self.hold(Some(reference.clone()), context.now);
                if std::mem::take(&mut self.void_requested) {
                    self.give_up(context, out);
                } else {
                    self.state = State::Authorized;
                    self.reply_authorized(out);
                }
            }
            Ok(Hold::Refused { .. }) if self.void_requested => {
                self.settle_voided(context.now);
                self.reply_voided(out);
            }
            Ok(Hold::Refused { reason }) => {
                self.decline(*reason, context.now);
                self.reply_declined(out);
            }
            Err(_) => self.postpone(context),
        }
        true
    }

    /// The gateway's answer to the request to give the hold up.
    pub(crate) fn void_answered(
        &mut self,
        answer: &Result<(), Unsettled>,
        context: &Context<'_>,
        out: &mut Outbox<Call>,
    ) -> Changed {
        if self.state != State::Voiding {
            return false;
        }
        match answer {
            Ok(()) => {
                self.settle_voided(context.now);
                self.reply_voided(out);
            }
            Err(_) => self.postpone(context),
        }
        true
    }

    /// The row's timer: makes the call that is out again.
    pub(crate) fn wake(&mut self, context: &Context<'_>, out: &mut Outbox<Call>) -> Changed {
        let due = self.wake_at.is_some_and(|at| at <= context.now);
        if due {
            self.ask(self.attempts.saturating_add(1), context, out);
        }
        due
    }

    /// Asks the gateway what the state says, and sets the timer.
    fn ask(&mut self, attempt: i32, context: &Context<'_>, out: &mut Outbox<Call>) {
        let Some(request) = self.request(attempt) else {
            return;
        };
        self.attempts = attempt;
        self.home = context.home;
        let wake = context
            .retry
            .when_overdue(self.checkout_id, attempt, context.now);
        self.wake_at = Some(wake);
        out.call(
            context.home,
            Call {
                request,
                trace_id: context.trace.trace_id,
            },
        );
    }

    /// The call that belongs to the state; none where no call is out.
    fn request(&self, attempt: i32) -> Option<Request> {
        match self.state {
            State::Requested => Some(Request::Authorize(AuthorizeRequest {
                key: self.authorize_command_id?,
                checkout_id: self.checkout_id,
                cart_id: self.cart_id,
                customer_id: self.customer_id,
                amount: self.amount?,
                currency: self.currency.clone()?,
                attempt,
            })),
            State::Voiding => Some(Request::Void(VoidRequest {
                key: self.void_command_id?,
                checkout_id: self.checkout_id,
                cart_id: self.cart_id,
                reference: self.gateway_reference.clone()?,
                attempt,
            })),
            State::Authorized | State::Declined | State::Voided => None,
        }
    }

    /// The last attempt failed: the timer makes the next one.
    fn postpone(&mut self, context: &Context<'_>) {
        let wake = context
            .retry
            .after_failure(self.checkout_id, self.attempts, context.now);
        self.wake_at = Some(wake);
    }

    /// Gives the hold up; at once where the gateway holds nothing.
    fn give_up(&mut self, context: &Context<'_>, out: &mut Outbox<Call>) {
        if self.gateway_reference.is_some() {
            self.state = State::Voiding;
            self.ask(1, context, out);
        } else {
            self.settle_voided(context.now);
            self.reply_voided(out);
        }
    }

    /// Notes the terms of the command to authorize.
    fn note(&mut self, command: &AuthorizePayment) {
        self.authorize_command_id = Some(command.command_id);
        self.amount = Some(command.amount);
        self.currency = Some(kept_currency(&command.currency).to_owned());
    }

    fn hold(&mut self, reference: Option<String>, now: Timestamp) {
        self.authorization_id = Some(ids::authorization_id(self.checkout_id));
        self.gateway_reference = reference;
        self.authorized_at = Some(now);
        self.wake_at = None;
    }

    fn decline(&mut self, reason: DeclineReason, now: Timestamp) {
        self.state = State::Declined;
        self.decline_reason = Some(reason);
        self.declined_at = Some(now);
        self.wake_at = None;
    }

    fn settle_voided(&mut self, now: Timestamp) {
        self.state = State::Voided;
        self.void_requested = false;
        self.voided_at = Some(now);
        self.wake_at = None;
    }
}
