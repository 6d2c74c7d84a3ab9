//! What each command does to the rows of its batch.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::convert::Infallible;

use contracts::ids::{CartId, CommandId, GenericUuid};
use contracts::messages::{
    AwardPoints, PointsAwarded, PointsRefused, PointsRefusedReason, PointsRevoked, RevokePoints,
    award_id,
};
use contracts::{ErrorCode, Message, Poison, RecordType, Topic};
use jiff::Timestamp;
use runtime::{Body, Handler, Home, Input, Outbox, Sql};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::state::{Award, Decision, Revocation, State};
use crate::store;

/// Minor units that earn one point.
const MINOR_UNITS_PER_POINT: i64 = 100;

/// The loyalty service.
#[derive(Debug)]
pub(crate) struct Loyalty {
    /// The most points that one order may earn.
    pub(crate) max_points: i64,
}

impl Handler for Loyalty {
    type State = State;
    type Cache = ();
    type Call = Infallible;
    type Answer = Infallible;

    const NAME: &'static str = "loyalty";
    const CONSUMES: &'static [Topic] = &[Topic::LoyaltyCommands];
    const PRODUCES: &'static [RecordType] = &[
        RecordType::PointsAwarded,
        RecordType::PointsRefused,
        RecordType::PointsRevoked,
    ];
    const STATEMENTS: &'static [&'static str] = store::STATEMENTS;

    fn reads(&self, batch: &[Input<Infallible>]) -> Vec<Sql> {
        let checkouts: BTreeSet<Uuid> = batch
            .iter()
            .filter_map(|input| match &input.body {
                Body::Message(message) => Message::checkout_id(message),
                Body::Timer(_) => None,
                Body::Answer(never) => match *never {},
            })
            .map(GenericUuid::into_untyped_uuid)
            .collect();
        vec![store::lock(checkouts.into_iter().collect())]
    }

    fn state(
        &self,
        _batch: &[Input<Infallible>],
        rows: Vec<Vec<Row>>,
    ) -> Result<State, tokio_postgres::Error> {
        store::state(&rows)
    }

    /// Nothing is kept: an award is written once, and its insert finds out whether it is
    /// there.
    fn recall(&self, batch: &[Input<Infallible>], _: &mut ()) -> Option<State> {
        let mut state = State::default();
        for input in batch {
            match &input.body {
                Body::Message(Message::AwardPoints(m)) => state.presume_new(m.checkout_id),
                Body::Message(Message::RevokePoints(_)) => return None,
                Body::Message(_) | Body::Timer(_) => {}
                Body::Answer(never) => match *never {},
            }
        }
        Some(state)
    }

    fn is_certain(&self, state: &State) -> bool {
        state.is_certain()
    }

    fn handle(
        &self,
        state: &mut State,
        input: &Input<Infallible>,
        out: &mut Outbox<Infallible>,
    ) -> Result<(), Poison> {
        // The contracts carry milliseconds: what is stored must read back the same.
        let now = whole_millis(input.now);
        match &input.body {
            Body::Message(Message::AwardPoints(command)) => {
                out.send(self.award(state, command, now)?);
            }
            Body::Message(Message::RevokePoints(command)) => {
                out.send(revoke(state, command, now)?);
            }
            Body::Message(other) => {
                return Err(Poison::new(
                    ErrorCode::WrongRecordForTopic,
                    format!(
                        "the loyalty service does not handle {}",
                        other.record_type()
                    ),
                ));
            }
            // Awards have no timers: `due` finds none.
            Body::Timer(_) => {}
            Body::Answer(never) => match *never {},
        }
        Ok(())
    }

    fn writes(&self, state: State) -> Vec<Sql> {
        store::writes(state)
    }

    fn due(&self, _homes: &[Home], _now: Timestamp, _limit: i64) -> Option<Sql> {
        None
    }

    async fn call(&self, call: Infallible) -> Infallible {
        match call {}
    }

    fn call_key(call: &Infallible) -> Uuid {
        match *call {}
    }
}

