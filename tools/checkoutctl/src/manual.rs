//! Manual pages, from the definition of the command line.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};

use crate::args::{Args, EXIT_STATUS};

/// The page of the whole program.
pub(crate) fn page() -> io::Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Args::command()).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Writes a page for each command into a folder, which is made where it is not there.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let whole = Args::command().mut_subcommands(with_exit_status);
    clap_mangen::generate_to(whole, folder)
}

/// The program's page has it; those of its commands are read by themselves.
fn with_exit_status(command: Command) -> Command {
    let own = command.get_after_help().map(ToString::to_string);
    let all = own.into_iter().chain([EXIT_STATUS.to_owned()]);
    let text = all.collect::<Vec<_>>().join("\n\n");
    command.after_help(text).mut_subcommands(with_exit_status)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap_complete::Shell;

    use super::*;

    /// The commands that do something, each as its words joined by a dash.
    fn leaves(command: &Command, name: &str) -> Vec<String> {
        let mut below = command.get_subcommands().peekable();
        match below.peek() {
            None => vec![name.to_owned()],
            Some(_) => below
                .flat_map(|command| leaves(command, &format!("{name}-{}", command.get_name())))
                .collect(),
        }
    }

    #[test]
    fn every_command_has_a_page_with_its_exit_statuses() {
        let folder = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
        write(&folder).unwrap();
        let leaves = leaves(&Args::command(), "checkoutctl");
        assert!(leaves.len() > 20, "{leaves:?}");
        for leaf in leaves {
            let page = std::fs::read_to_string(folder.join(format!("{leaf}.1"))).unwrap();
            assert!(page.contains("Exit status:"), "{leaf}: {page}");
            assert!(page.contains("could not be done"), "{leaf}: {page}");
        }
        let page = std::fs::read_to_string(folder.join("checkoutctl-dlq-redrive.1")).unwrap();
        assert!(page.contains("Examples:"), "its own words stay: {page}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn completions_know_every_command_and_are_what_the_shell_reads() {
        for (shell, program) in [
            (Shell::Bash, "bash"),
            (Shell::Zsh, "zsh"),
            (Shell::Fish, "fish"),
        ] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "checkoutctl", &mut script);
            let text = String::from_utf8(script.clone()).unwrap();
            for word in ["explain", "sagas", "redrive", "--dry-run", "preflight"] {
                let word = match shell {
                    // fish has long options without their dashes.
                    Shell::Fish => word.trim_start_matches('-'),
                    _ => word,
                };
                assert!(text.contains(word), "{shell}: {word}");
            }
            let file = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
            std::fs::write(&file, &script).unwrap();
            let checked = std::process::Command::new(program)
                .arg("-n")
                .arg(&file)
                .output();
            std::fs::remove_file(&file).unwrap();
            match checked {
                Ok(output) => assert!(output.status.success(), "{shell}: {output:?}"),
                // Not by `eprintln!`, which a test that passes does not show.
                Err(_) => drop(writeln!(
                    io::stderr(),
                    "SKIPPED: the completions for {program} are not read by it: no {program} here"
                )),
            }
        }
    }
}
