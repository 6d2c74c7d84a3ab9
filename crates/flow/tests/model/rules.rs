//! The rules of the model's participants as a table: for each thing that a
//! participant may know of a checkout, what follows from each thing that may come.
//! It stands in `docs/model.md`, where the tests of the services read it and hold
//! their own handlers against it.

use std::fmt;

use crate::{
    message::{Kind, Kinds},
    model::Model,
    runs::ONE_CART,
    world::{Authorization, Gateway, Hold, Order, Reservation, World},
};

/// One row of the table.
pub(crate) struct Rule {
    participant: &'static str,
    known: &'static str,
    comes: String,
    then: &'static str,
    says: Option<Kind>,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let says = self.says.map_or("-", |kind| kind.record().name());
        let Rule {
            participant,
            known,
            comes,
            then,
            ..
        } = self;
        write!(f, "| {participant} | {known} | {comes} | {then} | {says} |")
    }
}

/// Every rule.
pub(crate) fn rules() -> Vec<Rule> {
    let model = Model::new(&ONE_CART, None);
    let mut rules = Vec::new();
    let reservations = [
        Reservation::Unknown,
        Reservation::Held,
        Reservation::Refused,
        Reservation::Released,
    ];
    for known in reservations {
        let mut world = model.world();
        world.reservations[0] = known;
        world.reserved = u8::from(known == Reservation::Held);
        let commands = [Kind::Reserve, Kind::Release];
        model.received(&world, "inventory", &commands, inventory, &mut rules);
    }
    let authorizations = [
        (Authorization::Unknown, Hold::None),
        (Authorization::Requested { void: false }, Hold::None),
        (Authorization::Requested { void: true }, Hold::None),
        (Authorization::Authorized, Hold::Placed),
        (Authorization::Declined, Hold::Refused),
        (Authorization::Voiding, Hold::Placed),
        (Authorization::Voided, Hold::GivenUp),
    ];
    for (known, hold) in authorizations {
        let mut world = model.world();
        world.authorizations[0] = known;
        world.gateway[0].hold = hold;
        let commands = [Kind::Authorize, Kind::Void];
        model.received(&world, "payment", &commands, payment, &mut rules);
        for (comes, hold) in [
            ("a hold is placed", Hold::Placed),
            ("a hold is refused", Hold::Refused),
            ("the hold is given up", Hold::GivenUp),
        ] {
            let mut world = world;
            world.gateway[0] = Gateway {
                hold,
                ..world.gateway[0]
            };
            let mut after = world;
            model.gateway_answered(&mut after, 0);
            if after != world {
                rules.push(rule("payment", &world, comes.to_owned(), &after, payment));
            }
        }
    }
    for known in [
        Order::Unknown,
        Order::Recorded,
        Order::Rejected,
        Order::Cancelled,
    ] {
        let mut world = model.world();
        world.orders[0] = known;
        let commands = [Kind::Create, Kind::Cancel];
        model.received(&world, "order", &commands, order, &mut rules);
    }
    rules
}

impl Model {
    fn received(
        &self,
        world: &World,
        participant: &'static str,
        commands: &[Kind],
        state: fn(&World) -> &'static str,
        rules: &mut Vec<Rule>,
    ) {
        for command in commands {
            let name = command.record().name();
            let ways = if self.may_refuse(world, 0, *command) {
                vec![(true, ", granted"), (false, ", refused")]
            } else {
                vec![(true, "")]
            };
            for (granted, way) in ways {
                let mut after = *world;
                self.receive(&mut after, 0, *command, granted);
                let comes = format!("{name}{way}");
                rules.push(rule(participant, world, comes, &after, state));
            }
        }
    }
}

fn rule(
    participant: &'static str,
    before: &World,
    comes: String,
    after: &World,
    state: fn(&World) -> &'static str,
) -> Rule {
    assert_eq!(before.sent[0], Kinds::default());
    Rule {
        participant,
        known: state(before),
        comes,
        then: state(after),
        says: Kind::REPLIES
            .into_iter()
            .find(|kind| after.sent[0].has(*kind)),
    }
}

fn inventory(world: &World) -> &'static str {
    match world.reservations[0] {
        Reservation::Unknown => "nothing",
        Reservation::Held => "RESERVED",
        Reservation::Refused => "UNAVAILABLE",
        Reservation::Released => "RELEASED",
    }
}

fn payment(world: &World) -> &'static str {
    match world.authorizations[0] {
        Authorization::Unknown => "nothing",
        Authorization::Requested { void: false } => "REQUESTED",
        Authorization::Requested { void: true } => "REQUESTED, to be voided",
        Authorization::Authorized => "AUTHORIZED",
        Authorization::Declined => "DECLINED",
        Authorization::Voiding => "VOIDING",
        Authorization::Voided => "VOIDED",
    }
}

fn order(world: &World) -> &'static str {
    match world.orders[0] {
        Order::Unknown => "nothing",
        Order::Recorded => "RECORDED",
        Order::Rejected => "REJECTED",
        Order::Cancelled => "CANCELLED",
    }
}