impl Loyalty {
    fn award(
        &self,
        state: &mut State,
        command: &AwardPoints,
        now: Timestamp,
    ) -> Result<Message, Poison> {
        let checkout = command.checkout_id;
        if let Some(known) = state.get(&checkout) {
            check_cart(known, command.cart_id)?;
            if let Some(decision) = &known.decision {
                check_command(decision.command_id, command.command_id)?;
            }
            return Ok(answer(command, known));
        }
        let points = command.amount / MINOR_UNITS_PER_POINT;
        let award = Award {
            cart_id: command.cart_id,
            decision: Some(Decision {
                command_id: command.command_id,
                customer_id: command.customer_id,
                at: now,
                points: if (0..=self.max_points).contains(&points) {
                    Ok(points)
                } else {
                    Err(PointsRefusedReason::TooMany)
                },
            }),
            revocation: None,
        };
        let answer = answer(command, &award);
        state.put(checkout, award);
        Ok(answer)
    }
}

/// The answer to an award by what is known of its checkout: the same whenever it is given,
/// as far as it is of the same type.
fn answer(command: &AwardPoints, known: &Award) -> Message {
    let refused = |reason, refused_at| {
        PointsRefused {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            reason,
            refused_at,
        }
        .into()
    };
    match (&known.decision, &known.revocation) {
        (
            Some(Decision {
                points: Err(reason),
                at,
                ..
            }),
            _,
        ) => refused(*reason, *at),
        // They are taken back, or the award was refused because the revocation came first.
        (_, Some(revocation)) => refused(PointsRefusedReason::Revoked, revocation.at),
        (
            Some(Decision {
                points: Ok(points),
                at,
                ..
            }),
            None,
        ) => PointsAwarded {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            award_id: award_id(command.checkout_id),
            points: *points,
            awarded_at: *at,
        }
        .into(),
        // The table's checks allow no row without both.
        (None, None) => refused(PointsRefusedReason::Unknown, Timestamp::UNIX_EPOCH),
    }
}

/// Afterwards no points of the checkout stand, whatever was before.
fn revoke(state: &mut State, command: &RevokePoints, now: Timestamp) -> Result<Message, Poison> {
    let checkout = command.checkout_id;
    let mut award = match state.get(&checkout) {
        Some(known) => {
            check_cart(known, command.cart_id)?;
            known.clone()
        }
        // The award has not come: this row will refuse it.
        None => Award {
            cart_id: command.cart_id,
            decision: None,
            revocation: None,
        },
    };
    let done = match award.revocation {
        Some(done) => {
            check_command(done.command_id, command.command_id)?;
            done
        }
        None => {
            let done = Revocation {
                command_id: command.command_id,
                at: now,
            };
            award.revocation = Some(done);
            state.put(checkout, award.clone());
            done
        }
    };
    Ok(PointsRevoked {
        command_id: done.command_id,
        checkout_id: checkout,
        cart_id: command.cart_id,
        award_id: award.was_awarded().then(|| award_id(checkout)),
        revoked_at: done.at,
    }
    .into())
}

/// Refuses a command that belongs to another cart than the checkout does.
fn check_cart(known: &Award, cart: CartId) -> Result<(), Poison> {
    if known.cart_id == cart {
        return Ok(());
    }
    Err(violated(format!(
        "the checkout belongs to cart {}, the command says cart {cart}",
        known.cart_id
    )))
}

/// Refuses a second command for what another one has done.
fn check_command(known: CommandId, command: CommandId) -> Result<(), Poison> {
    if known == command {
        return Ok(());
    }
    Err(violated(format!(
        "command {known} did this for the checkout already; {command} is another one"
    )))
}

fn violated(detail: String) -> Poison {
    Poison::new(ErrorCode::ContractViolated, detail)
}

fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
