//! The parts' files, fetched once by Maven and shared by all runs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::process::Command;
use uuid::Uuid;

use crate::command;
use crate::error::{Error, Result};
use crate::progress::{Progress, Task};

/// What to fetch. It is part of the program, so that a stack binary works away
/// from the source tree, and names every version.
const POM: &str = include_str!("../../parts/pom.xml");
/// Written last: without it a folder of the cache is not used.
const COMPLETE: &str = "complete";
/// Fetching about 210 MB over a slow line.
const FETCH_LIMIT: Duration = Duration::from_secs(30 * 60);

/// The files of the parts.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// Holds Kafka's jars.
    pub(crate) kafka: PathBuf,
    /// The schema registry's runnable jar.
    pub(crate) registry_jar: PathBuf,
    /// Holds PostgreSQL's `bin`, `lib` and `share`; `None` where no binaries
    /// exist for this platform.
    pub(crate) postgres: Option<PathBuf>,
}

/// Whether the parts are there already.
pub(crate) fn is_filled() -> bool {
    folder().is_ok_and(|folder| folder.join(COMPLETE).exists())
}

/// The parts, fetched now if they are not there. Of several processes that
/// ask at once, one fetches and the others wait for it.
pub(crate) async fn parts(progress: &Progress) -> Result<Parts> {
    let folder = folder()?;
    if !folder.join(COMPLETE).exists() {
        let task = progress.task("fetch parts");
        let _lock = lock(&folder, &task).await?;
        if folder.join(COMPLETE).exists() {
            task.done("another process did");
        } else {
            fetch(&folder, &task).await?;
            task.done("Kafka, schema registry, PostgreSQL");
        }
    }
    found_in(&folder)
}

/// The folder for exactly this pom and platform.
fn folder() -> Result<PathBuf> {
    let name = format!("{POM}{}", postgres_platform().unwrap_or("none"));
    let key = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).simple();
    Ok(cache()?.join(format!("parts-{key}")))
}

/// `STACK_CACHE_DIR`, or `XDG_CACHE_HOME`, or a folder beside the build's own
/// output, which belongs to this project anyway.
fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = set("STACK_CACHE_DIR") {
        return std::path::absolute(&folder)
            .map_err(Error::io(format!("STACK_CACHE_DIR {}", folder.display())));
    }
    if let Some(folder) = set("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(folder).join("checkout-stack"));
    }
    Ok(crate::binaries::Target::of_this_program()?
        .folder
        .join("stack-cache"))
}

/// How PostgreSQL's artifacts call this platform.
fn postgres_platform() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("linux-amd64"),
        ("linux", "aarch64") => Some("linux-arm64v8"),
        ("macos", "x86_64") => Some("darwin-amd64"),
        ("macos", "aarch64") => Some("darwin-arm64v8"),
        _ => None,
    }
}

/// Holds the file lock beside `folder`; the system releases it with the file,
/// so also when this process is killed.
async fn lock(folder: &Path, task: &Task) -> Result<File> {
    let parent = folder.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent)
        .map_err(Error::io(format!("cannot create {}", parent.display())))?;
    let path = folder.with_extension("lock");
    let file =
        File::create(&path).map_err(Error::io(format!("cannot create {}", path.display())))?;
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if begin.elapsed() < FETCH_LIMIT => {
                task.update("waiting for another process that fetches them");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => {
                return Err(Error::Io {
                    doing: format!("cannot lock {}", path.display()),
                    cause: error.into(),
                });
            }
        }
    }
}

