//! What a service supplies to the runtime.

use std::fmt;
use std::future::Future;

use contracts::{Message, Poison, RecordType, Topic, TraceContext};
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::RowVersion;

/// A partition of a topic that a service consumes, and so the place where an
/// input belongs: whoever owns the partition handles its records, fires its
/// timers and receives the answers of its calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Home {
    /// The topic.
    pub topic: Topic,
    /// The partition, from 0.
    pub partition: i32,
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic.name(), self.partition)
    }
}

/// One thing to handle.
#[derive(Debug)]
pub struct Input<A> {
    /// Where it belongs.
    pub home: Home,
    /// The offset of the record that it is; `None` where it is none.
    pub offset: Option<i64>,
    /// The time of the batch; handlers have no clock of their own.
    pub now: Timestamp,
    /// The trace that it continues.
    pub trace: TraceContext,
    /// What it is.
    pub body: Body<A>,
}

/// The kinds of input.
#[derive(Debug)]
pub enum Body<A> {
    /// A record of a consumed topic, decoded.
    Message(Message),
    /// A timer that [`Handler::due`] found due, by its id.
    Timer(Uuid),
    /// The answer of a call that this handler made.
    Answer(A),
}

/// One SQL statement with its parameters. A handler states what to read and
/// what to write and never touches the database itself, so that a batch is two
/// round trips at most by construction.
pub struct Sql {
    /// The text; one of [`Handler::STATEMENTS`].
    pub text: &'static str,
    /// The values of `$1`, `$2`, …
    pub params: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Sql {
    /// A statement with its parameters.
    pub fn new(text: &'static str, params: Vec<Box<dyn ToSql + Sync + Send>>) -> Self {
        Self { text, params }
    }
}

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sql").field("text", &self.text).finish()
    }
}

/// Counts and logs what a batch has done.
pub type Observations = Box<dyn FnOnce() + Send>;

/// What a service keeps of rows from one batch to the next, so that most batches need
/// not read. It may be out of date, and may be emptied at any time: whatever a batch
/// takes from it is compared by the database.
pub trait Cache: Send {
    /// An empty one, for at most so many rows of a table.
    fn new(max_rows: usize) -> Self;
}

/// Nothing is kept: every batch reads.
impl Cache for () {
    fn new(_max_rows: usize) -> Self {}
}

