//! All of it, in order.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use audit::{Rule, Violation};
use checkoutctl::stock::{self, Stock};
use contracts::Codec;
use contracts::ids::{CartId, CheckoutId};
use stack::{
    Installation, LogTail, Options, ProcessState, Progress, Provider, Service, ServiceOptions,
    Services, Stack, State,
};
use tokio::sync::mpsc;

use crate::board::{Board, Expected};
use crate::carts::{self, Cart, Ending, Kind};
use crate::cli::{Args, Output};
use crate::report::{self, Results};
use crate::shop::{self, Shop};
use crate::story;
use crate::watcher::{self, Ended};

/// Until every product's stock is set.
const SEED_LIMIT: Duration = Duration::from_secs(60);
/// From the last outcome until everything is at rest.
const AT_REST_LIMIT: Duration = Duration::from_secs(60);
/// What the demo expects beyond what the audit does.
const AS_IT_SHOULD: Rule = Rule {
    name: "as-it-should",
    sentence: "a checkout ends as its cart should",
};
const IN_TIME: Rule = Rule {
    name: "in-time",
    sentence: "checkouts end in time",
};
/// How often the services are looked after.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs the demo; `true` when everything adds up. While it runs, what has to
/// be stopped is in `slot`.
pub(crate) async fn run(
    args: &Args,
    output: &Output,
    slot: &mut Option<Stack>,
) -> anyhow::Result<bool> {
    let begin = Instant::now();
    let progress = Progress::detect();
    let folder = args.keep.then(|| kept_folder(args));
    let _lock = match &folder {
        Some(folder) => Some(claim(folder)?),
        None => None,
    };
    let options = Options {
        provider: args.provider,
        folder: folder.clone(),
        brokers: 1,
        ..Options::default()
    };
    let stack = slot.insert(Stack::start(options, &progress).await?);
    let installation = install(stack).await?;
    let services = stack
        .start_services(&installation, &ServiceOptions::default())
        .await?;
    let writes: Vec<_> = [shop::WRITES, stock::WRITES].concat();
    let codec = Codec::connect(&installation.registry(), installation.topics(), &writes).await?;
    seed(args.carts, &installation, &codec, &progress).await?;

    let mut checkouts = Checkouts::begin(args, &progress);
    checkouts
        .run(args, &installation, &codec, &services)
        .await?;
    let Checkouts {
        results, examples, ..
    } = checkouts;

    let task = progress.task("audit");
    task.update("reading topics and databases");
    let mut violations = installation.audit(AT_REST_LIMIT).await?.violations;
    task.done(format!("{} violations", violations.len()));
    results.print(*output);
    story::tell(&examples, &installation, &codec, *output).await?;
    violations.extend(results.surprises.iter().cloned());
    report::print_violations(&violations, *output);

    if let Some(folder) = folder
        && let Some(stack) = slot.take()
    {
        let folder = folder.canonicalize().unwrap_or(folder);
        let state = stack
            .leave_running(&installation, Some(&services), None)
            .await?;
        report::print_connections(&state, &folder.display().to_string(), *output);
    }
    output.json(&results.json(&violations, begin.elapsed()));
    Ok(violations.is_empty())
}

fn kept_folder(args: &Args) -> PathBuf {
    args.dir
        .clone()
        .unwrap_or_else(|| stack::workspace().join(".stack"))
}

/// Takes a folder for a stack that is to stay.
fn claim(folder: &std::path::Path) -> anyhow::Result<std::fs::File> {
    let lock = stack::lock(folder)?;
    if State::read(folder)?.is_some() {
        bail!(
            "{} is in use: stop what runs there with `cargo stack down --dir {0}`, or choose \
             another folder with --dir",
            folder.display()
        );
    }
    Ok(lock)
}

/// On parts of our own the usual names; on others' parts names of our own.
async fn install(stack: &Stack) -> anyhow::Result<Installation> {
    match stack.provider() {
        Provider::Native => Ok(stack.install("").await?),
        Provider::Compose | Provider::External => Ok(stack.new_installation("demo", None).await?),
    }
}

/// Sets the stock of every product and waits until inventory has it.
async fn seed(
    carts: u32,
    installation: &Installation,
    codec: &Codec,
    progress: &Progress,
) -> anyhow::Result<()> {
    let task = progress.task("stock");
    let wanted = carts::stock(carts);
    task.update(format!("setting {} products", wanted.len()));
    let commands = wanted
        .iter()
        .map(|(product, on_hand)| Stock::new(product, *on_hand))
        .collect::<anyhow::Result<Vec<_>>>()?;
    stock::set(&installation.bootstrap_servers, codec, &commands).await?;
    let database = installation.connect(Service::Inventory).await?;
    let products: Vec<&str> = wanted.iter().map(|(product, _)| product.as_str()).collect();
    let on_hand: Vec<i64> = wanted.iter().map(|(_, on_hand)| *on_hand).collect();
    let query = "SELECT count(*) FROM stock \
                 JOIN unnest($1::text[], $2::int8[]) AS w (product_id, on_hand) \
                 USING (product_id, on_hand)";
    stack::until("the stock", SEED_LIMIT, None, async || {
        let row = database
            .query_one(query, &[&products, &on_hand])
            .await
            .map_err(|error| error.to_string())?;
        let set: i64 = row.get(0);
        match usize::try_from(set).is_ok_and(|set| set == products.len()) {
            true => Ok(()),
            false => Err(format!("{set} of {} products are set", products.len())),
        }
    })
    .await?;
    task.done(format!("{} products", wanted.len()));
    Ok(())
}

