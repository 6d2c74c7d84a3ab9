//! Free ports on the loopback interface.

use std::collections::HashSet;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::error::{Error, Result};

/// Below the range that systems take the ports of outgoing connections from:
/// so a part that is stopped for a while finds its port free when it returns.
const RANGE: std::ops::Range<u16> = 20_000..32_000;
/// Attempts before giving up; far more than ever needed on a usable machine.
const ATTEMPTS: usize = 1_000;

/// Ports handed out by this process, which may not be bound yet.
static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A file that all processes of this user have in common: each byte stands for a port. The
/// system lets go what a process has locked when it ends.
static LOCKS: LazyLock<Option<File>> = LazyLock::new(|| {
    let name = format!("checkout-stack-{}.ports", nix::unistd::getuid());
    File::create(std::env::temp_dir().join(name)).ok()
});

/// Makes a port this process's own among those that hand ports out. Where there can be no
/// file it is taken to be: two processes rarely draw the same one.
fn lock(port: u16) -> bool {
    let byte = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: port.into(),
        l_len: 1,
        l_pid: 0,
    };
    let locked = |file: &File| fcntl(file, FcntlArg::F_SETLK(&byte)).is_ok();
    LOCKS.as_ref().is_none_or(locked)
}

/// A port on 127.0.0.1 that nothing listens on and that no process of this user has handed
/// out, for a part that is about to start or stopped for a while.
pub(crate) fn free() -> Result<u16> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..ATTEMPTS {
        let port = rand::random_range(RANGE);
        let is_free = || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if !taken.contains(&port) && lock(port) && is_free() {
            taken.insert(port);
            return Ok(port);
        }
    }
    Err(Error::Invalid(format!(
        "no free port on 127.0.0.1 between {} and {}",
        RANGE.start, RANGE.end
    )))
}

#[cfg(test)]
mod tests {
    #[test]
    fn ports_differ_and_can_be_bound() {
        let ports: Vec<u16> = (0..20).map(|_| super::free().unwrap()).collect();
        let distinct: std::collections::HashSet<_> = ports.iter().collect();
        assert_eq!(distinct.len(), ports.len());
    }

    #[test]
    fn a_port_of_another_process_is_left_alone() {
        const OTHERS: &str = "PORT_OF_ANOTHER_PROCESS";
        if let Ok(port) = std::env::var(OTHERS) {
            assert!(!super::lock(port.parse().unwrap()), "{port} was locked");
            return;
        }
        let port = super::free().unwrap();
        assert!(super::lock(port), "it is this process's own");
        let this = std::thread::current().name().unwrap().to_owned();
        let other = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &this])
            .env(OTHERS, port.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&other.stdout);
        assert!(
            other.status.success() && said.contains("1 passed"),
            "{said}"
        );
    }
}
