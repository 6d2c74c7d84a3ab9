//! Nothing outlives its owner: on real processes, cheap ones.

// The allowance for tests does not reach their helpers.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use stack::{Guard, Process, ProcessId, ProcessSpec, ProcessState, Stopping};

/// For what takes milliseconds; long, because the machine may be busy.
const LIMIT: Duration = Duration::from_secs(30);
/// Tells the test binary, run once more, to be an owner, and how.
const ROLE: &str = "STACK_TEST_OWNER";
/// The owner's folder.
const FOLDER: &str = "STACK_TEST_FOLDER";

/// A server that runs until it is told otherwise.
fn server(folder: &Path, script: &str, limit_ms: u64) -> ProcessSpec {
    ProcessSpec {
        name: "server".into(),
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        env: Vec::new(),
        folder: folder.to_path_buf(),
        log: folder.join("server.log"),
        user: None,
        stopping: Stopping {
            signal: Signal::SIGTERM as i32,
            order: 0,
            limit_ms,
        },
    }
}

const OBEDIENT: &str = "exec sleep 600";
/// Ends only when it is killed, and its child with it.
const STUBBORN: &str = "trap '' TERM; while :; do sleep 600; done";

fn guard(folder: &Path) -> Guard {
    let binary = Path::new(env!("CARGO_BIN_EXE_stack"));
    Guard::start(binary, &folder.join("guard.log")).unwrap()
}

/// Not a test of its own: the owner that the tests below start as a process.
/// It prints the processes that it is responsible for, one JSON a line.
#[tokio::test]
async fn owner_role() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap());
    let guard = guard(&folder);
    let data = folder.join("data");
    std::fs::create_dir(&data).unwrap();
    guard.remove_at_end(data).unwrap();
    let mut servers = Vec::new();
    for script in [OBEDIENT, STUBBORN] {
        servers.push(guard.run(server(&folder, script, 300)).await.unwrap());
    }
    if role == "leaves" {
        guard.detach().await.unwrap();
    }
    let all = servers.iter().filter_map(Process::identity);
    for process in std::iter::once(guard.identity().clone()).chain(all) {
        println!("\n{}", serde_json::to_string(&process).unwrap());
    }
    if role == "stays" {
        std::thread::sleep(Duration::from_secs(600));
    }
    std::process::exit(0);
}

/// Starts an owner; returns it and the processes it names.
fn owner(role: &str, folder: &Path) -> (Child, Vec<ProcessId>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "owner_role", "--nocapture"])
        .env(ROLE, role)
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let processes: Vec<ProcessId> = out
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str(&line).ok())
        .take(3)
        .collect();
    assert_eq!(processes.len(), 3, "a guard and two servers");
    (child, processes)
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn assert_nothing_left(folder: &Path, processes: &[ProcessId]) {
    for process in processes {
        wait_until(&format!("the end of {process:?}"), || !process.is_alive());
    }
    wait_until("the removal of the data", || !folder.join("data").exists());
}

#[test]
fn an_owner_that_is_killed_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut owner, processes) = owner("stays", folder.path());
    assert!(processes.iter().all(ProcessId::is_alive));
    assert!(folder.path().join("data").exists());
    owner.kill().unwrap();
    owner.wait().unwrap();
    assert_nothing_left(folder.path(), &processes);
}

#[test]
fn an_owner_that_just_ends_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut owner, processes) = owner("ends", folder.path());
    owner.wait().unwrap();
    assert_nothing_left(folder.path(), &processes);
}

#[test]
fn what_was_let_go_stays_until_the_guard_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (mut owner, processes) = owner("leaves", folder.path());
    owner.wait().unwrap();
    // A guard that was bound to its owner would be gone soon after.
    std::thread::sleep(Duration::from_millis(500));
    assert!(processes.iter().all(ProcessId::is_alive));
    assert!(processes[0].signal(Signal::SIGTERM));
    assert_nothing_left(folder.path(), &processes);
}

#[tokio::test]
async fn a_server_can_be_killed_paused_and_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(folder.path());
    let server = guard
        .run(server(folder.path(), OBEDIENT, 1_000))
        .await
        .unwrap();
    let first = server.identity().unwrap();
    assert!(server.start_again().await.is_err(), "it still runs");
    // A paused process cannot act on SIGTERM, but is killed all the same.
    server.pause().unwrap();
    server.kill9().unwrap();
    let status = server.wait_ended(LIMIT).await.unwrap();
    assert!(status.contains('9'), "{status}");
    assert!(!first.is_alive());

    server.start_again().await.unwrap();
    let second = server.identity().unwrap();
    assert_ne!(first.pid, second.pid);
    server.terminate().unwrap();
    server.wait_ended(LIMIT).await.unwrap();
    guard.stop(LIMIT).await.unwrap();
    assert!(!guard.identity().is_alive());
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(folder.path());
    let mut spec = server(folder.path(), OBEDIENT, 1_000);
    spec.program = "/no/such/program".into();
    let error = guard.run(spec).await.unwrap_err().to_string();
    assert!(error.contains("/no/such/program"), "{error}");

    let spec = server(folder.path(), "echo no such part >&2; exit 3", 1_000);
    let server = guard.run(spec).await.unwrap();
    server.wait_ended(LIMIT).await.unwrap();
    assert!(matches!(server.state(), ProcessState::Ended(status) if status.contains('3')));
    let outcome = stack::until("the server", LIMIT, Some(&server), async || {
        Err::<(), _>("not yet".into())
    });
    let error = outcome.await.unwrap_err().to_string();
    assert!(error.contains("no such part"), "the log is shown: {error}");
}

#[tokio::test]
async fn servers_stop_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(folder.path());
    let told = folder.path().join("told");
    for (order, name) in [(1, "part"), (0, "service")] {
        let script = format!(
            "trap 'echo {name} >> {}; exit 0' TERM; echo ready; while :; do sleep 0.01; done",
            told.display()
        );
        let mut spec = server(folder.path(), &script, 10_000);
        spec.stopping.order = order;
        spec.log = folder.path().join(format!("{name}.log"));
        guard.run(spec).await.unwrap();
    }
    for name in ["part", "service"] {
        let log = folder.path().join(format!("{name}.log"));
        wait_until(name, || {
            std::fs::read_to_string(&log).is_ok_and(|text| text == "ready\n")
        });
    }
    guard.stop(LIMIT).await.unwrap();
    assert_eq!(std::fs::read_to_string(told).unwrap(), "service\npart\n");
}
