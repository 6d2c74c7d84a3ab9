//! What holds for every sequence of inputs.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
};

use contracts::{
    Message, RecordType,
    ids::{CheckoutId, EventId, snapshot_id},
    messages::{OperationAction, SagaState},
};
use flow::{Brakes, Input, Pace, Rules, Saga, Step, next};
use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::select,
    test_runner::RngSeed,
};

use crate::{
    arbitrary::{
        any_brakes, any_expiry, any_operation, any_pace, any_reply, any_request, any_rules,
        any_saga, any_timestamp, some_step,
    },
    participants::{Participants, step_of},
    story::{Story, checkout, expiry, operation, request},
};

/// The same cases at each run; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` ask for others.
fn config(cases: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig {
        cases: if env::var_os("PROPTEST_CASES").is_some() {
            asked.cases
        } else {
            cases
        },
        rng_seed: match asked.rng_seed {
            RngSeed::Random => RngSeed::Fixed(0x5a6a),
            fixed @ RngSeed::Fixed(_) => fixed,
        },
        failure_persistence: None,
        ..asked
    }
}

/// One thing that may happen between a cart, its saga and the participants.
#[derive(Clone, Debug)]
enum Event {
    /// The cart is checked out, perhaps again with the same event.
    CheckedOut(u128),
    /// A command arrives, any of those under way; perhaps it arrives again later.
    CommandArrives { which: usize, again: bool },
    /// A reply arrives likewise.
    ReplyArrives { which: usize, again: bool },
    /// A command is lost.
    CommandLost(usize),
    /// A reply is lost.
    ReplyLost(usize),
    /// The deadline passes.
    Silence,
    /// The reservation of a checkout expires.
    Expires(u128),
    /// An operator intervenes.
    Operates(OperationAction),
    /// The brake of a step's participant moves.
    Brakes(Step, Pace),
}

fn event(actions: &'static [OperationAction]) -> impl Strategy<Value = Event> {
    let which = 0..6_usize;
    prop_oneof![
        3 => (1..5_u128).prop_map(Event::CheckedOut),
        9 => (which.clone(), any::<bool>())
            .prop_map(|(which, again)| Event::CommandArrives { which, again }),
        9 => (which.clone(), any::<bool>())
            .prop_map(|(which, again)| Event::ReplyArrives { which, again }),
        2 => which.clone().prop_map(Event::CommandLost),
        2 => which.prop_map(Event::ReplyLost),
        5 => Just(Event::Silence),
        1 => (1..5_u128).prop_map(Event::Expires),
        1 => select(actions).prop_map(Event::Operates),
        4 => (some_step(), any_pace()).prop_map(|(step, pace)| Event::Brakes(step, pace)),
    ]
}

/// A cart, its saga, the participants, and what is under way between them.
struct World {
    story: Story,
    participants: Participants,
    commands: Vec<Message>,
    replies: Vec<Message>,
    watch: Watch,
    newest_snapshot: Option<EventId>,
}

/// What every sequence must keep, checked with each message.
#[derive(Default)]
struct Watch {
    /// Answers that reached the saga.
    heard: BTreeSet<(CheckoutId, RecordType)>,
    /// Compensations sent, in order, each once.
    undone: BTreeMap<CheckoutId, Vec<Step>>,
    orders_asked_for: BTreeSet<CheckoutId>,
    ended: BTreeMap<CheckoutId, RecordType>,
}

