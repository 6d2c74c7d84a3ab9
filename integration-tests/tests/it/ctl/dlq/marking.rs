//! What can be remembered of the letters that were handled.

use contracts::Topic;
use futures::future::join_all;
use integration_tests::System;
use serde_json::Value;

use super::super::{run, texts};
use super::{GARBAGE, WHY, list, no_services};

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_cannot_be_marked_are_refused_before_anything_is_done() {
    let system = System::start("ctl_dlq_room", no_services()).await;
    let dead = system.names.dlq(Topic::ShoppingCheckouts);
    // Of a kind every second letter of a partition: they cannot all be remembered.
    let (key, value, _) = GARBAGE;
    let mixed = [GARBAGE, (key, value, "UNDECODABLE_DATUM")];
    system.bury(dead, &mixed.repeat(1_200)).await;
    for action in ["redrive", "discard"] {
        let command = ["dlq", action, "--code", "NOT_FRAMED"];
        for more in [&["--dry-run"][..], &[]] {
            let ran = run(&system, &[&command, more, WHY].concat()).await;
            assert_eq!(ran.status, Some(2), "{action} {more:?}: {}", ran.out);
            for text in [
                "nothing was done: 1200 letters of shopping.checkouts.dlq",
                "checkoutctl dlq redrive --topic shopping.checkouts",
            ] {
                assert!(ran.errors.contains(text), "{text}: {}", ran.errors);
            }
        }
    }
    assert_eq!(published(&system), 0, "nothing was published");
    let open = list(&system, 1).await;
    assert_eq!(open["letters"].as_array().map(Vec::len), Some(2_400));

    // Side by side they can.
    let all = ["dlq", "discard", "--topic", "shopping.checkouts", "--json"];
    run(&system, &[&all[..], WHY].concat()).await.json(0);
    assert_eq!(list(&system, 0).await["letters"], Value::Array(Vec::new()));
}

/// How many records were published where letters are redriven.
fn published(system: &System) -> i64 {
    let partitions = 0..4;
    partitions
        .map(|partition| system.end("shopping.checkouts", partition))
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_by_those_whom_kafka_does_not_let_mark() {
    let system = System::start("ctl_dlq_refused", no_services()).await;
    let dead = system.names.dlq(Topic::ShoppingCheckouts);
    system.bury(dead, &[GARBAGE; 3]).await;
    // Brokers allow a quarter of an hour; what is no transaction is not refused.
    let refused = ["--kafka-property", "transaction.timeout.ms=3600000"];
    for action in ["redrive", "discard"] {
        let command = ["dlq", action, "--all"];
        for more in [&["--dry-run"][..], &[]] {
            let ran = run(&system, &[&command, more, &refused, WHY].concat()).await;
            assert_eq!(ran.status, Some(2), "{action} {more:?}: {}", ran.out);
            let group = format!(
                "{}checkout-dead-letters",
                system.installation().topic_prefix
            );
            for text in ["nothing was done: cannot mark letters of", &group] {
                assert!(ran.errors.contains(text), "{text}: {}", ran.errors);
            }
        }
    }
    assert_eq!(published(&system), 0, "nothing was published");
    let open = list(&system, 1).await;
    assert_eq!(open["letters"].as_array().map(Vec::len), Some(3));
    // To try changes nothing, and is in nobody's way.
    let redrive = ["dlq", "redrive", "--all", "--json"];
    run(&system, &[&redrive[..], &["--dry-run"], WHY].concat())
        .await
        .json(0);
    let open = list(&system, 1).await;
    assert_eq!(open["letters"].as_array().map(Vec::len), Some(3));
    run(&system, &[&redrive[..], WHY].concat()).await.json(0);
    assert_eq!(published(&system), 3);
    assert_eq!(list(&system, 0).await["letters"], Value::Array(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_of_those_who_act_at_the_same_time_are_all_kept() {
    let system = System::start("ctl_dlq_race", no_services()).await;
    let dead = system.names.dlq(Topic::ShoppingCheckouts);
    for round in 0..3 {
        system.bury(dead, &[GARBAGE; 12]).await;
        let ids = texts(&list(&system, 1).await["letters"], "letter");
        assert_eq!(ids.len(), 12, "round {round}");
        // Each has every third letter, so that nobody's marks are side by side.
        let actions = (0..3).map(async |first| {
            let mine = ids.iter().skip(first).step_by(3).map(String::as_str);
            let command = ["dlq", "discard"].into_iter().chain(mine);
            let command: Vec<&str> = command.chain(WHY.iter().copied()).collect();
            run(&system, &command).await
        });
        for ran in join_all(actions).await {
            assert_eq!(ran.status, Some(0), "round {round}: {}", ran.errors);
        }
        let open = list(&system, 0).await;
        assert_eq!(open["letters"], Value::Array(Vec::new()), "round {round}");
    }
}
