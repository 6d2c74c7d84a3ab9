//! The native provider: every part is a plain process on this machine.

pub(crate) mod cache;
mod kafka;
mod postgres;
mod registry;
pub(crate) mod requirements;

use std::path::Path;

use crate::addresses::Addresses;
use crate::error::{Error, Result};
use crate::external;
use crate::guard::Guard;
use crate::part::Part;
use crate::progress::Progress;
use crate::stack::Options;
use cache::Parts;

/// Starts Kafka, the schema registry and PostgreSQL at once, with their files
/// in `folder`; returns when all are ready.
pub(crate) async fn start(
    guard: &Guard,
    parts: &Parts,
    folder: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<(Addresses, Vec<Part>)> {
    let registry = async {
        match &options.registry_url {
            Some(url) => Ok(external::registry(url)),
            None => registry::start(guard, parts, folder, progress).await,
        }
    };
    let (kafka, registry, postgres) = tokio::try_join!(
        kafka::start(guard, parts, folder, options, progress),
        registry,
        postgres::start(guard, parts, folder, progress),
    )?;
    let addresses = Addresses {
        bootstrap_servers: kafka.bootstrap_servers,
        registry_url: registry.url.clone(),
        postgres_admin_url: Some(postgres.admin_url),
    };
    let mut all = kafka.brokers;
    all.extend([registry, postgres.part]);
    Ok((addresses, all))
}

/// Creates an empty folder of that name, which goes when everything stops.
fn part_folder(guard: &Guard, base: &Path, name: &str) -> Result<std::path::PathBuf> {
    let folder = base.join(name);
    let cannot = |what: &str| format!("cannot {what} {}", folder.display());
    if folder.exists() {
        // Left by a run whose guard was killed; nothing in it is kept.
        std::fs::remove_dir_all(&folder).map_err(Error::io(cannot("remove")))?;
    }
    std::fs::create_dir_all(&folder).map_err(Error::io(cannot("create")))?;
    guard.remove_at_end(folder.clone())?;
    Ok(folder)
}

/// The Java program to use.
fn java() -> std::path::PathBuf {
    match std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty()) {
        Some(home) => Path::new(&home).join("bin").join("java"),
        None => "java".into(),
    }
}
