//! Lists the topics of `topics.yaml` and their records for `topic.rs` and
//! `catalogue.rs`, so that a new one is said in one place.

use std::{env, error::Error, fmt::Write, fs, path::Path};

#[path = "src/topology.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is shared with the library")]
mod topology;

use topology::{ABOUT_ANNOTATION, RECORDS_ANNOTATION, TopicSpec};

const DLQ_SUFFIX: &str = ".dlq";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=../../topics.yaml");
    println!("cargo::rerun-if-changed=src/topology.rs");
    let specs = topology::parse(topology::TOPICS_YAML)?;
    let mut topics = String::from("topics! {\n");
    let mut records = String::from("catalogue! {\n");
    for spec in specs.iter().filter(|spec| !spec.name.ends_with(DLQ_SUFFIX)) {
        let variant = variant(&spec.name);
        let about = annotation(spec, ABOUT_ANNOTATION)?;
        let dlq = format!("{}{DLQ_SUFFIX}", spec.name);
        let consumed = specs.iter().any(|other| other.name == dlq);
        let policy = spec.configs.get("cleanup.policy");
        let compacted = policy.is_some_and(|policy| policy.contains("compact"));
        writeln!(
            topics,
            "#[doc = {about:?}] {variant} => {:?}, consumed: {consumed}, compacted: {compacted};",
            spec.name
        )?;
        write!(records, "{variant} {{")?;
        for record in annotation(spec, RECORDS_ANNOTATION)?.split(',') {
            let record = record.trim();
            check(record).map_err(|error| format!("topics.yaml, {}: {error}", spec.name))?;
            write!(records, " {record}")?;
        }
        records.push_str(" }\n");
    }
    topics.push_str("}\n");
    records.push_str("}\n");
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("topics.rs"), topics)?;
    fs::write(Path::new(&out).join("records.rs"), records)?;
    Ok(())
}

/// `payments.outcomes` is `PaymentsOutcomes`.
fn variant(topic: &str) -> String {
    topic
        .split(['.', '-', '_'])
        .map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        })
        .collect()
}

fn annotation<'a>(spec: &'a TopicSpec, name: &str) -> Result<&'a str, String> {
    spec.annotations
        .get(name)
        .map(String::as_str)
        .ok_or_else(|| format!("topics.yaml: {} has no annotation {name}", spec.name))
}

/// Whether the record is named as its schema is found: owner, dot, name.
fn check(record: &str) -> Result<(), String> {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let Some((owner, name)) = record
        .split_once('.')
        .filter(|(o, n)| is_word(o) && is_word(n))
    else {
        return Err(format!(
            "{record:?} in {RECORDS_ANNOTATION} is no record: name it like payments.AuthorizePayment"
        ));
    };
    let schema = format!("schemas/{owner}/{name}.avsc");
    if Path::new("../..").join(&schema).is_file() {
        return Ok(());
    }
    Err(format!("{schema}, the schema of {record}, is not there"))
}
