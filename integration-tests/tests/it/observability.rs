//! `observability/`: alerts and a dashboard ask for what services expose, and
//! each alert has its section in the runbook.

#![allow(
    clippy::unwrap_used,
    reason = "a file that is not as expected fails the test"
)]

mod live;
mod queries;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use stack::Service;

use self::queries::{Asked, asked};

const RULES: &str = "observability/prometheus/checkout.rules.yml";
const SCRAPED: &str = "observability/prometheus/prometheus.yml";
const TESTS: &str = "observability/prometheus/checkout.rules.test.yml";
const DASHBOARD: &str = "observability/grafana/checkout.json";
const RUNBOOK: &str = "docs/runbook.md";
/// Begins every link to the runbook: where the repository is read, if Prometheus was told.
const REPOSITORY: &str = "{{ with $externalLabels.repository }}{{ . }}{{ end }}";
/// The alert of a service that is gone.
const ABSENT: &str = "CheckoutServiceAbsent";
/// Where the bounds of the services' histograms are.
const MEASURES: &str = "crates/service/src/measures.rs";
/// The histogram that the objective is about.
const DURATION: &str = "checkout_duration_seconds_bucket";

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The recorded series and the alerts.
fn rules() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read(RULES)).unwrap();
    let groups = file["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array());
    rules.flatten().cloned().collect()
}

/// The alerts, each by its name.
fn alerts() -> Vec<(String, Value)> {
    let named = |rule: Value| Some((rule["alert"].as_str()?.to_owned(), rule));
    rules().into_iter().filter_map(named).collect()
}

/// Panels that show something.
fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let shown = panels.iter().filter(|panel| panel["type"] != "row");
    shown.cloned().collect()
}

/// All that rules and dashboard ask Prometheus for, but what rules themselves record.
fn all_asked() -> Vec<Asked> {
    let rules = rules();
    let recorded: BTreeSet<_> = rules.iter().filter_map(|r| r["record"].as_str()).collect();
    let mut expressions: Vec<_> = rules.iter().map(|rule| rule["expr"].clone()).collect();
    for panel in panels() {
        let targets = panel["targets"].as_array().unwrap();
        expressions.extend(targets.iter().map(|target| target["expr"].clone()));
    }
    let expressions = expressions.iter().map(|text| text.as_str().unwrap());
    let asked = expressions.flat_map(|text| asked(text).unwrap());
    asked
        .filter(|asked| !recorded.contains(asked.series.as_str()))
        .collect()
}

#[test]
fn every_alert_says_how_urgent_it_is_what_it_means_and_where_help_is() {
    for (name, alert) in alerts() {
        let severity = &alert["labels"]["severity"];
        assert!(severity == "page" || severity == "ticket", "{name}");
        for text in ["summary", "description"] {
            let text = alert["annotations"][text].as_str();
            assert!(text.is_some_and(|text| !text.is_empty()), "{name}");
        }
        let section = format!("{REPOSITORY}{RUNBOOK}#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook_url"], section, "{name}");
    }
}

#[test]
fn the_runbook_has_a_section_for_each_alert_and_for_nothing_else() {
    let runbook = read(RUNBOOK);
    let sections: Vec<_> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## Checkout"))
        .map(|rest| format!("Checkout{rest}"))
        .collect();
    let names: Vec<_> = alerts().into_iter().map(|(name, _)| name).collect();
    assert_eq!(sections, names, "the sections, in the order of the alerts");
}

#[test]
fn every_alert_is_tested_firing() {
    let file: Value = serde_saphyr::from_str(&read(TESTS)).unwrap();
    let tests = file["tests"].as_array().unwrap().iter();
    let cases = tests
        .filter_map(|test| test["alert_rule_test"].as_array())
        .flatten();
    let firing: BTreeSet<_> = cases
        .filter(|case| !case["exp_alerts"].as_array().unwrap().is_empty())
        .map(|case| case["alertname"].as_str().unwrap().to_owned())
        .collect();
    let names: BTreeSet<_> = alerts().into_iter().map(|(name, _)| name).collect();
    assert_eq!(firing, names);
}

/// What customers are promised is a bound that services count by, and what alerts say.
#[test]
fn the_objective_is_one_bucket_of_the_services_and_in_the_words_of_its_alerts() {
    let of_duration = all_asked().into_iter().filter(|a| a.series == DURATION);
    let bounds: BTreeSet<String> = of_duration
        .flat_map(|asked| asked.labels)
        .filter_map(|label| Some(label.strip_prefix("le=")?.to_owned()))
        .collect();
    assert_eq!(bounds.len(), 1, "one limit: {bounds:?}");
    let seconds = bounds.first().unwrap();

    let source = read(MEASURES);
    let (_, list) = source.split_once("const SECONDS: &[f64] = &[").unwrap();
    let numbers = list.split(']').next().unwrap().split(',');
    let buckets: Vec<f64> = numbers.filter_map(|n| n.trim().parse().ok()).collect();
    assert!(
        buckets.contains(&seconds.parse().unwrap()),
        "{seconds} s is no bucket of {MEASURES}: {buckets:?}"
    );

    let told = format!("did not end within {seconds} s");
    let burning = alerts()
        .into_iter()
        .filter(|(name, _)| name.contains("Budget"));
    let words: Vec<_> = burning
        .map(|(_, alert)| alert["annotations"]["summary"].to_string())
        .collect();
    assert_eq!(words.len(), 2, "{words:?}");
    assert!(words.iter().all(|text| text.contains(&told)), "{words:?}");
}

#[test]
fn every_service_is_scraped_and_missed() {
    let file: Value = serde_saphyr::from_str(&read(SCRAPED)).unwrap();
    let jobs = file["scrape_configs"].as_array().unwrap();
    let scraped: Vec<_> = jobs
        .iter()
        .map(|job| {
            let target = job["static_configs"][0]["targets"][0].as_str().unwrap();
            (job["job_name"].as_str().unwrap(), target.to_owned())
        })
        .collect();
    let (_, absent) = alerts()
        .into_iter()
        .find(|(name, _)| name == ABSENT)
        .unwrap();
    let fed = fed_while_missed();
    for service in Service::ALL {
        let target = format!("localhost:{}", service.default_port());
        assert!(scraped.contains(&(service.name(), target)), "{service}");
        let asked = format!("absent(build_info{{service=\"{service}\"}})");
        assert!(
            absent["expr"].as_str().unwrap().contains(&asked),
            "{service}"
        );
        // Where the alert is tested, or it would fire there at once.
        let series = format!("build_info{{service=\"{service}\",");
        assert!(
            fed.iter().any(|fed| fed.starts_with(&series)),
            "the case of {ABSENT} in {TESTS} feeds no {series} …}}"
        );
    }
}

/// The series that the case of services that are gone feeds.
fn fed_while_missed() -> Vec<String> {
    let file: Value = serde_saphyr::from_str(&read(TESTS)).unwrap();
    let mut cases = file["tests"].as_array().unwrap().iter();
    let case = cases.find(|case| {
        let tested = case["alert_rule_test"].as_array();
        tested.is_some_and(|tested| tested.iter().any(|one| one["alertname"] == ABSENT))
    });
    let fed = case.unwrap()["input_series"].as_array().unwrap().iter();
    fed.map(|fed| fed["series"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn panels_lie_side_by_side_and_have_something_to_show() {
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in panels() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{title}");
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(x < 24 && cells.insert((x, y)), "{title} lies on another");
            }
        }
    }
}
