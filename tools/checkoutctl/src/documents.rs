//! The documents and the help name commands that exist, with flags that they have.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};

use crate::args::Args;

const PROGRAM: &str = "checkoutctl";
/// What stands for a value, and one.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("<cartId>", "6f2d7c1e-58a4-4c7d-9b0e-3f1a2b4c5d6e"),
    ("CART", "6f2d7c1e-58a4-4c7d-9b0e-3f1a2b4c5d6e"),
];
/// What ends a command in a line of a shell.
const ENDS: &[&str] = &["#", "|", "||", "&&", ">", ">>"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn pages() -> Vec<(String, String)> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    docs.chain([root().join("README.md")])
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.display().to_string(), text)
        })
        .collect()
}

/// The code of a page: the lines of its blocks, and what stands between backticks.
fn code(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    // Every second piece is inside a fence.
    for (number, piece) in page.split("```").enumerate() {
        match number % 2 {
            0 => {
                let spans = piece.split('`').skip(1).step_by(2);
                found.extend(spans.map(|span| span.replace('\n', " ")));
            }
            _ => found.extend(piece.replace("\\\n", " ").lines().map(str::to_owned)),
        }
    }
    found
}

/// The words of a command in a line of a shell, from its name on; `None` where the line
/// has none.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        let last = words.last_mut()?;
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.push(String::new()),
            (None, ';') => words.extend(["|".to_owned(), String::new()]),
            _ => last.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    // Cargo's `-p` is followed by a package.
    let is_package = |at: usize| at > 0 && words[at - 1] == "-p";
    let begin = (0..words.len()).find(|at| words[*at] == PROGRAM && !is_package(*at))?;
    let command = words.into_iter().skip(begin);
    let command = command.take_while(|word| !ENDS.contains(&word.as_str()));
    let filled = command.map(|word| {
        let known = PLACEHOLDERS.iter().find(|(name, _)| *name == word);
        known.map_or(word, |(_, value)| (*value).to_owned())
    });
    Some(filled.collect())
}

/// The command line, but that nobody needs to say who asks: `$USER` does, where it is set.
fn command_line() -> Command {
    fn anonymous(command: Command) -> Command {
        command
            .mut_args(|arg| match arg.get_id() == "operator" {
                true => arg.required(false),
                false => arg,
            })
            .mut_subcommands(anonymous)
    }
    anonymous(Args::command())
}

/// Whether words are only the name of a command, or of a group of them.
fn is_name(words: &[String]) -> bool {
    let mut command = &Args::command();
    words[1..].iter().all(|word| {
        command.find_subcommand(word).is_some_and(|found| {
            command = found;
            true
        })
    })
}

/// What is wrong with a line, where something is.
fn fault(line: &str) -> Option<String> {
    let words = words(line)?;
    if is_name(&words) {
        return None;
    }
    let error = command_line().try_get_matches_from(&words).err()?;
    Some(format!("{line}: {error}"))
}

#[test]
fn every_command_in_the_documents_is_one() {
    let mut seen = 0;
    let mut faults = Vec::new();
    for (path, page) in pages() {
        for line in code(&page) {
            seen += usize::from(words(&line).is_some());
            faults.extend(fault(&line).map(|fault| format!("{path}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 50, "only {seen} commands were found");
}

#[test]
fn every_example_of_the_help_is_one() {
    fn examples(command: &Command, faults: &mut Vec<String>, seen: &mut usize) {
        let help = command.get_after_help().map(ToString::to_string);
        let help = help.unwrap_or_default().replace("\\\n", " ");
        for line in help.lines() {
            *seen += usize::from(words(line).is_some());
            faults.extend(fault(line));
        }
        for below in command.get_subcommands() {
            examples(below, faults, seen);
        }
    }
    let (mut faults, mut seen) = (Vec::new(), 0);
    examples(&Args::command(), &mut faults, &mut seen);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 30, "only {seen} examples were found");
}

#[test]
fn every_section_of_the_runbook_says_what_to_do_with_these_commands() {
    let runbook = std::fs::read_to_string(root().join("docs/runbook.md")).unwrap();
    let sections = runbook.split("\n## ").skip(1);
    for section in sections {
        let title = section.lines().next().unwrap_or_default();
        let commands = code(section).iter().filter_map(|line| words(line)).count();
        assert!(commands > 0, "{title}");
    }
}

#[test]
fn commands_that_do_not_exist_are_found() {
    for (line, is_fault) in [
        ("checkoutctl", false),
        ("curl $URL/checkouts", false),
        ("checkoutctl dlq redrive", false),
        ("cargo checkoutctl audit   # a table", false),
        ("cargo test -p checkoutctl -p xtask", false),
        ("set +a; checkoutctl explain <cartId> | less", false),
        (
            "checkoutctl sagas retry <cartId> --reason 'it is back'",
            false,
        ),
        ("checkoutctl sagas retry <cartId>", true),
        ("checkoutctl sagas repeat", true),
        ("checkoutctl dlq list --group", true),
        ("checkoutctl explain <cart>", true),
    ] {
        assert_eq!(fault(line).is_some(), is_fault, "{line}: {:?}", fault(line));
    }
}
