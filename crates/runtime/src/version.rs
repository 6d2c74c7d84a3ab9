//! What a row that is kept in memory is compared by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::Row;

/// A version of a row: the transaction that wrote it, PostgreSQL's system column `xmin`.
/// Whoever else writes the row changes it, knowingly or not.
///
/// That of rows which a batch writes is known once the batch is committed; until then it
/// equals no row's.
#[derive(Clone, Debug, Default)]
pub struct RowVersion(Arc<AtomicU32>);

/// The lower half of a transaction's id.
impl From<u32> for RowVersion {
    fn from(transaction: u32) -> Self {
        Self(Arc::new(AtomicU32::new(transaction)))
    }
}

impl RowVersion {
    /// Of a row that was read with `xmin::text::int8 AS version`.
    ///
    /// # Errors
    /// There is no such column.
    pub fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let version = Self::default();
        version.set(row.try_get("version")?);
        Ok(version)
    }

    /// As a parameter to be compared with `xmin`: PostgreSQL compares transaction ids
    /// with 32 bits of whatever sign.
    pub fn get(&self) -> i32 {
        self.0.load(Ordering::Relaxed).cast_signed()
    }

    /// The id of a transaction; `xmin` has its lower half.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the lower half"
    )]
    pub(crate) fn set(&self, transaction: i64) {
        self.0.store(transaction as u32, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_lower_half_of_a_transaction_id_and_shared() {
        let version = RowVersion::default();
        let kept = version.clone();
        assert_eq!(kept.get(), 0);
        version.set((7 << 32) + 42);
        assert_eq!(kept.get(), 42);
        version.set(0xffff_fffe);
        assert_eq!(kept.get(), -2);
    }
}
