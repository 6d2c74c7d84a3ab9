//! The rows that a batch has read, and which of them it changes.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use tokio_postgres::types::ToSql;

/// Rows of one table by key. A batch reads them, its inputs change them in order, and
/// each row is written once at the end: new ones and changed ones apart, in the
/// order of their keys, so that two instances cannot deadlock.
#[derive(Debug)]
pub struct Rows<K, V>(BTreeMap<K, (Mark, V)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Read,
    Changed,
    New,
}

/// What is to be written.
#[derive(Debug, PartialEq, Eq)]
pub struct Written<K, V> {
    /// Rows to insert.
    pub new: Vec<(K, V)>,
    /// Rows to update.
    pub changed: Vec<(K, V)>,
}

impl<K: Ord, V> Rows<K, V> {
    /// The row of this key, as it is now.
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.0.get(key).map(|(_, row)| row)
    }

    /// The row of this key, to be changed: it will be written.
    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.0.get_mut(key).map(|(mark, row)| {
            if *mark == Mark::Read {
                *mark = Mark::Changed;
            }
            row
        })
    }

    /// Puts a row in place of the one of this key, if there is one; it will be written.
    pub fn put(&mut self, key: K, row: V) {
        let mark = match self.0.get(&key) {
            Some((Mark::Read | Mark::Changed, _)) => Mark::Changed,
            Some((Mark::New, _)) | None => Mark::New,
        };
        self.0.insert(key, (mark, row));
    }

    /// All rows, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, (_, row))| (key, row))
    }

    /// What is to be written.
    pub fn into_written(self) -> Written<K, V> {
        let mut written = Written {
            new: Vec::new(),
            changed: Vec::new(),
        };
        for (key, (mark, row)) in self.0 {
            match mark {
                Mark::Read => {}
                Mark::Changed => written.changed.push((key, row)),
                Mark::New => written.new.push((key, row)),
            }
        }
        written
    }
}

/// The rows as they were read.
impl<K: Ord, V> FromIterator<(K, V)> for Rows<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(rows: I) -> Self {
        let read = |(key, row)| (key, (Mark::Read, row));
        Self(rows.into_iter().map(read).collect())
    }
}

impl<K: Ord, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// One column of rows as an array, for statements that write whole batches with `unnest`.
pub fn column<R, T>(rows: &[R], value: impl Fn(&R) -> T) -> Box<dyn ToSql + Sync + Send>
where
    Vec<T>: ToSql + Sync + Send + 'static,
{
    Box::new(rows.iter().map(value).collect::<Vec<T>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_touched_is_written_and_each_row_once() {
        let mut rows: Rows<&str, i32> = [("a", 1), ("b", 2), ("c", 3)].into_iter().collect();
        rows.put("e", 5);
        rows.put("d", 4);
        if let Some(row) = rows.get_mut("b") {
            *row += 20;
        }
        if let Some(row) = rows.get_mut("e") {
            *row += 50;
        }
        rows.put("c", 33);
        rows.put("d", 44);
        assert_eq!(rows.get("a"), Some(&1));
        assert_eq!(rows.get_mut("z"), None);
        assert_eq!(rows.iter().count(), 5);
        let written = rows.into_written();
        assert_eq!(written.changed, [("b", 22), ("c", 33)]);
        assert_eq!(written.new, [("d", 44), ("e", 55)]);
    }
}
