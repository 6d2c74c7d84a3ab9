//! The compose provider: the parts as containers, by docker-compose.yml.

use std::time::Duration;

use tokio::process::Command;

use crate::addresses::Addresses;
use crate::binaries::workspace;
use crate::command;
use crate::error::Result;
use crate::guard::EndCommand;
use crate::part::Part;
use crate::progress::Progress;

/// Asking the engine whether it is there.
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// Pulling three images over a slow line, and their start.
const UP_LIMIT: Duration = Duration::from_secs(30 * 60);
/// Stopping and removing the containers.
const DOWN_LIMIT: Duration = Duration::from_secs(120);
const COMPOSE: [&str; 3] = ["compose", "-f", "docker-compose.yml"];
const DOWN: [&str; 2] = ["down", "--volumes"];
/// What is started; the services run as processes of this machine.
const PARTS: [&str; 3] = ["kafka", "registry", "postgres"];

/// What is missing; empty when containers can be started.
pub(crate) async fn missing() -> Vec<String> {
    let mut info = Command::new("docker");
    info.arg("info");
    let mut version = Command::new("docker");
    version.args(["compose", "version"]);
    let mut missing = Vec::new();
    if command::run(info, ASK_LIMIT, |_| {}).await.is_err() {
        missing.push("a Docker engine (`docker info` fails)".into());
    } else if command::run(version, ASK_LIMIT, |_| {}).await.is_err() {
        missing.push("the compose plugin (`docker compose version` fails)".into());
    }
    if !workspace().join("docker-compose.yml").is_file() {
        missing.push(format!(
            "{}",
            workspace().join("docker-compose.yml").display()
        ));
    }
    missing
}

/// Starts the containers; returns when their health checks pass.
pub(crate) async fn start(progress: &Progress) -> Result<(Addresses, Vec<Part>)> {
    let task = progress.task("containers");
    let mut up = compose();
    up.args(["up", "-d", "--wait"]).args(PARTS);
    command::run(up, UP_LIMIT, |piece| task.update(piece.to_owned())).await?;
    task.done("Kafka, schema registry, PostgreSQL");
    let addresses = addresses(&|name| std::env::var(name).ok());
    let parts = crate::external::parts(&addresses);
    Ok((addresses, parts))
}

/// Stops and removes the containers and what they stored.
pub(crate) async fn stop() -> Result<()> {
    let mut down = compose();
    down.args(DOWN);
    command::run(down, DOWN_LIMIT, |_| {}).await.map(drop)
}

/// The same, for the guard.
pub(crate) fn end_command() -> EndCommand {
    EndCommand {
        program: "docker".into(),
        args: COMPOSE
            .iter()
            .chain(&DOWN)
            .map(|word| (*word).to_owned())
            .collect(),
        folder: workspace(),
    }
}

fn compose() -> Command {
    let mut docker = Command::new("docker");
    docker.current_dir(workspace()).args(COMPOSE);
    docker
}

/// As docker-compose.yml publishes them: it takes the ports and the password
/// from the same variables.
fn addresses(variable: &dyn Fn(&str) -> Option<String>) -> Addresses {
    let or = |name: &str, default: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .unwrap_or_else(|| default.to_owned())
    };
    Addresses {
        bootstrap_servers: format!("127.0.0.1:{}", or("KAFKA_PORT", "9092")),
        registry_url: format!(
            "http://127.0.0.1:{}/apis/ccompat/v7",
            or("REGISTRY_PORT", "8085")
        ),
        postgres_admin_url: Some(format!(
            "postgresql://postgres:{}@127.0.0.1:{}/postgres",
            or("POSTGRES_PASSWORD", "postgres"),
            or("POSTGRES_PORT", "5432")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_publishes_what_is_expected_of_it() {
        let file = std::fs::read_to_string(workspace().join("docker-compose.yml")).unwrap();
        for part in PARTS {
            assert!(file.contains(&format!("\n  {part}:\n")), "{part}");
        }
        for port in [
            "${KAFKA_PORT:-9092}",
            "${REGISTRY_PORT:-8085}",
            "${POSTGRES_PORT:-5432}",
        ] {
            assert!(file.contains(port), "{port}");
        }
    }

    #[test]
    fn ports_can_be_chosen() {
        let chosen = addresses(&|name| (name == "KAFKA_PORT").then(|| "19092".to_owned()));
        assert_eq!(chosen.bootstrap_servers, "127.0.0.1:19092");
        assert_eq!(
            chosen.postgres_admin_url.unwrap(),
            "postgresql://postgres:postgres@127.0.0.1:5432/postgres"
        );
    }
}
