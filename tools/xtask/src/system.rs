//! Who is who: what no schema and no definition says. Everything else is derived: what a
//! service sends and reads follows from the labels of `topics.yaml` and the flow.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use contracts::topology::{CONSUMER_LABEL, PRODUCER_LABEL, TopicSpec, topology};
use contracts::{RecordType, Topic};
use flow::{Step, StepDefinition};

/// A part of the business: a namespace of `schemas/`, and who is responsible for it.
pub(crate) struct Domain {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) team: Team,
}

/// Who is responsible, by role.
pub(crate) struct Team {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
}

/// A producer or consumer in the labels of `topics.yaml`.
pub(crate) struct Service {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) domain: &'static str,
    pub(crate) summary: &'static str,
}

/// A thing of the business, with the record that describes it.
pub(crate) struct Entity {
    pub(crate) id: &'static str,
    pub(crate) identifier: &'static str,
    pub(crate) record: RecordType,
    pub(crate) summary: &'static str,
    /// Whether it is changed as a whole, and not as a part of another.
    pub(crate) aggregate_root: bool,
}

/// The service that drives the flow.
pub(crate) const ORCHESTRATOR: &str = "orchestrator";
/// Who sends the commands that are no part of the flow.
pub(crate) const OPERATORS: &str = "operators";

pub(crate) const DOMAINS: &[Domain] = &[
    Domain {
        id: "inventory",
        name: "Inventory",
        summary: "What is in stock, and what of it is held for checkouts.",
        team: Team {
            id: "inventory-team",
            name: "Inventory team",
            summary: "Looks after stock and reservations.",
        },
    },
    Domain {
        id: "ordering",
        name: "Ordering",
        summary: "Checkouts, from a confirmed cart to an order or to nothing held.",
        team: Team {
            id: "checkout-team",
            name: "Checkout team",
            summary: "Looks after the saga, the orders and whoever is on call for them.",
        },
    },
    Domain {
        id: "payments",
        name: "Payments",
        summary: "Money that is held for checkouts at a payment gateway.",
        team: Team {
            id: "payments-team",
            name: "Payments team",
            summary: "Looks after authorizations and the gateway.",
        },
    },
    Domain {
        id: "shopping",
        name: "Shopping",
        summary: "Carts, until a customer confirms one.",
        team: Team {
            id: "shopping-team",
            name: "Shopping team",
            summary: "Looks after carts and the pages that show them.",
        },
    },
];

pub(crate) const SERVICES: &[Service] = &[
    Service {
        id: "cart-service",
        name: "Cart service",
        domain: "shopping",
        summary: "Publishes the carts that customers confirm.",
    },
    Service {
        id: "downstream",
        name: "Downstream teams",
        domain: "ordering",
        summary: "Whoever works on with orders and failed checkouts: fulfilment, mail, reporting.",
    },
    Service {
        id: "inventory",
        name: "Inventory service",
        domain: "inventory",
        summary: "Reserves stock for checkouts, all items or none, and releases it.",
    },
    Service {
        id: OPERATORS,
        name: "Operators",
        domain: "ordering",
        summary: "Whoever is on call: set stock, and intervene in sagas that cannot go on.",
    },
    Service {
        id: ORCHESTRATOR,
        name: "Orchestrator",
        domain: "ordering",
        summary: "Drives the saga of every checkout: asks the participants step by step, and has undone what was done when a step fails.",
    },
    Service {
        id: "order",
        name: "Order service",
        domain: "ordering",
        summary: "Records orders, at most one live one a cart, and cancels them.",
    },
    Service {
        id: "payment",
        name: "Payment service",
        domain: "payments",
        summary: "Authorizes and voids payments at a gateway.",
    },
];

pub(crate) const ENTITIES: &[Entity] = &[
    Entity {
        id: "Authorization",
        identifier: "authorizationId",
        record: RecordType::PaymentAuthorized,
        summary: "Money held for one checkout.",
        aggregate_root: true,
    },
    Entity {
        id: "Cart",
        identifier: "cartId",
        record: RecordType::CartCheckedOut,
        summary: "What a customer wants to buy. Each attempt to check it out is a checkout.",
        aggregate_root: true,
    },
    Entity {
        id: "Checkout",
        identifier: "checkoutId",
        record: RecordType::SagaSnapshot,
        summary: "One attempt to make an order of a cart: one saga.",
        aggregate_root: true,
    },
    Entity {
        id: "Order",
        identifier: "orderId",
        record: RecordType::OrderCreated,
        summary: "What a checkout that went well ends with.",
        aggregate_root: true,
    },
    Entity {
        id: "Reservation",
        identifier: "reservationId",
        record: RecordType::InventoryReserved,
        summary: "Stock held for one checkout.",
        aggregate_root: true,
    },
    Entity {
        id: "Stock",
        identifier: "productId",
        record: RecordType::StockSet,
        summary: "The pieces of one product: what is there, and what of it is held.",
        aggregate_root: true,
    },
];

/// The domain of this name.
///
/// # Errors
/// It is not described here.
pub(crate) fn domain(id: &str) -> anyhow::Result<&'static Domain> {
    DOMAINS
        .iter()
        .find(|domain| domain.id == id)
        .with_context(|| {
            format!(
                "nothing is said of the domain {id}: add it to DOMAINS in tools/xtask/src/system.rs"
            )
        })
}

