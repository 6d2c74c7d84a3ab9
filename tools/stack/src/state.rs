//! What `cargo stack up` leaves in its folder for later commands: `stack.json`
//! for this tool, `stack.env` for people, shells and services.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::addresses::Addresses;
use crate::error::{Error, Result};
use crate::external;
use crate::identity::ProcessId;
use crate::installation::Installation;
use crate::provider::Provider;
use crate::services::Service;

/// A stack that runs on its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// Where its parts come from.
    pub provider: Provider,
    /// Where they are.
    pub addresses: Addresses,
    /// What was installed on them.
    pub installation: Installation,
    /// Parts and services.
    pub entries: Vec<Entry>,
    /// The guard processes, which stop what they started when they get
    /// SIGTERM.
    pub guards: Vec<ProcessId>,
    /// Folders that go with the stack.
    pub folders: Vec<PathBuf>,
}

/// One part or service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// What a person calls it.
    pub name: String,
    /// Which service, if it is one.
    pub service: Option<Service>,
    /// "host:port".
    pub address: String,
    /// Its process, when this tool started one.
    pub process: Option<ProcessId>,
    /// Its log file, when this tool started it.
    pub log: Option<PathBuf>,
}

impl Entry {
    /// Whether its process runs; of one without a process this says nothing.
    pub fn process_is_alive(&self) -> bool {
        self.process.as_ref().is_none_or(ProcessId::is_alive)
    }
}

impl State {
    fn path(folder: &Path) -> PathBuf {
        folder.join("stack.json")
    }

    /// The file of variables in `folder`.
    pub fn env_path(folder: &Path) -> PathBuf {
        folder.join("stack.env")
    }

    /// What is recorded in `folder`; `None` when nothing was started there.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = Self::path(folder);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(Error::io(format!("cannot read {}", path.display())))?,
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Error::Invalid(format!("{}: {error}", path.display())))
    }

    /// Records it in `folder`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Invalid(error.to_string()))?;
        for (path, text) in [
            (Self::path(folder), json),
            (Self::env_path(folder), self.env()),
        ] {
            // Whole or not at all, whatever happens meanwhile.
            let begun = path.with_extension("begun");
            std::fs::write(&begun, text)
                .and_then(|()| std::fs::rename(&begun, &path))
                .map_err(Error::io(format!("cannot write {}", path.display())))?;
        }
        Ok(())
    }

    /// Forgets it.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove(folder: &Path) -> Result<()> {
        for path in [Self::env_path(folder), Self::path(folder)] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    let doing = format!("cannot remove {}", path.display());
                    return Err(Error::io(doing)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The base address of a service's HTTP server: of its first instance, or
    /// where it would listen if it were started by hand.
    pub fn http_url(&self, service: Service) -> String {
        let running = self
            .entries
            .iter()
            .find(|entry| entry.service == Some(service));
        match running {
            Some(entry) => format!("http://{}", entry.address),
            None => format!("http://127.0.0.1:{}", service.default_port()),
        }
    }

    /// The variables, in the form that shells and .env readers share.
    pub fn env(&self) -> String {
        let mut variables = vec![
            (
                external::KAFKA.to_owned(),
                self.addresses.bootstrap_servers.clone(),
            ),
            (
                external::REGISTRY.to_owned(),
                self.addresses.registry_url.clone(),
            ),
        ];
        if let Some(url) = &self.addresses.postgres_admin_url {
            variables.push((external::ADMIN.to_owned(), url.clone()));
        }
        variables.push((
            "TOPIC_PREFIX".into(),
            self.installation.topic_prefix.clone(),
        ));
        for service in Service::ALL {
            variables.push((
                external::database_variable(*service),
                self.installation.database_url(*service).to_owned(),
            ));
            variables.push((external::http_variable(*service), self.http_url(*service)));
        }
        let mut text = String::new();
        for (name, value) in variables {
            let _ = writeln!(text, "{name}={value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            provider: Provider::Native,
            addresses: Addresses {
                bootstrap_servers: "127.0.0.1:20001".into(),
                registry_url: "http://127.0.0.1:20002/apis/ccompat/v7".into(),
                postgres_admin_url: Some("postgresql://postgres:p@127.0.0.1:20003/postgres".into()),
            },
            installation: Installation {
                name: String::new(),
                topic_prefix: "a.".into(),
                bootstrap_servers: "127.0.0.1:20001".into(),
                registry_url: "http://127.0.0.1:20002/apis/ccompat/v7".into(),
                databases: [(Service::Payment, "postgresql://payment".to_owned())].into(),
            },
            entries: vec![Entry {
                name: "order".into(),
                service: Some(Service::Order),
                address: "127.0.0.1:20004".into(),
                process: None,
                log: None,
            }],
            guards: Vec::new(),
            folders: Vec::new(),
        }
    }

    #[test]
    fn what_is_written_is_read_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(State::read(folder.path()).unwrap().is_none());
        state().write(folder.path()).unwrap();
        let read = State::read(folder.path()).unwrap().unwrap();
        assert_eq!(read.installation, state().installation);
        State::remove(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn variables_name_everything() {
        let env = state().env();
        for line in [
            "KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:20001",
            "SCHEMA_REGISTRY_URL=http://127.0.0.1:20002/apis/ccompat/v7",
            "TOPIC_PREFIX=a.",
            "PAYMENT_DATABASE_URL=postgresql://payment",
            "PAYMENT_HTTP_URL=http://127.0.0.1:8082",
            "ORDER_HTTP_URL=http://127.0.0.1:20004",
        ] {
            assert!(env.lines().any(|found| found == line), "{line} in {env}");
        }
    }
}
