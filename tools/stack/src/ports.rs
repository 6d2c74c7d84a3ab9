//! Free ports on the loopback interface.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::error::{Error, Result};

/// Below the range that systems take the ports of outgoing connections from:
/// so a part that is stopped for a while finds its port free when it returns.
const RANGE: std::ops::Range<u16> = 20_000..32_000;
/// Attempts before giving up; far more than ever needed on a usable machine.
const ATTEMPTS: usize = 1_000;

/// Ports handed out by this process, which may not be bound yet.
static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port on 127.0.0.1 that nothing listens on and that this process has not
/// handed out before.
pub(crate) fn free() -> Result<u16> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..ATTEMPTS {
        let port = rand::random_range(RANGE);
        if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
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
}
