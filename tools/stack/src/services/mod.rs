//! The services, as processes of this machine.

mod options;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::binaries::Binaries;
use crate::error::{Error, Result};
use crate::guard::{Guard, Process, ProcessSpec, Stopping};
use crate::http;
use crate::installation::Installation;
use crate::progress::Progress;
use crate::wait;
pub use options::ServiceOptions;

/// Milliseconds for a service to finish its batch and leave its groups.
const STOP_LIMIT_MS: u64 = 15_000;

macro_rules! services {
    ($($(#[$doc:meta])* $service:ident = $name:literal, $port:literal;)+) => {
        /// One of the services.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Service {
            $($(#[$doc])* #[serde(rename = $name)] $service,)+
        }

        impl Service {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$service),+];

            /// Their names.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// Its name: of the program, of the database, in messages.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$service => $name,)+
                }
            }

            /// The port it listens on when nobody chooses another.
            pub const fn default_port(self) -> u16 {
                match self {
                    $(Self::$service => $port,)+
                }
            }
        }
    };
}

services! {
    /// Drives the saga.
    Orchestrator = "orchestrator", 8080;
    /// Stock and reservations.
    Inventory = "inventory", 8081;
    /// Authorizations.
    Payment = "payment", 8082;
    /// Orders.
    Order = "order", 8083;
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The instances that were started.
#[derive(Debug)]
pub struct Services {
    /// All, in the order of [`Service::ALL`].
    pub instances: Vec<ServiceInstance>,
}

impl Services {
    /// The instances of one service.
    pub fn of(&self, service: Service) -> impl Iterator<Item = &ServiceInstance> {
        self.instances
            .iter()
            .filter(move |instance| instance.service == service)
    }

    /// The first instance of a service.
    ///
    /// # Errors
    /// When none was started.
    pub fn one(&self, service: Service) -> Result<&ServiceInstance> {
        self.of(service)
            .next()
            .ok_or_else(|| Error::Invalid(format!("no {service} was started")))
    }

    /// Asks all to stop and waits until they have.
    ///
    /// # Errors
    /// When one still runs after `limit`.
    pub async fn terminate(&self, limit: Duration) -> Result<()> {
        for instance in &self.instances {
            instance.process.terminate()?;
        }
        for instance in &self.instances {
            instance.process.wait_ended(limit).await?;
        }
        Ok(())
    }
}

/// One running instance of a service.
#[derive(Debug)]
pub struct ServiceInstance {
    /// Which service.
    pub service: Service,
    /// Its process: tests kill, pause and restart it.
    pub process: Process,
    port_file: PathBuf,
}

impl ServiceInstance {
    /// Where its HTTP server listens now, without a trailing slash.
    ///
    /// # Errors
    /// Before it has told its port.
    pub fn http_url(&self) -> Result<String> {
        let text = std::fs::read_to_string(&self.port_file).map_err(Error::io(format!(
            "{} has not told its HTTP port in {}",
            self.service,
            self.port_file.display()
        )))?;
        port_in(&text)
            .map(|port| format!("http://127.0.0.1:{port}"))
            .ok_or_else(|| Error::Invalid(format!("{} holds no port", self.port_file.display())))
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// When it does not within `limit`, or its process ends; with the end of
    /// its log.
    pub async fn wait_ready(&self, limit: Duration) -> Result<()> {
        let name = &self.process.spec().name;
        wait::until(name, limit, Some(&self.process), async || {
            let url = self.http_url().map_err(|error| error.to_string())?;
            http::is_ok(&format!("{url}/readyz")).await
        })
        .await
    }

    /// Starts it again after it has ended, and waits until it is ready. Its
    /// HTTP port may be another one.
    ///
    /// # Errors
    /// When it still runs, or is not ready within `limit`.
    pub async fn start_again(&self, limit: Duration) -> Result<()> {
        forget(&self.port_file)?;
        self.process.start_again().await?;
        self.wait_ready(limit).await
    }
}

/// Starts services for an installation, with their logs in `folder`; returns
/// when all are ready.
pub(crate) async fn start(
    guard: &Guard,
    binaries: &Binaries,
    folder: &Path,
    labels: &Labels,
    installation: &Installation,
    options: &ServiceOptions,
    progress: &Progress,
) -> Result<Services> {
    let task = progress.task("services");
    task.update("starting");
    let mut instances = Vec::new();
    for service in Service::ALL {
        for _ in 0..options.instances.get(service).copied().unwrap_or(0) {
            let label = labels.new_label(*service, installation);
            let port_file = folder.join(format!("{label}.port"));
            forget(&port_file)?;
            let spec = spec(
                *service,
                &label,
                &port_file,
                binaries,
                folder,
                installation,
                options,
            );
            instances.push(ServiceInstance {
                service: *service,
                process: guard.run(spec).await?,
                port_file,
            });
        }
    }
    for instance in &instances {
        task.update(format!("waiting for {}", instance.service));
        instance.wait_ready(options.ready_limit).await?;
    }
    task.done(format!("{} ready", instances.len()));
    Ok(Services { instances })
}

/// Hands out the names of instances, which are also those of their files.
#[derive(Debug, Default)]
pub(crate) struct Labels(Mutex<HashMap<String, u16>>);

impl Labels {
    /// Tells services, installations and instances apart.
    fn new_label(&self, service: Service, installation: &Installation) -> String {
        let mut label = service.name().to_owned();
        if !installation.name.is_empty() {
            label = format!("{label}-{}", installation.name);
        }
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = used.entry(label.clone()).or_default();
        *number += 1;
        match *number {
            1 => label,
            number => format!("{label}-{number}"),
        }
    }
}

fn spec(
    service: Service,
    label: &str,
    port_file: &Path,
    binaries: &Binaries,
    folder: &Path,
    installation: &Installation,
    options: &ServiceOptions,
) -> ProcessSpec {
    let mut env: Vec<(String, String)> = [
        (
            "KAFKA_BOOTSTRAP_SERVERS",
            installation.bootstrap_servers.as_str(),
        ),
        ("SCHEMA_REGISTRY_URL", &installation.registry_url),
        ("DATABASE_URL", installation.database_url(service)),
        ("TOPIC_PREFIX", &installation.topic_prefix),
        ("HTTP_LISTEN", "127.0.0.1:0"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let own = options
        .environment
        .iter()
        .filter(|(of, _, _)| of.is_none_or(|of| of == service));
    env.extend(own.map(|(_, name, value)| (name.clone(), value.clone())));
    let own = options.arguments.iter().filter(|(of, _)| *of == service);
    ProcessSpec {
        name: label.to_owned(),
        program: binaries.service(service),
        args: [
            "--http-port-file".to_owned(),
            port_file.display().to_string(),
        ]
        .into_iter()
        .chain(own.map(|(_, argument)| argument.clone()))
        .collect(),
        env,
        folder: folder.to_path_buf(),
        log: folder.join(format!("{label}.log")),
        user: None,
        stopping: Stopping {
            signal: Signal::SIGTERM as i32,
            order: 0,
            limit_ms: STOP_LIMIT_MS,
        },
    }
}

/// The port in "8080" or "127.0.0.1:8080".
fn port_in(text: &str) -> Option<u16> {
    text.trim().rsplit(':').next()?.parse().ok()
}

/// Removes the file if it is there.
fn forget(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(format!(
            "cannot remove {}",
            path.display()
        ))(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installation(name: &str) -> Installation {
        Installation {
            name: name.into(),
            topic_prefix: format!("{name}."),
            bootstrap_servers: "127.0.0.1:9092".into(),
            registry_url: "http://127.0.0.1:8085".into(),
            databases: [(Service::Order, "postgresql://order".to_owned())].into(),
        }
    }

    #[test]
    fn ports_as_services_write_them() {
        assert_eq!(port_in("8080\n"), Some(8080));
        assert_eq!(port_in("127.0.0.1:8080"), Some(8080));
        assert_eq!(port_in(""), None);
    }

    #[test]
    fn files_of_instances_differ() {
        let labels = Labels::default();
        let name = |of| labels.new_label(Service::Order, &installation(of));
        assert_eq!(name(""), "order");
        assert_eq!(name(""), "order-2");
        assert_eq!(name("trial"), "order-trial");
        assert_eq!(name("trial"), "order-trial-2");
    }

    #[test]
    fn options_reach_only_whom_they_are_meant_for() {
        let options = ServiceOptions::default()
            .env("LOG", "debug")
            .env_of(Service::Payment, "GATEWAY", "none")
            .argument_of(Service::Order, "--quick");
        let folder = Path::new("/stack");
        let binaries = Binaries::in_folder(PathBuf::from("/bin"));
        let of = |service| {
            let port = folder.join("port");
            let installation = installation("");
            spec(
                service,
                "it",
                &port,
                &binaries,
                folder,
                &installation,
                &options,
            )
        };
        let order = of(Service::Order);
        assert!(order.args.contains(&"--quick".to_owned()));
        assert!(order.env.contains(&("LOG".into(), "debug".into())));
        assert!(
            order
                .env
                .contains(&("DATABASE_URL".into(), "postgresql://order".into()))
        );
        assert!(!order.env.iter().any(|(name, _)| name == "GATEWAY"));
        let payment = of(Service::Payment);
        assert!(payment.env.contains(&("GATEWAY".into(), "none".into())));
        assert!(!payment.args.contains(&"--quick".to_owned()));
    }
}
