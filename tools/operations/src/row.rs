//! Columns of the tables, in the terms of this crate.

use audit::{Error, Result};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

/// A column of a row.
pub(crate) fn column<'r, T: FromSql<'r>>(row: &'r Row, name: &str) -> Result<T> {
    row.try_get(name)
        .map_err(Error::database(format!("cannot read column {name}")))
}
