//! `cargo bench-saga` measures what it says, on the parts that the tests share. How much
//! it measures is not looked at: here everything runs beside everything else.

use std::path::Path;

use flow::Step;
use integration_tests::System;
use serde_json::Value;
use stack::{PartKind, Progress, Service};
use tokio::process::Command;

/// Runs the program, which ends well, on the shared parts; what it printed.
async fn bench(system: &System, args: &[&str]) -> String {
    let installation = system.installation();
    let binaries = stack::binaries(&Progress::detect()).await.expect("built");
    let program = binaries.named("bench");
    let postgres = system.parts(PartKind::Postgres);
    let output = Command::new(&program)
        .args(args)
        .env("STACK_BIN_DIR", program.parent().expect("a folder"))
        .env("KAFKA_BOOTSTRAP_SERVERS", &installation.bootstrap_servers)
        .env("SCHEMA_REGISTRY_URL", &installation.registry_url)
        .env("POSTGRES_ADMIN_URL", &postgres[0].url)
        .kill_on_drop(true)
        .output()
        .await
        .expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// Measures as these arguments say; the report.
async fn measure(system: &System, args: &[&str], out: &Path) -> Value {
    let out = out.to_str().expect("a path");
    let common = ["--repeat", "1", "--json", "--out", out];
    let text = bench(system, &[args, &common].concat()).await;
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).expect("its last line is JSON")
}

#[tokio::test]
async fn a_short_run_finds_every_figure() {
    let system = System::shared().await;
    let out = tempfile::tempdir().expect("a folder");
    let args =
        "--in-flight 16 --warm-up 1 --seconds 20 --preload 100 --idle-seconds 1 --instances 2";
    let args: Vec<_> = args.split(' ').collect();
    let report = measure(system, &args, out.path()).await;

    let run = &report["runs"][0];
    assert_eq!(run["in_flight"], 16, "{run}");
    assert_eq!(run["violations"], 0, "{run}");
    for figure in ["sagas_per_second", "p50_ms", "p99_ms"] {
        assert!(number(&run[figure]) > 0.0, "{figure}: {run}");
    }
    let hops = run["hops"].as_array().expect("a list");
    // Of each step its command sent and read, its answer sent and read; beyond that the
    // cart, the gateway's answer, and OrderCreated. When a further participant reads its
    // command is not known to this tool, so its two hops are one.
    let parts = hops.iter().filter_map(|hop| hop["what"].as_str());
    let parts = parts.flat_map(|what| what.split(" + ")).count();
    assert_eq!(parts, 4 * Step::ALL.len() + 4, "{hops:?}");
    let further = audit::further_services().len();
    assert_eq!(hops.len(), parts - further, "{hops:?}");
    let all: f64 = hops.iter().map(|hop| number(&hop["mean_ms"])).sum();
    assert!(
        all > 0.0 && all <= number(&run["max_ms"]) * 1.5,
        "all hops take {all} ms: {run}"
    );
    for service in Service::ALL {
        let work = &run["usage"]["services"][service.name()];
        for figure in [
            "batch_inputs",
            "trips_per_saga",
            "outputs_per_saga",
            "rows_inserted_per_saga",
            "kafka_requests_per_saga",
            "kafka_bytes_per_saga",
        ] {
            assert!(number(&work[figure]) > 0.0, "{service} {figure}: {run}");
        }
        let shares = work["instance_shares"].as_array().expect("a list");
        let shares: Vec<f64> = shares.iter().map(number).collect();
        assert!(
            shares.len() == 2 && shares.iter().all(|share| *share > 0.0),
            "{service}, both instances: {shares:?}"
        );
        let used = &run["usage"]["processes"][service.name()];
        assert!(number(&used["memory_max_mib"]) > 0.0, "{service}: {used}");
        let rest = &report["rest"][0];
        assert!(number(&rest["ready_ms"][service.name()]) > 0.0, "{rest}");
    }
    let page = std::fs::read_to_string(out.path().join("report.html")).expect("a page");
    assert!(page.contains("OrderCreated to subscriber"), "no hops drawn");
}

#[tokio::test]
async fn an_open_loop_is_measured_in_two_variants_and_compared() {
    let system = System::shared().await;
    let out = tempfile::tempdir().expect("a folder");
    let args = "--rate 20 --warm-up 0 --seconds 12 --idle-seconds 0 --broker-warm-up 1 \
                --broker-warm-up-max 1 --vary MAX_CACHED_ROWS=0";
    let args: Vec<_> = args.split_whitespace().collect();
    let report = measure(system, &args, out.path()).await;

    let runs = report["runs"].as_array().expect("a list");
    assert_eq!(runs.len(), 2, "{report}");
    for run in runs {
        assert_eq!((&run["rate"], &run["violations"]), (&20.into(), &0.into()));
        assert!(number(&run["p50_ms"]) > 0.0, "{run}");
    }
    assert_ne!(runs[0]["variant"], runs[1]["variant"]);
    assert!(number(&report["ratios"][0]["throughput"]) > 0.0, "{report}");

    let written = out.path().join("report.json");
    let written = written.to_str().expect("a path");
    let text = bench(system, &["compare", written, written]).await;
    assert_eq!(text.matches("20/s").count(), 2, "{text}");
    assert_eq!(text.matches("× 1.000").count(), 2, "{text}");
    assert!(!text.contains("NOT ALIKE"), "{text}");
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}