impl Watch {
    fn sent(&mut self, message: &Message) {
        let Some(checkout) = message.checkout_id() else {
            return;
        };
        let record = message.record_type();
        match record {
            RecordType::CreateOrder => {
                self.orders_asked_for.insert(checkout);
            }
            RecordType::OrderCreated | RecordType::CheckoutFailed => {
                let before = self.ended.insert(checkout, record);
                assert_eq!(before, None, "a checkout ends once, one way");
            }
            _ => {}
        }
        let Some((step, true)) = step_of(record) else {
            return;
        };
        let undone = self.undone.entry(checkout).or_default();
        match undone.last() {
            Some(last) if *last == step => return,
            Some(last) => {
                assert!(
                    step < *last,
                    "{step} after {last}: compensations go in reverse order"
                );
                let acknowledged = last.definition().compensation.acknowledged_by;
                assert!(
                    self.heard.contains(&(checkout, acknowledged)),
                    "one at a time"
                );
            }
            None => {}
        }
        undone.push(step);
        if step != Step::CreateOrder && self.orders_asked_for.contains(&checkout) {
            let refused = self.heard.contains(&(checkout, RecordType::OrderRejected));
            let cancelled = self.heard.contains(&(checkout, RecordType::OrderCancelled));
            assert!(
                refused || cancelled,
                "undone before the fate of the order was known"
            );
        }
    }
}

impl World {
    fn new(refused: BTreeSet<Step>, mute: Option<Step>) -> Self {
        Self {
            story: Story::with(Rules {
                tries: Some(2),
                stuck_after_tries: 3,
                max_checkouts_per_cart: 4,
                ..Rules::default()
            }),
            participants: Participants::new(refused, mute),
            commands: Vec::new(),
            replies: Vec::new(),
            watch: Watch::default(),
            newest_snapshot: None,
        }
    }

    fn tell_saga(&mut self, message: Message) {
        if let Some(checkout) = message.checkout_id() {
            self.watch.heard.insert((checkout, message.record_type()));
        }
        self.story.message(message);
        self.collect();
    }

    fn silence(&mut self) {
        if self
            .story
            .saga
            .as_ref()
            .is_some_and(|saga| saga.due_at().is_some())
        {
            self.story.silence();
            self.collect();
        }
    }

    fn collect(&mut self) {
        for message in std::mem::take(&mut self.story.sent) {
            self.watch.sent(&message);
            if let Message::SagaSnapshot(snapshot) = &message {
                self.newest_snapshot = Some(snapshot.event_id);
            }
            if step_of(message.record_type()).is_some() {
                self.commands.push(message);
            }
        }
        // From the first one on the saga says which one was published last.
        let progress = self.story.saga.as_ref().map(|saga| &saga.progress);
        let said = progress
            .filter(|progress| progress.snapshots > 0)
            .map(|progress| snapshot_id(progress.checkout_id, progress.snapshots));
        assert_eq!(said, self.newest_snapshot);
    }

    fn happens(&mut self, event: &Event) {
        match *event {
            Event::CheckedOut(n) => self.tell_saga(request(n).into()),
            Event::CommandArrives { which, again } => {
                if let Some(command) = take(&mut self.commands, which, again) {
                    self.replies.extend(self.participants.receive(&command));
                }
            }
            Event::ReplyArrives { which, again } => {
                if let Some(reply) = take(&mut self.replies, which, again) {
                    self.tell_saga(reply);
                }
            }
            Event::CommandLost(which) => {
                take(&mut self.commands, which, false);
            }
            Event::ReplyLost(which) => {
                take(&mut self.replies, which, false);
            }
            Event::Silence => self.silence(),
            Event::Expires(n) => self.tell_saga(expiry(checkout(n))),
            Event::Brakes(step, pace) => {
                self.story.brakes = self.story.brakes.with(step, pace);
            }
            Event::Operates(action) => self.tell_saga(operation(action).into()),
        }
    }

    /// From now on everything flows and arrives, until all is quiet.
    fn settle(&mut self) {
        self.story.brakes = Brakes::OPEN;
        for _ in 0..60 {
            while !self.commands.is_empty() || !self.replies.is_empty() {
                self.happens(&Event::CommandArrives {
                    which: 0,
                    again: false,
                });
                self.happens(&Event::ReplyArrives {
                    which: 0,
                    again: false,
                });
            }
            self.silence();
        }
    }
}