/// The logic of a service: what to read for a batch, what each input does to
/// it, and what to write.
///
/// For one batch the runtime calls [`reads`](Handler::reads),
/// [`state`](Handler::state), then [`handle`](Handler::handle) for each input
/// in order, then [`observations`](Handler::observations) and
/// [`writes`](Handler::writes). All of it is repeated from
/// `reads` when the transaction has to be repeated, so none of it may have
/// effects elsewhere.
///
/// Where [`recall`](Handler::recall) finds in the cache all that a batch is about, it
/// stands in for `reads` and `state`, and the batch is a single round trip.
pub trait Handler: Send + Sync + 'static {
    /// The rows a batch has read, as `handle` changes them.
    type State: Send;
    /// What is kept of rows between batches; `()` where nothing is.
    type Cache: Cache;
    /// A call to the outside, made after the commit; [`std::convert::Infallible`]
    /// where there is none.
    type Call: Send + 'static;
    /// The answer of a call; it comes back as [`Body::Answer`] in a later batch.
    type Answer: Send + 'static;

    /// The service's name: metric label and `ce_source`.
    const NAME: &'static str;
    /// The topics it consumes.
    const CONSUMES: &'static [Topic];
    /// The records it publishes.
    const PRODUCES: &'static [RecordType];
    /// Every SQL text that it uses; prepared when a connection opens.
    const STATEMENTS: &'static [&'static str];

    /// The reads of a batch. Rows are locked here, in the order of their ids,
    /// so that instances cannot deadlock.
    fn reads(&self, batch: &[Input<Self::Answer>]) -> Vec<Sql>;

    /// The state made of the rows read: one `Vec<Row>` for each statement of
    /// `reads`, in order.
    ///
    /// # Errors
    /// A column that cannot be converted.
    fn state(
        &self,
        batch: &[Input<Self::Answer>],
        rows: Vec<Vec<Row>>,
    ) -> Result<Self::State, tokio_postgres::Error>;

    /// The state made of what is kept, without the database; `None` where a row has to
    /// be read. The writes of such a state compare every row that was taken from the
    /// cache, also those that do not change.
    fn recall(
        &self,
        _batch: &[Input<Self::Answer>],
        _cache: &mut Self::Cache,
    ) -> Option<Self::State> {
        None
    }

    /// Whether all that `recall` took for new was inserted: the insert is what finds
    /// out that it is not new. Otherwise the batch is read and handled again.
    fn is_certain(&self, _state: &Self::State) -> bool {
        true
    }

    /// Keeps the rows as a batch leaves them, before they are written: those that it
    /// writes will have this version. The cache is emptied where the batch fails.
    fn keep(&self, _state: &Self::State, _cache: &mut Self::Cache, _written: &RowVersion) {}

    /// Handles one input.
    ///
    /// # Errors
    /// A record that cannot be handled; it goes to its dead-letter topic. The
    /// state must be as it was before the call.
    fn handle(
        &self,
        state: &mut Self::State,
        input: &Input<Self::Answer>,
        out: &mut Outbox<Self::Call>,
    ) -> Result<(), Poison>;

    /// What is to be counted and logged of a batch, taken out of its state before that is
    /// written. It is done once the batch is committed, and then only: until then a batch
    /// may be handled any number of times.
    fn observations(&self, _state: &mut Self::State) -> Option<Observations> {
        None
    }

    /// The writes of a batch, for the runtime to make one statement of. Each is an
    /// `INSERT` or `UPDATE` without `RETURNING`, or a `SELECT … FOR UPDATE` that compares,
    /// and is about one row for each element of its first parameter, which is an array:
    /// where it finds fewer, nothing is written, and the runtime reads and handles the
    /// batch again. No two write the same row. New rows are written by a plain `INSERT`:
    /// where another instance was faster, the unique violation does the same.
    fn writes(&self, state: Self::State) -> Vec<Sql>;

    /// A query for rows of which [`newest`](Handler::newest) tells the newest record of
    /// these keys on a compacted topic. `None` where a service publishes on none.
    fn newest_of(&self, _keys: Vec<Uuid>) -> Option<Sql> {
        None
    }

    /// The key of a row that [`newest_of`](Handler::newest_of) found, and the `ce_id` of
    /// its newest record; `None` where it has none. Whoever takes a partition over publishes
    /// again what its row stores. Of a key's records on a compacted topic this one only: an
    /// older one would be the last, and hold.
    ///
    /// # Errors
    /// A column that cannot be converted.
    fn newest(&self, _row: &Row) -> Result<Option<(Uuid, Uuid)>, tokio_postgres::Error> {
        Ok(None)
    }

    /// A query for the timers that are due in these homes: rows of (timer
    /// `uuid`, home topic `text`, home partition `int4`, the `traceparent` that
    /// the timer continues `text`), at most `limit`. `None` where a service has
    /// no timers.
    fn due(&self, homes: &[Home], now: Timestamp, limit: i64) -> Option<Sql>;

    /// Makes a call. It runs in a bounded pool, outside any transaction; it
    /// limits its own time. A call may be lost (a crash, a full pool), so the
    /// row that waits for its answer has a timer that makes it again.
    fn call(&self, call: Self::Call) -> impl Future<Output = Self::Answer> + Send;

    /// The idempotency key of a call: while one is in flight, another with the
    /// same key is not made.
    fn call_key(call: &Self::Call) -> Uuid;
}

/// What handling an input sends out.
#[derive(Debug)]
pub struct Outbox<C> {
    pub(crate) messages: Vec<Message>,
    pub(crate) calls: Vec<(Home, C)>,
}

impl<C> Default for Outbox<C> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            calls: Vec::new(),
        }
    }
}

impl<C> Outbox<C> {
    /// Publishes a message on its topic once the batch is committed.
    pub fn send(&mut self, message: impl Into<Message>) {
        self.messages.push(message.into());
    }

    /// Makes a call once the batch is committed; its answer comes back to `home`.
    pub fn call(&mut self, home: Home, call: C) {
        self.calls.push((home, call));
    }

    /// The messages sent so far.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The calls asked for so far, each with the home of its answer.
    pub fn calls(&self) -> &[(Home, C)] {
        &self.calls
    }
}
