//! Sagas by state, step, age and reason, in pages by cart.

mod filter;
mod listed;

use std::time::Duration;

use audit::{Result, Target};
use contracts::ids::{CartId, GenericUuid};
use contracts::messages::FailureReason;
use flow::Step;
use jiff::Timestamp;
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

pub use filter::Filter;
pub use listed::Listed;
#[cfg(test)]
pub(crate) use listed::tests::example;
pub(crate) use listed::understood;

use crate::databases::Db;
use crate::row::column;
use crate::show::{BAD, STRONG, ago, clean, of_state, paint, table};

const WINDOW: &str = "s.cart_id <= $7::uuid";

const LIST: &str = "
SELECT s.cart_id, s.checkout_id, s.state, s.step, s.cart, s.progress, s.wake_at
FROM sagas s
WHERE {scope}
  AND s.cart_id > $1
  AND (cardinality($2::text[]) = 0 OR s.state = ANY($2))
  AND ($3::text IS NULL OR s.step = $3)
  AND ($4::timestamptz IS NULL OR (s.progress ->> 'startedAt')::timestamptz <= $4)
  AND ($5::text IS NULL OR s.progress -> 'failure' ->> 'reason' = $5)";

/// The end of a window of so many sagas.
const WINDOW_END: &str = "
SELECT cart_id FROM sagas WHERE cart_id > $1 ORDER BY cart_id OFFSET $2 LIMIT 1";

/// Sagas that one statement looks at where any may be like the filter: those that have
/// ended are millions.
const LOOKED_AT: i64 = 2_000;
/// How often it does so for one page.
const LOOKS: usize = 10;

/// By the index of ends.
const ENDED_LAST: &str = "
SELECT s.cart_id, s.checkout_id, s.state, s.step, s.cart, s.progress, s.wake_at
FROM sagas s
WHERE s.ended_at IS NOT NULL
ORDER BY s.ended_at DESC LIMIT $1";

/// By the index of timers.
const STANDING: &str = "
SELECT s.state, s.step, count(*) AS sagas,
    count(*) FILTER (WHERE s.wake_at < now() - interval '10 seconds') AS late
FROM sagas s
WHERE s.wake_at IS NOT NULL
GROUP BY s.state, s.step
ORDER BY s.state, s.step";

/// A page of a list. It may be short, or empty, and not the last: where any saga may be
/// like the filter, no more than some thousands are looked at for one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// Sagas, by cart.
    pub sagas: Vec<Listed>,
    /// The cart after which the next page begins; absent on the last page.
    pub after: Option<CartId>,
}

/// A page of at most `limit` sagas, those of carts that come after `after`.
///
/// # Errors
/// When the orchestrator's database cannot be asked within `timeout`. A saga that this
/// version does not understand is in the list, with a note.
pub async fn list(
    target: &Target,
    filter: &Filter,
    after: Option<CartId>,
    limit: u32,
    timeout: Duration,
) -> Result<Page> {
    let db = Db::orchestrator(target, timeout).await?;
    let question = Question::of(filter);
    // One more tells whether there is another page.
    let most = i64::from(limit) + 1;
    let limit = limit as usize;
    let mut after = after.map_or(Uuid::nil(), GenericUuid::into_untyped_uuid);
    if let Some(few) = filter.few() {
        // The fence keeps the database from walking along all carts instead, until it
        // has found enough: there may be none.
        let list = LIST.replace("{scope}", &few);
        let sql = format!("SELECT * FROM ({list} OFFSET 0) s ORDER BY s.cart_id LIMIT $6");
        let carts = filter.carts.iter().map(|cart| cart.into_untyped_uuid());
        let carts: Vec<Uuid> = carts.collect();
        let named: Option<&(dyn ToSql + Sync)> = match carts.as_slice() {
            [] => None,
            _ => Some(&carts),
        };
        let sagas = question.ask(&db, &sql, after, most, named).await?;
        return Ok(page(sagas, limit, None));
    }
    let list = LIST.replace("{scope}", WINDOW);
    let sql = format!("{list} ORDER BY s.cart_id LIMIT $6");
    let mut sagas = Vec::new();
    for _ in 0..LOOKS {
        let end = db.query(WINDOW_END, &[&after, &(LOOKED_AT - 1)]).await?;
        let end: Option<Uuid> = end.first().map(|row| column(row, "cart_id")).transpose()?;
        let upto = end.unwrap_or(Uuid::max());
        let left = most - i64::try_from(sagas.len()).unwrap_or(most);
        sagas.extend(question.ask(&db, &sql, after, left, Some(&upto)).await?);
        if end.is_none() || sagas.len() > limit {
            return Ok(page(sagas, limit, None));
        }
        after = upto;
    }
    let looked_at = CartId::from_untyped_uuid(after);
    Ok(page(sagas, limit, Some(looked_at)))
}

