//! Who may see and do what.
//!
//! Everybody who reaches the console may look. To act one signs in with the token that
//! the console was started with, and a name, which goes with every action. Requests that
//! other sites forge are refused by four things at once: the session's cookie is not sent
//! along with them (`SameSite=Strict`), browsers say where a request comes from
//! (`origin`), each form holds a value that only the session's pages know, and a host
//! name that somebody made lead here (DNS rebinding) is not one of ours.

mod gate;
mod origin;
mod sessions;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;

pub(crate) use gate::{Operator, Posted, Visitor, form, guard, read_only};
use origin::Hosts;
use origin::check as check_origin;
pub(crate) use sessions::Session;
use sessions::{COOKIE, Sessions};

use crate::options::AccessArgs;

/// The time in which failed sign-ins are counted.
const FAILURES_WINDOW: Duration = Duration::from_secs(60);

/// The door.
pub(crate) struct Access {
    token: Option<String>,
    hosts: Hosts,
    sessions: Sessions,
    failures: Mutex<VecDeque<Instant>>,
    failures_max: usize,
    secure_cookie: bool,
}

/// What came of a try to sign in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SignIn {
    /// The cookie that the browser is to keep.
    Welcome(String),
    /// The token is another.
    WrongToken,
    /// Too many were wrong before; nobody looked at this one.
    TooMany { seconds: u64 },
    /// No token was configured.
    ReadOnly,
}

impl Access {
    /// The door of a console with these options.
    ///
    /// # Errors
    /// When the token can be guessed.
    pub(crate) fn new(args: &AccessArgs) -> Result<Self, String> {
        Ok(Self {
            token: args.token()?,
            hosts: Hosts::new(&args.allowed_hosts),
            sessions: Sessions::new(
                Duration::from_secs(args.session_minutes * 60),
                args.sessions_max as usize,
            ),
            failures: Mutex::default(),
            failures_max: args.sign_in_failures_per_minute as usize,
            secure_cookie: args.secure_cookie,
        })
    }

    /// Whether anybody may act at all.
    pub(crate) fn can_act(&self) -> bool {
        self.token.is_some()
    }

    /// Lets somebody in who knows the token.
    pub(crate) fn sign_in(&self, token: &str, name: &str, now: Instant) -> SignIn {
        let Some(expected) = &self.token else {
            return SignIn::ReadOnly;
        };
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        while failures
            .front()
            .is_some_and(|at| now.duration_since(*at) >= FAILURES_WINDOW)
        {
            failures.pop_front();
        }
        // The right token is refused too: else the limit would tell that it is right.
        if let Some(oldest) = failures.front()
            && failures.len() >= self.failures_max
        {
            let left = FAILURES_WINDOW.saturating_sub(now.duration_since(*oldest));
            return SignIn::TooMany {
                seconds: left.as_secs() + 1,
            };
        }
        if bool::from(expected.as_bytes().ct_eq(token.as_bytes())) {
            drop(failures);
            let id = self.sessions.begin(name, now);
            return SignIn::Welcome(self.cookie(&id, self.sessions.lifetime().as_secs()));
        }
        failures.push_back(now);
        SignIn::WrongToken
    }

    /// Ends a session; the cookie that makes the browser forget it.
    pub(crate) fn sign_out(&self, session: &Session) -> String {
        self.sessions.end(session);
        self.cookie("", 0)
    }

    fn cookie(&self, value: &str, seconds: u64) -> String {
        let secure = match self.secure_cookie {
            true => "; Secure",
            false => "",
        };
        format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn access(token: Option<&str>) -> Access {
        Access::new(&AccessArgs {
            console_token: token.map(str::to_owned),
            session_minutes: 1,
            sessions_max: 2,
            sign_in_failures_per_minute: 3,
            ..AccessArgs::default()
        })
        .unwrap()
    }

    #[test]
    fn the_token_lets_in_and_nothing_else_does() {
        let (read_only, access) = (access(None), access(Some(TOKEN)));
        let now = Instant::now();
        for wrong in ["", "0123456789abcdeF"] {
            assert_eq!(
                access.sign_in(wrong, "night shift", now),
                SignIn::WrongToken
            );
        }
        let SignIn::Welcome(cookie) = access.sign_in(TOKEN, "night shift", now) else {
            panic!("refused");
        };
        for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=60"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(!cookie.contains("Secure"), "{cookie}");
        assert_eq!(read_only.sign_in("", "night shift", now), SignIn::ReadOnly);
    }

    #[test]
    fn guessing_is_slow_also_for_who_has_guessed_right() {
        let access = access(Some(TOKEN));
        let begin = Instant::now();
        for _ in 0..3 {
            assert_eq!(access.sign_in("wrong", "x", begin), SignIn::WrongToken);
        }
        let soon = begin + Duration::from_secs(50);
        let refused = access.sign_in(TOKEN, "x", soon);
        assert_eq!(refused, SignIn::TooMany { seconds: 11 });
        let later = begin + FAILURES_WINDOW;
        assert!(matches!(
            access.sign_in(TOKEN, "x", later),
            SignIn::Welcome(_)
        ));
    }
}
