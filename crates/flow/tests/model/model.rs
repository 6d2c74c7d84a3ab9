//! The model: what may happen next in a world, and what comes of it.

use std::{
    collections::{HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Mutex, PoisonError},
};

use contracts::messages::{OperationAction, SagaState};
use flow::Pace;

use crate::{
    core::{Cart, Circumstances, Core, Happening},
    message::{CHECKOUTS, Checkout, Ending, Kind},
    mutation::Mutation,
    property::Promise,
    runs::Run,
    runtime::{Commit, Who},
    world::{Authorization, Gateway, Hold, Instance, Order, Outputs, Reservation, Row, World},
};

/// The steps in which a world without faults must have ended.
const MOST_STEPS_TO_THE_END: usize = 200;

/// The saga, its participants and its runtime, in one of the runs.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) run: &'static Run,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) core: Core,
    /// Worlds that are known to end well.
    ending: Mutex<HashSet<u64>>,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// An instance of the orchestrator handles an input.
    Batch(Who, Happening, Circumstances, Commit),
    /// An instance that owns other partitions handles an input of the same cart.
    Neighbour(Happening),
    /// It asks whether its last batch was committed.
    Resolve(Who),
    /// A command of it reaches its topic.
    Publish(Who, Checkout, Kind),
    /// It publishes an outcome.
    Transaction(Who),
    /// It clears acknowledged outputs from the row.
    SettleRow,
    /// It dies.
    Crash,
    /// It loses its partitions to another, and does not know.
    TakeOver,
    /// The new owner claims the row.
    Claim,
    /// The former owner learns of its loss, and joins again.
    JoinAgain,
    /// It dies between a position that has moved and rows that have not.
    Skip(Checkout),
    /// A command reaches its participant, which grants it or not.
    Receive(Checkout, Kind, bool),
    /// A reservation expires.
    Expire(Checkout),
    /// A call to authorize reaches the gateway, which grants it or not.
    GatewayAuthorizes(Checkout, bool),
    /// A call to void reaches the gateway.
    GatewayVoids(Checkout),
    /// The gateway's answer reaches the payment service.
    GatewayAnswered(Checkout),
    /// A record leaves its topic, and whoever has not read it never does.
    Lose(Checkout, Kind),
}

impl Model {
    pub(crate) fn new(run: &'static Run, mutation: Option<Mutation>) -> Self {
        Self {
            run,
            mutation,
            core: Core::new(run.one_cart, run.tries, mutation),
            ending: Mutex::default(),
        }
    }

    /// Whether a guard is missing.
    pub(crate) fn lacks(&self, guard: Mutation) -> bool {
        self.mutation == Some(guard)
    }

    /// The checkouts that are asked for.
    pub(crate) fn checkouts(&self) -> impl Iterator<Item = Checkout> {
        CHECKOUTS.into_iter().take(self.run.checkouts)
    }

    fn carts(&self) -> impl Iterator<Item = Cart> {
        0..if self.run.one_cart { 1 } else { 2 }
    }

    pub(crate) fn world(&self) -> World {
        World {
            sagas: [None; 2],
            kept: [None; 2],
            unread: [0, 1].map(|checkout| checkout < self.run.checkouts),
            sent: Default::default(),
            lost: Default::default(),
            reserved: 0,
            reservations: [Reservation::default(); 2],
            authorizations: [Authorization::default(); 2],
            gateway: [Gateway::default(); 2],
            orders: [Order::default(); 2],
            row: Row::default(),
            owner: Instance {
                member: true,
                claimed: true,
                current: true,
                outputs: Outputs::default(),
                sequence: 0,
                doubt: None,
            },
            former: None,
            mark: 0,
            read: [[0; 3]; 2],
            faults: self.run.faults,
        }
    }

    /// The customer's patience only matters to timers.
    fn circumstances(&self, happening: Happening) -> Vec<Circumstances> {
        if !self.run.brakes {
            return vec![Circumstances::default()];
        }
        let limits: &[bool] = match happening {
            Happening::Silence(_) => &[false, true],
            _ => &[false],
        };
        [Pace::Flowing, Pace::Probe, Pace::Held]
            .into_iter()
            .flat_map(|pace| {
                limits.iter().map(move |limit_passed| Circumstances {
                    pace,
                    limit_passed: *limit_passed,
                })
            })
            .collect()
    }

