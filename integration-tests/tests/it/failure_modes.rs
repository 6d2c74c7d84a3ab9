//! docs/failure-modes.md names only tests that are run, and every test of a fault
//! is in it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const PAGE: &str = "docs/failure-modes.md";
/// Fault, what happens, what the customer sees, what the operator sees, proof.
const COLUMNS: usize = 5;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The rows of all tables, without their heads.
fn rows(page: &str) -> Vec<Vec<&str>> {
    let cells = |line: &str| -> bool { line.starts_with('|') };
    let mut rows = Vec::new();
    let mut lines = page.lines().peekable();
    let mut body = false;
    while let Some(line) = lines.next() {
        if !cells(line) {
            body = false;
        } else if body {
            rows.push(line.trim_matches('|').split('|').map(str::trim).collect());
        } else if lines.peek().is_some_and(|next| next.starts_with("|---")) {
            lines.next();
            body = true;
        }
    }
    rows
}

/// What is between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The tests of this binary that are run when nobody asks for more.
fn tests_here() -> BTreeSet<String> {
    // A list has those that are ignored, too.
    &listed(&[]) - &listed(&["--ignored"])
}

/// The tests of this binary, as it lists them itself; with `--ignored` those alone.
fn listed(which: &[&str]) -> BTreeSet<String> {
    let listed = Command::new(std::env::current_exe().expect("this program"))
        .args(["--list", "--format", "terse"])
        .args(which)
        .output()
        .expect("a list");
    assert!(listed.status.success(), "{listed:?}");
    String::from_utf8(listed.stdout)
        .expect("UTF-8")
        .lines()
        .filter_map(|line| line.strip_suffix(": test").map(str::to_owned))
        .collect()
}

/// Whether the text of a file has a test of this name that is run when nobody asks for
/// more: its attributes are right above it, and none of them is `ignore`.
fn runs(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let begins = |line: &&str| {
        let plain = line.strip_prefix("async ").unwrap_or(line);
        plain
            .strip_prefix("fn ")
            .is_some_and(|rest| rest.starts_with(&format!("{name}()")))
    };
    let Some(place) = lines.iter().position(begins) else {
        return false;
    };
    let above = lines[..place].iter().rev();
    let attributes: Vec<&&str> = above.take_while(|line| line.starts_with("#[")).collect();
    let has = |begin: &str| {
        attributes
            .iter()
            .any(|attribute| attribute.starts_with(begin))
    };
    (has("#[test]") || has("#[tokio::test")) && !has("#[ignore") && !has("#[cfg")
}

#[test]
fn a_test_counts_where_it_is_run() {
    let text = "
        #[test]
        fn lives() {}
        #[tokio::test(flavor = \"multi_thread\")]
        async fn lives_too() {}
        #[test]
        #[ignore = \"long\"]
        fn sleeps() {}
        // #[test]
        fn is_off() {}
        fn helps() {}
        // fn is_gone() {}";
    for (name, expected) in [
        ("lives", true),
        ("lives_too", true),
        ("sleeps", false),
        ("is_off", false),
        ("helps", false),
        ("is_gone", false),
        ("live", false),
    ] {
        assert_eq!(runs(text, name), expected, "{name}");
    }
}

#[test]
fn the_page_names_tests_that_exist_and_all_tests_of_faults() {
    let page = std::fs::read_to_string(root().join(PAGE)).expect(PAGE);
    let here = tests_here();
    let mut named = BTreeSet::new();
    let rows = rows(&page);
    assert!(rows.len() > 30, "the tables of {PAGE} are not found");
    for row in &rows {
        assert_eq!(row.len(), COLUMNS, "{row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        let proofs: Vec<&str> = quoted(row[COLUMNS - 1]).collect();
        assert!(!proofs.is_empty(), "nothing proves {row:?}");
        for proof in proofs {
            match proof.split_once(".rs::") {
                // A test of another crate: its file and its name.
                Some((file, name)) => {
                    let text = std::fs::read_to_string(root().join(format!("{file}.rs")))
                        .unwrap_or_else(|error| panic!("{proof}: {error}"));
                    assert!(runs(&text, name), "no test that is run: {proof}");
                }
                None => {
                    assert!(here.contains(proof), "no test that is run: {proof}");
                    named.insert(proof.to_owned());
                }
            }
        }
    }
    let missing: Vec<_> = here
        .iter()
        .filter(|test| test.starts_with("faults::") && !named.contains(*test))
        .collect();
    assert!(missing.is_empty(), "{PAGE} does not tell of {missing:#?}");
}
