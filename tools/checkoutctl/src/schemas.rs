//! Registers the schemas and their compatibility rule, and tells what is
//! missing.

use std::fmt;

use anyhow::Context;
use contracts::{RecordType, Registry, RegistryConfig, RegistryError, TopicNames};
use serde::Serialize;

/// The rule of every subject: a new schema can read what every earlier one
/// wrote, and every earlier one can read what the new one writes.
pub const COMPATIBILITY: &str = "FULL_TRANSITIVE";

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Subjects that got this build's schema, with its id.
    pub registered: Vec<(String, u32)>,
    /// Subjects that had it before, with its id.
    pub existing: Vec<(String, u32)>,
    /// Subjects whose compatibility rule was set.
    pub compatibility_set: Vec<String>,
}

/// Why a subject is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The subject.
    pub subject: String,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// What can be wrong with a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// It does not exist.
    Missing,
    /// It exists, and no version of it is this build's schema.
    Different,
    /// Its compatibility rule is another one, or the registry's own.
    Compatibility(Option<String>),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        match &self.kind {
            ProblemKind::Missing => write!(f, "{subject}: not registered"),
            ProblemKind::Different => {
                write!(f, "{subject}: no version is this build's schema")
            }
            ProblemKind::Compatibility(Some(level)) => {
                write!(
                    f,
                    "{subject}: compatibility is {level}, not {COMPATIBILITY}"
                )
            }
            ProblemKind::Compatibility(None) => {
                write!(
                    f,
                    "{subject}: compatibility is not set, should be {COMPATIBILITY}"
                )
            }
        }
    }
}

/// Sets the compatibility rule of every subject and registers the schema of its record.
/// The rule comes first, so that it judges the schema; only a subject that does not
/// exist gets its first schema before: registries know no rule of a subject that they
/// do not know. What is there already is left alone.
///
/// # Errors
/// When the registry does not answer, or refuses a schema because it is not
/// compatible with an earlier one. What was done until then stays, and the
/// call can be repeated.
pub async fn apply(config: &RegistryConfig, names: &TopicNames) -> anyhow::Result<Report> {
    let registry = Registry::new(config)?;
    let mut report = Report::default();
    for record in RecordType::ALL.iter().copied() {
        let subject = names.subject(record);
        let schema = record.schema_json();
        let found = registry.find(&subject, schema).await?;
        let is_new = found.is_none() && registry.latest(&subject).await?.is_none();
        if !is_new {
            rule(&registry, &subject, &mut report).await?;
        }
        match found {
            Some(id) => report.existing.push((subject.clone(), id)),
            None => {
                let id = registry
                    .register(&subject, schema)
                    .await
                    .with_context(|| format!("schema of subject {subject}"))?;
                report.registered.push((subject.clone(), id));
            }
        }
        if is_new {
            rule(&registry, &subject, &mut report).await?;
        }
    }
    Ok(report)
}

/// Sets the compatibility rule of a subject, where it is another one.
async fn rule(registry: &Registry, subject: &str, report: &mut Report) -> anyhow::Result<()> {
    if registry.compatibility(subject).await?.as_deref() != Some(COMPATIBILITY) {
        registry
            .set_compatibility(subject, COMPATIBILITY)
            .await
            .with_context(|| format!("compatibility of subject {subject}"))?;
        report.compatibility_set.push(subject.to_owned());
    }
    Ok(())
}

/// What [`apply`] would do to a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The subject.
    pub subject: String,
    /// Whether this build's schema would be registered, as a first or a new version.
    pub register: Option<Version>,
    /// The compatibility rule that would be replaced; absent where it is as it should
    /// be.
    pub compatibility_was: Option<String>,
}

/// A version to be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    /// The subject does not exist yet.
    First,
    /// The registry finds it compatible with those that are there, by the rule that
    /// holds then.
    Compatible,
    /// The registry finds it compatible by the rule that the subject has now, which
    /// forbids less than the one that [`apply`] sets first. By that one the registry
    /// judges only once it is set, and may refuse it.
    Unjudged,
    /// The registry would refuse it.
    Refused,
}

