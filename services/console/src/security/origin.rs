//! By which name the console was reached, and from where a request was sent.

use axum::http::HeaderMap;
use axum::http::header;

/// Names that lead to this machine whoever is asked.
const LOOPBACK: &[&str] = &["localhost", "127.0.0.1", "[::1]"];

/// The names by which the console may be reached. Another name in a request means that
/// somebody made a name of theirs lead here, so that their pages may read ours.
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    pub(super) fn new(allowed: &[String]) -> Self {
        let allowed = allowed.iter().map(|host| host.trim().to_lowercase());
        let allowed = allowed.filter(|host| !host.is_empty());
        let loopback = LOOPBACK.iter().map(|host| (*host).to_owned());
        Self(loopback.chain(allowed).collect())
    }

    /// Whether a request names one of them, with any port.
    pub(super) fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(host) = host(headers) else {
            return false;
        };
        let name = without_port(host).to_lowercase();
        self.0.contains(&name)
    }
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

/// `name` of `name:8090` and `[::1]` of `[::1]:8090`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            // `::1` without brackets is no host with a port.
            match name.contains(':') && !name.ends_with(']') {
                true => host,
                false => name,
            }
        }
        _ => host,
    }
}

/// Whether a form was sent from a page of this console.
///
/// Browsers say so in `Sec-Fetch-Site`; older ones in `Origin`, which is `null` where the
/// page, as ours, tells nobody where it is. A program that is no browser says neither,
/// and no cookie of somebody else makes it act: there the form's own secret decides.
///
/// # Errors
/// Says from where it came instead.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text("sec-fetch-site");
    let origin = text("origin");
    match site {
        Some("same-origin" | "none") | None => {}
        Some(site) => return Err(format!("it was sent by another site ({site})")),
    }
    match origin {
        None => Ok(()),
        Some("null") if site == Some("same-origin") => Ok(()),
        Some(origin) => {
            let from = origin.split_once("://").map(|(_, host)| host);
            match from == host(headers) && from.is_some() {
                true => Ok(()),
                false => Err(format!("it was sent by {origin}")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_names_of_ours_lead_in() {
        let hosts = Hosts::new(&["Console.Example.org".to_owned(), String::new()]);
        let allow = |host| hosts.allow(&headers(&[("host", host)]));
        for good in [
            "localhost",
            "LOCALHOST:8090",
            "127.0.0.1:8090",
            "[::1]",
            "[::1]:80",
            "console.example.org:443",
        ] {
            assert!(allow(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8090",
            "localhost:x",
            "::1",
        ] {
            assert!(!allow(bad), "{bad}");
        }
        assert!(!hosts.allow(&HeaderMap::new()));
    }

    #[test]
    fn forms_of_other_sites_are_refused() {
        let host = ("host", "127.0.0.1:8090");
        let own = ("origin", "http://127.0.0.1:8090");
        let same = ("sec-fetch-site", "same-origin");
        for good in [
            vec![host],
            vec![host, own],
            vec![host, own, same],
            vec![host, ("origin", "null"), same],
            vec![host, ("origin", "https://127.0.0.1:8090")],
        ] {
            assert_eq!(check(&headers(&good)), Ok(()), "{good:?}");
        }
        for bad in [
            vec![host, ("origin", "null")],
            vec![host, ("origin", "http://127.0.0.1:8091")],
            vec![host, ("origin", "http://evil.example"), same],
            vec![host, ("sec-fetch-site", "cross-site")],
            vec![host, own, ("sec-fetch-site", "same-site")],
            vec![own],
        ] {
            assert!(check(&headers(&bad)).is_err(), "{bad:?}");
        }
    }
}
