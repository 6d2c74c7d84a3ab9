//! Stripe's mock server: had through the Go module proxy, built once, started on a
//! free port of this machine.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use serde_json::Value;
use tempfile::TempDir;

/// The module and its version. The API version that the gateway speaks is that of
/// this version's API description: raise both together.
const MODULE: &str = "github.com/stripe/stripe-mock@v0.203.0";

/// Ends the server with the tests, also where they are killed: then standard input
/// closes.
const SHELL: &str =
    r#""$@" & server=$!; read -r _; kill "$server"; { wait "$server"; } 2>/dev/null"#;

/// A running mock server; it ends when this is dropped.
pub(crate) struct StripeMock {
    pub(crate) url: String,
    shell: Child,
    _fixtures: TempDir,
}

/// What `go` left on this machine.
#[derive(Clone)]
struct Installed {
    binary: PathBuf,
    /// The fixtures that the server answers from, as it comes with them.
    fixtures: Value,
}

impl StripeMock {
    /// Starts a server whose PaymentIntents all have this status; `None`, with a line
    /// that says so, where `go` is missing.
    ///
    /// The server checks requests, and answers each with the same fixture. The
    /// fixture's status alone is changed here, by the server's own switch.
    pub(crate) fn start(status: &str) -> Option<Self> {
        let installed = installed()?;
        let mut fixtures = installed.fixtures;
        fixtures["resources"]["payment_intent"]["status"] = status.into();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fixtures.json");
        std::fs::write(&path, fixtures.to_string()).unwrap();

        let mut shell = Command::new("sh")
            .args(["-c", SHELL, "sh"])
            .arg(installed.binary)
            .args(["-http-addr", "127.0.0.1:", "-https-addr", "127.0.0.1:"])
            .arg("-strict-version-check")
            .arg("-fixtures")
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
        let mut told = Vec::new();
        let address = loop {
            match lines.next() {
                Some(Ok(line)) => match line.split_once("Listening for HTTP at address: ") {
                    Some((_, address)) => break address.to_owned(),
                    None => told.push(line),
                },
                _ => panic!("stripe-mock ended at its start: {told:?}"),
            }
        };
        // Whatever else it says must go somewhere.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Some(Self {
            url: format!("http://{address}"),
            shell,
            _fixtures: folder,
        })
    }
}

impl Drop for StripeMock {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// Installs the server, the first time it is asked for.
fn installed() -> Option<Installed> {
    static INSTALLED: OnceLock<Option<Installed>> = OnceLock::new();
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    INSTALLED.get_or_init(install).clone()
}

fn install() -> Option<Installed> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(MODULE.replace(['/', '@'], "-"));
    std::fs::create_dir_all(&folder).unwrap();
    let downloaded = go(&folder, &["mod", "download", "-json", MODULE])?;
    let downloaded: Value = serde_json::from_slice(&downloaded).unwrap();
    let source = downloaded["Dir"].as_str().unwrap();
    let fixtures =
        std::fs::read(Path::new(source).join("embedded/openapi/fixtures3.json")).unwrap();

    let binary = folder.join("stripe-mock");
    if !binary.exists() {
        go(&folder, &["install", MODULE])?;
    }
    Some(Installed {
        binary,
        fixtures: serde_json::from_slice(&fixtures).unwrap(),
    })
}

/// Runs `go` outside any module; what it prints. `None` where there is no `go`.
fn go(folder: &Path, args: &[&str]) -> Option<Vec<u8>> {
    let ran = Command::new("go")
        .args(args)
        .current_dir(folder)
        .env("GOBIN", folder)
        .env("GOFLAGS", "")
        .output();
    match ran {
        Ok(output) if output.status.success() => Some(output.stdout),
        Ok(output) => panic!(
            "`go {}` failed; is the Go module proxy reached? {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Not by `println!`, which a test that passes does not show.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: the contract with Stripe is not tested, because `go` is not installed; \
                 it builds stripe-mock, Stripe's own mock server"
            );
            None
        }
        Err(error) => panic!("`go` cannot be run: {error}"),
    }
}