impl Version {
    /// A version that is not there, as the registry judges it by the rule of its subject:
    /// none where there is no subject. `is_ours`: that rule is the one that will hold.
    fn judged(is_compatible: Option<bool>, is_ours: bool) -> Self {
        match is_compatible {
            None => Self::First,
            // No rule forbids more than ours.
            Some(false) => Self::Refused,
            Some(true) if is_ours => Self::Compatible,
            Some(true) => Self::Unjudged,
        }
    }
}

impl Change {
    /// Whether the registry would refuse it.
    pub fn is_refused(&self) -> bool {
        self.register == Some(Version::Refused)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        let register = match self.register {
            None => "its schema is there",
            Some(Version::First) => "would be registered, the first of its subject",
            Some(Version::Compatible) => "would be registered, compatible with those there",
            Some(Version::Unjudged) => {
                "would be registered, unless the rule that is set first forbids it"
            }
            Some(Version::Refused) => "would be refused: not compatible with those there",
        };
        write!(f, "{subject}: {register}")?;
        match &self.compatibility_was {
            Some(was) => write!(f, "; compatibility {was} would become {COMPATIBILITY}"),
            None => Ok(()),
        }
    }
}

/// Tells what [`apply`] would do; changes nothing.
///
/// # Errors
/// When the registry does not answer.
pub async fn plan(
    config: &RegistryConfig,
    names: &TopicNames,
) -> Result<Vec<Change>, RegistryError> {
    let registry = Registry::new(config)?;
    let mut changes = Vec::new();
    for record in RecordType::ALL.iter().copied() {
        let subject = names.subject(record);
        let schema = record.schema_json();
        let level = registry.compatibility(&subject).await?;
        let is_ours = level.as_deref() == Some(COMPATIBILITY);
        let register = match registry.find(&subject, schema).await? {
            Some(_) => None,
            None => {
                let is_compatible = match registry.latest(&subject).await? {
                    None => None,
                    Some(_) => registry.is_compatible(&subject, schema).await?,
                };
                Some(Version::judged(is_compatible, is_ours))
            }
        };
        let compatibility_was = (!is_ours).then(|| level.unwrap_or_else(|| "not set".to_owned()));
        if register.is_some() || compatibility_was.is_some() {
            changes.push(Change {
                subject,
                register,
                compatibility_was,
            });
        }
    }
    Ok(changes)
}

/// Compares the registry with this build's schemas; changes nothing. No
/// problems means that every service can start.
///
/// # Errors
/// When the registry does not answer.
pub async fn check(
    config: &RegistryConfig,
    names: &TopicNames,
) -> Result<Vec<Problem>, RegistryError> {
    let registry = Registry::new(config)?;
    let mut problems = Vec::new();
    for record in RecordType::ALL.iter().copied() {
        let subject = names.subject(record);
        let kind = if registry
            .find(&subject, record.schema_json())
            .await?
            .is_none()
        {
            Some(match registry.latest(&subject).await? {
                None => ProblemKind::Missing,
                Some(_) => ProblemKind::Different,
            })
        } else {
            let level = registry.compatibility(&subject).await?;
            (level.as_deref() != Some(COMPATIBILITY)).then_some(ProblemKind::Compatibility(level))
        };
        problems.extend(kind.map(|kind| Problem { subject, kind }));
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_judged_by_the_rule_that_will_hold() {
        for (is_compatible, is_ours, expected) in [
            (None, false, Version::First),
            (None, true, Version::First),
            (Some(true), true, Version::Compatible),
            (Some(true), false, Version::Unjudged),
            (Some(false), true, Version::Refused),
            (Some(false), false, Version::Refused),
        ] {
            let version = Version::judged(is_compatible, is_ours);
            assert_eq!(version, expected, "{is_compatible:?} {is_ours}");
            let change = Change {
                subject: "a-b.C".to_owned(),
                register: Some(version),
                compatibility_was: (!is_ours).then(|| "NONE".to_owned()),
            };
            assert_eq!(change.is_refused(), expected == Version::Refused);
            let text = change.to_string();
            let rule = "compatibility NONE would become FULL_TRANSITIVE";
            assert_eq!(text.contains(rule), !is_ours, "{text}");
            assert_eq!(text.contains("refused"), change.is_refused(), "{text}");
        }
    }
}