/// A checkout that has not ended yet.
struct Open {
    kind: Kind,
    cart: CartId,
    expected: Ending,
    since: Instant,
}

/// The carts' way through the system.
struct Checkouts {
    board: Board,
    /// Checkouts that are to end, of all carts.
    total: u64,
    ended: u64,
    open: HashMap<CheckoutId, Open>,
    /// Checkouts of each cart that have not ended.
    open_carts: HashMap<CartId, usize>,
    results: Results,
    /// The first cart of each kind.
    examples: Vec<Cart>,
}

impl Checkouts {
    fn begin(args: &Args, progress: &Progress) -> Self {
        let expected = Expected::of(carts::carts(args.carts, args.seed));
        Self {
            total: expected.checkouts(),
            board: Board::new(progress, expected),
            ended: 0,
            open: HashMap::new(),
            open_carts: HashMap::new(),
            results: Results::default(),
            examples: Vec::new(),
        }
    }

    /// Publishes all carts, as many at once as allowed, and waits for all
    /// outcomes, or until none has come for as long as patience lasts.
    async fn run(
        &mut self,
        args: &Args,
        installation: &Installation,
        codec: &Codec,
        services: &Services,
    ) -> anyhow::Result<()> {
        let shop = Shop::open(installation, codec)?;
        let mut endings = watcher::watch(installation, codec)?;
        let (failed, mut failures) = mpsc::unbounded_channel();
        let mut carts = carts::carts(args.carts, args.seed).peekable();
        let patience = Duration::from_secs(args.patience_seconds);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let begin = Instant::now();
        let mut last_news = begin;
        while self.ended < self.total {
            while self.open_carts.len() < args.in_flight as usize
                && let Some(cart) = carts.next()
            {
                self.opened(&cart);
                shop.publish(&cart, &failed).await?;
                last_news = Instant::now();
            }
            tokio::select! {
                ended = endings.recv() => {
                    let ended = ended.context("the public topics cannot be read any more")??;
                    last_news = ended.at;
                    self.ended(ended);
                }
                Some(error) = failures.recv() => return Err(error),
                _ = look.tick() => {
                    check_alive(services)?;
                    if last_news.elapsed() > patience {
                        self.give_up(patience);
                        break;
                    }
                }
            }
        }
        self.results.duration = last_news.duration_since(begin);
        self.board.finish();
        Ok(())
    }

    fn opened(&mut self, cart: &Cart) {
        let since = Instant::now();
        for (checkout, expected) in &cart.expected {
            let open = Open {
                kind: cart.kind,
                cart: cart.id(),
                expected: *expected,
                since,
            };
            self.open.insert(*checkout, open);
        }
        self.open_carts.insert(cart.id(), cart.expected.len());
        *self.results.carts.entry(cart.kind).or_default() += 1;
        if !self
            .examples
            .iter()
            .any(|example| example.kind == cart.kind)
        {
            self.examples.push(cart.clone());
        }
        self.board.published();
    }

    fn ended(&mut self, ended: Ended) {
        // A second outcome, or one that nobody asked for: the audit reads the
        // same topics and finds it.
        let Some(open) = self.open.remove(&ended.checkout) else {
            return;
        };
        self.ended += 1;
        self.board.ended(ended.ending);
        *self
            .results
            .endings
            .entry((open.kind, ended.ending))
            .or_default() += 1;
        self.results.latencies.push(ended.at - open.since);
        if !open.expected.allows(ended.ending) {
            self.results.surprises.push(Violation {
                rule: AS_IT_SHOULD,
                detail: format!(
                    "{} ended as {}, expected {}",
                    open.kind, ended.ending, open.expected
                ),
                cart_id: Some(open.cart),
                checkout_id: Some(ended.checkout),
                subject: String::new(),
            });
        }
        if let Some(left) = self.open_carts.get_mut(&open.cart) {
            *left -= 1;
            if *left == 0 {
                self.open_carts.remove(&open.cart);
            }
        }
    }

    /// The audit tells which checkouts have no outcome, and how far they are.
    fn give_up(&mut self, patience: Duration) {
        self.results.surprises.push(Violation {
            rule: IN_TIME,
            detail: format!(
                "{} of {} did not: none has ended for {} s",
                self.total - self.ended,
                self.total,
                patience.as_secs()
            ),
            cart_id: None,
            checkout_id: None,
            subject: String::new(),
        });
    }
}

/// Fails when a service has ended, with the end of its log.
fn check_alive(services: &Services) -> anyhow::Result<()> {
    for instance in &services.instances {
        if let ProcessState::Ended(status) = instance.process.state() {
            bail!(
                "the service {} ended ({status}){}",
                instance.service,
                LogTail::of(instance.process.log())
            );
        }
    }
    Ok(())
}
