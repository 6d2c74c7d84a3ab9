//! The rows that a batch has read, and which of them it changes.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::num::NonZeroUsize;

use lru::LruCache;
use runtime::RowVersion;
use tokio_postgres::types::ToSql;

/// Rows of one table by key. A batch reads them, its inputs change them in order, and
/// each row is written once at the end: new ones and changed ones apart, in the
/// order of their keys, so that two instances cannot deadlock.
///
/// Rows that are kept between batches have their [`RowVersion`] beside them: by it the
/// database tells whether a row is as it was kept.
#[derive(Debug)]
pub struct Rows<K, V> {
    rows: BTreeMap<K, Entry<V>>,
    /// Taken for new without a look.
    presumed_new: BTreeSet<K>,
}

#[derive(Debug)]
struct Entry<V> {
    mark: Mark,
    version: RowVersion,
    row: V,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// Read by this batch, which holds its lock.
    Read,
    /// Kept from a former batch.
    Kept,
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
    /// The versions that they must have before.
    pub versions: Vec<i32>,
    /// Rows that were kept from a former batch and do not change, with the versions that
    /// they must still have.
    pub relied_on: Vec<(K, i32)>,
}

impl<K: Ord + Clone, V> Written<K, V> {
    /// The rows to be locked and compared before anything is updated: none where the
    /// updates compare all there is. Otherwise those to be updated too, so that all are
    /// locked in the order of their keys.
    pub fn compared(&self) -> Vec<(K, i32)> {
        if self.relied_on.is_empty() {
            return Vec::new();
        }
        let changed = self.changed.iter().map(|(key, _)| key.clone());
        let mut compared: Vec<_> = changed.zip(self.versions.iter().copied()).collect();
        compared.extend(self.relied_on.iter().cloned());
        compared.sort_unstable();
        compared
    }
}

/// Rows of one table, kept from one batch to the next; those not used for longest make
/// way for others.
#[derive(Debug)]
pub struct RowCache<K: Hash + Eq, V>(LruCache<K, (RowVersion, V)>);

impl<K: Hash + Eq, V> RowCache<K, V> {
    /// An empty one, for at most so many rows.
    pub fn new(max_rows: usize) -> Self {
        let max_rows = NonZeroUsize::new(max_rows).unwrap_or(NonZeroUsize::MIN);
        // It grows as it fills.
        let mut rows = LruCache::unbounded();
        rows.resize(max_rows);
        Self(rows)
    }
}

impl<K: Hash + Eq + Send, V: Send> runtime::Cache for RowCache<K, V> {
    fn new(max_rows: usize) -> Self {
        Self::new(max_rows)
    }
}

impl<K: Ord + Hash + Clone, V: Clone> Rows<K, V> {
    /// Takes the row of this key as it was kept; false where it was not.
    pub fn recall(&mut self, key: &K, cache: &mut RowCache<K, V>) -> bool {
        if self.rows.contains_key(key) {
            return true;
        }
        let Some((version, row)) = cache.0.get(key) else {
            return false;
        };
        let entry = Entry {
            mark: Mark::Kept,
            version: version.clone(),
            row: row.clone(),
        };
        self.rows.insert(key.clone(), entry);
        true
    }

    /// Takes the row of this key as it was kept, and where it was not, takes it for one
    /// that does not exist yet.
    pub fn recall_or_presume_new(&mut self, key: &K, cache: &mut RowCache<K, V>) {
        if !self.recall(key, cache) {
            self.presume_new(key.clone());
        }
    }

    /// Keeps these rows, as they will be once they are written, with the version that
    /// they will then have. `kept` makes of each what later batches find; nothing of a row
    /// that they will not need.
    pub fn keep(
        &self,
        cache: &mut RowCache<K, V>,
        written: &RowVersion,
        kept: impl Fn(&V) -> Option<V>,
    ) {
        for (key, entry) in &self.rows {
            let version = match entry.mark {
                Mark::Kept => continue,
                Mark::Read => &entry.version,
                Mark::Changed | Mark::New => written,
            };
            match kept(&entry.row) {
                Some(row) => {
                    cache.0.put(key.clone(), (version.clone(), row));
                }
                None => {
                    cache.0.pop(key);
                }
            }
        }
    }
}

impl<K: Ord, V> Rows<K, V> {
    /// Takes the row of this key for one that does not exist yet.
    pub fn presume_new(&mut self, key: K) {
        self.presumed_new.insert(key);
    }

    /// Whether all that was presumed new is inserted, so that the table's keys tell.
    pub fn is_certain(&self) -> bool {
        let is_new = |key| self.rows.get(key).is_some_and(|row| row.mark == Mark::New);
        self.presumed_new.iter().all(is_new)
    }

    /// Adds a row as the table has it.
    pub fn add(&mut self, key: K, version: RowVersion, row: V) {
        let entry = Entry {
            mark: Mark::Read,
            version,
            row,
        };
        self.rows.insert(key, entry);
    }

