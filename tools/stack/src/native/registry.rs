//! The schema registry: Apicurio, in memory, spoken to by Confluent's API.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::cache::Parts;
use super::{java, part_folder};
use crate::error::{Error, Result};
use crate::guard::{Guard, ProcessSpec, Stopping};
use crate::part::{Part, PartKind};
use crate::ports;
use crate::progress::Progress;

/// Its start, on a machine that is busy compiling.
const READY_LIMIT: Duration = Duration::from_secs(300);
/// Milliseconds for an orderly stop. Nothing it holds is kept.
const STOP_LIMIT_MS: u64 = 3_000;

pub(super) async fn start(
    guard: &Guard,
    parts: &Parts,
    base: &Path,
    progress: &Progress,
) -> Result<Part> {
    let task = progress.task("schema registry");
    task.update("starting");
    let port = ports::free()?;
    let folder = part_folder(guard, base, "registry")?;
    let temporary = folder.join("tmp");
    std::fs::create_dir(&temporary)
        .map_err(Error::io(format!("cannot create {}", temporary.display())))?;
    let process = guard
        .run(ProcessSpec {
            name: "the schema registry".into(),
            program: java(),
            args: vec![
                "-Xmx256m".into(),
                "-XX:+UseSerialGC".into(),
                // It is asked a few hundred times in its life: compiling its
                // code thoroughly costs more than it gains.
                "-XX:TieredStopAtLevel=1".into(),
                "-XX:+ExitOnOutOfMemoryError".into(),
                format!("-Djava.io.tmpdir={}", temporary.display()),
                "-jar".into(),
                parts.registry_jar.display().to_string(),
            ],
            env: vec![
                ("QUARKUS_HTTP_HOST".into(), "127.0.0.1".into()),
                ("QUARKUS_HTTP_PORT".into(), port.to_string()),
            ],
            folder,
            log: base.join("registry.log"),
            user: None,
            stopping: Stopping {
                signal: Signal::SIGTERM as i32,
                order: 1,
                limit_ms: STOP_LIMIT_MS,
            },
        })
        .await?;
    let url = format!("http://127.0.0.1:{port}/apis/ccompat/v7");
    let part = Part {
        kind: PartKind::Registry,
        name: "schema registry".into(),
        address: format!("127.0.0.1:{port}"),
        url: url.clone(),
        process: Some(process),
        detour: None,
    };
    part.wait_ready(READY_LIMIT).await?;
    task.done(url);
    Ok(part)
}
