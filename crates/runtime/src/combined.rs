//! All that a batch writes as one statement.
//!
//! A statement costs PostgreSQL and the service as much as some of its rows: a message,
//! an answer, a wake-up. So the writes of a batch become the parts of one `WITH`, which
//! is a transaction by itself. It fails as a whole where a part finds fewer rows than it
//! was given, because one of them is not as the batch relies on it to be.
//!
//! The parts see the database as it was when the statement began, and none sees what
//! another changes; so no two may be about the same row, unless one only locks it. Where a
//! row was changed since by somebody else, PostgreSQL compares its newest version, as
//! between statements of their own. They run in their order: their rows are counted one part
//! after the other.
//!
//! What compares is called only where it is to fail: PL/pgSQL is set up anew in each
//! transaction.

use std::fmt::Write as _;

use crate::Sql;

/// The text of one statement for these parts, their parameters numbered through. It
/// tells the transaction's id.
pub(crate) fn text(parts: &[&Sql]) -> String {
    let mut text = String::new();
    let (mut rows, mut given) = (String::new(), String::new());
    let mut params = 0;
    for (index, part) in parts.iter().enumerate() {
        let (with, union, plus) = if index == 0 {
            ("WITH", "", "")
        } else {
            (",", " UNION ALL ", " + ")
        };
        let _ = write!(text, "{with} part_{index} AS (");
        push_renumbered(&mut text, part.text, params);
        // What locks is a query already.
        if !part.text.trim_start().starts_with("SELECT") {
            text.push_str(" RETURNING 1");
        }
        text.push(')');
        let _ = write!(rows, "{union}SELECT FROM part_{index}");
        let _ = write!(given, "{plus}cardinality(${})", params + 1);
        params += part.params.len();
    }
    let _ = write!(
        text,
        " SELECT CASE WHEN found <> given THEN expect_rows(found, given) END, \
         pg_current_xact_id()::text::int8 AS transaction \
         FROM (SELECT count(*) AS found, {given} AS given FROM ({rows}) AS rows) AS counted"
    );
    text
}

/// Adds `text` with each of its parameters counted on from `before`.
fn push_renumbered(to: &mut String, text: &str, before: usize) {
    let mut pieces = text.split('$');
    to.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = piece.split_at(digits);
        let _ = match number.parse::<usize>() {
            Ok(number) => write!(to, "${}{rest}", before + number),
            Err(_) => write!(to, "${piece}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &'static str, params: usize) -> Sql {
        let param = || Box::new(Vec::<i32>::new()) as _;
        Sql::new(text, (0..params).map(|_| param()).collect())
    }

    #[test]
    fn parts_are_numbered_through_and_each_is_expected_to_find_its_rows() {
        let insert = "INSERT INTO a SELECT * FROM unnest($1::int4[], $2::int4[])";
        let lock = "\n  SELECT FROM b WHERE id = ANY($1::int4[]) FOR UPDATE";
        let update = "UPDATE c SET d = u.d FROM unnest($1::int4[], $10::text[]) u WHERE u.c = $2";
        let parts = [sql(insert, 2), sql(lock, 1), sql(update, 10)];
        let text = text(&parts.iter().collect::<Vec<_>>());
        assert_eq!(
            text,
            "WITH part_0 AS (INSERT INTO a SELECT * FROM unnest($1::int4[], $2::int4[]) \
             RETURNING 1), \
             part_1 AS (\n  SELECT FROM b WHERE id = ANY($3::int4[]) FOR UPDATE), \
             part_2 AS (UPDATE c SET d = u.d FROM unnest($4::int4[], $13::text[]) u \
             WHERE u.c = $5 RETURNING 1) \
             SELECT CASE WHEN found <> given THEN expect_rows(found, given) END, \
             pg_current_xact_id()::text::int8 AS transaction \
             FROM (SELECT count(*) AS found, \
             cardinality($1) + cardinality($3) + cardinality($4) AS given \
             FROM (SELECT FROM part_0 UNION ALL SELECT FROM part_1 UNION ALL SELECT FROM part_2) \
             AS rows) AS counted"
        );
    }
}