/// The domain that a record belongs to: its namespace.
///
/// # Errors
/// It is not described here.
pub(crate) fn domain_of(record: RecordType) -> anyhow::Result<&'static Domain> {
    let (namespace, _) = record
        .full_name()
        .split_once('.')
        .with_context(|| format!("{record} has no namespace"))?;
    domain(namespace)
}

/// Whether a record asks for something, or tells something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Command,
    Event,
}

/// What a record is; the name of its topic says it.
pub(crate) fn kind(record: RecordType) -> Kind {
    let topic = record.topic().name();
    if topic.ends_with(".commands") || topic.ends_with(".operations") {
        Kind::Command
    } else {
        Kind::Event
    }
}

/// The topic as `topics.yaml` declares it.
///
/// # Errors
/// It is not declared.
pub(crate) fn declared(name: &str) -> anyhow::Result<&'static TopicSpec> {
    topology()
        .iter()
        .find(|topic| topic.name == name)
        .with_context(|| format!("{name} is not in topics.yaml"))
}

fn labelled(topic: Topic, label: &str) -> anyhow::Result<&'static str> {
    let id = declared(topic.name())?
        .labels
        .get(label)
        .with_context(|| format!("{topic} has no label {label:?} in topics.yaml"))?;
    match SERVICES.iter().find(|service| service.id == id) {
        Some(service) => Ok(service.id),
        None => bail!(
            "nothing is said of {id}, the {label} of {topic}: add it to SERVICES in tools/xtask/src/system.rs"
        ),
    }
}

/// Who sends a record.
///
/// # Errors
/// Its topic does not say, or names somebody who is not described here.
pub(crate) fn producer(record: RecordType) -> anyhow::Result<&'static str> {
    if kind(record) == Kind::Command && role(record).is_none() {
        return Ok(OPERATORS);
    }
    labelled(record.topic(), PRODUCER_LABEL)
}

/// Who reads a topic.
///
/// # Errors
/// The topic does not say, or names somebody who is not described here.
pub(crate) fn consumer(topic: Topic) -> anyhow::Result<&'static str> {
    labelled(topic, CONSUMER_LABEL)
}

/// Records by topic.
pub(crate) type Traffic = BTreeMap<Topic, Vec<RecordType>>;

/// What a service sends.
///
/// # Errors
/// As [`producer`].
pub(crate) fn sends(service: &str) -> anyhow::Result<Traffic> {
    let mut traffic = Traffic::new();
    for record in RecordType::ALL.iter().copied() {
        if producer(record)? == service {
            traffic.entry(record.topic()).or_default().push(record);
        }
    }
    Ok(traffic)
}

/// What a service reads.
///
/// # Errors
/// As [`consumer`].
pub(crate) fn receives(service: &str) -> anyhow::Result<Traffic> {
    let mut traffic = Traffic::new();
    for topic in Topic::ALL.iter().copied() {
        if consumer(topic)? == service {
            traffic.insert(topic, topic.records().collect());
        }
    }
    Ok(traffic)
}

/// What a record is to the step that it belongs to.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    Command,
    Success,
    Failure,
    Compensation,
    Acknowledgement,
}

/// The step that a record belongs to, and what it is to it; none where it is no part of
/// the flow's steps.
pub(crate) fn role(record: RecordType) -> Option<(&'static StepDefinition, Role)> {
    Step::ALL.iter().find_map(|step| {
        let definition = step.definition();
        let role = if record == definition.command.record {
            Role::Command
        } else if record == definition.success.record {
            Role::Success
        } else if record == definition.compensation.record {
            Role::Compensation
        } else if record == definition.compensation.acknowledged_by {
            Role::Acknowledgement
        } else if definition.failures.iter().any(|f| f.record == record) {
            Role::Failure
        } else {
            return None;
        };
        Some((definition, role))
    })
}

/// What the participant of a step may answer to its command.
pub(crate) fn replies(definition: &StepDefinition) -> Vec<RecordType> {
    std::iter::once(definition.success.record)
        .chain(definition.failures.iter().map(|failure| failure.record))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everybody_who_is_described_takes_part() {
        for service in SERVICES {
            let busy =
                !sends(service.id).unwrap().is_empty() || !receives(service.id).unwrap().is_empty();
            assert!(busy, "{} sends and reads nothing", service.id);
            domain(service.domain).unwrap();
        }
        let used: BTreeSet<_> = RecordType::ALL
            .iter()
            .map(|record| domain_of(*record).unwrap().id)
            .collect();
        assert_eq!(used.len(), DOMAINS.len());
    }

    #[test]
    fn commands_outside_the_flow_come_from_operators() {
        assert_eq!(producer(RecordType::SetStock).unwrap(), OPERATORS);
        assert_eq!(producer(RecordType::SagaOperation).unwrap(), OPERATORS);
        assert_eq!(
            producer(RecordType::ReserveInventory).unwrap(),
            ORCHESTRATOR
        );
    }

    #[test]
    fn an_entity_is_described_by_a_record_that_names_it() {
        for entity in ENTITIES {
            let schema = crate::schema::Schema::of(entity.record).unwrap();
            assert!(schema.has(entity.identifier), "{}", entity.id);
        }
    }
}