    /// What an instance may have to handle.
    fn happenings(&self, world: &World) -> Vec<Happening> {
        let mut happenings = Vec::new();
        for checkout in self.checkouts() {
            happenings.push(Happening::Request(checkout));
            let replies = Kind::REPLIES.into_iter();
            let sent = replies.filter(|kind| world.has(checkout, *kind));
            happenings.extend(sent.map(|kind| Happening::Reply(checkout, kind)));
        }
        for cart in self.carts() {
            let Some(saga) = world.sagas[cart].filter(|saga| !saga.has_ended()) else {
                continue;
            };
            if self.run.timers {
                happenings.push(Happening::Silence(cart));
            }
            if self.run.operators {
                let mut ask = |action| happenings.push(Happening::Operator(cart, action));
                ask(OperationAction::Retry);
                ask(OperationAction::Compensate);
                ask(OperationAction::Abandon);
                // With true evidence: with other evidence nothing can be promised.
                if saga
                    .step
                    .is_some_and(|step| world.is_settled(saga.checkout, step))
                {
                    ask(OperationAction::Resolve);
                }
            }
        }
        happenings
    }

    fn batches(&self, world: &World, who: Who, actions: &mut Vec<Action>) {
        let Some(instance) = world.instance(who) else {
            return;
        };
        if instance.doubt.is_some() {
            actions.push(Action::Resolve(who));
            return;
        }
        if !instance.claimed {
            return;
        }
        for happening in self.happenings(world) {
            for circumstances in self.circumstances(happening) {
                let batch = |commit| Action::Batch(who, happening, circumstances, commit);
                actions.push(batch(Commit::Answered));
                if instance.current && world.faults.lost_answers > 0 {
                    actions.push(batch(Commit::AnswerLost));
                }
            }
        }
        for checkout in self.checkouts() {
            for command in Kind::COMMANDS {
                if instance.outputs.commands[checkout].has(command) {
                    actions.push(Action::Publish(who, checkout, command));
                }
            }
        }
        if instance.outputs.public.first().is_some() {
            actions.push(Action::Transaction(who));
        }
    }

    fn faults(&self, world: &World, actions: &mut Vec<Action>) {
        if world.faults.crashes > 0 && world.owner.claimed {
            actions.push(Action::Crash);
            if self.lacks(Mutation::PositionApart) {
                actions.extend(
                    self.checkouts()
                        .filter(|checkout| world.unread[*checkout])
                        .map(Action::Skip),
                );
            }
        }
        if world.faults.takeovers > 0 && world.owner.claimed {
            actions.push(Action::TakeOver);
        }
    }

    fn losses(&self, world: &World, actions: &mut Vec<Action>) {
        if world.faults.lost_records == 0 {
            return;
        }
        for checkout in self.checkouts() {
            let kinds = Kind::COMMANDS.into_iter().chain(Kind::REPLIES);
            let there = kinds.filter(|kind| world.has(checkout, *kind));
            actions.extend(there.map(|kind| Action::Lose(checkout, kind)));
        }
    }

    fn participants(&self, world: &World, actions: &mut Vec<Action>) {
        for checkout in self.checkouts() {
            for command in Kind::COMMANDS {
                if world.has(checkout, command) {
                    actions.push(Action::Receive(checkout, command, true));
                    if self.may_refuse(world, checkout, command) {
                        actions.push(Action::Receive(checkout, command, false));
                    }
                }
            }
            let gateway = world.gateway[checkout];
            if self.run.gateway_calls && gateway.asked {
                actions.push(Action::GatewayAuthorizes(checkout, true));
                if gateway.hold == Hold::None {
                    actions.push(Action::GatewayAuthorizes(checkout, false));
                }
                actions.push(Action::GatewayAnswered(checkout));
            }
            if self.run.gateway_calls && gateway.asked_to_void {
                actions.push(Action::GatewayVoids(checkout));
            }
            if self.run.expiry && world.reservations[checkout] == Reservation::Held {
                actions.push(Action::Expire(checkout));
            }
        }
    }

    /// What happens first where nothing fails any more; `None` for what does not
    /// have to happen.
    fn rank(world: &World, action: Action) -> Option<u8> {
        match action {
            Action::Claim => Some(0),
            Action::Resolve(Who::Owner) => Some(1),
            Action::Publish(Who::Owner, ..) | Action::Transaction(Who::Owner) => Some(2),
            // The participants answer again: none is held any more.
            Action::Batch(_, _, circumstances, _) if circumstances != Circumstances::default() => {
                None
            }
            Action::Batch(Who::Owner, Happening::Request(checkout), _, Commit::Answered)
                if world.unread[checkout] =>
            {
                Some(3)
            }
            Action::Receive(_, _, true)
            | Action::GatewayAuthorizes(_, true)
            | Action::GatewayVoids(_)
            | Action::GatewayAnswered(_)
            | Action::Batch(Who::Owner, Happening::Reply(..), _, Commit::Answered) => Some(4),
            Action::Batch(Who::Owner, Happening::Silence(_), _, Commit::Answered) => Some(5),
            Action::SettleRow => Some(6),
            _ => None,
        }
    }

