//! `GET /participants`: who is held, for operators.

use std::sync::{Arc, PoisonError};

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use flow::Step;
use jiff::Timestamp;
use serde::Serialize;

use super::Brake;

/// One participant and its brake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Participant {
    /// Who: the namespace of its schemas.
    pub(crate) participant: &'static str,
    /// `OPEN`, `RAMPING`, `CLOSED_SILENT`, `CLOSED_BEHIND`, `STARTING`, or `OFF`.
    pub(crate) state: &'static str,
    /// Since when; absent where that is not known.
    pub(crate) since: Option<Timestamp>,
    /// Commands that this instance may send it a second; absent for any number.
    pub(crate) permitted_per_second: Option<u32>,
    /// Commands of all instances that are out.
    pub(crate) commands_out: u64,
    /// Sagas of all instances that are held.
    pub(crate) sagas_held: u64,
}

impl Brake {
    /// The participants, in the order of their steps.
    fn participants(&self) -> Vec<Participant> {
        let known = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.is_empty() {
            return known.clone();
        }
        let state = if self.limits.is_some() {
            "STARTING"
        } else {
            "OFF"
        };
        let unknown = |step: &Step| Participant {
            participant: step.definition().owner,
            state,
            since: None,
            permitted_per_second: self.limits.map(|limits| limits.ramp_per_second),
            commands_out: 0,
            sagas_held: 0,
        };
        Step::ALL.iter().map(unknown).collect()
    }

    pub(super) fn show(&self, participants: Vec<Participant>) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = participants;
    }
}

/// The route.
pub(crate) fn routes(brake: Arc<Brake>) -> Router {
    Router::new()
        .route("/participants", get(participants))
        .with_state(brake)
}

async fn participants(State(brake): State<Arc<Brake>>) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(brake.participants())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_the_first_look_every_participant_is_named() {
        let shown = Brake::new(None).participants();
        let of: Vec<_> = shown.iter().map(|p| (p.participant, p.state)).collect();
        let expected: Vec<_> = Step::ALL
            .iter()
            .map(|step| (step.definition().owner, "OFF"))
            .collect();
        assert_eq!(of, expected);
    }
}