/// Fetches and unpacks into a folder beside `folder` and renames it when all
/// is there. The caller holds the lock.
async fn fetch(folder: &Path, task: &Task) -> Result<()> {
    let begun = folder.with_extension("begun");
    let cannot = |what: &str| format!("cannot {what} {}", begun.display());
    for stale in [&begun, folder] {
        if stale.exists() {
            std::fs::remove_dir_all(stale)
                .map_err(Error::io(format!("cannot remove {}", stale.display())))?;
        }
    }
    std::fs::create_dir_all(&begun).map_err(Error::io(cannot("create")))?;
    std::fs::write(begun.join("pom.xml"), POM).map_err(Error::io(cannot("write to")))?;

    let mut maven = Command::new("mvn");
    maven
        .current_dir(&begun)
        .args(["-Dstyle.color=never", "generate-resources"])
        .arg(format!("-Dstack.output={}", begun.display()));
    if let Some(platform) = postgres_platform() {
        maven.arg(format!("-Dstack.postgres={platform}"));
    }
    let mut seen = Download::default();
    command::run(maven, FETCH_LIMIT, |piece| {
        if let Some(message) = seen.follow(piece) {
            task.update(message);
        }
    })
    .await?;

    if postgres_platform().is_some() {
        task.update("unpacking PostgreSQL");
        let postgres = begun.join("postgres");
        tokio::task::spawn_blocking(move || unpack_postgres(&postgres))
            .await
            .map_err(|error| Error::Invalid(error.to_string()))??;
    }
    std::fs::write(begun.join(COMPLETE), "").map_err(Error::io(cannot("write to")))?;
    std::fs::rename(&begun, folder).map_err(Error::io(cannot("rename")))
}

/// Unpacks the one .txz in `folder` there and removes it. In Rust, because a
/// fresh machine may have no `xz` for `tar` to call.
fn unpack_postgres(folder: &Path) -> Result<()> {
    let archive = only_file(folder, ".txz")?;
    let doing = format!("cannot unpack {}", archive.display());
    let file = File::open(&archive).map_err(Error::io(doing.clone()))?;
    let plain = lzma_rust2::XzReader::new(std::io::BufReader::new(file), true);
    tar::Archive::new(plain)
        .unpack(folder)
        .and_then(|()| std::fs::remove_file(&archive))
        .map_err(Error::io(doing))
}

fn found_in(folder: &Path) -> Result<Parts> {
    Ok(Parts {
        kafka: folder.join("kafka"),
        registry_jar: only_file(&folder.join("registry"), "-runner.jar")?,
        postgres: postgres_platform().map(|_| folder.join("postgres")),
    })
}

/// The one file in `folder` whose name ends so.
fn only_file(folder: &Path, ending: &str) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .map_err(Error::io(format!("cannot read {}", folder.display())))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().ends_with(ending))
        .ok_or_else(|| {
            Error::Invalid(format!(
                "{} holds no *{ending}; remove the folder to fetch it again",
                folder.display()
            ))
        })
}

/// What Maven has downloaded so far, from the lines it prints.
#[derive(Debug, Default)]
struct Download {
    files: usize,
    kilobytes: f64,
}

impl Download {
    /// A message for the person, when this piece changes something.
    fn follow(&mut self, piece: &str) -> Option<String> {
        let current = piece.strip_prefix("Progress (").and_then(|rest| {
            let (_, shown) = rest.split_once(": ")?;
            Some(format!(" · {}", shown.trim()))
        });
        if piece.starts_with("Downloaded from") {
            self.files += 1;
            self.kilobytes += size_in_kilobytes(piece).unwrap_or(0.0);
        } else if current.is_none() {
            return None;
        }
        Some(format!(
            "{} files, {:.0} MB{}",
            self.files,
            self.kilobytes / 1_000.0,
            current.unwrap_or_default()
        ))
    }
}

/// "... (15 MB at 186 MB/s)" is 15,000.
fn size_in_kilobytes(line: &str) -> Option<f64> {
    let (_, size) = line.rsplit_once('(')?;
    let mut words = size.split(' ');
    let number: f64 = words.next()?.parse().ok()?;
    Some(match words.next()? {
        "B" => number / 1_000.0,
        "kB" => number,
        "MB" => number * 1_000.0,
        _ => number * 1_000_000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_adds_up_what_maven_prints() {
        let mut seen = Download::default();
        assert_eq!(seen.follow("[INFO] Scanning for projects..."), None);
        assert_eq!(
            seen.follow("Downloaded from central: a.jar (15 MB at 186 MB/s)"),
            Some("1 files, 15 MB".into())
        );
        assert_eq!(
            seen.follow("Downloaded from central: a.pom (500 kB at 5.5 kB/s)"),
            Some("2 files, 16 MB".into())
        );
        assert_eq!(
            seen.follow("Progress (1): 12/142 MB   "),
            Some("2 files, 16 MB · 12/142 MB".into())
        );
    }

    #[test]
    fn the_folder_depends_on_the_pom() {
        let folder = folder().unwrap();
        assert_eq!(folder, super::folder().unwrap());
        assert!(folder.to_string_lossy().contains("parts-"));
    }
}
