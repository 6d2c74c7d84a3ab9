//! Processor time and memory of the processes that a measurement is about.

use std::collections::BTreeMap;

use stack::{PartKind, Services, Stack};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// What this program itself is called.
pub(crate) const LOAD: &str = "load";

/// All processes of one kind, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Seen {
    /// Processor time so far, in microseconds; of PostgreSQL without connections that
    /// have ended.
    pub(crate) cpu_us: u64,
    /// Resident memory of the largest, in MiB.
    pub(crate) memory_mib: f64,
}

/// By kind: kafka, postgres, registry, each service, and [`LOAD`].
pub(crate) type Processes = BTreeMap<String, Seen>;

/// Looks at processes.
pub(crate) struct Looker {
    system: System,
    roots: BTreeMap<Pid, String>,
}

impl Looker {
    /// The parts, these services, and this program.
    pub(crate) fn new(stack: &Stack, services: Option<&Services>) -> Self {
        let mut roots = BTreeMap::new();
        for part in stack.parts() {
            let name = match part.kind {
                PartKind::Kafka => "kafka",
                PartKind::Registry => "registry",
                PartKind::Postgres => "postgres",
            };
            if let Some(pid) = part.process.as_ref().and_then(|process| process.pid()) {
                roots.insert(Pid::from_u32(pid), name.to_owned());
            }
        }
        for instance in services.iter().flat_map(|services| &services.instances) {
            if let Some(pid) = instance.process.pid() {
                roots.insert(Pid::from_u32(pid), instance.service.name().to_owned());
            }
        }
        roots.insert(Pid::from_u32(std::process::id()), LOAD.to_owned());
        Self {
            system: System::new(),
            roots,
        }
    }

    /// As they are now.
    pub(crate) fn look(&mut self) -> Processes {
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory();
        self.system
            .refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
        let mut seen = Processes::new();
        for (pid, process) in self.system.processes() {
            // Threads are listed as well; their time is in their process's.
            if process.thread_kind().is_some() {
                continue;
            }
            // A PostgreSQL connection is a child of the server.
            let parent = || process.parent().and_then(|parent| self.roots.get(&parent));
            if let Some(name) = self.roots.get(pid).or_else(parent) {
                let all = seen.entry(name.clone()).or_default();
                all.cpu_us += process.accumulated_cpu_time() * 1_000;
                all.memory_mib = all.memory_mib.max(mib(process.memory()));
            }
        }
        seen
    }
}

/// Processor time that the compilers of the brokers' virtual machines have used so far, in
/// microseconds, where the system tells (Linux).
pub(crate) fn compiling_us(stack: &Stack) -> u64 {
    let brokers = stack
        .parts()
        .iter()
        .filter(|part| part.kind == PartKind::Kafka);
    let pids = brokers.filter_map(|part| part.process.as_ref()?.pid());
    pids.flat_map(|pid| std::fs::read_dir(format!("/proc/{pid}/task")))
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok())
        .filter_map(|stat| compiler_us(&stat))
        .sum()
}

/// Of a line of `/proc/PID/task/TID/stat`, if it is a compiler's: its 14th and 15th fields
/// (proc(5)), in ticks of 10 ms.
fn compiler_us(stat: &str) -> Option<u64> {
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let is_compiler = ["C1 Compiler", "C2 Compiler"]
        .iter()
        .any(|compiler| name.starts_with(compiler));
    let times = rest.split_whitespace().skip(11).take(2);
    let ticks: u64 = times.filter_map(|time| time.parse::<u64>().ok()).sum();
    is_compiler.then_some(ticks * 10_000)
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Processor time of one kind between two looks, in microseconds.
#[allow(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn spent_us(before: &Processes, after: &Processes, name: &str) -> f64 {
    let cpu_us = |processes: &Processes| processes.get(name).map_or(0, |seen| seen.cpu_us);
    cpu_us(after).saturating_sub(cpu_us(before)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_compilers_is_told_from_that_of_other_threads() {
        let stat = |name| format!("7 ({name}) S 1 7 7 0 -1 4194368 90 0 0 0 150 25 0 0 20 0 9");
        assert_eq!(compiler_us(&stat("C2 CompilerThre")), Some(1_750_000));
        assert_eq!(compiler_us(&stat("C1 CompilerThre")), Some(1_750_000));
        assert_eq!(compiler_us(&stat("data-plane (0)")), None);
        assert_eq!(compiler_us("nonsense"), None);
    }

    #[test]
    fn this_program_is_seen_and_its_time_grows() {
        let mut looker = Looker {
            system: System::new(),
            roots: [(Pid::from_u32(std::process::id()), LOAD.to_owned())].into(),
        };
        let before = looker.look();
        assert!(before[LOAD].memory_mib > 0.1, "{before:?}");
        let mut after = looker.look();
        let mut sum = 0_u64;
        while spent_us(&before, &after, LOAD) <= 0.0 {
            sum = (0..1_000_000_u64).fold(sum, |sum, more| sum.wrapping_mul(31) ^ more);
            after = looker.look();
        }
        assert!(spent_us(&before, &after, LOAD) >= 1_000.0, "{sum}");
        assert!(spent_us(&before, &after, "nobody").abs() < 1e-9);
    }
}
