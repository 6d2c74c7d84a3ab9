//! Databases that fail, or are slow: triggers that do a service harm, and rivals
//! that take its locks.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::Client;

use crate::System;

/// A function for triggers, which does what `{}` says.
const FUNCTION: &str = "
CREATE SEQUENCE IF NOT EXISTS sabotaged;
CREATE OR REPLACE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {}
    RETURN NULL;
END $$";
const TABLES: &str = "SELECT tablename FROM pg_tables
    WHERE schemaname = 'public' AND tablename NOT LIKE 'refinery%'";
const MET: &str = "SELECT last_value FROM sabotaged WHERE is_called";

/// Every seventh statement: a batch has fewer, so that some get through.
const NOW_AND_THEN: &str = "IF nextval('sabotaged') % 7 = 0 THEN {} END IF;";

/// So that who waits for a frozen instance's lock does not hold everybody else up.
const LOCK_LIMIT: &str = "SET lock_timeout = '1s'";

/// The table that each of a service's transactions locks first.
const EARLY: &str = "progress";

/// And one that it locks later, by service; of a further participant the one below the view
/// that each has.
const LATE: &[(&str, &str)] = &[
    ("orchestrator", "sagas"),
    ("inventory", "reservations"),
    ("payment", "authorizations"),
    ("order", "orders"),
];

const LATE_OF_FURTHER: &str = "holdings";

/// What is done to statements that change rows.
#[derive(Clone, Copy, Debug)]
pub enum Harm {
    /// Now and then one raises this error.
    Raises(&'static str),
    /// Now and then one takes so many seconds.
    Sleeps(u32),
    /// All that a batch writes takes 0.2 to 0.5 s longer.
    Slow,
    /// Each finds the disk full.
    DiskFull,
}

impl Harm {
    fn statement(self) -> String {
        let now_and_then = |statement: &str| NOW_AND_THEN.replace("{}", statement);
        match self {
            Harm::Raises(sqlstate) => {
                now_and_then(&format!("RAISE EXCEPTION USING ERRCODE = '{sqlstate}';"))
            }
            Harm::Sleeps(seconds) => now_and_then(&format!("PERFORM pg_sleep({seconds});")),
            // Of the tables that a batch writes, every batch writes this one, and once.
            Harm::Slow => format!(
                "IF TG_TABLE_NAME = '{EARLY}' THEN
                    PERFORM nextval('sabotaged');
                    PERFORM pg_sleep(0.2 + 0.3 * random());
                END IF;"
            ),
            Harm::DiskFull => "PERFORM nextval('sabotaged');
                RAISE EXCEPTION 'could not extend file: No space left on device'
                USING ERRCODE = '53100';"
                .to_owned(),
        }
    }
}

/// A service's database that has been sabotaged.
pub struct Sabotage {
    client: Client,
    tables: Vec<String>,
}

impl Sabotage {
    /// Does harm to every statement that changes rows of a service's database, until
    /// [`Sabotage::end`].
    pub async fn begin(system: &System, service: &str, harm: Harm) -> Self {
        let client = system.connect(service).await;
        run(&client, LOCK_LIMIT).await;
        run(&client, &FUNCTION.replace("{}", &harm.statement())).await;
        let rows = client.query(TABLES, &[]).await.expect("tables");
        let tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        // Table by table: whoever locks several at once can meet a deadlock.
        for table in &tables {
            let create = format!(
                "CREATE OR REPLACE TRIGGER sabotage BEFORE INSERT OR UPDATE OR DELETE ON {table}
                 FOR EACH STATEMENT EXECUTE FUNCTION sabotage()"
            );
            until_unlocked(&client, &create).await;
        }
        Self { client, tables }
    }

    /// How often it has been met, by the present one and those before.
    pub async fn met(&self) -> i64 {
        let rows = self.client.query(MET, &[]).await.expect("a number");
        rows.first().map_or(0, |row| row.get(0))
    }

    /// Lets the service alone again.
    pub async fn end(self) {
        for table in &self.tables {
            let drop = format!("DROP TRIGGER sabotage ON {table}");
            until_unlocked(&self.client, &drop).await;
        }
    }
}

/// Takes what a service locks in the other order, again and again: one of the two is
/// the victim of the deadlock.
pub struct Rival {
    client: Client,
    locks: String,
}

impl Rival {
    /// One for this service.
    pub async fn of(system: &System, service: &str) -> Self {
        let of = LATE.iter().find(|(of, _)| *of == service);
        let late = of.map_or(LATE_OF_FURTHER, |(_, late)| *late);
        let client = system.connect(service).await;
        run(&client, LOCK_LIMIT).await;
        // With a pause in which the service takes the first and waits for the second.
        Self {
            client,
            locks: format!(
                "BEGIN; LOCK TABLE {late}; SELECT pg_sleep(0.04); LOCK TABLE {EARLY}; COMMIT"
            ),
        }
    }

    /// Once.
    pub async fn strike(&self) {
        // It may be the victim itself.
        if self.client.batch_execute(&self.locks).await.is_err() {
            run(&self.client, "ROLLBACK").await;
        }
    }

    /// For so long.
    pub async fn strike_for(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.strike().await;
            let _ = timeout_at(end, sleep(Duration::from_millis(20))).await;
        }
    }

    /// How many deadlocks there were in the database.
    pub async fn deadlocks(&self) -> i64 {
        let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        let row = self.client.query_one(sql, &[]).await;
        row.expect("an answer").get(0)
    }
}

async fn run(client: &Client, sql: &str) {
    let ran = client.batch_execute(sql).await;
    ran.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// Others may hold a lock for long, above all where they are frozen.
async fn until_unlocked(client: &Client, sql: &str) {
    use tokio_postgres::error::SqlState;
    while let Err(error) = client.batch_execute(sql).await {
        let code = error.code();
        let in_the_way = [
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ];
        assert!(
            code.is_some_and(|code| in_the_way.contains(code)),
            "{sql}: {error:?}"
        );
        sleep(Duration::from_millis(100)).await;
    }
}
