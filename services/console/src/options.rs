//! Flags and environment.

use std::time::Duration;

use clap::{Args, Parser};
use operations::args::{NamesArgs, TargetArgs};
use operations::explain::Limits;
use service::{HttpArgs, LogArgs};

/// The fewest characters of a token.
const TOKEN_MIN_CHARS: usize = 16;

/// Shows the checkouts in a browser: how they go, each cart, dead letters. With
/// CONSOLE_TOKEN set, whoever knows it may also act on them.
///
/// Serves http://127.0.0.1:8090/ unless told otherwise, without TLS: put a proxy before it
/// where it is to be reached from other machines, and name the host with --allowed-host.
#[derive(Parser, Debug)]
#[command(
    version,
    after_help = "Example:
  cargo stack up --services; set -a; . .stack/stack.env; set +a
  CONSOLE_TOKEN=$(openssl rand -hex 16) console"
)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) names: NamesArgs,

    #[command(flatten)]
    pub(crate) target: TargetArgs,

    #[command(flatten)]
    pub(crate) services: ServicesArgs,

    #[command(flatten)]
    pub(crate) access: AccessArgs,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    #[command(flatten)]
    pub(crate) http: HttpArgs,

    #[command(flatten)]
    pub(crate) logs: LogArgs,
}

/// Where the services serve HTTP, for their metrics. Several instances of one are
/// separated by commas. A participant that has no flag here is given as
/// `<NAME>_HTTP_URL` in the environment.
#[derive(Args, Debug)]
#[command(next_help_heading = "Services")]
pub(crate) struct ServicesArgs {
    /// The orchestrator's instances.
    #[arg(
        long,
        env = "ORCHESTRATOR_HTTP_URL",
        value_name = "URL,…",
        value_delimiter = ','
    )]
    orchestrator_http_url: Vec<String>,

    /// The inventory service's instances.
    #[arg(
        long,
        env = "INVENTORY_HTTP_URL",
        value_name = "URL,…",
        value_delimiter = ','
    )]
    inventory_http_url: Vec<String>,

    /// The payment service's instances.
    #[arg(
        long,
        env = "PAYMENT_HTTP_URL",
        value_name = "URL,…",
        value_delimiter = ','
    )]
    payment_http_url: Vec<String>,

    /// The order service's instances.
    #[arg(
        long,
        env = "ORDER_HTTP_URL",
        value_name = "URL,…",
        value_delimiter = ','
    )]
    order_http_url: Vec<String>,
}

/// An instance of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) service: &'static str,
    /// Its base address; absent where none was given for the service.
    pub(crate) url: Option<String>,
}

impl ServicesArgs {
    /// Every service, with its instances.
    pub(crate) fn instances(&self) -> Vec<Instance> {
        let further = audit::further_services().into_iter().map(|service| {
            let name = format!("{}_HTTP_URL", service.to_uppercase());
            let urls = std::env::var(name).unwrap_or_default();
            (service, urls.split(',').map(str::to_owned).collect())
        });
        let known = audit::SERVICES.iter().map(|service| {
            let urls = match *service {
                "orchestrator" => &self.orchestrator_http_url,
                "inventory" => &self.inventory_http_url,
                "payment" => &self.payment_http_url,
                _ => &self.order_http_url,
            };
            (*service, urls.clone())
        });
        known
            .chain(further)
            .flat_map(|(service, urls)| instances(service, &urls))
            .collect()
    }
}

fn instances(service: &'static str, urls: &[String]) -> Vec<Instance> {
    let given: Vec<Instance> = urls
        .iter()
        .map(|url| url.trim().trim_end_matches('/'))
        .filter(|url| !url.is_empty())
        .map(|url| Instance {
            service,
            url: Some(url.to_owned()),
        })
        .collect();
    match given.is_empty() {
        true => vec![Instance { service, url: None }],
        false => given,
    }
}

/// Who may see and act.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArgs {
    /// Whoever knows it may act: at least 16 characters. Rather set it by the
    /// environment: a command line is seen by others. Without it the console is
    /// read-only.
    #[arg(
        long,
        env = "CONSOLE_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub(crate) console_token: Option<String>,

    /// A host name by which browsers may reach the console, besides localhost,
    /// 127.0.0.1 and [::1]; any port. May be given several times, or separated by commas.
    #[arg(
        long = "allowed-host",
        env = "ALLOWED_HOSTS",
        value_name = "HOST",
        value_delimiter = ','
    )]
    pub(crate) allowed_hosts: Vec<String>,

    /// Have browsers send the session over TLS only: for a console behind a proxy that
    /// speaks TLS.
    #[arg(long, env = "SECURE_COOKIE")]
    pub(crate) secure_cookie: bool,

    /// How long one stays signed in, in minutes.
    #[arg(
        long,
        env = "SESSION_MINUTES",
        value_name = "MINUTES",
        default_value_t = 480,
        value_parser = clap::value_parser!(u64).range(1..=10_080)
    )]
    pub(crate) session_minutes: u64,

    /// Most sessions; a further one ends the oldest.
    #[arg(
        long,
        env = "SESSIONS_MAX",
        value_name = "N",
        default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub(crate) sessions_max: u32,

    /// Most failed sign-ins in a minute, whoever they come from; further ones are refused
    /// unseen.
    #[arg(
        long,
        env = "SIGN_IN_FAILURES_PER_MINUTE",
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=1_000)
    )]
    pub(crate) sign_in_failures_per_minute: u32,
}