fn take(under_way: &mut Vec<Message>, which: usize, again: bool) -> Option<Message> {
    if under_way.is_empty() {
        return None;
    }
    let which = which % under_way.len();
    Some(if again {
        under_way[which].clone()
    } else {
        under_way.remove(which)
    })
}

proptest! {
    #![proptest_config(config(400))]

    /// Whatever is repeated, reordered, lost or late: each checkout ends with
    /// everything held and one OrderCreated, or nothing held and one
    /// CheckoutFailed; or it is visibly stuck where a participant is mute.
    #[test]
    fn every_checkout_ends_consistent_or_visibly_stuck(
        events in vec(event(&[OperationAction::Retry, OperationAction::Compensate]), 1..60),
        refused in btree_set(some_step(), 0..2),
        mute in option::weighted(0.2, some_step()),
    ) {
        let mut world = World::new(refused, mute);
        world.tell_saga(request(1).into());
        for event in &events {
            world.happens(event);
        }
        world.settle();
        let started: BTreeSet<_> = (1..5).map(checkout).filter(|checkout| {
            let ended = world.watch.ended.contains_key(checkout);
            ended || world.story.saga().progress.checkout_id == *checkout
        }).collect();
        for checkout in started {
            let held = world.participants.held(checkout);
            match world.watch.ended.get(&checkout) {
                Some(RecordType::OrderCreated) => prop_assert_eq!(held, Step::ALL),
                Some(_) => prop_assert_eq!(held, Vec::<Step>::new()),
                None => {
                    prop_assert_eq!(world.story.kind(), SagaState::Stuck);
                    prop_assert_eq!(world.story.state().step(), mute);
                    prop_assert_eq!(world.story.snapshot().state, SagaState::Stuck);
                }
            }
        }
    }

    /// The same with operators who resolve and abandon: a checkout still ends
    /// once, in order, and an abandoned one does nothing more.
    #[test]
    fn operators_cannot_make_a_checkout_end_twice(
        events in vec(event(OperationAction::ALL), 1..60),
        refused in btree_set(some_step(), 0..2),
    ) {
        let mut world = World::new(refused, None);
        world.tell_saga(request(1).into());
        for event in &events {
            world.happens(event);
            if world.story.kind() == SagaState::Abandoned {
                prop_assert!(!world.watch.ended.contains_key(&world.story.saga().progress.checkout_id));
            }
        }
        world.settle();
        prop_assert!(world.story.state().is_terminal());
    }
}

proptest! {
    #![proptest_config(config(4_000))]

    /// No input panics in any state, also in states that cannot be reached; and
    /// what did not change anything is as it was.
    #[test]
    fn no_input_panics_in_any_state(
        saga in option::weighted(0.9, any_saga()),
        message in prop_oneof![
            4 => any_reply().prop_map(Some),
            3 => any_request().prop_map(Some),
            3 => any_operation().prop_map(Some),
            1 => any_expiry().prop_map(Some),
            2 => Just(None),
        ],
        now in any_timestamp(),
        rules in any_rules(),
        brakes in any_brakes(),
    ) {
        let input = match &message {
            Some(message) => Input::of(message).expect("the flow reads it"),
            None => Input::DeadlinePassed,
        };
        let before = saga.clone();
        let after = next(saga, &input, now, &rules, brakes);
        prop_assert!(after.changed || after.saga == before);
        prop_assert!(!after.outcome.label().is_empty());
        if let Some(saga) = &after.saga {
            let stored = serde_json::to_string(saga).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Saga>(&stored).unwrap(), saga);
            let _ = saga.customer_status();
        }
        if let (false, Some(saga)) = (after.changed, &after.saga) {
            let rejected = |message: &Message| message.record_type() == RecordType::CheckoutRejected;
            prop_assert!(after.messages.iter().all(rejected), "{:?} {:?}", after.messages, saga);
        }
    }
}
