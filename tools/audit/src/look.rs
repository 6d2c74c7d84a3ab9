//! Reads everything, and what does not add up a second time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::ids::GenericUuid;
use contracts::{
    Codec, DLQ_CODE, DLQ_DETAIL, DecodeError, Message, RegistryConfig, Topic, TopicNames,
};
use jiff::Timestamp;
use rdkafka::Offset;
use rdkafka::message::{BorrowedMessage, Headers, Message as _};
use tokio::runtime::Handle;

use crate::books::{Books, Read, Window};
use crate::databases::{Database, Only, Reader};
use crate::error::{Error, Result};
use crate::letters::DeadLetter;
use crate::log::{Kafka, LogReader};
use crate::positions;
use crate::report::Report;
use crate::rule::{Rule, Violation};
use crate::rules::Patience;

/// The pause between two looks at whether everything is at rest.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How many rows or records are read between two words about it.
const TELL_EVERY: u64 = 1_000;

/// Where to look. The rules about a database without an address are not applied.
#[derive(Debug, Clone)]
pub struct Target {
    /// The brokers.
    pub kafka: Kafka,
    /// The schema registry.
    pub registry: RegistryConfig,
    /// The names of the topics.
    pub topics: TopicNames,
    /// The orchestrator's database.
    pub orchestrator: Option<Database>,
    /// The inventory service's database.
    pub inventory: Option<Database>,
    /// The payment service's database.
    pub payment: Option<Database>,
    /// The order service's database.
    pub order: Option<Database>,
    /// Those of the participants of further steps, each with a view `holdings`
    /// (`checkout_id`, `cart_id`, `state`, `held`).
    pub others: BTreeMap<&'static str, Database>,
}

type Expected = Arc<dyn Fn(&DeadLetter) -> bool + Send + Sync>;
type Telling = Arc<dyn Fn(&str) + Send + Sync>;

/// How to look.
#[derive(Clone)]
pub struct Options {
    /// What is younger and has not ended is in flight.
    pub grace: Duration,
    /// The pause before what does not add up is looked at again; `None`: it is
    /// reported at once, which is right for a system at rest.
    pub second_look: Option<Duration>,
    /// Judges only carts published since; `None`: all that the topics still hold.
    pub since: Option<Timestamp>,
    /// Limit of one statement on a database.
    pub statement_limit: Duration,
    /// Dead letters that are no surprise although they look like a defect.
    pub expected: Option<Expected>,
    /// Is told what is being read, and by [`settle`] what is waited for.
    pub tell: Option<Telling>,
}

impl Default for Options {
    /// A minute of grace, a second look after two seconds.
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(60),
            second_look: Some(Duration::from_secs(2)),
            since: None,
            statement_limit: Duration::from_secs(600),
            expected: None,
            tell: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("grace", &self.grace)
            .field("second_look", &self.second_look)
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

/// Says what is being read, to whoever wants to know.
#[derive(Clone, Default)]
pub(crate) struct Tell(Option<Telling>);

impl Tell {
    pub(crate) fn rows(&self, what: &str, count: u64) {
        if let Some(tell) = &self.0
            && count.is_multiple_of(TELL_EVERY)
        {
            tell(&format!("{what}: {count} read"));
        }
    }