    /// Whether a world in which nothing fails any more comes to a good end.
    pub(crate) fn ends_well(&self, world: &World) -> bool {
        let mut world = World {
            former: None,
            ..*world
        };
        let mut passed = Vec::new();
        let mut actions = Vec::new();
        for _ in 0..MOST_STEPS_TO_THE_END {
            let print = fingerprint(&world);
            if self.endings().contains(&print) {
                self.endings().extend(passed);
                return true;
            }
            passed.push(print);
            actions.clear();
            stateright::Model::actions(self, &world, &mut actions);
            let mut ranked: Vec<_> = actions
                .drain(..)
                .filter_map(|action| Some((Self::rank(&world, action)?, action)))
                .collect();
            ranked.sort_by_key(|(rank, _)| *rank);
            let next = ranked
                .into_iter()
                .find_map(|(_, action)| stateright::Model::next_state(self, &world, action));
            match next {
                Some(next) => world = next,
                None => {
                    let well = self.is_good_end(&world);
                    if well {
                        self.endings().extend(passed);
                    }
                    return well;
                }
            }
        }
        false
    }

    fn endings(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each request has one outcome, and what is held is what the outcome says. Of a
    /// saga that an operator abandoned nothing is told.
    fn is_good_end(&self, world: &World) -> bool {
        let abandoned = |checkout: Checkout| {
            let saga = world.sagas[self.core.cart_of(checkout)];
            saga.is_some_and(|saga| saga.state == SagaState::Abandoned && saga.checkout == checkout)
        };
        self.carts()
            .all(|cart| world.sagas[cart].is_some_and(|saga| saga.has_ended()))
            && self.checkouts().all(|checkout| {
                if abandoned(checkout) {
                    return !world.unread[checkout] && world.read[checkout] == [0; 3];
                }
                let ordered = world.read[checkout][Ending::Ordered as usize] == 1;
                let held = [
                    world.holds_stock(checkout),
                    world.holds_money(checkout),
                    world.order_stands(checkout),
                ];
                !world.unread[checkout]
                    && world.read[checkout].iter().sum::<u8>() == 1
                    && held == [ordered; 3]
            })
    }
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

impl stateright::Model for Model {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.world()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.batches(world, Who::Owner, actions);
        if self.run.faulty_runtime {
            self.batches(world, Who::Former, actions);
            if world.former.is_some() {
                actions.push(Action::JoinAgain);
            }
            if !world.owner.claimed {
                actions.push(Action::Claim);
            } else if world.owner.doubt.is_none() {
                actions.push(Action::SettleRow);
            }
            self.faults(world, actions);
        }
        if self.run.neighbour {
            let happenings = self.happenings(world).into_iter();
            actions.extend(happenings.map(Action::Neighbour));
        }
        self.losses(world, actions);
        self.participants(world, actions);
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = *before;
        match action {
            Action::Batch(who, happening, circumstances, commit) => {
                self.batch(&mut world, who, happening, circumstances, commit);
                if commit == Commit::AnswerLost && world != *before {
                    world.faults.lost_answers -= 1;
                }
            }
            Action::Neighbour(happening) => self.neighbour(&mut world, happening),
            Action::Resolve(who) => self.resolve(&mut world, who),
            Action::Publish(_, checkout, command) => self.publish(&mut world, checkout, command),
            Action::Transaction(who) => self.transaction(&mut world, who),
            Action::SettleRow => self.settle_row(&mut world),
            Action::Crash => {
                world.faults.crashes -= 1;
                self.crash(&mut world);
            }
            Action::TakeOver => {
                world.faults.takeovers -= 1;
                self.take_over(&mut world);
            }
            Action::Claim => self.claim(&mut world),
            Action::JoinAgain => self.join_again(&mut world),
            Action::Skip(checkout) => {
                world.faults.crashes -= 1;
                self.skip(&mut world, checkout);
            }
            Action::Receive(checkout, command, granted) => {
                self.receive(&mut world, checkout, command, granted);
            }
            Action::Expire(checkout) => self.expire(&mut world, checkout),
            Action::GatewayAuthorizes(checkout, granted) => {
                self.gateway_authorizes(&mut world.gateway[checkout], granted);
            }
            Action::GatewayVoids(checkout) => self.gateway_voids(&mut world.gateway[checkout]),
            Action::GatewayAnswered(checkout) => self.gateway_answered(&mut world, checkout),
            Action::Lose(checkout, kind) => {
                world.faults.lost_records -= 1;
                world.lost[checkout].add(kind);
            }
        }
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        let property =
            |promise: &Promise| stateright::Property::always(promise.name(), promise.condition());
        match self.mutation {
            Some(mutation) => mutation.breaks().iter().map(property).collect(),
            None => {
                let reaches = self.run.reaches.iter().map(|reach| reach.property());
                Promise::ALL.iter().map(property).chain(reaches).collect()
            }
        }
    }
}
