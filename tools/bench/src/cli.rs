//! What can be asked for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Of each measurement of the parts alone, unless told otherwise.
const FLOOR_SECONDS: u64 = 2;

/// Measures the whole saga on this machine: starts Kafka, a schema registry,
/// PostgreSQL and the services, keeps carts in flight, and reports sagas a
/// second and latencies from a cart's publication until a `read_committed`
/// subscriber reads its outcome. Exit status 0 when every cart ended as it
/// should, 1 when one did not, 2 when nothing could be measured.
#[derive(Debug, Parser)]
#[command(
    name = "cargo bench-saga",
    version,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What else there is.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Puts two reports side by side.
    Compare {
        /// The report to compare with: its JSON file.
        before: PathBuf,
        /// The report to look at: its JSON file.
        after: PathBuf,
    },
    /// Measures what the parts cost by themselves: records through this client and
    /// broker, rows through this database, bare Kafka transactions; and computes from
    /// that the least processor time of a saga.
    Floor(FloorOptions),
}

/// What is measured of the parts alone.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FloorOptions {
    /// Length of each of its measurements, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = FLOOR_SECONDS, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,

    /// Partitions of each topic; by default as `topics.yaml` has it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub(crate) partitions: Option<i32>,

    /// The folder that the figures are written to, as `floor.json`.
    #[arg(long, value_name = "DIR", default_value = "target/bench-saga")]
    pub(crate) out: PathBuf,

    /// Ends standard output with one line: a JSON object with the figures.
    /// Everything else goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is measured, and how long.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Carts in flight at once, one run after another: as soon as one ends the
    /// next is published.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_values_t = [1, 64, 512, 2048],
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) in_flight: Vec<u32>,

    /// Carts a second instead: published on time however slow the system is,
    /// and timed from when they were due.
    #[arg(long, value_name = "CARTS", conflicts_with = "in_flight",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: Option<u32>,

    /// Length of a run, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: u64,

    /// Not counted at the beginning of a run, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub(crate) warm_up: u64,

    /// How long carts are checked out at least before anything is measured, in seconds:
    /// until the broker has compiled what it runs, it is half as fast, and its compilers
    /// take what others need.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) broker_warm_up: u64,

    /// How long at most, in seconds: until then the warm-up goes on while the broker's
    /// compilers are busy for more than a tenth of a core.
    #[arg(long, value_name = "SECONDS", default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) broker_warm_up_max: u64,

    /// How often everything is measured; the medians are reported.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) repeat: u32,

    /// Percent of carts that are fine, want too much, and are declined.
    #[arg(long, value_name = "OK,STOCK,DECLINED", default_value = "80,10,10", value_parser = Mix::parse)]
    pub(crate) mix: Mix,

    /// Lines of a cart.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) items: u32,

    /// Which UUIDs carts and their events have: random ones, or such as begin with the
    /// time, whose rows lie at one end of every index.
    #[arg(long, value_enum, default_value_t = Ids::Random)]
    pub(crate) ids: Ids,

    /// Instances of each service.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) instances: u16,

    /// Partitions of each topic; by default as `topics.yaml` has it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub(crate) partitions: Option<i32>,

    /// How the public topics are written: in transactions, or so that a crash
    /// can publish a record twice.
    #[arg(long, value_enum, default_value_t = Delivery::ExactlyOnce)]
    pub(crate) delivery: Delivery,

    /// Finished sagas that the databases have before anything is measured.
    #[arg(long, value_name = "SAGAS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100_000_000))]
    pub(crate) preload: u64,

    /// Measures a second variant in turns with the first, whose services have
    /// this variable, and prints the ratio: the way to judge a setting on a
    /// machine whose speed drifts. May be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) vary: Vec<(String, String)>,

    /// Measures another revision of this repository in turns with the working
    /// tree, and prints the ratio: the way to judge a change on a machine whose
    /// speed drifts. Its services are built first; topics and tools are those of
    /// the working tree.
    #[arg(long, value_name = "GIT_REV", conflicts_with = "vary")]
    pub(crate) pair: Option<String>,

    /// How often memory is looked at during a run, in seconds; from a minute on, a run
    /// tells how fast it grows.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) sample_seconds: u64,

    /// How long the services are looked at without work, in seconds; 0 leaves it out.
    /// Processor time is counted in steps of 10 ms, so 20 s tell 0.05 percent.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub(crate) idle_seconds: u64,

    /// Measures the parts alone first, as `floor` does, and tells how far from the
    /// least processor time each run is.
    #[arg(long)]
    pub(crate) floor: bool,

    /// The folder that the report is written to.
    #[arg(long, value_name = "DIR", default_value = "target/bench-saga")]
    pub(crate) out: PathBuf,

    /// Ends standard output with one line: a JSON object with the report.
    /// Everything else goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// Length of a run.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Between two looks at memory.
    pub(crate) fn sample_every(&self) -> Duration {
        Duration::from_secs(self.sample_seconds)
    }

    /// Without work.
    pub(crate) fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }

    /// What `--floor` measures.
    pub(crate) fn floor_options(&self) -> FloorOptions {
        FloorOptions {
            seconds: FLOOR_SECONDS,
            partitions: self.partitions,
            out: self.out.clone(),
            json: self.json,
        }
    }

    /// What is not counted of it.
    pub(crate) fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up)
    }
}

