//! Other teams' clients: the listings of README and examples/clients, run as they are, but
//! for the prefix of the test's topics. What they read begins with the remains of an aborted
//! transaction, which is not for them.
//!
//! Their packages are installed once, below target/. Where Python or Node is missing, or
//! the packages cannot be had, a test says so and ends.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use contracts::Topic;
use contracts::ids::{CartId, GenericUuid};
use contracts::messages::CartCheckedOut;
use integration_tests::carts::cart;
use integration_tests::stranger::Stranger;
use integration_tests::{Options, PATIENCE, System, skipped};
use serde_json::Value;
use stack::workspace;
use tokio::process::Command;
use tokio::time::timeout;
use uuid::Uuid;

/// For packages from a registry that is far away.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);
/// What the examples and listings buy.
const PRODUCT: &str = "mug";
/// As a key it goes to the partition of what strangers write, the first of four.
const BEHIND_THE_STRANGER: Uuid = Uuid::from_u128(4);
/// So that what a stranger has begun is soon seen.
const ENVIRONMENT: &[(&str, &str, &str)] = &[("orchestrator", "READERS_CHECK_INTERVAL_MS", "200")];
/// Topics that clients name.
const TOPICS: [&str; 3] = [
    "shopping.checkouts",
    "ordering.orders",
    "ordering.checkouts",
];

/// How the clients of one language are installed and run.
struct Language {
    name: &'static str,
    /// How README marks its listing.
    listing: &'static str,
    extension: &'static str,
    /// What its packages are named in.
    packages: &'static str,
}

const PYTHON: Language = Language {
    name: "python",
    listing: "python",
    extension: "py",
    packages: "requirements.txt",
};
const JAVASCRIPT: Language = Language {
    name: "javascript",
    listing: "js",
    extension: "mjs",
    packages: "package.json",
};

