//! What stays of a test that failed.

use std::path::Path;

use super::System;

/// Where the logs of tests that failed are kept.
const FAILED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/failed-tests");

/// The most lines of one service that are shown.
const SHOWN: usize = 25;

impl System {
    /// Copies the logs of the services and the parts to where they outlive the test, and
    /// shows what the services warned of: of a run elsewhere there is no more to see.
    pub(super) fn keep_logs(&mut self) {
        let folder = Path::new(FAILED).join(self.installation.topic_prefix.trim_end_matches('.'));
        let services = self.instances.get_mut().iter();
        let services: Vec<_> = services
            .map(|instance| instance.process.log().to_path_buf())
            .collect();
        let parts = self.parts.stack.parts().iter();
        let parts = parts.filter_map(|part| Some(part.process.as_ref()?.log().to_path_buf()));
        let kept = std::fs::create_dir_all(&folder).and_then(|()| {
            for log in services.iter().cloned().chain(parts) {
                std::fs::copy(&log, folder.join(log.file_name().unwrap_or_default()))?;
            }
            Ok(())
        });
        match kept {
            Ok(()) => eprintln!("the logs of this test's system: {}", folder.display()),
            Err(error) => eprintln!("the logs of this test's system are lost: {error}"),
        }
        for log in services {
            show_warnings(&log);
        }
    }
}

/// The last ones, for those before were lived through.
fn show_warnings(log: &Path) {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let warnings: Vec<_> = text
        .lines()
        .filter(|line| line.contains("WARN") || line.contains("ERROR"))
        .collect();
    let last = &warnings[warnings.len().saturating_sub(SHOWN)..];
    eprintln!("{}: the last {} warnings", log.display(), last.len());
    for line in last {
        eprintln!("{line}");
    }
}
