//! Who is signed in: kept in memory, bounded in number and in time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::http::header;
use subtle::ConstantTimeEq;

/// The name of the cookie.
pub(super) const COOKIE: &str = "console_session";

/// Somebody who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    id: String,
    /// By which name.
    pub(crate) name: String,
    /// What every form of the session holds.
    pub(crate) csrf: String,
}

impl Session {
    /// Whether a form came from a page of this session.
    pub(crate) fn has_made(&self, csrf: &str) -> bool {
        bool::from(self.csrf.as_bytes().ct_eq(csrf.as_bytes()))
    }
}

/// All sessions, by what their cookies hold.
pub(super) struct Sessions {
    open: Mutex<HashMap<String, (Session, Instant)>>,
    lifetime: Duration,
    most: usize,
}

impl Sessions {
    pub(super) fn new(lifetime: Duration, most: usize) -> Self {
        Self {
            open: Mutex::default(),
            lifetime,
            most: most.max(1),
        }
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Begins a session and returns what its cookie is to hold.
    pub(super) fn begin(&self, name: &str, now: Instant) -> String {
        let mut open = self.open();
        open.retain(|_, (_, begun)| self.is_open(*begun, now));
        while open.len() >= self.most {
            let oldest = open.iter().min_by_key(|(_, (_, begun))| *begun);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                break;
            };
            open.remove(&oldest);
        }
        let session = Session {
            id: secret(),
            name: name.to_owned(),
            csrf: secret(),
        };
        let id = session.id.clone();
        open.insert(id.clone(), (session, now));
        id
    }

    /// The session that a request belongs to.
    pub(super) fn of(&self, headers: &HeaderMap, now: Instant) -> Option<Session> {
        let id = cookie(headers)?;
        let mut open = self.open();
        let (session, begun) = open.get(id)?;
        if self.is_open(*begun, now) {
            return Some(session.clone());
        }
        open.remove(id);
        None
    }

    pub(super) fn end(&self, session: &Session) {
        self.open().remove(&session.id);
    }

    fn is_open(&self, begun: Instant, now: Instant) -> bool {
        now.saturating_duration_since(begun) < self.lifetime
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, (Session, Instant)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 256 bits that nobody can guess.
fn secret() -> String {
    format!(
        "{:032x}{:032x}",
        rand::random::<u128>(),
        rand::random::<u128>()
    )
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter();
    let texts = all.filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sessions: &Sessions, id: &str, now: Instant) -> Option<String> {
        let mut headers = HeaderMap::new();
        let text = format!("other=1; {COOKIE}={id}");
        headers.insert(header::COOKIE, text.parse().unwrap());
        sessions.of(&headers, now).map(|session| session.name)
    }

    #[test]
    fn a_session_ends_in_time_and_on_demand() {
        let sessions = Sessions::new(Duration::from_secs(60), 10);
        let begin = Instant::now();
        let one = sessions.begin("one", begin);
        let two = sessions.begin("two", begin);
        assert_ne!(one, two);
        let soon = begin + Duration::from_secs(59);
        assert_eq!(of(&sessions, &one, soon).as_deref(), Some("one"));
        assert_eq!(of(&sessions, "guessed", soon), None);
        let mut headers = HeaderMap::new();
        let text = format!("{COOKIE}={two}");
        headers.insert(header::COOKIE, text.parse().unwrap());
        let session = sessions.of(&headers, soon).unwrap();
        sessions.end(&session);
        assert_eq!(of(&sessions, &two, soon), None);
        assert_eq!(of(&sessions, &one, begin + Duration::from_secs(60)), None);
    }

    #[test]
    fn there_are_no_more_sessions_than_allowed() {
        let sessions = Sessions::new(Duration::from_secs(60), 2);
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let ids: Vec<String> = (0..3)
            .map(|number| sessions.begin(&number.to_string(), at(number)))
            .collect();
        assert_eq!(of(&sessions, &ids[0], at(3)), None);
        assert!(of(&sessions, &ids[1], at(3)).is_some());
        assert!(of(&sessions, &ids[2], at(3)).is_some());
    }

    #[test]
    fn a_form_belongs_to_its_session() {
        let sessions = Sessions::new(Duration::from_secs(60), 2);
        let now = Instant::now();
        let session = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, format!("{COOKIE}={id}").parse().unwrap());
            sessions.of(&headers, now).unwrap()
        };
        let one = session(&sessions.begin("one", now));
        let two = session(&sessions.begin("two", now));
        assert!(one.has_made(&one.csrf));
        assert!(!one.has_made(&two.csrf) && !one.has_made(""));
    }
}
