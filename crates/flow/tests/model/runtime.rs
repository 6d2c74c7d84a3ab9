//! The runtime of the orchestrator: one progress row that is inbox, outbox and
//! fence, the instance that owns it, and one that owned it before
//! (`crates/runtime`: `commit`, `ownership`, `lane`).
//!
//! A batch is one input. Its transaction is one step, for it holds the row's lock
//! from the comparison to the commit; a crash in it is a batch that never was.
//! Revisions are not counted: the row is moved by its owner alone, so an instance
//! is behind the row after a commit of which it did not learn, or after a claim of
//! another.

use crate::{
    core::{Cart, Circumstances, Happening},
    message::{CHECKOUTS, Checkout, Kind, Outcome},
    model::Model,
    mutation::Mutation,
    world::{Instance, Outputs, World},
};

/// Which instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    Owner,
    Former,
}

/// How an instance learns of its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Commit {
    Answered,
    AnswerLost,
}

impl World {
    pub(crate) fn instance(&self, who: Who) -> Option<&Instance> {
        match who {
            Who::Owner => Some(&self.owner),
            Who::Former => self.former.as_ref(),
        }
    }

    fn instance_mut(&mut self, who: Who) -> &mut Instance {
        match who {
            Who::Owner => &mut self.owner,
            Who::Former => self.former.as_mut().expect("there is a former owner"),
        }
    }
}

impl Model {
    /// The cart whose saga an input is about.
    pub(crate) fn cart_of(&self, happening: Happening) -> Cart {
        match happening {
            Happening::Request(checkout) | Happening::Reply(checkout, _) => {
                self.core.cart_of(checkout)
            }
            Happening::Silence(cart) | Happening::Operator(cart, _) => cart,
        }
    }

    /// A batch of one input.
    pub(crate) fn batch(
        &self,
        world: &mut World,
        who: Who,
        happening: Happening,
        circumstances: Circumstances,
        commit: Commit,
    ) {
        let instance = *world.instance(who).expect("the instance is there");
        if !instance.current && !self.lacks(Mutation::EpochIgnored) {
            // Fenced: it forgets all, and would have to join anew.
            world.former = None;
            return;
        }
        let cart = self.cart_of(happening);
        let saga = world.sagas[cart];
        let answer = self.core.ask(cart, saga, happening, circumstances);
        if let Happening::Request(checkout) = happening {
            world.unread[checkout] = false;
        }
        let unchanged = answer.saga.is_none() || answer.saga == world.sagas[cart];
        if answer.saga.is_some() {
            world.sagas[cart] = answer.saga;
        }
        let mut new = Outputs::default();
        let mut sequence = instance.sequence;
        new.commands = answer.commands;
        if let Some((checkout, ending)) = answer.told {
            sequence += 1;
            new.public.push(sequence, Outcome { checkout, ending });
        }
        if commit == Commit::AnswerLost && unchanged && new.is_empty() {
            // As if it had been answered: there is nothing to be in doubt about.
            return;
        }
        if !self.run.faulty_runtime {
            for checkout in CHECKOUTS {
                for command in Kind::COMMANDS {
                    if new.commands[checkout].has(command) {
                        world.send(checkout, command);
                    }
                }
            }
            for (_, outcome) in new.public.iter() {
                world.see(outcome);
            }
            return;
        }
        let all = merged(instance.outputs, new);
        if !self.lacks(Mutation::OutputsNotStored) {
            world.row.outputs = all;
        }
        world.row.sequence = sequence;
        let instance = world.instance_mut(who);
        match commit {
            Commit::Answered => {
                instance.outputs = all;
                instance.sequence = sequence;
            }
            Commit::AnswerLost => instance.doubt = Some(new),
        }
    }

    /// The position moves, and an instance dies before the rows do.
    pub(crate) fn skip(&self, world: &mut World, checkout: Checkout) {
        world.unread[checkout] = false;
        self.crash(world);
    }

    /// The instance asks the row whether its batch was committed.
    pub(crate) fn resolve(&self, world: &mut World, who: Who) {
        let forgets = self.lacks(Mutation::RevisionIgnored);
        let fenced = !world.instance(who).is_some_and(|instance| instance.current);
        let instance = world.instance_mut(who);
        let Some(new) = instance.doubt.take() else {
            return;
        };
        if fenced {
            world.former = None;
        } else if !forgets {
            instance.outputs = merged(instance.outputs, new);
            let last = new.public.iter().last();
            instance.sequence = last.map_or(instance.sequence, |(number, _)| number);
        }
    }

    /// A command is produced and acknowledged. Whoever else would publish it from
    /// now on would change nothing: it is on its topic, and may arrive again.
    pub(crate) fn publish(&self, world: &mut World, checkout: Checkout, command: Kind) {
        world.send(checkout, command);
        world.each_output_mut(|outputs| outputs.commands[checkout].remove(command));
    }

    /// A transaction of the lane: an outcome becomes readable, and its number is
    /// committed with the group's offsets, or neither.
    pub(crate) fn transaction(&self, world: &mut World, who: Who) {
        let instance = world.instance_mut(who);
        let Some((number, outcome)) = instance.outputs.public.first() else {
            return;
        };
        if !instance.member && !self.lacks(Mutation::GenerationIgnored) {
            return;
        }
        instance.outputs.public.pop();
        world.see(outcome);
        world.mark = world.mark.max(number);
    }

    /// Acknowledged outputs leave the row.
    pub(crate) fn settle_row(&self, world: &mut World) {
        world.row.outputs = world.owner.outputs;
    }

    /// The owner loses its memory; another instance gets its partitions.
    pub(crate) fn crash(&self, world: &mut World) {
        world.owner = joined();
    }

    /// Another instance gets the owner's partitions, and the owner does not know.
    pub(crate) fn take_over(&self, world: &mut World) {
        world.former = Some(Instance {
            member: false,
            ..world.owner
        });
        world.owner = joined();
    }

    /// The former owner learns that it is one, and joins the group again.
    pub(crate) fn join_again(&self, world: &mut World) {
        if let Some(former) = &mut world.former
            && self.lacks(Mutation::OutcomesKept)
        {
            former.member = true;
        } else {
            world.former = None;
        }
    }

    /// The new owner claims the row: former epochs are over, and what may not be
    /// published is taken from the row.
    pub(crate) fn claim(&self, world: &mut World) {
        let mut outputs = world.row.outputs;
        if !self.lacks(Mutation::MarkIgnored) {
            outputs.public.drop_up_to(world.mark);
        }
        let sequence = match self.lacks(Mutation::NumbersBegunAnew) {
            false => world.row.sequence.max(world.mark),
            true => 0,
        };
        world.owner = Instance {
            member: true,
            claimed: true,
            current: true,
            outputs,
            sequence,
            doubt: None,
        };
        if let Some(former) = &mut world.former {
            former.current = false;
        }
    }
}

/// An instance that has just got the partitions.
fn joined() -> Instance {
    Instance {
        member: true,
        ..Instance::default()
    }
}

fn merged(mut outputs: Outputs, new: Outputs) -> Outputs {
    for checkout in CHECKOUTS {
        outputs.commands[checkout] = outputs.commands[checkout].with(new.commands[checkout]);
    }
    for (number, outcome) in new.public.iter() {
        outputs.public.push(number, outcome);
    }
    outputs
}

impl World {
    /// A reader of committed records sees an outcome.
    fn see(&mut self, outcome: Outcome) {
        let seen = &mut self.read[outcome.checkout][outcome.ending as usize];
        *seen = (*seen + 1).min(2);
    }
}
