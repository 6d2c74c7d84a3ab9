//! What services say of themselves by HTTP: their metrics, and the orchestrator of its
//! brakes.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;

use super::counts::{Counters, counters};
use super::prometheus::{Sample, samples};
use super::{About, Counted, InstanceSeen, Look, Participant, Sight};
use crate::options::Instance;

/// The service that counts what happens to sagas, and knows the brakes.
const ORCHESTRATOR: &str = "orchestrator";
/// The longest answer of a service that is read, in bytes.
const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;

/// What an instance answers: what it says of itself, and what it counts.
pub(super) type Answer = Result<(About, Counters), String>;

/// Asks all instances of a service for their metrics; an answer for each, in their order.
pub(super) async fn answers(
    instances: &[Instance],
    service: &str,
    http: &reqwest::Client,
) -> Vec<Answer> {
    let asked = instances
        .iter()
        .filter(|instance| instance.service == service)
        .map(async |instance| match &instance.url {
            Some(url) => get(http, &format!("{url}/metrics")).await,
            None => Err(format!(
                "its address was not given: set {}_HTTP_URL",
                instance.service.to_uppercase()
            )),
        });
    let answers = futures::future::join_all(asked).await.into_iter();
    let read = |text: String| {
        let samples: Vec<_> = samples(&text).collect();
        (about(&samples), counters(&samples))
    };
    answers.map(|answer| answer.map(read)).collect()
}

/// Puts down what the instances of a service answered.
pub(super) fn put(sight: &mut Sight, service: &str, look: Look<Vec<Answer>>, now: Instant) {
    let Look { found, at, lasts } = look;
    // A look that broke down says so of each instance.
    let answers = found.unwrap_or_else(|why| vec![Err(why); sight.instances.len()]);
    let of_service = |seen: &&mut InstanceSeen| seen.instance.service == service;
    let instances = sight.instances.iter_mut().filter(of_service);
    let mut read = BTreeMap::new();
    let mut all = 0;
    for (seen, answer) in instances.zip(answers) {
        all += 1;
        let found = answer.map(|(about, counters)| {
            let url = seen.instance.url.clone();
            read.extend(url.map(|url| (url, counters)));
            about
        });
        seen.about = Some(Look { found, at, lasts });
    }
    if service != ORCHESTRATOR {
        return;
    }
    if !read.is_empty() {
        let found = Ok(Counted {
            told: read.len(),
            all,
        });
        sight.counted = Some(Look { found, at, lasts });
    }
    sight.counts.add(read, now);
}

fn about(samples: &[Sample]) -> About {
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
///
/// # Errors
/// Says why none of them does.
pub(super) async fn participants(
    instances: &[Instance],
    http: &reqwest::Client,
) -> Result<Vec<Participant>, String> {
    let orchestrators = instances.iter().filter(|of| of.service == ORCHESTRATOR);
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

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::sampling::{Seen, Told, of_outcome};

    fn instance(service: &'static str, url: &str) -> Instance {
        Instance {
            service,
            url: Some(url.to_owned()),
        }
    }

    fn look(second: i64, found: Result<Vec<Answer>, String>) -> Look<Vec<Answer>> {
        Look {
            found,
            at: Timestamp::from_second(second).unwrap(),
            lasts: SignedDuration::from_secs(10),
        }
    }

    fn counted(completed: u32) -> Answer {
        let text = format!(
            "checkout_transitions_total{{outcome=\"completed\",reason=\"\"}} {completed}\n\
             build_info{{version=\"1.2.3\"}} 1\n"
        );
        let samples: Vec<_> = samples(&text).collect();
        Ok((about(&samples), counters(&samples)))
    }

    /// When it was looked, and what was found.
    fn of<T: Clone>(told: &Told<T>) -> (i64, Result<T, String>) {
        let look = told.as_ref().unwrap();
        (look.at.as_second(), look.found.clone())
    }

    #[test]
    fn each_instance_is_told_of_with_the_time_of_its_own_look() {
        let instances = [
            instance(ORCHESTRATOR, "http://a"),
            instance("payment", "http://b"),
            instance(ORCHESTRATOR, "http://c"),
        ];
        let seen = Seen::new(&instances);
        let now = Instant::now();
        let answers = Ok(vec![counted(3), Err("away".to_owned())]);
        seen.put(|sight| put(sight, ORCHESTRATOR, look(1, answers), now));
        let answers = Ok(vec![counted(70)]);
        seen.put(|sight| put(sight, "payment", look(2, answers), now));

        let sight = seen.now();
        let version = |number: usize| {
            let (at, about) = of(&sight.instances[number].about);
            (at, about.map(|about| about.version))
        };
        assert_eq!(version(0), (1, Ok("1.2.3".to_owned())));
        assert_eq!(version(1), (2, Ok("1.2.3".to_owned())));
        assert_eq!(version(2), (1, Err("away".to_owned())));
        let counted = Counted { told: 1, all: 2 };
        assert_eq!(of(&sight.counted), (1, Ok(counted)));
        let total = sight.counts.total();
        assert_eq!(of_outcome(&total, "completed"), 3.0, "the orchestrator's");
    }

    #[test]
    fn counts_keep_the_time_when_somebody_last_told_them() {
        let seen = Seen::new(&[instance(ORCHESTRATOR, "http://a")]);
        let now = Instant::now();
        let looks = [
            look(1, Ok(vec![counted(3)])),
            look(2, Ok(vec![Err("away".to_owned())])),
            look(3, Err("it broke down".to_owned())),
        ];
        for look in looks {
            seen.put(|sight| put(sight, ORCHESTRATOR, look, now));
        }
        let sight = seen.now();
        let counted = Counted { told: 1, all: 1 };
        assert_eq!(of(&sight.counted), (1, Ok(counted)));
        let about = of(&sight.instances[0].about);
        assert_eq!(about, (3, Err("it broke down".to_owned())));
    }
}
