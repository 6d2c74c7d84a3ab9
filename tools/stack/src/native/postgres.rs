//! PostgreSQL, with durable commits, as in earnest.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, chown};
use tokio::process::Command;

use super::cache::Parts;
use super::part_folder;
use crate::command;
use crate::database;
use crate::error::{Error, Result};
use crate::guard::{Guard, ProcessSpec, Stopping, User};
use crate::part::{Part, PartKind};
use crate::ports;
use crate::progress::Progress;

/// Creating the data folder.
const INITDB_LIMIT: Duration = Duration::from_secs(120);
/// Asking a program for its version.
const VERSION_LIMIT: Duration = Duration::from_secs(20);
/// Its start, on a machine that is busy compiling.
const READY_LIMIT: Duration = Duration::from_secs(300);
/// Milliseconds for an orderly stop. The data is removed afterwards.
const STOP_LIMIT_MS: u64 = 5_000;
/// The users that root may become, the first that exists: PostgreSQL refuses
/// to run as root.
const UNPRIVILEGED: [&str; 2] = ["nobody", "postgres"];

pub(super) struct Postgres {
    pub(super) admin_url: String,
    pub(super) part: Part,
}

pub(super) async fn start(
    guard: &Guard,
    parts: &Parts,
    base: &Path,
    progress: &Progress,
) -> Result<Postgres> {
    let task = progress.task("PostgreSQL");
    let user = unprivileged_user()?;
    let folder = folder(guard, base, user)?;
    let programs = programs(parts, &folder, user).await?;
    task.update("creating its data folder");
    let data = folder.join("data");
    let mut initdb = as_user(&programs.join("initdb"), user);
    initdb
        .current_dir(&folder)
        .arg("-D")
        .arg(&data)
        .args(["--username=postgres", "--auth=scram-sha-256"])
        .arg(format!(
            "--pwfile={}",
            password_file(&folder, user)?.display()
        ))
        .args(["--encoding=UTF8", "--locale=C", "--no-sync"]);
    command::run(initdb, INITDB_LIMIT, |_| {}).await?;

    task.update("starting");
    let port = ports::free()?;
    let process = guard
        .run(ProcessSpec {
            name: "PostgreSQL".into(),
            program: programs.join("postgres"),
            args: server_arguments(&data, port),
            env: vec![("LC_ALL".into(), "C".into())],
            folder,
            log: base.join("postgres.log"),
            user,
            stopping: Stopping {
                // "Immediate": without the checkpoint that the others write,
                // for data that is removed a moment later.
                signal: Signal::SIGQUIT as i32,
                order: 1,
                limit_ms: STOP_LIMIT_MS,
            },
        })
        .await?;
    let admin_url = format!(
        "postgresql://postgres:{}@127.0.0.1:{port}/postgres",
        database::ADMIN_PASSWORD
    );
    let part = Part {
        kind: PartKind::Postgres,
        name: "PostgreSQL".into(),
        address: format!("127.0.0.1:{port}"),
        url: admin_url.clone(),
        process: Some(process),
        detour: None,
    };
    part.wait_ready(READY_LIMIT).await?;
    task.done(part.address.clone());
    Ok(Postgres { admin_url, part })
}

fn server_arguments(data: &Path, port: u16) -> Vec<String> {
    let mut arguments = vec!["-D".into(), data.display().to_string()];
    for setting in [
        &format!("port={port}"),
        "listen_addresses=127.0.0.1",
        // A socket file's path may be longer than the system allows.
        "unix_socket_directories=",
        // Dozens of services at once, in tests.
        "max_connections=800",
        "fsync=on",
        "synchronous_commit=on",
        // Durable, but no standby reads along.
        "wal_level=minimal",
        "max_wal_senders=0",
        "shared_buffers=1GB",
        "max_wal_size=2GB",
        // Statements here are short: compiling one never pays.
        "jit=off",
        "log_line_prefix=%m [%p] %q%u@%d ",
    ] {
        arguments.extend(["-c".into(), setting.to_owned()]);
    }
    arguments
}

/// Whom to run as: another user when this one is root.
fn unprivileged_user() -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    UNPRIVILEGED
        .iter()
        .find_map(|name| nix::unistd::User::from_name(name).ok().flatten())
        .map(|user| {
            Some(User {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            })
        })
        .ok_or_else(|| {
            Error::Invalid(format!(
                "PostgreSQL does not run as root, and this machine has none of the users {} to \
                 run it as",
                UNPRIVILEGED.join(", ")
            ))
        })
}