    /// What does not add up yet: how often by rule, and the first.
    fn open(&self, violations: &[Violation]) {
        let (Some(tell), Some(first)) = (&self.0, violations.first()) else {
            return;
        };
        let mut by_rule: BTreeMap<&str, usize> = BTreeMap::new();
        for violation in violations {
            *by_rule.entry(violation.rule.name).or_default() += 1;
        }
        let counts: Vec<_> = by_rule
            .into_iter()
            .map(|(rule, count)| format!("{count} {rule}"))
            .collect();
        tell(&format!("{} ({first})", counts.join(", ")));
    }
}

/// Looks, and looks again at what does not add up. Changes nothing.
///
/// # Errors
/// When Kafka, the registry or a database that is named cannot be read.
pub async fn run(target: &Target, options: &Options) -> Result<Report> {
    let mut seen = Seen::first(target, options).await?;
    if let (Some(pause), false) = (options.second_look, seen.violations.is_empty()) {
        let before: HashSet<Place> = seen.violations.iter().map(place).collect();
        tokio::time::sleep(pause).await;
        seen = seen.again().await?;
        seen.violations
            .retain(|found| before.contains(&place(found)));
    }
    Ok(seen.report())
}

/// Looks until everything adds up and is at rest, without any grace: no checkout
/// is open, no record unread, no timer due. Gives up after `limit` and reports
/// what is then still not so. What cannot be reached is asked again until then.
///
/// # Errors
/// As [`run`].
pub async fn settle(target: &Target, options: &Options, limit: Duration) -> Result<Report> {
    let options = Options {
        grace: Duration::ZERO,
        ..options.clone()
    };
    let begin = Instant::now();
    loop {
        let looking = async {
            let mut seen = Seen::first(target, &options).await?;
            let at_once = seen.violations.is_empty();
            while !seen.violations.is_empty() && begin.elapsed() < limit {
                seen.look.tell.open(&seen.violations);
                tokio::time::sleep(LOOK_AGAIN).await;
                seen = seen.again().await?;
            }
            Ok((at_once, seen))
        };
        match looking.await {
            // What was well at an earlier look is not read again by a later one:
            // only a look at everything tells that all is well at last.
            Ok((at_once, seen)) if at_once || !seen.violations.is_empty() => {
                return Ok(seen.report());
            }
            Err(error) if begin.elapsed() >= limit => return Err(error),
            looked => {
                if let (Some(tell), Err(error)) = (&options.tell, looked) {
                    tell(&error.to_string());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}

/// What a look has seen.
struct Seen {
    look: Look,
    books: Books,
    patience: Patience,
    violations: Vec<Violation>,
}

impl Seen {
    /// Reads everything.
    async fn first(target: &Target, options: &Options) -> Result<Self> {
        let look = Look {
            codec: Codec::connect(&target.registry, target.topics.clone(), &[]).await?,
            target: target.clone(),
            options: options.clone(),
            tell: Tell(options.tell.clone()),
            next: HashMap::new(),
        };
        let mut books = Books::default();
        if let Some(since) = options.since {
            books.window.begin_at(since.as_millisecond());
        }
        look.databases(&mut books, None).await?;
        let (look, books) = look.topics(books).await?;
        Ok(Self::judge(look, books))
    }

    /// Reads again what does not add up, and goes on reading the topics.
    async fn again(self) -> Result<Self> {
        let Self {
            look,
            mut books,
            violations,
            ..
        } = self;
        let suspects = suspects(&books, &violations);
        look.databases(&mut books, Some(&suspects)).await?;
        let (look, books) = look.topics(books).await?;
        Ok(Self::judge(look, books))
    }

    fn judge(look: Look, books: Books) -> Self {
        let patience = Patience {
            now_ms: Timestamp::now().as_millisecond(),
            grace: look.options.grace,
        };
        Self {
            violations: books.violations(patience),
            look,
            books,
            patience,
        }
    }

    fn report(self) -> Report {
        Report::of(&self.books, self.patience, self.violations)
    }
}

type Place = (
    Rule,
    Option<contracts::ids::CartId>,
    Option<contracts::ids::CheckoutId>,
    String,
);

/// What a finding is about; its detail may change between two looks.
fn place(found: &Violation) -> Place {
    let Violation {
        rule,
        cart_id,
        checkout_id,
        ref subject,
        ..
    } = *found;
    (rule, cart_id, checkout_id, subject.clone())
}

/// What has to be read again to judge these findings.
fn suspects(books: &Books, violations: &[Violation]) -> Only {
    let carts: HashSet<_> = violations
        .iter()
        .filter_map(|found| found.cart_id)
        .collect();
    let named = violations.iter().filter_map(|found| found.checkout_id);
    let mut checkouts: BTreeSet<_> = named.collect();
    // Two orders of one cart are told by the cart alone.
    if violations
        .iter()
        .any(|found| found.rule == Rule::TWO_ORDERS)
    {
        let all = books.accounts.iter();
        let of_them = all.filter(|(_, account)| account.cart.is_some_and(|c| carts.contains(&c)));
        checkouts.extend(of_them.map(|(checkout, _)| *checkout));
    }
    Only {
        checkouts: checkouts
            .into_iter()
            .map(GenericUuid::into_untyped_uuid)
            .collect(),
        carts: carts
            .into_iter()
            .map(GenericUuid::into_untyped_uuid)
            .collect(),
        stock: violations
            .iter()
            .any(|found| found.rule == Rule::STOCK_BALANCE),
    }
}

/// The reading, and how far it is in each partition.
struct Look {
    target: Target,
    options: Options,
    codec: Codec,
    tell: Tell,
    next: HashMap<(String, i32), i64>,
}

impl Look {
    /// Reads the databases, or of them what is looked at again.
    async fn databases(&self, books: &mut Books, only: Option<&Only>) -> Result<()> {
        let target = &self.target;
        books.read = Read {
            orchestrator: target.orchestrator.is_some(),
            inventory: target.inventory.is_some(),
            payment: target.payment.is_some(),
            order: target.order.is_some(),
        };
        books.others = target.others.keys().copied().collect();
        books.positions.clear();
        if let Some(only) = only {
            books.forget(only);
        }
        let reader = |service, database| Reader {
            service,
            database,
            limit: self.options.statement_limit,
            grace: self.options.grace,
            only,
            tell: &self.tell,
        };
        if let Some(database) = &target.orchestrator {
            reader("orchestrator", database).sagas(books).await?;
        }
        if let Some(database) = &target.inventory {
            reader("inventory", database).inventory(books).await?;
        }
        if let Some(database) = &target.payment {
            reader("payment", database).authorizations(books).await?;
        }
        if let Some(database) = &target.order {
            reader("order", database).orders(books).await?;
        }
        for (service, database) in &target.others {
            reader(service, database).holdings(books).await?;
        }
        Ok(())
    }

    /// Reads the topics to their ends, from where the last look ended.
    async fn topics(mut self, mut books: Books) -> Result<(Self, Books)> {
        let handle = Handle::current();
        // librdkafka waits by blocking the thread.
        let reading = tokio::task::spawn_blocking(move || {
            let log = LogReader::new(&self.target.kafka)?;
            self.outcomes(&mut books, &log, &handle)?;
            self.letters(&mut books, &log, &handle)?;
            positions::compare(&mut books, &log, &self.target.topics)?;
            Ok((self, books))
        });
        reading
            .await
            .map_err(|error| Error::Invalid(format!("reading the topics broke down: {error}")))?
    }

    fn outcomes(&mut self, books: &mut Books, log: &LogReader, handle: &Handle) -> Result<()> {
        for topic in [
            Topic::ShoppingCheckouts,
            Topic::OrderingOrders,
            Topic::OrderingCheckouts,
        ] {
            let name = self.target.topics.name(topic).to_owned();
            let mut window = books.window;
            let codec = self.codec.clone();
            self.read(log, &name, Some(&mut window), &mut |record| {
                let message = decode(&codec, handle, topic, record.payload())?;
                if let Some(message) = message {
                    books.note(message, at_ms(record));
                }
                Ok(())
            })?;
            books.window = window;
        }
        Ok(())
    }

    fn letters(&mut self, books: &mut Books, log: &LogReader, handle: &Handle) -> Result<()> {
        let consumed = Topic::ALL.iter().filter(|topic| topic.is_consumed());
        for topic in consumed.copied() {
            let name = self.target.topics.dlq(topic).to_owned();
            let codec = self.codec.clone();
            let expected = self.options.expected.clone();
            self.read(log, &name, None, &mut |record| {
                if books.window.holds(at_ms(record)) {
                    let message = decode(&codec, handle, topic, record.payload())?;
                    take(books, letter(topic, record, message), expected.as_ref());
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Reads a topic to its end, and finds out from when on it is complete.
    fn read(
        &mut self,
        log: &LogReader,
        topic: &str,
        mut window: Option<&mut Window>,
        each: &mut dyn FnMut(&BorrowedMessage<'_>) -> Result<()>,
    ) -> Result<()> {
        let partitions = log.partitions(topic)?;
        let since = self.options.since.map(Timestamp::as_millisecond);
        let mut starts: Vec<(i32, Offset)> = match since {
            Some(at_ms) => log.offsets_at(topic, &partitions, at_ms)?,
            None => partitions
                .iter()
                .map(|partition| (*partition, Offset::Beginning))
                .collect(),
        };
        // Partitions whose oldest records are gone, until their first is seen.
        let mut cut = HashSet::new();
        let finds_window = window.is_some() && since.is_none();
        for (partition, start) in &mut starts {
            match self.next.get(&(topic.to_owned(), *partition)) {
                Some(next) => *start = Offset::Offset(*next),
                None if finds_window && log.watermarks(topic, *partition)?.0 > 0 => {
                    cut.insert(*partition);
                }
                None => {}
            }
        }
        let mut count = 0;
        log.read(topic, &starts, &mut |record| {
            count += 1;
            self.tell.rows(topic, count);
            if cut.remove(&record.partition())
                && let Some(window) = &mut window
            {
                window.begin_at(at_ms(record));
            }
            each(record)?;
            match self.next.get_mut(&(topic.to_owned(), record.partition())) {
                Some(next) => *next = record.offset() + 1,
                None => {
                    let place = (topic.to_owned(), record.partition());
                    self.next.insert(place, record.offset() + 1);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        // Nothing is left of these: up to now anything may have been there.
        if let Some(window) = window
            && !cut.is_empty()
        {
            window.begin_at(Timestamp::now().as_millisecond());
        }
        Ok(())
    }
}

impl Books {
    /// Drops what will be read again.
    fn forget(&mut self, only: &Only) {
        for checkout in &only.checkouts {
            let checkout = contracts::ids::CheckoutId::from_untyped_uuid(*checkout);
            if let Some(account) = self.accounts.get_mut(&checkout) {
                account.order = None;
                account.authorization = None;
                account.reservation = None;
                account.others.clear();
                account.saga = None;
            }
        }
        if only.stock {
            self.stock.clear();
        }
    }
}

fn at_ms(record: &BorrowedMessage<'_>) -> i64 {
    record.timestamp().to_millis().unwrap_or_default()
}

fn decode(
    codec: &Codec,
    handle: &Handle,
    topic: Topic,
    payload: Option<&[u8]>,
) -> Result<Option<Message>> {
    let decoded = match codec.decode_now(topic, payload) {
        Some(decoded) => decoded.map_err(DecodeError::Poison),
        None => handle.block_on(codec.decode(topic, payload)),
    };
    match decoded {
        Ok(message) => Ok(Some(message)),
        Err(DecodeError::Poison(_)) => Ok(None),
        Err(DecodeError::Unavailable(error)) => Err(error.into()),
    }
}

fn letter(topic: Topic, record: &BorrowedMessage<'_>, message: Option<Message>) -> DeadLetter {
    let mut headers = Vec::new();
    for header in record.headers().into_iter().flat_map(Headers::iter) {
        let value = String::from_utf8_lossy(header.value.unwrap_or_default());
        headers.push((header.key.to_owned(), value.into_owned()));
    }
    let mut letter = DeadLetter {
        topic,
        place: (record.partition(), record.offset()),
        code: String::new(),
        detail: String::new(),
        headers,
        message,
    };
    letter.code = letter.header(DLQ_CODE).unwrap_or("UNKNOWN").to_owned();
    letter.detail = letter.header(DLQ_DETAIL).unwrap_or_default().to_owned();
    letter
}

fn take(books: &mut Books, letter: DeadLetter, expected: Option<&Expected>) {
    let expected = expected.is_some_and(|expected| expected(&letter));
    let is_poison = books.letters.add(&letter, expected);
    if let (true, Some(Message::CartCheckedOut(cart))) = (is_poison, letter.message) {
        let checkout = contracts::ids::checkout_id(cart.event_id);
        books.account(checkout, cart.cart_id).refused = true;
    }
}