impl AccessArgs {
    /// The token, where one is set.
    ///
    /// # Errors
    /// When it can be guessed.
    pub(crate) fn token(&self) -> Result<Option<String>, String> {
        let token = self.console_token.as_deref().unwrap_or_default().trim();
        match token.chars().count() {
            0 => Ok(None),
            chars if chars < TOKEN_MIN_CHARS => Err(format!(
                "CONSOLE_TOKEN has {chars} characters, and can be guessed: give it at least \
                 {TOKEN_MIN_CHARS}, such as `openssl rand -hex 16` makes, or none for a console \
                 that only shows"
            )),
            _ => Ok(Some(token.to_owned())),
        }
    }
}

/// Bounds of what is asked for.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// How long Kafka, a database, the registry or a service may be silent, in
    /// milliseconds.
    #[arg(
        long,
        env = "BACKEND_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 3_000,
        value_parser = clap::value_parser!(u64).range(100..=60_000)
    )]
    pub(crate) backend_timeout_ms: u64,

    /// Pages that read topics and databases at once; further ones wait.
    #[arg(
        long,
        env = "LOOKS_AT_ONCE",
        value_name = "N",
        default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=100)
    )]
    pub(crate) looks_at_once: u16,

    /// How often the services' metrics are read, in milliseconds.
    #[arg(
        long,
        env = "METRICS_INTERVAL_MS",
        value_name = "MS",
        default_value_t = 2_000,
        value_parser = clap::value_parser!(u64).range(100..=60_000)
    )]
    pub(crate) metrics_interval_ms: u64,

    /// How often databases and topics are looked at for the overview, in milliseconds;
    /// what is slow to answer, less often.
    #[arg(
        long,
        env = "LOOK_INTERVAL_MS",
        value_name = "MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(100..=600_000)
    )]
    pub(crate) look_interval_ms: u64,

    /// Carts on a page of a list, and most that are acted on at once.
    #[arg(
        long,
        env = "PAGE_CARTS",
        value_name = "N",
        default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=200)
    )]
    pub(crate) page_carts: u32,

    /// Dead letters on a page, and most that are acted on at once.
    #[arg(
        long,
        env = "PAGE_LETTERS",
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=200)
    )]
    pub(crate) page_letters: u32,

    /// Dead letters that are read to show a page of them. Where there are more, the page
    /// says so, and a narrower filter finds the others.
    #[arg(
        long,
        env = "LETTERS_READ",
        value_name = "N",
        default_value_t = 2_000,
        value_parser = clap::value_parser!(u32).range(200..=100_000)
    )]
    pub(crate) letters_read: u32,

    /// What those may hold together, in bytes; all of it is in memory meanwhile.
    #[arg(
        long,
        env = "LETTERS_READ_BYTES",
        value_name = "BYTES",
        default_value_t = 64_000_000,
        value_parser = clap::value_parser!(u32).range(1_000_000..=2_000_000_000)
    )]
    pub(crate) letters_read_bytes: u32,

    /// Most dead letters that are published again in a second.
    #[arg(
        long,
        env = "REDRIVE_PER_SECOND",
        value_name = "N",
        default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub(crate) redrive_per_second: u32,

    /// How long a page waits for the sagas' answers to an action, in milliseconds; they
    /// may still come later.
    #[arg(
        long,
        env = "ACTION_WAIT_MS",
        value_name = "MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(100..=60_000)
    )]
    pub(crate) action_wait_ms: u64,

    /// How many records one search for a record of a cart may read.
    #[arg(
        long,
        env = "EXPLAIN_SEARCH_RECORDS",
        value_name = "N",
        default_value_t = 2_000,
        value_parser = clap::value_parser!(u64).range(1..=100_000)
    )]
    pub(crate) search_records: u64,

    /// How many transitions of a cart's history are shown, the newest.
    #[arg(
        long,
        env = "EXPLAIN_TRANSITIONS",
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=1_000)
    )]
    pub(crate) transitions: u32,
}

impl LimitArgs {
    /// How long what a page needs may be silent.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.backend_timeout_ms)
    }

    /// What an explanation may cost.
    pub(crate) fn explanation(&self) -> Limits {
        Limits {
            timeout: self.timeout(),
            search_records: self.search_records,
            transitions: self.transitions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_can_be_guessed_is_refused() {
        let with = |token: &str| AccessArgs {
            console_token: Some(token.to_owned()),
            ..AccessArgs::default()
        };
        assert_eq!(AccessArgs::default().token(), Ok(None));
        assert_eq!(with(" ").token(), Ok(None));
        let refused = with("hunter2").token().unwrap_err();
        assert!(refused.contains("at least 16"), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
        let good = "0123456789abcdef";
        assert_eq!(with(good).token(), Ok(Some(good.to_owned())));
    }

    #[test]
    fn every_service_has_an_instance_or_a_gap() {
        let options = Options::parse_from([
            "console",
            "--order-http-url",
            "http://a:1/, http://b:2",
            "--inventory-http-url",
            "",
        ]);
        let of = |service: &str| -> Vec<Option<String>> {
            let instances = options.services.instances().into_iter();
            let of = instances.filter(|instance| instance.service == service);
            of.map(|instance| instance.url).collect()
        };
        let url = |text: &str| Some(text.to_owned());
        assert_eq!(of("order"), [url("http://a:1"), url("http://b:2")]);
        assert_eq!(of("inventory"), [None]);
    }
}