/// How public topics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Delivery {
    /// In transactions.
    ExactlyOnce,
    /// Without.
    AtLeastOnce,
}

/// What kind of UUIDs the load has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Ids {
    /// Version 4.
    Random,
    /// Version 7.
    TimeOrdered,
}

/// Percentages of carts by their ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mix {
    pub(crate) out_of_stock: u32,
    pub(crate) declined: u32,
}

impl Mix {
    fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<u32> = text
            .split(',')
            .map(|part| part.trim().parse().map_err(|_| part))
            .collect::<Result<_, _>>()
            .map_err(|part| format!("{part:?} is no percentage"))?;
        match parts[..] {
            [ok, out_of_stock, declined]
                if ok
                    .checked_add(out_of_stock)
                    .and_then(|sum| sum.checked_add(declined))
                    == Some(100) =>
            {
                Ok(Self {
                    out_of_stock,
                    declined,
                })
            }
            _ => Err("three percentages that make 100 are wanted, such as 80,10,10".into()),
        }
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is wanted".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        let args = Args::parse_from(["bench", "--in-flight", "1,8", "--vary", "A=b=c"]);
        assert_eq!(args.options.in_flight, [1, 8]);
        assert_eq!(args.options.vary, [("A".to_owned(), "b=c".to_owned())]);
        assert!(Args::try_parse_from(["bench", "--rate", "5", "--in-flight", "1"]).is_err());
        let floor = Args::parse_from(["bench", "floor", "--seconds", "1"]);
        assert!(matches!(floor.command, Some(Command::Floor(options)) if options.seconds == 1));
    }

    #[test]
    fn a_mix_makes_a_hundred() {
        let mix = Mix {
            out_of_stock: 10,
            declined: 20,
        };
        assert_eq!(Mix::parse("70,10,20"), Ok(mix));
        assert!(Mix::parse("70,10,21").is_err());
        assert!(Mix::parse("100").is_err());
        assert!(Mix::parse("a,b,c").is_err());
        for (text, is_mix) in [
            ("100,0,0", true),
            ("0,0,100", true),
            (" 80, 10, 10 ", true),
            ("110,-10,0", false),
            ("4294967295,1,100", false),
            ("80,10,10,0", false),
        ] {
            let line = ["bench", "--mix", text];
            assert_eq!(Args::try_parse_from(line).is_ok(), is_mix, "{text}");
        }
        let default = Args::parse_from(["bench"]).options.mix;
        assert_eq!(Ok(default), Mix::parse("80,10,10"));
    }

    #[test]
    fn a_cart_has_as_many_lines_as_carts_may_have() {
        let items = |text| Args::try_parse_from(["bench", "--items", text]);
        assert_eq!(items("500").unwrap().options.items, 500);
        for wrong in ["0", "501", "-1", "many"] {
            assert!(items(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Args::parse_from(["bench"]).options.items, 1);
    }
}
