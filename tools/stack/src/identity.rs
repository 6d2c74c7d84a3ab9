//! Which process is meant, even after its id was given to another one.

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process: its id, and when it started, so that a recycled id is never
/// taken for the process that had it before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The system's process id.
    pub pid: u32,
    /// The start time as the system tells it; only compared, never parsed.
    pub started: String,
}

impl ProcessId {
    /// The process that has `pid` now; `None` when there is none, or only the
    /// remains of one that its parent has not collected yet.
    pub fn of(pid: u32) -> Option<Self> {
        start_time(pid).map(|started| Self { pid, started })
    }

    /// This process itself.
    pub fn current() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether this very process still runs.
    pub fn is_alive(&self) -> bool {
        start_time(self.pid).as_ref() == Some(&self.started)
    }

    /// Sends a signal to this very process; `false` when it is gone.
    pub fn signal(&self, signal: Signal) -> bool {
        self.is_alive() && signal::kill(pid_of(self.pid), signal).is_ok()
    }

    /// Sends a signal to the process group that this process leads; to the
    /// process alone when it leads none. `false` when it is gone.
    pub fn signal_group(&self, signal: Signal) -> bool {
        if !self.is_alive() {
            return false;
        }
        match signal::killpg(pid_of(self.pid), signal) {
            Err(Errno::ESRCH) => signal::kill(pid_of(self.pid), signal).is_ok(),
            other => other.is_ok(),
        }
    }
}

/// `pid` as nix takes it.
pub(crate) fn pid_of(pid: u32) -> Pid {
    // Process ids are far below i32::MAX; one that is not matches no process.
    Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX))
}

/// Linux tells the start in clock ticks since boot, so the boot belongs to it.
#[cfg(target_os = "linux")]
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = start_ticks(&stat)?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Some(format!("{}:{ticks}", boot.trim()))
}

#[cfg(not(target_os = "linux"))]
fn start_time(pid: u32) -> Option<String> {
    let output = std::process::Command::new("ps")
        .args(["-o", "stat=,lstart=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (state, started) = text.trim().split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| started.trim().to_owned())
}

/// Field 22 of /proc/PID/stat, unless the process is a zombie. The name (field
/// 2) may hold anything, so counting starts after its closing bracket.
#[cfg(any(target_os = "linux", test))]
fn start_ticks(stat: &str) -> Option<&str> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_found_behind_a_strange_name() {
        let stat = "77 (a) b (c) S 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4321 9 9";
        assert_eq!(start_ticks(stat), Some("4321"));
        let zombie = "77 (a) Z 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4321 9 9";
        assert_eq!(start_ticks(zombie), None);
    }

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let current = ProcessId::current().unwrap();
        assert!(current.is_alive());
        let other = ProcessId {
            started: "long ago".into(),
            ..current
        };
        assert!(!other.is_alive(), "a recycled id is another process");
        assert!(!other.signal(Signal::SIGKILL));
    }
}