/// What a filter asks of each row.
struct Question {
    states: Vec<&'static str>,
    step: Option<&'static str>,
    begun_by: Option<Timestamp>,
    failure: Option<&'static str>,
}

impl Question {
    fn of(filter: &Filter) -> Self {
        Self {
            states: filter.states.iter().map(|state| state.as_str()).collect(),
            step: filter.step.map(Step::name),
            begun_by: filter.begun_by(),
            failure: filter.failure.map(FailureReason::as_str),
        }
    }

    async fn ask(
        &self,
        db: &Db,
        sql: &str,
        after: Uuid,
        most: i64,
        scope: Option<&(dyn ToSql + Sync)>,
    ) -> Result<Vec<Listed>> {
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![
            &after,
            &self.states,
            &self.step,
            &self.begun_by,
            &self.failure,
            &most,
        ];
        params.extend(scope);
        let rows = db.query(sql, &params).await?;
        rows.iter().map(Listed::of_row).collect()
    }
}

/// A page of these, of which one more than `limit` was asked for; what follows them is
/// after `looked_at`, where not all were looked at.
fn page(mut sagas: Vec<Listed>, limit: usize, looked_at: Option<CartId>) -> Page {
    let more = sagas.len() > limit;
    sagas.truncate(limit);
    let last = sagas.last().filter(|_| more).map(|last| last.cart_id);
    Page {
        sagas,
        after: last.or(looked_at),
    }
}

/// The sagas that ended last, the newest first, by the index of ends.
///
/// # Errors
/// As [`list`].
pub async fn ended_last(target: &Target, limit: u32, timeout: Duration) -> Result<Vec<Listed>> {
    let db = Db::orchestrator(target, timeout).await?;
    let rows = db.query(ENDED_LAST, &[&i64::from(limit)]).await?;
    rows.iter().map(Listed::of_row).collect()
}

/// How many sagas that have not ended stand at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The state, such as `STUCK`.
    pub state: String,
    /// The step.
    pub step: Option<String>,
    /// How many.
    pub sagas: i64,
    /// How many of them should have been woken a while ago.
    pub late: i64,
}

/// The sagas that have not ended, counted by state and step.
///
/// # Errors
/// When the orchestrator's database cannot be asked within `timeout`.
pub async fn standing(target: &Target, timeout: Duration) -> Result<Vec<Standing>> {
    let db = Db::orchestrator(target, timeout).await?;
    let rows = db.query(STANDING, &[]).await?;
    let of_row = |row: &Row| {
        Ok(Standing {
            state: column(row, "state")?,
            step: column(row, "step")?,
            sagas: column(row, "sagas")?,
            late: column(row, "late")?,
        })
    };
    rows.iter().map(of_row).collect()
}

impl Page {
    /// A table for people, with colours.
    pub fn text(&self) -> String {
        let now = Timestamp::now();
        let when = |at: Option<Timestamp>| at.map_or_else(String::new, |at| ago(at, now));
        let rows = self.sagas.iter().map(|saga| {
            let tries = saga.tries.map(|tries| tries.to_string());
            vec![
                saga.cart_id.to_string(),
                paint(of_state(&saga.state), clean(&saga.state)),
                clean(saga.step.as_deref().unwrap_or_default()),
                tries.unwrap_or_default(),
                when(saga.started_at),
                when(saga.updated_at),
                when(saga.wake_at),
                match &saga.note {
                    Some(note) => paint(BAD, clean(note)),
                    None => clean(saga.failure.as_deref().unwrap_or_default()),
                },
            ]
        });
        let mut text = table(
            &[
                "CART", "STATE", "STEP", "TRIES", "BEGUN", "CHANGED", "WAKES", "FAILURE",
            ],
            rows.collect(),
        );
        if self.sagas.is_empty() {
            text = match self.after {
                Some(_) => "no saga so far is like that\n",
                None => "no saga is like that\n",
            }
            .to_owned();
        }
        if let Some(after) = self.after {
            text.push_str(&format!(
                "{} --after {after}\n",
                paint(STRONG, "more follow:")
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_saga_that_is_not_understood_takes_none_of_the_others_away() {
        let page = Page {
            sagas: vec![
                example("STUCK", Step::FIRST.name()),
                example("STUCK", "SHIP_PARCEL"),
            ],
            after: None,
        };
        let text = page.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].contains("TIMED_OUT: no answer"), "{text}");
        for part in ["STUCK", "SHIP_PARCEL", "use programs of the orchestrator"] {
            assert!(lines[2].contains(part), "{part}: {text}");
        }
    }
}