/// The part's folder: in `base` when `user` can get there, in the system's
/// temporary folder otherwise.
fn folder(guard: &Guard, base: &Path, user: Option<User>) -> Result<PathBuf> {
    let Some(user) = user else {
        return part_folder(guard, base, "postgres");
    };
    let folder = if can_enter(base, user) {
        part_folder(guard, base, "postgres")?
    } else {
        let folder = tempfile::Builder::new()
            .prefix("stack-postgres-")
            .tempdir()
            .map_err(Error::io("cannot create a temporary folder"))?
            .keep();
        guard.remove_at_end(folder.clone())?;
        folder
    };
    give_to(&folder, user)?;
    if !can_enter(&folder, user) {
        return Err(Error::Invalid(format!(
            "PostgreSQL does not run as root, and user id {} cannot enter {}: choose another \
             --dir, or another TMPDIR",
            user.uid,
            folder.display()
        )));
    }
    Ok(folder)
}

/// Makes `user` the owner of `path`, and lets nobody else in.
fn give_to(path: &Path, user: User) -> Result<()> {
    let doing = format!("cannot give {} to user id {}", path.display(), user.uid);
    chown(path, Some(user.uid.into()), Some(user.gid.into()))
        .map_err(std::io::Error::from)
        .map_err(Error::io(doing))
}

/// Whether `user` may enter the folder `path` and all above it.
fn can_enter(path: &Path, user: User) -> bool {
    path.ancestors().all(|folder| {
        std::fs::metadata(folder).is_ok_and(|found| {
            let shift = match () {
                () if found.uid() == user.uid => 6,
                () if found.gid() == user.gid => 3,
                () => 0,
            };
            (found.permissions().mode() >> shift) & 1 == 1
        })
    })
}

/// The folder of PostgreSQL's programs: the fetched ones where they run, those
/// of a local installation otherwise.
async fn programs(parts: &Parts, folder: &Path, user: Option<User>) -> Result<PathBuf> {
    let mut candidates = Vec::new();
    if let Some(fetched) = &parts.postgres {
        let mut fetched = fetched.clone();
        if let Some(user) = user
            && !can_enter(&fetched.join("bin"), user)
        {
            // A checkout in root's own folder: the user needs a copy.
            let copy = folder.join("programs");
            copy_tree(&fetched, &copy)
                .map_err(Error::io(format!("cannot copy to {}", copy.display())))?;
            fetched = copy;
        }
        candidates.push(fetched.join("bin"));
    }
    candidates.extend(local_installations());
    let mut tried = Vec::new();
    for candidate in candidates {
        let mut ask = as_user(&candidate.join("postgres"), user);
        ask.arg("--version");
        match command::run(ask, VERSION_LIMIT, |_| {}).await {
            Ok(_) if candidate.join("initdb").exists() => return Ok(candidate),
            Ok(_) => tried.push(format!("{} has no initdb", candidate.display())),
            Err(error) => tried.push(error.to_string()),
        }
    }
    Err(Error::Invalid(format!(
        "no PostgreSQL runs on this machine ({} {}): install one, with `initdb` on the PATH. \
         Tried: {}",
        std::env::consts::OS,
        std::env::consts::ARCH,
        tried.join("; ")
    )))
}

/// Folders with a `postgres` program, the PATH first.
fn local_installations() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Debian keeps the server's programs away from the PATH; newest first.
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    versions.sort();
    folders.extend(versions.into_iter().rev());
    folders.retain(|folder| folder.join("postgres").exists());
    folders
}

fn as_user(program: &Path, user: Option<User>) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").current_dir("/");
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

fn password_file(folder: &Path, user: Option<User>) -> Result<PathBuf> {
    let path = folder.join("password");
    std::fs::write(&path, database::ADMIN_PASSWORD)
        .map_err(Error::io(format!("cannot write {}", path.display())))?;
    if let Some(user) = user {
        give_to(&path, user)?;
    }
    Ok(path)
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&source)?, &target)?;
        } else {
            std::fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_folder_above_keeps_a_user_out() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        let stranger = User {
            uid: 4_000_000,
            gid: 4_000_000,
        };
        let set = |mode| {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(0o700);
        assert!(!can_enter(&inside, stranger));
        set(0o711);
        assert!(can_enter(&inside, stranger));
    }

    #[test]
    fn commits_are_durable() {
        let arguments = server_arguments(Path::new("/data"), 20_001).join(" ");
        assert!(arguments.contains("fsync=on"));
        assert!(arguments.contains("synchronous_commit=on"));
        assert!(arguments.contains("listen_addresses=127.0.0.1"));
    }
}
