//! The three participants and the payment gateway, each as the rules of its
//! service: `services/{inventory,payment,order}`. A participant's transaction is
//! one step here. That it may crash between commit and publishing, or publish
//! twice, is covered by the topics: a reply may arrive late, and again.

use crate::{
    message::{CHECKOUTS, Checkout, Explored, Kind},
    model::Model,
    mutation::Mutation,
    world::{Authorization, Gateway, Hold, Order, Reservation, World},
};

/// Pieces of the one product that there are.
pub(crate) const ON_HAND: u8 = 1;

impl Model {
    /// A command arrives. `granted` decides what the participant is free to
    /// decide.
    pub(crate) fn receive(
        &self,
        world: &mut World,
        checkout: Checkout,
        command: Kind,
        granted: bool,
    ) {
        let reply = match command {
            Kind::Reserve => Some(self.reserve(world, checkout, granted)),
            Kind::Release => Some(self.release(world, checkout)),
            Kind::Authorize => self.authorize(world, checkout, granted),
            Kind::Void => self.void(world, checkout),
            Kind::Create => Some(self.create(world, checkout, granted)),
            Kind::Cancel => Some(self.cancel(world, checkout)),
            reply => panic!("{reply:?} is no command"),
        };
        if let Some(reply) = reply {
            let answered = world.sent[checkout].has(reply);
            if !(answered && self.lacks(Mutation::RepeatsUnanswered)) {
                world.send(checkout, reply);
            }
        }
    }

    /// Whether the participant is free to refuse.
    pub(crate) fn may_refuse(&self, world: &World, checkout: Checkout, command: Kind) -> bool {
        match command {
            // With two carts, stock alone decides.
            Kind::Reserve => {
                self.run.one_cart && world.reservations[checkout] == Reservation::Unknown
            }
            Kind::Authorize => {
                !self.run.gateway_calls && world.authorizations[checkout] == Authorization::Unknown
            }
            Kind::Create => world.orders[checkout] == Order::Unknown,
            _ => false,
        }
    }

    fn reserve(&self, world: &mut World, checkout: Checkout, granted: bool) -> Kind {
        match world.reservations[checkout] {
            Reservation::Unknown => {
                let free = world.reserved < ON_HAND || self.lacks(Mutation::StockUnlocked);
                if granted && free {
                    world.reserved += 1;
                    world.reservations[checkout] = Reservation::Held;
                    Kind::Reserved
                } else {
                    world.reservations[checkout] = Reservation::Refused;
                    Kind::Unavailable
                }
            }
            Reservation::Held => {
                if self.lacks(Mutation::RepeatsDoneAgain) && world.reserved < ON_HAND + 1 {
                    world.reserved += 1;
                }
                Kind::Reserved
            }
            Reservation::Refused | Reservation::Released => Kind::Unavailable,
        }
    }

    fn release(&self, world: &mut World, checkout: Checkout) -> Kind {
        match world.reservations[checkout] {
            Reservation::Unknown => {
                if !self.lacks(Mutation::NoTombstone(Explored::ReserveInventory)) {
                    world.reservations[checkout] = Reservation::Released;
                }
            }
            Reservation::Held => {
                world.reserved -= 1;
                world.reservations[checkout] = Reservation::Released;
            }
            Reservation::Refused | Reservation::Released => {}
        }
        Kind::Released
    }

    /// The promised time of a reservation is over. It stays held.
    pub(crate) fn expire(&self, world: &mut World, checkout: Checkout) {
        world.send(checkout, Kind::Expired);
    }

    fn authorize(&self, world: &mut World, checkout: Checkout, granted: bool) -> Option<Kind> {
        match world.authorizations[checkout] {
            Authorization::Unknown => {
                world.authorizations[checkout] = Authorization::Requested { void: false };
                world.gateway[checkout].asked = true;
                if !self.run.gateway_calls {
                    self.gateway_authorizes(&mut world.gateway[checkout], granted);
                    self.gateway_answered(world, checkout);
                }
                None
            }
            Authorization::Requested { .. } => None,
            Authorization::Authorized => Some(Kind::Authorized),
            Authorization::Declined | Authorization::Voiding | Authorization::Voided => {
                Some(Kind::Declined)
            }
        }
    }

