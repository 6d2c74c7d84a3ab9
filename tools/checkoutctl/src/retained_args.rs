//! `checkoutctl schemas check --retained`: its flags, and how it is done.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use audit::Target;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, Error, FromArgMatches, error::ErrorKind};
use contracts::TopicNames;

use crate::print;
use crate::telling::Steps;
use operations::args::{KafkaArgs, RegistryArgs};
use operations::retained::Retained;

/// `--retained`, and the flags that only it has a use for.
#[derive(Debug)]
pub(crate) struct RetainedArgs(Flags);

#[derive(clap::Args, Debug)]
struct Flags {
    /// Instead: read every record that is still on the topics, dead letters among them,
    /// and tell which ones this version's schemas do not understand, and which ones are
    /// of a schema that the registry does not have. Exit status 1 if there is one. Dead
    /// letters that were put aside because they do not decode are none.
    #[arg(long)]
    retained: bool,

    #[command(flatten)]
    kafka: KafkaArgs,

    /// How long Kafka may be silent, in seconds.
    #[arg(
        long,
        env = "OPERATIONS_TIMEOUT_SECONDS",
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=600)
    )]
    timeout_seconds: u64,
}

/// The flags that mean nothing without `--retained`.
const OF_RETAINED: [&str; 3] = [
    "kafka_bootstrap_servers",
    "kafka_properties",
    "timeout_seconds",
];

// By hand for what derive cannot say: that flags belong to another one, while their
// variables may always be set.
impl clap::Args for RetainedArgs {
    fn augment_args(command: Command) -> Command {
        Flags::augment_args(command).mut_args(|arg| {
            match OF_RETAINED.contains(&arg.get_id().as_str()) {
                true => arg.help_heading("With --retained"),
                false => arg,
            }
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RetainedArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let flags = Flags::from_arg_matches(matches)?;
        let given = |id: &&&str| matches.value_source(id) == Some(ValueSource::CommandLine);
        if let (false, Some(id)) = (flags.retained, OF_RETAINED.iter().find(given)) {
            let flag = id.replace("properties", "property").replace('_', "-");
            return Err(Error::raw(
                ErrorKind::MissingRequiredArgument,
                format!("--{flag} is for --retained, which reads the topics\n"),
            ));
        }
        Ok(Self(flags))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl RetainedArgs {
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.retained
    }

    /// Reads every record that is still on the topics.
    pub(crate) async fn check(
        &self,
        registry: &RegistryArgs,
        json: bool,
        names: TopicNames,
    ) -> anyhow::Result<ExitCode> {
        let timeout = Duration::from_secs(self.0.timeout_seconds);
        let target = Target {
            kafka: self.0.kafka.kafka(timeout),
            registry: registry.config(),
            topics: names,
            orchestrator: None,
            inventory: None,
            payment: None,
            order: None,
            others: Default::default(),
        };
        let steps = Arc::new(Steps::new("asking Kafka"));
        let told = Arc::clone(&steps);
        let reading = operations::retained::check(&target, move |step| told.tell(step));
        let found = steps.during(reading).await?;
        match json {
            true => print::json(&found)?,
            false => {
                for topic in &found.topics {
                    print::text(&lines(topic, "poison with any version"));
                }
                for letters in &found.dead_letters {
                    print::text(&lines(letters, "put aside as poison"));
                }
            }
        }
        Ok(crate::failure_if(
            found.not_understood + found.unknown_schema > 0,
        ))
    }
}

/// A topic for people: how many of what, and examples.
fn lines(topic: &Retained, poison: &str) -> String {
    let number: u64 = topic.poison.values().sum();
    let mut text = format!(
        "{}: {} records, {} not understood, {} of a schema that the registry does not have, \
         {number} {poison}\n",
        topic.topic, topic.records, topic.not_understood, topic.unknown_schema
    );
    for example in &topic.examples {
        text.push_str(&format!("  {example}\n"));
    }
    text
}
