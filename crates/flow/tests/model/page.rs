//! `docs/model.md` says what is explored.

use std::{env, fmt::Write, fs, path::Path};

use crate::{mutation::Mutation, property::Promise, rules::rules, runs::RUNS};

const INTRODUCTION: &str = "\
# What is checked in full

<!-- Generated from crates/flow/tests/model; `UPDATE_DOCS=1 cargo test -p flow page` writes it anew. -->

`cargo test -p flow --test model` explores the saga with [stateright](https://www.stateright.rs):
the real transition function (`flow::next`, not a copy of it) among abstract participants, topics,
databases and instances, in every order in which things may happen. Each world that can be reached is
held against the properties below. `-- --nocapture` prints the numbers of worlds and the time taken.
Wider runs, of millions of worlds, are made on request:
`cargo test -p flow --test model -- --ignored --nocapture`.

- **Topics**: whatever was published may arrive at any time, in any order, any number of times, or not at
  all while anything else happens. In one run records between services are lost for good.
- **Time** stands still and every wait is of no length: a timer may fire at any moment, so silence is
  an answer that is late. Sendings are counted only as far as the count decides something.
- **Participants** follow the rules of their services: idempotent, with tombstones, free to refuse.
  The payment gateway places a hold while its caller is told nothing, and is asked again with the same
  key; a void waits for the call that is out.
- **The orchestrator** keeps its sagas, its position and its outputs in one transaction, under the epoch
  of its progress row. An instance may die at any point of a batch, may be taken over and not know it,
  and may not learn that its commit was done. Outcomes are published by the group's members alone, each
  with the number that its next owner reads back. An instance may rely on a saga's row as its last
  batch left it; where another instance has moved the row since, the batch reads it.

";

const PARTICIPANTS: &str = "
## Participants

What the model's participants do with a checkout. The tests of the services read this table and put
their handlers through every sequence of it, up to a length of five.

| Participant | Knows | What comes | Then knows | Says |
|---|---|---|---|---|
";

const LIMITS: &str = "
## What it does not say

The bounds are those of the table of runs: two checkouts, one piece of one product, a small number of
sendings, a small number of faults. Beyond them the property tests of `crates/flow`
draw longer stories at random, and `integration-tests` runs the real parts. One progress row stands for
all partitions of an instance. The runtime is the model's own: that the real one keeps its rules is
what `integration-tests` are for. In the model a transaction of Kafka is one step: that a successor waits
for one that is open is shown there, too. An operator's `RESOLVE` comes with true evidence only; what is held
after an `ABANDON` is the operator's matter. A cart that asked for more checkouts than are remembered is
turned away again by each repeat of a further request.
";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("## Runs\n\n| Run | What happens in it |\n|---|---|\n");
    for run in RUNS {
        writeln!(page, "| {} | {} |", run.name, run.about).unwrap();
    }
    page.push_str("\n## Properties\n\n");
    page.push_str(
        "Each guard beside a property is taken away in a test, which then finds a world that\n\
         breaks the property.\n\n",
    );
    page.push_str("| Property | What holds | It rests on |\n|---|---|---|\n");
    for promise in Promise::ALL {
        let guards: Vec<_> = promise.guards().map(Mutation::guard).collect();
        writeln!(
            page,
            "| {} | {} | {} |",
            promise.name(),
            promise.sentence(),
            guards.join("; ")
        )
        .unwrap();
    }
    page.push_str(PARTICIPANTS);
    for rule in rules() {
        writeln!(page, "{rule}").unwrap();
    }
    page.push_str(LIMITS);
    page
}

#[test]
fn the_page_about_the_model_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/model.md");
    let page = page();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/model.md is out of date; run: UPDATE_DOCS=1 cargo test -p flow page"
    );
}
