//! `checkoutctl checkout submit`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use audit::Target;
use contracts::TopicNames;
use operations::args::{KafkaArgs, RegistryArgs};
use operations::submit;

use crate::print;
use crate::telling::Steps;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum CheckoutCommand {
    /// Publish carts and wait for their outcomes.
    ///
    /// Where Kafka is lost meanwhile, no further cart is tried. Every cart is told with its
    /// id: whether it was published, as far as that is known, and its outcome, as far as it
    /// could be read. Exit status 1: a cart has no order, or it is not known whether it
    /// has one; `explain` tells later.
    #[command(after_help = "Examples:
  checkoutctl checkout submit cart.json
  echo '{\"items\": [{\"productId\": \"mug\", \"quantity\": 2, \"unitPrice\": 1250}]}' \\
      | checkoutctl checkout submit -
  checkoutctl checkout submit --generate 100 --product mug=2 --product cup=1 --json")]
    Submit(Box<SubmitArgs>),
}

#[derive(clap::Args, Debug)]
pub(crate) struct SubmitArgs {
    /// File of carts, - for standard input: JSON objects as of a CartCheckedOut, one
    /// behind the other or in a list. Ids, time, total and currency may be left out.
    #[arg(required_unless_present = "generate", value_name = "FILE")]
    file: Option<PathBuf>,

    /// Make up so many carts instead.
    #[arg(
        long,
        value_name = "N",
        requires = "product",
        conflicts_with = "file",
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    generate: Option<u32>,

    /// A product of the carts that are made up, and the number of pieces; may be
    /// given several times, and the carts take turns.
    #[arg(long, value_name = "SKU=NUMBER", value_parser = product)]
    product: Vec<(String, i32)>,

    /// Price of one piece in minor units, in the carts that are made up.
    #[arg(
        long,
        value_name = "PRICE",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(i64).range(0..=1_000_000_000)
    )]
    unit_price: i64,

    /// How long to wait for outcomes, in seconds; 0: only publish.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(0..=86_400)
    )]
    wait_seconds: u64,

    #[command(flatten)]
    kafka: KafkaArgs,

    #[command(flatten)]
    registry: RegistryArgs,

    /// How long Kafka may be silent, in seconds.
    #[arg(
        long,
        env = "OPERATIONS_TIMEOUT_SECONDS",
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=600)
    )]
    timeout_seconds: u64,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn product(text: &str) -> Result<(String, i32), String> {
    let read = || {
        // A product id may contain an equals sign, a number does not.
        let (product, number) = text.rsplit_once('=')?;
        let number = number.parse().ok().filter(|number| *number > 0)?;
        (!product.is_empty()).then(|| (product.to_owned(), number))
    };
    read().ok_or_else(|| "a product is SKU=NUMBER, with a number from 1 on".to_owned())
}

/// The longest file of carts, in bytes.
const FILE_MAX_BYTES: u64 = 256 * 1024 * 1024;

fn text_of(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let limit = FILE_MAX_BYTES + 1;
    let read = match file == Path::new("-") {
        true => std::io::stdin()
            .lock()
            .take(limit)
            .read_to_string(&mut text),
        false => {
            std::fs::File::open(file).and_then(|file| file.take(limit).read_to_string(&mut text))
        }
    };
    let read = read.with_context(|| format!("cannot read {}", file.display()))?;
    if read as u64 > FILE_MAX_BYTES {
        bail!("{} is longer than {FILE_MAX_BYTES} bytes", file.display());
    }
    Ok(text)
}

/// Publishes carts.
pub(crate) async fn run(command: &CheckoutCommand, names: TopicNames) -> anyhow::Result<ExitCode> {
    let CheckoutCommand::Submit(args) = command;
    let carts = match (&args.file, args.generate) {
        (Some(file), _) => submit::carts(&text_of(file)?)
            .with_context(|| format!("{} is not usable", file.display()))?,
        (None, Some(number)) => submit::generate(number as usize, &args.product, args.unit_price),
        (None, None) => bail!("name a file of carts, or give --generate"),
    };
    let target = Target {
        kafka: args.kafka.kafka(Duration::from_secs(args.timeout_seconds)),
        registry: args.registry.config(),
        topics: names,
        orchestrator: None,
        inventory: None,
        payment: None,
        order: None,
        others: Default::default(),
    };
    let steps = Steps::new("connecting");
    let tell = |step: &str| steps.tell(step);
    let wait = Duration::from_secs(args.wait_seconds);
    let submitting = submit::submit(&target, &carts, wait, &tell);
    let submission = steps.during(submitting).await?;
    let count = |outcome: Option<&str>| submission.count(outcome);
    let created = count(Some("OrderCreated"));
    match args.json {
        true => print::json(&serde_json::json!({
            "carts": submission.carts,
            "created": created,
            "failed": count(Some("CheckoutFailed")),
            "rejected": count(Some("CheckoutRejected")),
            "open": count(None),
            "unread": submission.unread,
        }))?,
        false => {
            print::text(&submission.text());
            print::text(&format!(
                "{created} created, {} failed, {} rejected, {} without an outcome\n",
                count(Some("CheckoutFailed")),
                count(Some("CheckoutRejected")),
                count(None),
            ));
        }
    }
    let mut carts = submission.carts.iter();
    let all_published = carts.all(|one| one.published == Some(true));
    let only_published = args.wait_seconds == 0 && all_published;
    Ok(crate::failure_if(
        created < submission.carts.len() && !only_published,
    ))
}
