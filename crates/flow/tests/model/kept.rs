//! Rows that an instance keeps from one batch to the next (`crates/service`: `rows`,
//! `crates/runtime`: `transact`). The owner of the progress row alone never meets a row that
//! is not as it left it: it takes another instance that owns other partitions, which the
//! cart's records come by as well.

use crate::{
    core::{Circumstances, Happening},
    model::Model,
    mutation::Mutation,
    runtime::{Commit, Who},
    world::World,
};

impl Model {
    /// A batch of one input of the other instance. It relies on the row as it kept it. Where
    /// the row has another version by now, the transaction comes to nothing, and the batch
    /// reads the row.
    pub(crate) fn neighbour(&self, world: &mut World, happening: Happening) {
        let cart = self.cart_of(happening);
        let truth = world.sagas[cart];
        if self.lacks(Mutation::KeptRowTrusted) {
            world.sagas[cart] = world.kept[cart].or(truth);
        }
        let relied_on = world.sagas[cart];
        let circumstances = Circumstances::default();
        self.batch(
            world,
            Who::Owner,
            happening,
            circumstances,
            Commit::Answered,
        );
        if world.sagas[cart] == relied_on {
            // What does not change is not written.
            world.sagas[cart] = truth;
        }
        world.kept[cart] = world.sagas[cart];
    }
}
