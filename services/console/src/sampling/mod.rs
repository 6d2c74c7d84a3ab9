//! What the overview shows, looked at from time to time, so that a page is made from
//! what is known and costs nobody anything. What is away says why, and leaves the rest
//! alone.

mod counts;
mod prometheus;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use operations::backlog::{self, Backlog};
use operations::letters::{self, Filter};
use operations::sagas::{self, Listed, Standing};
use serde::Deserialize;
use tokio::time::sleep;

use crate::console::{Shared, on_thread};
use crate::options::Instance;
pub(crate) use counts::{Counters, Counts, KEPT, Key, of_outcome, quantile};

/// The service that counts what happens to sagas, and knows the brakes.
const ORCHESTRATOR: &str = "orchestrator";
/// Checkouts that ended last which are shown.
const ENDED_SHOWN: u32 = 10;
/// The longest answer of a service that is read, in bytes.
const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Something that was looked at: what was found, or why nothing was; absent before the
/// first look.
pub(crate) type Told<T> = Option<Result<T, String>>;

/// An instance of a service.
#[derive(Clone, Debug)]
pub(crate) struct InstanceSeen {
    pub(crate) instance: Instance,
    /// What it says of itself.
    pub(crate) about: Told<About>,
}

/// What an instance says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct About {
    pub(crate) version: String,
    pub(crate) since: Option<Timestamp>,
}

/// A participant and its brake, as the orchestrator shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Participant {
    pub(crate) participant: String,
    /// `OPEN`, `CLOSED_SILENT` and so on.
    pub(crate) state: String,
    pub(crate) since: Option<Timestamp>,
    pub(crate) permitted_per_second: Option<u32>,
    pub(crate) commands_out: u64,
    pub(crate) sagas_held: u64,
}

/// Dead letters that are open.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) letters: usize,
    /// Whether there are more.
    pub(crate) more: bool,
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    pub(crate) instances: Vec<InstanceSeen>,
    pub(crate) counts: Counts,
    pub(crate) participants: Told<Vec<Participant>>,
    pub(crate) standing: Told<Vec<Standing>>,
    pub(crate) ended: Told<Vec<Listed>>,
    pub(crate) backlog: Told<Vec<Backlog>>,
    pub(crate) letters: Told<Open>,
}

/// What was seen last.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Sight>);

impl Seen {
    /// A copy, for a page.
    pub(crate) fn now(&self) -> Sight {
        self.sight().clone()
    }