    /// The row of this key, as it is now.
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.rows.get(key).map(|entry| &entry.row)
    }

    /// The row of this key, to be changed: it will be written.
    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.rows.get_mut(key).map(|entry| {
            if entry.mark != Mark::New {
                entry.mark = Mark::Changed;
            }
            &mut entry.row
        })
    }

    /// Puts a row in place of the one of this key, if there is one; it will be written.
    pub fn put(&mut self, key: K, row: V) {
        if let Some(known) = self.get_mut(&key) {
            *known = row;
            return;
        }
        let entry = Entry {
            mark: Mark::New,
            version: RowVersion::default(),
            row,
        };
        self.rows.insert(key, entry);
    }

    /// All rows, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter().map(|(key, entry)| (key, &entry.row))
    }

    /// What is to be written.
    pub fn into_written(self) -> Written<K, V> {
        let mut written = Written {
            new: Vec::new(),
            changed: Vec::new(),
            versions: Vec::new(),
            relied_on: Vec::new(),
        };
        for (key, entry) in self.rows {
            match entry.mark {
                Mark::Read => {}
                Mark::Kept => written.relied_on.push((key, entry.version.get())),
                Mark::Changed => {
                    written.changed.push((key, entry.row));
                    written.versions.push(entry.version.get());
                }
                Mark::New => written.new.push((key, entry.row)),
            }
        }
        written
    }
}

/// The rows as they were read, of a table whose rows are not kept.
impl<K: Ord, V> FromIterator<(K, V)> for Rows<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(rows: I) -> Self {
        let mut read = Self::default();
        for (key, row) in rows {
            read.add(key, RowVersion::default(), row);
        }
        read
    }
}

impl<K: Ord, V> Default for Rows<K, V> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            presumed_new: BTreeSet::new(),
        }
    }
}

/// A write of a batch that locks rows by key (`$1`, in order) and version (`$2`).
#[macro_export]
macro_rules! compare_all {
    ($table:literal, $key:literal, $type:literal) => {
        concat!(
            "SELECT FROM ",
            $table,
            " t JOIN unnest($1::",
            $type,
            "[], $2::int4[]) AS u (key, version) ON t.",
            $key,
            " = u.key AND t.xmin = u.version ORDER BY t.",
            $key,
            " FOR UPDATE OF t"
        )
    };
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

    /// A cache that holds these rows in these versions.
    fn kept(rows: &[(&'static str, u32, i32)]) -> RowCache<&'static str, i32> {
        let mut cache = RowCache::new(10);
        let mut read = Rows::default();
        for (key, version, row) in rows {
            read.add(*key, RowVersion::from(*version), *row);
        }
        read.keep(&mut cache, &RowVersion::default(), |row| Some(*row));
        cache
    }

    #[test]
    fn what_is_taken_from_the_cache_is_compared_whether_it_changes_or_not() {
        let mut cache = kept(&[("a", 1, 10), ("b", 2, 20), ("c", 3, 30)]);
        let mut rows = Rows::default();
        for key in ["c", "a", "b"] {
            assert!(rows.recall(&key, &mut cache));
        }
        assert!(!rows.recall(&"z", &mut cache));
        rows.put("b", 21);
        let written = rows.into_written();
        assert_eq!(written.changed, [("b", 21)]);
        assert_eq!(written.versions, [2]);
        assert_eq!(written.relied_on, [("a", 1), ("c", 3)]);
        assert_eq!(
            written.compared(),
            [("a", 1), ("b", 2), ("c", 3)],
            "all are locked in order before any is updated"
        );
    }

    #[test]
    fn updates_compare_what_they_change_and_need_no_other_statement() {
        let mut cache = kept(&[("a", 1, 10)]);
        let mut rows = Rows::default();
        assert!(rows.recall(&"a", &mut cache));
        rows.put("a", 11);
        assert_eq!(rows.into_written().compared(), []);
    }

    #[test]
    fn rows_are_kept_with_the_versions_that_they_will_have() {
        let mut cache = kept(&[("a", 1, 10), ("b", 2, 20)]);
        let mut rows = Rows::default();
        for key in ["a", "b"] {
            assert!(rows.recall(&key, &mut cache));
        }
        rows.add("c", RowVersion::from(7), 30);
        rows.put("b", 21);
        rows.put("d", 40);
        rows.keep(&mut cache, &RowVersion::from(9), |row| Some(*row));
        let mut next = Rows::default();
        for key in ["a", "b", "c", "d"] {
            assert!(next.recall(&key, &mut cache));
        }
        let versions = [("a", 1), ("b", 9), ("c", 7), ("d", 9)];
        assert_eq!(next.into_written().relied_on, versions);
    }

    #[test]
    fn a_row_that_is_over_is_forgotten() {
        let mut cache = kept(&[("a", 1, 10)]);
        let mut rows = Rows::default();
        assert!(rows.recall(&"a", &mut cache));
        rows.put("a", 0);
        rows.keep(&mut cache, &RowVersion::from(9), |row| {
            (*row > 0).then_some(*row)
        });
        assert!(!Rows::default().recall(&"a", &mut cache));
    }

    #[test]
    fn what_was_presumed_new_has_to_be_inserted() {
        let mut cache = kept(&[("a", 1, 10)]);
        let mut rows = Rows::default();
        rows.recall_or_presume_new(&"a", &mut cache);
        assert!(rows.is_certain());
        rows.recall_or_presume_new(&"b", &mut cache);
        assert!(!rows.is_certain());
        rows.put("b", 20);
        assert!(rows.is_certain());
    }

    #[test]
    fn a_cache_holds_no_more_than_it_may() {
        let mut cache = RowCache::new(2);
        let mut rows = Rows::default();
        for (key, row) in [("a", 1), ("b", 2), ("c", 3)] {
            rows.put(key, row);
        }
        rows.keep(&mut cache, &RowVersion::from(9), |row| Some(*row));
        let mut next = Rows::default();
        assert!(!next.recall(&"a", &mut cache));
        assert!(next.recall(&"b", &mut cache) && next.recall(&"c", &mut cache));
    }
}
