//! What the services' databases hold, and what is done to them.

use contracts::ids::GenericUuid;
use contracts::messages::CartCheckedOut;
use stack::PartKind;
use tokio_postgres::types::ToSql;

use super::{Holdings, System, service};

impl System {
    /// On hand and reserved, of a product.
    pub async fn stock(&self, product: &str) -> (i64, i64) {
        let sql = "SELECT on_hand, reserved FROM stock WHERE product_id = $1";
        let rows = self.query("inventory", sql, &[&product]).await;
        (rows[0].get(0), rows[0].get(1))
    }

    /// Rows of a service's database.
    pub async fn query(
        &self,
        name: &str,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Vec<tokio_postgres::Row> {
        let client = self
            .installation
            .connect(service(name))
            .await
            .expect("a connection");
        client
            .query(sql, params)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// A connection of its own to a service's database, as the service has.
    pub async fn connect(&self, name: &str) -> tokio_postgres::Client {
        let connected = self.installation.connect(service(name)).await;
        connected.expect("a connection")
    }

    /// Runs statements in a service's database, as the service may.
    pub async fn execute(&self, name: &str, sql: &str) {
        run(&self.connect(name).await, sql).await;
    }

    /// Runs statements as PostgreSQL's administrator; `{}` stands for the name
    /// of a service's database, and of its user.
    pub async fn administer(&self, name: &str, sql: &str) {
        let admin = &self.parts(PartKind::Postgres)[0].url;
        let (client, connection) = tokio_postgres::connect(admin, tokio_postgres::NoTls)
            .await
            .expect("a connection");
        tokio::spawn(connection);
        run(&client, &sql.replace("{}", self.database(name))).await;
    }

    /// Cuts all connections to a service's database but the one that asks.
    pub async fn cut_connections(&self, name: &str) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = '{}' AND pid <> pg_backend_pid()";
        self.administer(name, sql).await;
    }

    /// The name of a service's database, and of its user.
    pub fn database(&self, name: &str) -> &str {
        let url = self.installation.database_url(service(name));
        url.rsplit_once('/').map_or(url, |(_, database)| database)
    }

    /// What is held for the checkout of this event.
    pub async fn holdings(&self, cart: &CartCheckedOut) -> Holdings {
        let checkout = cart.event_id.into_untyped_uuid();
        let mut states = Vec::new();
        for (service, table) in [
            ("inventory", "reservations"),
            ("payment", "authorizations"),
            ("order", "orders"),
        ] {
            // A service that was never started has no tables yet.
            let migrated = self
                .query(service, "SELECT to_regclass($1) IS NOT NULL", &[&table])
                .await[0]
                .get(0);
            let sql = format!("SELECT state::text FROM {table} WHERE checkout_id = $1");
            let rows = match migrated {
                true => self.query(service, &sql, &[&checkout]).await,
                false => Vec::new(),
            };
            states.push(rows.first().map(|row| row.get(0)));
        }
        let [reservation, authorization, order] =
            <[Option<String>; 3]>::try_from(states).expect("three");
        Holdings {
            reservation,
            authorization,
            order,
        }
    }
}

async fn run(client: &tokio_postgres::Client, sql: &str) {
    client
        .batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}
