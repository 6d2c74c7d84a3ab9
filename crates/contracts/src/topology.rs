//! The topics as `topics.yaml` declares them.
//!
//! The file is a resource list in Jikkou's `KafkaTopicList` format and is
//! compiled in, so code and file cannot differ.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use serde::{Deserialize, Deserializer, de};

/// The text of `topics.yaml`.
pub const TOPICS_YAML: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../topics.yaml"));

/// Annotation that says in a sentence what a topic is for.
pub const ABOUT_ANNOTATION: &str = "checkout/about";

/// Annotation that lists the full names of the records a topic carries,
/// separated by commas.
pub const RECORDS_ANNOTATION: &str = "checkout/records";

/// Label that says who publishes on a topic.
pub const PRODUCER_LABEL: &str = "producer";

/// Label that says who reads a topic.
pub const CONSUMER_LABEL: &str = "consumer";

/// One topic as it should be in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name without any prefix.
    pub name: String,
    /// Number of partitions.
    pub partitions: i32,
    /// Number of replicas of each partition.
    pub replicas: i32,
    /// Kafka's topic configuration, values as text.
    pub configs: BTreeMap<String, String>,
    /// Who has to do with it: [`PRODUCER_LABEL`] and [`CONSUMER_LABEL`].
    pub labels: BTreeMap<String, String>,
    /// Notes for people and tools, such as [`RECORDS_ANNOTATION`].
    pub annotations: BTreeMap<String, String>,
}

static TOPOLOGY: LazyLock<Vec<TopicSpec>> = LazyLock::new(|| {
    // The text is part of the program and parsed by this crate's tests.
    parse(TOPICS_YAML).unwrap_or_else(|error| panic!("topics.yaml: {error}"))
});

/// Every topic of `topics.yaml`, dead letter queues included, in the file's
/// order.
pub fn topology() -> &'static [TopicSpec] {
    &TOPOLOGY
}

/// Reads a topic list in Jikkou's format.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse(yaml: &str) -> Result<Vec<TopicSpec>, String> {
    let list: KafkaTopicList = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    if list.kind != "KafkaTopicList" {
        return Err(format!("kind is {:?}, not KafkaTopicList", list.kind));
    }
    if list.api_version != "kafka.jikkou.io/v1beta2" {
        return Err(format!("apiVersion {:?} is not known", list.api_version));
    }
    Ok(list
        .items
        .into_iter()
        .map(|item| TopicSpec {
            name: item.metadata.name,
            partitions: item.spec.partitions,
            replicas: item.spec.replicas,
            configs: text(item.spec.configs),
            labels: text(item.metadata.labels),
            annotations: text(item.metadata.annotations),
        })
        .collect())
}

fn text(values: BTreeMap<String, Scalar>) -> BTreeMap<String, String> {
    values
        .into_iter()
        .map(|(key, value)| (key, value.0))
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KafkaTopicList {
    api_version: String,
    kind: String,
    #[serde(default)]
    #[expect(
        dead_code,
        reason = "labels and annotations of the list are for other tools"
    )]
    metadata: de::IgnoredAny,
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
    #[serde(default)]
    annotations: BTreeMap<String, Scalar>,
    #[serde(default)]
    labels: BTreeMap<String, Scalar>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    partitions: i32,
    replicas: i32,
    #[serde(default)]
    configs: BTreeMap<String, Scalar>,
}

/// A YAML scalar as the text that Kafka gets.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number or a boolean")
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar(value.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