    fn sight(&self) -> MutexGuard<'_, Sight> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks for ever, in the background.
pub(crate) fn start(console: &Shared) {
    let limits = &console.limits;
    let every = Duration::from_millis(limits.metrics_interval_ms);
    let http = reqwest::Client::builder()
        .timeout(limits.timeout())
        .build()
        .unwrap_or_default();
    let of = console.clone();
    tokio::spawn(async move {
        loop {
            look_at_services(&of, &http).await;
            sleep(every).await;
        }
    });
    let every = Duration::from_millis(limits.look_interval_ms);
    let of = console.clone();
    tokio::spawn(async move {
        loop {
            let begin = Instant::now();
            let seen = Shared::clone(&of);
            if let Err(error) = on_thread(async move || look_at_data(&seen).await).await {
                tracing::error!(%error, "a look broke down");
            }
            sleep(every.max(begin.elapsed().saturating_mul(4))).await;
        }
    });
}

async fn look_at_services(console: &Shared, http: &reqwest::Client) {
    let asked = console
        .instances
        .iter()
        .map(async |instance| match &instance.url {
            Some(url) => get(http, &format!("{url}/metrics")).await,
            None => Err(format!(
                "its address was not given: set {}_HTTP_URL",
                instance.service.to_uppercase()
            )),
        });
    let answers = futures::future::join_all(asked);
    let (answers, participants) = tokio::join!(answers, participants(console, http));
    let now = Instant::now();
    let mut seen = Vec::new();
    let mut read = BTreeMap::new();
    for (instance, answer) in console.instances.iter().zip(answers) {
        let about = answer.map(|text| {
            let samples: Vec<_> = prometheus::samples(&text).collect();
            let counts = instance
                .url
                .as_ref()
                .filter(|_| instance.service == ORCHESTRATOR);
            read.extend(counts.map(|url| (url.clone(), counts::counters(&samples))));
            about(&samples)
        });
        seen.push(InstanceSeen {
            instance: instance.clone(),
            about: Some(about),
        });
    }
    let mut sight = console.seen.sight();
    sight.instances = seen;
    sight.counts.add(read, now);
    sight.participants = Some(participants);
}

fn about(samples: &[prometheus::Sample]) -> About {
    let of = |name: &str| samples.iter().find(|sample| sample.name == name);
    About {
        version: of("build_info")
            .map(|sample| sample.label("version").to_owned())
            .unwrap_or_default(),
        #[allow(clippy::cast_possible_truncation, reason = "seconds since 1970")]
        since: of("process_start_time_seconds")
            .and_then(|sample| Timestamp::from_second(sample.value as i64).ok()),
    }
}

/// What the first orchestrator says that answers: all see the same.
async fn participants(
    console: &Shared,
    http: &reqwest::Client,
) -> Result<Vec<Participant>, String> {
    let orchestrators = console
        .instances
        .iter()
        .filter(|of| of.service == ORCHESTRATOR);
    let mut why = "the orchestrator's address was not given".to_owned();
    for url in orchestrators.filter_map(|instance| instance.url.as_ref()) {
        let told = get(http, &format!("{url}/participants")).await;
        let read = told.and_then(|text| {
            serde_json::from_str(&text).map_err(|error| format!("{url}/participants: {error}"))
        });
        match read {
            Ok(participants) => return Ok(participants),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// What a service answers.
async fn get(http: &reqwest::Client, url: &str) -> Result<String, String> {
    let asked = async {
        let mut response = http.get(url).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_MAX_BYTES {
                break;
            }
        }
        Ok(body)
    };
    match asked.await {
        Ok(body) if body.len() > ANSWER_MAX_BYTES => Err(format!(
            "the answer is longer than {ANSWER_MAX_BYTES} bytes"
        )),
        Ok(body) => Ok(String::from_utf8_lossy(&body).into_owned()),
        Err(error) => Err(causes(&error)),
    }
}

/// An error with its causes, and without the address, which may hold a password.
fn causes(error: &reqwest::Error) -> String {
    let mut text = match (error.is_timeout(), error.status()) {
        (true, _) => return "no answer in time".to_owned(),
        (_, Some(status)) => return format!("it answers {status}"),
        _ if error.is_connect() => "cannot connect".to_owned(),
        _ => "cannot ask".to_owned(),
    };
    let mut source = std::error::Error::source(error);
    // The innermost says most.
    while let Some(cause) = source {
        source = cause.source();
        if source.is_none() {
            text = format!("{text}: {cause}");
        }
    }
    text
}

async fn look_at_data(console: &Shared) {
    let (target, limit) = (&console.target, console.limits.timeout());
    let filter = Filter::default();
    let most = console.limits.page_letters as usize;
    let (standing, ended, backlog, letters) = tokio::join!(
        sagas::standing(target, limit),
        sagas::ended_last(target, ENDED_SHOWN, limit),
        backlog::backlog(target, limit),
        letters::read(target, &filter, most, &|_| {}),
    );
    let mut sight = console.seen.sight();
    sight.standing = Some(standing.map_err(|error| error.to_string()));
    sight.ended = Some(ended.map_err(|error| error.to_string()));
    sight.backlog = Some(backlog.map_err(|error| error.to_string()));
    sight.letters = Some(
        letters
            .map(|found| Open {
                letters: found.letters.len(),
                more: found.more,
            })
            .map_err(|error| error.to_string()),
    );
}