/// What a program printed; `None` where it is not there or fails.
async fn ran(command: &mut Command) -> Option<String> {
    let output = timeout(INSTALL_LIMIT, command.kill_on_drop(true).output());
    let output = output.await.ok()?.ok()?;
    let ended_well = output.status.success();
    if !ended_well {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    }
    ended_well.then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Leaves a record of a stranger's aborted transaction on the topic of orders.
async fn leave_what_is_aborted(system: &System) {
    let stranger = Stranger::begin(system, Topic::OrderingOrders).await;
    // What has not been sent when its transaction is aborted never is.
    system
        .until("the stranger's record is on the topic", async || {
            let held = system.counted("orchestrator", 0, "saga_readers_held_records", "");
            held.await > 0.0
        })
        .await;
    stranger.abort().await;
}

impl Language {
    fn examples(&self) -> PathBuf {
        workspace().join("examples/clients").join(self.name)
    }

    /// The folder that the packages are installed in, now if they are not; `None` where
    /// that cannot be done.
    async fn installed(&self) -> Option<PathBuf> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
        let folder = folder.join(self.name);
        let wanted = std::fs::read_to_string(self.examples().join(self.packages)).expect("there");
        // Written last: what was interrupted is done again.
        let complete = folder.join("complete");
        if std::fs::read_to_string(&complete).is_ok_and(|found| found == wanted) {
            return Some(folder);
        }
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(self.packages), &wanted).expect("written");
        match self.name {
            "python" => {
                ran(Command::new("python3").args(["-m", "venv"]).arg(&folder)).await?;
                let install = ["install", "--quiet", "-r", self.packages];
                let mut pip = Command::new(folder.join("bin/pip"));
                ran(pip.args(install).current_dir(&folder)).await?;
            }
            _ => {
                let install = ["install", "--no-audit", "--no-fund", "--loglevel=error"];
                let mut npm = Command::new("npm");
                ran(npm.args(install).current_dir(&folder)).await?;
            }
        }
        std::fs::write(&complete, &wanted).expect("written");
        Some(folder)
    }

    fn program(&self, installed: &Path) -> PathBuf {
        match self.name {
            "python" => installed.join("bin/python"),
            _ => "node".into(),
        }
    }

    /// The listing of README.
    fn of_readme(&self) -> String {
        let page = std::fs::read_to_string(workspace().join("README.md")).expect("there");
        let begin = format!("```{}\n", self.listing);
        let mut listings = page.split(&begin).skip(1);
        let listing = listings.next().expect("README has a listing");
        assert!(listings.next().is_none(), "which of them?");
        listing.split("```").next().expect("its text").to_owned()
    }

    /// Checks out by each program, and reads the outcomes.
    async fn check(&self) {
        let Some(installed) = self.installed().await else {
            skipped(&format!(
                "the clients in {0} are not tried: {0} or its packages cannot be had here",
                self.name
            ));
            return;
        };
        let options = Options {
            environment: ENVIRONMENT,
            ..Options::default()
        };
        let system = System::start(&format!("clients_{}", self.name), options).await;
        system.set_stock(PRODUCT, 100).await;
        leave_what_is_aborted(&system).await;
        // The programs in their places beside schemas/, where they look for it.
        let root = tempfile::tempdir().expect("a folder");
        let link =
            |from: PathBuf, to: PathBuf| std::os::unix::fs::symlink(from, to).expect("linked");
        link(workspace().join("schemas"), root.path().join("schemas"));
        let folder = root.path().join("examples/clients").join(self.name);
        std::fs::create_dir_all(&folder).expect("a folder");
        if self.name == "javascript" {
            link(installed.join("node_modules"), folder.join("node_modules"));
        }
        let prefix = &system.installation().topic_prefix;
        let here = |text: &str| {
            // A busy machine takes longer.
            let patient = text.replace("poll(30)", "poll(120)");
            TOPICS.iter().fold(patient, |text, topic| {
                text.replace(&format!("\"{topic}"), &format!("\"{prefix}{topic}"))
                    .replace(&format!("`{topic}"), &format!("`{prefix}{topic}"))
            })
        };
        let write = |name: &str, text: &str| {
            let path = folder.join(format!("{name}.{}", self.extension));
            let mut file = std::fs::File::create(path).expect("a file");
            file.write_all(here(text).as_bytes()).expect("written");
        };
        for name in ["publish", "subscribe"] {
            let file = format!("{name}.{}", self.extension);
            let text = std::fs::read_to_string(self.examples().join(file)).expect("there");
            write(name, &text);
        }
        write("readme", &self.of_readme());

        let run = async |name: &str, arguments: &[&str]| {
            let mut command = Command::new(self.program(&installed));
            command
                .arg(folder.join(format!("{name}.{}", self.extension)))
                .args(arguments)
                // As from the root of the repository.
                .current_dir(root.path())
                .env(
                    "KAFKA_BOOTSTRAP_SERVERS",
                    &system.installation().bootstrap_servers,
                )
                .env("SCHEMA_REGISTRY_URL", &system.installation().registry_url)
                .kill_on_drop(true);
            let output = timeout(PATIENCE, command.output()).await;
            let output = output.unwrap_or_else(|_| panic!("{name} does not end"));
            let output = output.expect("it runs");
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{name}: {errors}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let told = run("readme", &[]).await;
        assert!(told.contains("ordering.OrderCreated"), "{told}");

        let behind = CartCheckedOut {
            cart_id: CartId::from_untyped_uuid(BEHIND_THE_STRANGER),
            ..cart(PRODUCT, 1, 1250)
        };
        system.publish(&behind).await;
        let items = format!("{PRODUCT}=2");
        let mut carts = vec![behind.cart_id.to_string()];
        for strategy in ["record", "topic"] {
            let cart = run("publish", &["--strategy", strategy, &items]).await;
            let cart: Value = serde_json::from_str(&cart).expect("a cart as JSON");
            carts.push(cart["cartId"].as_str().expect("an id").to_owned());
        }
        // These three, and the one of the listing. On what the stranger left a client would
        // break down: it is no record of ours.
        let outcomes = run("subscribe", &["--count", "4"]).await;
        let outcomes: Vec<Value> = outcomes
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect();
        assert_eq!(outcomes.len(), 4, "{outcomes:#?}");
        let ids = outcomes.iter().map(|outcome| outcome["id"].as_str());
        let ids: BTreeSet<_> = ids.map(|id| id.expect("an id")).collect();
        assert_eq!(ids.len(), 4, "told twice: {outcomes:#?}");
        let of_cart = |cart: &str| {
            let of = |outcome: &&Value| outcome["value"]["cartId"] == cart;
            outcomes.iter().find(of).expect("an outcome")
        };
        for cart in &carts {
            let outcome = of_cart(cart);
            assert_eq!(outcome["type"], "ordering.OrderCreated", "{outcome:#}");
        }
        // Who read it had to pass the stranger's record and the mark of its end.
        let behind = of_cart(&carts[0]);
        let is_behind = behind["partition"] == 0 && behind["offset"].as_u64() >= Some(2);
        assert!(is_behind, "{behind:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_publishes_carts_and_reads_their_outcomes() {
    PYTHON.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript_publishes_carts_and_reads_their_outcomes() {
    JAVASCRIPT.check().await;
}
