//! Databases and users of PostgreSQL.

use std::time::Duration;

use tokio_postgres::{Client, NoTls};

use crate::error::{Error, Result};

/// The administrator's password of a PostgreSQL that this tool started. It
/// listens on the loopback interface only and holds nothing but test data.
pub(crate) const ADMIN_PASSWORD: &str = "postgres";
/// No statement of a tool or a test may hang for ever.
const STATEMENT_LIMIT: &str = "SET statement_timeout = '120s'";
/// Opening a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);

/// Connects; the connection is served by the current async runtime and ends
/// with the client.
///
/// # Errors
/// When the server cannot be reached or refuses the user.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let shown = without_password(url);
    let doing = format!("cannot connect to {shown}");
    let connecting = tokio_postgres::connect(url, NoTls);
    match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
        Ok(Ok((client, connection))) => {
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(database = shown, %error, "connection ended");
                }
            });
            client
                .batch_execute(STATEMENT_LIMIT)
                .await
                .map_err(Error::database(doing))?;
            Ok(client)
        }
        Ok(Err(error)) => Err(Error::database(doing)(error)),
        Err(_) => Err(Error::Invalid(format!(
            "{doing}: no answer within {} s",
            CONNECT_LIMIT.as_secs()
        ))),
    }
}

/// Creates a database that belongs to a user of the same name and password,
/// closed to everybody else; leaves it alone when it is there. Returns its
/// URL.
///
/// `name` must consist of lower-case letters, digits and underscores.
pub(crate) async fn create(admin: &Client, admin_url: &str, name: &str) -> Result<String> {
    let doing = || format!("cannot create database {name}");
    let exists = async |query: &str| {
        admin
            .query_opt(query, &[&name])
            .await
            .map(|row| row.is_some())
            .map_err(Error::database(doing()))
    };
    let role = match exists("SELECT 1 FROM pg_roles WHERE rolname = $1").await? {
        true => "ALTER",
        false => "CREATE",
    };
    let role = format!("{role} ROLE \"{name}\" LOGIN PASSWORD '{name}'");
    admin
        .batch_execute(&role)
        .await
        .map_err(Error::database(doing()))?;
    if !exists("SELECT 1 FROM pg_database WHERE datname = $1").await? {
        // Neither may share a transaction with anything else.
        for statement in [
            format!("CREATE DATABASE \"{name}\" OWNER \"{name}\""),
            format!("REVOKE CONNECT ON DATABASE \"{name}\" FROM PUBLIC"),
        ] {
            admin
                .batch_execute(&statement)
                .await
                .map_err(Error::database(doing()))?;
        }
    }
    url(admin_url, name).ok_or_else(|| {
        Error::Invalid(format!(
            "{} is not a URL like postgresql://user:password@host:port/database",
            without_password(admin_url)
        ))
    })
}

/// The URL of a database on the same server as `admin_url`, for the user of
/// the same name.
fn url(admin_url: &str, name: &str) -> Option<String> {
    let (scheme, rest) = admin_url.split_once("://")?;
    let (_, server) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (host, _) = server.split_once('/').unwrap_or((server, ""));
    (!host.is_empty()).then(|| format!("{scheme}://{name}:{name}@{host}/{name}"))
}

/// `url` as it may be shown.
pub(crate) fn without_password(url: &str) -> String {
    let parts = url.split_once("://").and_then(|(scheme, rest)| {
        let (login, server) = rest.rsplit_once('@')?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}@{server}"))
    });
    parts.unwrap_or_else(|| url.to_owned())
}

/// Whether `name` can be part of a database's name without quoting.
pub(crate) fn is_plain(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_databases_on_the_same_server() {
        let url = |admin| url(admin, "order").unwrap();
        let expected = "postgresql://order:order@127.0.0.1:5432/order";
        assert_eq!(
            url("postgresql://postgres:a@b@127.0.0.1:5432/postgres"),
            expected
        );
        assert_eq!(url("postgresql://127.0.0.1:5432"), expected);
        assert_eq!(super::url("host=127.0.0.1", "order"), None);
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = without_password("postgresql://postgres:secret@127.0.0.1:5432/postgres");
        assert_eq!(shown, "postgresql://postgres@127.0.0.1:5432/postgres");
    }

    #[test]
    fn names_that_need_no_quotes() {
        assert!(is_plain("kill_9"));
        for name in ["", "Kill", "a-b", "a\"b", &"a".repeat(41)] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
