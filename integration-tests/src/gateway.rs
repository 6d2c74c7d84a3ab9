//! A payment gateway that speaks as much of Stripe's API as the payment service
//! uses, keeps books of its own, and misbehaves as it is told.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use uuid::Uuid;

/// What happens to the first request with each idempotency key.
#[derive(Clone, Copy, Debug, Default)]
pub enum Misbehaviour {
    /// It is carried out and answered at once, as it should be.
    #[default]
    None,
    /// It is answered 500, every other time after it was carried out.
    BreaksDown,
    /// It is carried out, and the connection breaks before the answer.
    LosesAnswers,
    /// It is carried out and answered after this time, whoever still listens.
    IsLate(Duration),
    /// So are those of every second checkout; the others at once.
    IsLateForSome(Duration),
}

/// A hold.
#[derive(Clone, Debug)]
struct Intent {
    checkout: Uuid,
    amount: i64,
    status: &'static str,
}

#[derive(Default)]
struct Books {
    misbehaviour: Misbehaviour,
    intents: BTreeMap<String, Intent>,
    /// The answer to each key, kept for ever: status and body.
    answers: HashMap<String, (u16, Value)>,
    keys_seen: HashSet<String>,
    misbehaved: usize,
    repeated: usize,
}

#[derive(Clone, Default)]
struct Shared {
    books: Arc<Mutex<Books>>,
}

/// The running gateway; it ends with its test.
pub struct Gateway {
    /// Where it is.
    pub url: String,
    shared: Shared,
}

impl Gateway {
    pub async fn start(misbehaviour: Misbehaviour) -> Self {
        let shared = Shared::default();
        shared.books().misbehaviour = misbehaviour;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/v1/payment_intents", post(hold))
            .route("/v1/payment_intents/{id}", get(look_up))
            .route("/v1/payment_intents/{id}/cancel", post(cancel))
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// From now on misbehaves so.
    pub fn set(&self, misbehaviour: Misbehaviour) {
        self.shared.books().misbehaviour = misbehaviour;
    }

    /// What it holds: checkouts and amounts, a checkout twice if it has two holds.
    pub fn holds(&self) -> Vec<(Uuid, i64)> {
        let books = self.shared.books();
        let held = |intent: &&Intent| intent.status == "requires_capture";
        let held = books.intents.values().filter(held);
        held.map(|intent| (intent.checkout, intent.amount))
            .collect()
    }

    /// What it holds: amounts by checkout. Fails where a checkout has two holds.
    pub fn held(&self) -> BTreeMap<Uuid, i64> {
        let mut held = BTreeMap::new();
        for (checkout, amount) in self.holds() {
            let before = held.insert(checkout, amount);
            assert_eq!(before, None, "checkout {checkout} has two holds");
        }
        held
    }

    /// How many holds it has given up.
    pub fn given_up(&self) -> usize {
        let books = self.shared.books();
        let given_up = |intent: &&Intent| intent.status == "canceled";
        books.intents.values().filter(given_up).count()
    }

    /// How many requests it treated badly.
    pub fn misbehaved(&self) -> usize {
        self.shared.books().misbehaved
    }

    /// How many requests came with a key that another had before.
    pub fn repeated(&self) -> usize {
        self.shared.books().repeated
    }
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request as the misbehaviour has it; `deed` is what it asks.
    async fn treat(
        self,
        headers: &HeaderMap,
        checkout: Uuid,
        deed: impl FnOnce(&mut Books) -> (u16, Value) + Send + 'static,
    ) -> Response {
        let key = headers["idempotency-key"]
            .to_str()
            .expect("text")
            .to_owned();
        let (misbehaviour, first, number) = {
            let mut books = self.books();
            let first = books.keys_seen.insert(key.clone());
            let treated_badly = match books.misbehaviour {
                Misbehaviour::None => false,
                Misbehaviour::IsLateForSome(_) => checkout.as_u128().is_multiple_of(2),
                _ => true,
            };
            if !first {
                books.repeated += 1;
            } else if treated_badly {
                books.misbehaved += 1;
            }
            let number = books.misbehaved;
            (books.misbehaviour, first && treated_badly, number)
        };
        let carry_out = {
            let shared = self.clone();
            move || {
                let mut books = shared.books();
                if let Some(answer) = books.answers.get(&key) {
                    return answer.clone();
                }
                let answer = deed(&mut books);
                books.answers.insert(key, answer.clone());
                answer
            }
        };
        match misbehaviour {
            Misbehaviour::BreaksDown if first => {
                if number.is_multiple_of(2) {
                    carry_out();
                }
                respond((500, json!({"error": {"type": "api_error"}})))
            }
            Misbehaviour::LosesAnswers if first => {
                carry_out();
                let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                let body = futures::stream::iter([Err::<Bytes, _>(broken)]);
                Body::from_stream(body).into_response()
            }
            Misbehaviour::IsLate(time) | Misbehaviour::IsLateForSome(time) if first => {
                // It is carried out even if nobody waits for it any more.
                let later = tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    carry_out()
                });
                respond(later.await.expect("it does not panic"))
            }
            _ => respond(carry_out()),
        }
    }
}

async fn hold(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let form = form(&body);
    let amount: i64 = form["amount"].parse().expect("a number");
    let checkout: Uuid = form["metadata[checkout_id]"].parse().expect("a UUID");
    let deed = move |books: &mut Books| {
        if amount % 100 == 51 {
            let error = json!({"type": "card_error", "code": "card_declined",
                "decline_code": "insufficient_funds"});
            return (402, json!({ "error": error }));
        }
        let id = format!("pi_{}", books.intents.len());
        let intent = Intent {
            checkout,
            amount,
            status: "requires_capture",
        };
        books.intents.insert(id.clone(), intent.clone());
        (200, json!({"id": id, "status": intent.status}))
    };
    shared.treat(&headers, checkout, deed).await
}

async fn cancel(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(checkout) = shared.books().intents.get(&id).map(|known| known.checkout) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let deed = move |books: &mut Books| {
        if let Some(intent) = books.intents.get_mut(&id) {
            intent.status = "canceled";
        }
        (200, json!({"id": id, "status": "canceled"}))
    };
    shared.treat(&headers, checkout, deed).await
}

async fn look_up(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    match shared.books().intents.get(&id) {
        Some(intent) => respond((200, json!({"id": id, "status": intent.status}))),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn respond((status, body): (u16, Value)) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    (status, [("request-id", "req_test")], body.to_string()).into_response()
}

fn form(body: &[u8]) -> HashMap<String, String> {
    let query = format!("form:?{}", String::from_utf8_lossy(body));
    let url = reqwest::Url::parse(&query).expect("a form");
    url.query_pairs().into_owned().collect()
}