    fn void(&self, world: &mut World, checkout: Checkout) -> Option<Kind> {
        let row = &mut world.authorizations[checkout];
        match *row {
            Authorization::Unknown => {
                if !self.lacks(Mutation::NoTombstone(Explored::AuthorizePayment)) {
                    *row = Authorization::Voided;
                }
                Some(Kind::Voided)
            }
            Authorization::Requested { .. } if self.lacks(Mutation::VoidNotWaiting) => {
                *row = Authorization::Voided;
                Some(Kind::Voided)
            }
            Authorization::Requested { .. } => {
                *row = Authorization::Requested { void: true };
                None
            }
            Authorization::Authorized => {
                *row = Authorization::Voiding;
                world.gateway[checkout].asked_to_void = true;
                if !self.run.gateway_calls {
                    self.gateway_voids(&mut world.gateway[checkout]);
                    self.gateway_answered(world, checkout);
                }
                None
            }
            Authorization::Voiding => None,
            Authorization::Declined | Authorization::Voided => {
                *row = Authorization::Voided;
                Some(Kind::Voided)
            }
        }
    }

    /// A call to authorize reaches the gateway: the first one, one that was made
    /// again, or one that was long under way.
    pub(crate) fn gateway_authorizes(&self, gateway: &mut Gateway, granted: bool) {
        match gateway.hold {
            Hold::None if granted => {
                gateway.hold = Hold::Placed;
                gateway.placed = 1;
            }
            Hold::None => gateway.hold = Hold::Refused,
            Hold::Placed | Hold::Refused | Hold::GivenUp => {
                if self.lacks(Mutation::KeyNotKept) && gateway.hold == Hold::Placed {
                    gateway.placed = 2;
                }
            }
        }
    }

    /// A call to void reaches the gateway.
    pub(crate) fn gateway_voids(&self, gateway: &mut Gateway) {
        if gateway.hold == Hold::Placed {
            gateway.hold = Hold::GivenUp;
        }
    }

    /// The gateway's answer reaches the payment service. Answers that are lost are
    /// those that never do; what asks again gets the same.
    pub(crate) fn gateway_answered(&self, world: &mut World, checkout: Checkout) {
        let row = &mut world.authorizations[checkout];
        let gateway = &mut world.gateway[checkout];
        let reply = match (*row, gateway.hold) {
            (Authorization::Requested { void: false }, Hold::Placed) => {
                *row = Authorization::Authorized;
                Kind::Authorized
            }
            (Authorization::Requested { void: true }, Hold::Placed) => {
                *row = Authorization::Voiding;
                gateway.asked_to_void = true;
                return;
            }
            (Authorization::Requested { void: false }, Hold::Refused) => {
                *row = Authorization::Declined;
                Kind::Declined
            }
            (Authorization::Requested { void: true }, Hold::Refused)
            | (Authorization::Voiding, Hold::GivenUp) => {
                *row = Authorization::Voided;
                Kind::Voided
            }
            _ => return,
        };
        world.send(checkout, reply);
    }

    fn create(&self, world: &mut World, checkout: Checkout, granted: bool) -> Kind {
        match world.orders[checkout] {
            Order::Unknown => {
                let cart = self.core.cart_of(checkout);
                let ordered = CHECKOUTS
                    .into_iter()
                    .any(|other| self.core.cart_of(other) == cart && world.order_stands(other));
                if granted && !ordered {
                    world.orders[checkout] = Order::Recorded;
                    Kind::Recorded
                } else {
                    world.orders[checkout] = Order::Rejected;
                    Kind::Rejected
                }
            }
            Order::Recorded => Kind::Recorded,
            Order::Rejected | Order::Cancelled => Kind::Rejected,
        }
    }

    fn cancel(&self, world: &mut World, checkout: Checkout) -> Kind {
        let row = &mut world.orders[checkout];
        match *row {
            Order::Unknown if self.lacks(Mutation::NoTombstone(Explored::CreateOrder)) => {}
            Order::Unknown | Order::Recorded | Order::Rejected | Order::Cancelled => {
                *row = Order::Cancelled;
            }
        }
        Kind::Cancelled
    }
}
