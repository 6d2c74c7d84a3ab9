//! What can be asked for, and where the answer goes.

use std::path::PathBuf;

use clap::Parser;

/// Runs the whole checkout saga on this machine: starts Kafka, a schema
/// registry, PostgreSQL and the four services, checks out carts, and proves
/// that everything adds up. Exit status 0 when it does.
#[derive(Debug, Parser)]
#[command(name = "cargo demo", version)]
pub(crate) struct Args {
    /// Carts to check out.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) carts: u32,

    /// Chooses what the carts contain; the same seed gives the same carts,
    /// under new ids.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Carts that are on their way at once.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) in_flight: u32,

    /// Leaves everything running at the end, and prints how to connect.
    #[arg(long)]
    pub(crate) keep: bool,

    /// The folder for data and logs with --keep [default: .stack in the
    /// workspace].
    #[arg(long, value_name = "DIR", requires = "keep")]
    pub(crate) dir: Option<PathBuf>,

    /// Ends standard output with one line: a JSON object with the figures.
    /// Everything else goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,

    /// Where Kafka, the registry and PostgreSQL come from [default: the first
    /// that can be used: external, native, compose].
    #[arg(long, value_enum)]
    pub(crate) provider: Option<stack::Provider>,

    /// Seconds without any outcome after which the run is given up.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) patience_seconds: u64,
}

/// Where text for people goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// Standard output, unless that is for JSON.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints a line for people.
    pub(crate) fn line(self, text: impl AsRef<str>) {
        match self.json {
            true => eprintln!("{}", text.as_ref()),
            false => println!("{}", text.as_ref()),
        }
    }

    /// Prints the line for programs, if one is wanted.
    pub(crate) fn json(self, value: &serde_json::Value) {
        if self.json {
            println!("{value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
        let args = Args::parse_from(["demo", "--carts", "5", "--json"]);
        assert_eq!((args.carts, args.json, args.keep), (5, true, false));
    }
}
