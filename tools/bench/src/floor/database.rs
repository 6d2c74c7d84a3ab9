//! Bare transactions with the shapes of statements that services use: arrays, prepared,
//! `BEGIN` and `COMMIT` sent with them in one trip.

use anyhow::Context;
use futures::future::try_join3;
use stack::{Installation, Service};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::Round;

/// Rows like those of sagas and of progress, with the same room for updates in place.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS floor_rows (
    id uuid PRIMARY KEY, cart json NOT NULL, state json NOT NULL, wake_at timestamptz
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS floor_progress (
    topic text NOT NULL, partition int4 NOT NULL, next_offset int8 NOT NULL,
    outputs bytea NOT NULL, updated_at timestamptz NOT NULL,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 20);
ALTER TABLE floor_progress ALTER COLUMN outputs SET STORAGE EXTERNAL;
INSERT INTO floor_progress VALUES ('floor', 0, 0, '', now()) ON CONFLICT DO NOTHING;
SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
SET enable_hashjoin = off; SET enable_mergejoin = off";

/// A cart of one line, and how far its saga is, in the size that the orchestrator has.
const CART: &str = r#"{"customerId":"7f0c1f2a-8a44-4d11-9d6c-1f4f4a1f0f10","items":[{"productId":"sku-0001","quantity":1,"unitPrice":1000}],"total":1000,"currency":"EUR"}"#;
const STATE: &str = r#"{"checkoutId":"7f0c1f2a-8a44-4d11-9d6c-1f4f4a1f0f10","state":"IN_PROGRESS","step":"payment","tries":1,"sentAt":1750000000000,"dueAt":1750000010000,"handles":{"inventory":"7f0c1f2a-8a44-4d11-9d6c-1f4f4a1f0f10"}}"#;

/// What a transaction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Moves a progress row, with so many outputs in it.
    Progress,
    /// Inserts so many rows.
    Insert,
    /// Updates so many rows.
    Update,
}

impl Kind {
    pub(super) const ALL: &[Self] = &[Self::Progress, Self::Insert, Self::Update];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Progress => "progress row, outputs in it",
            Self::Insert => "rows inserted",
            Self::Update => "rows updated",
        }
    }

    fn sql(self) -> &'static str {
        match self {
            Self::Progress => {
                "UPDATE floor_progress p
                 SET next_offset = p.next_offset + 1, outputs = u.outputs, updated_at = now()
                 FROM (
                     SELECT unnest($1::text[]) AS topic, unnest($2::int4[]) AS partition,
                            unnest($3::bytea[]) AS outputs
                 ) AS u
                 WHERE p.topic = u.topic AND p.partition = u.partition"
            }
            Self::Insert => {
                "INSERT INTO floor_rows
                 SELECT unnest($1::uuid[]), unnest($2::text[])::json, unnest($3::text[])::json,
                        now()"
            }
            Self::Update => {
                "UPDATE floor_rows r SET state = u.state::json
                 FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::text[]) AS state) AS u
                 WHERE r.id = u.id"
            }
        }
    }
}

/// Rounds of one kind.
pub(super) struct Rows {
    client: Client,
    statement: Statement,
    kind: Kind,
    /// Bytes of one output.
    output_bytes: usize,
    /// Rows of the next rounds, and those that are updated.
    of_round: usize,
    ids: Vec<Uuid>,
}

impl Rows {
    pub(super) async fn open(
        installation: &Installation,
        kind: Kind,
        record_bytes: f64,
    ) -> anyhow::Result<Self> {
        let client = installation.connect(Service::Orchestrator).await?;
        client.batch_execute(TABLES).await.context(TABLES)?;
        let statement = client.prepare(kind.sql()).await.context(kind.sql())?;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some hundreds"
        )]
        let output_bytes = record_bytes as usize;
        Ok(Self {
            client,
            statement,
            kind,
            output_bytes,
            of_round: 1,
            ids: Vec::new(),
        })
    }

    /// Makes ready for rounds of so many rows.
    pub(super) async fn prepare(&mut self, of_round: usize) -> anyhow::Result<()> {
        self.of_round = of_round;
        self.ids = ids(of_round);
        if self.kind == Kind::Update {
            let (cart, state) = (vec![CART; of_round], vec![STATE; of_round]);
            self.client
                .execute(Kind::Insert.sql(), &[&self.ids, &cart, &state])
                .await
                .context(Kind::Insert.sql())?;
        }
        Ok(())
    }

    /// One transaction in one trip.
    async fn transaction(&self, params: &[&(dyn ToSql + Sync)]) -> anyhow::Result<()> {
        // Polled in this order, and each is sent by its first poll.
        let ((), changed, ()) = try_join3(
            self.client.batch_execute("BEGIN"),
            self.client.execute(&self.statement, params),
            self.client.batch_execute("COMMIT"),
        )
        .await
        .context(self.kind.sql())?;
        let expected = match self.kind {
            Kind::Progress => 1,
            Kind::Insert | Kind::Update => self.of_round,
        };
        anyhow::ensure!(
            usize::try_from(changed)? == expected,
            "{changed} rows instead of {expected}: {}",
            self.kind.sql()
        );
        Ok(())
    }
}

impl Round for Rows {
    async fn round(&mut self) -> anyhow::Result<()> {
        match self.kind {
            Kind::Progress => {
                let outputs = vec![0x2a_u8; self.output_bytes * self.of_round];
                self.transaction(&[&vec!["floor"], &vec![0_i32], &vec![outputs]])
                    .await
            }
            Kind::Insert => {
                let (cart, state) = (vec![CART; self.of_round], vec![STATE; self.of_round]);
                self.transaction(&[&ids(self.of_round), &cart, &state])
                    .await
            }
            Kind::Update => {
                let state = vec![STATE; self.of_round];
                self.transaction(&[&self.ids, &state]).await
            }
        }
    }
}

/// Random ones, as carts have.
fn ids(count: usize) -> Vec<Uuid> {
    (0..count).map(|_| Uuid::new_v4()).collect()
}
