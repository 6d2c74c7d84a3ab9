//! docs/failure-modes.md names only tests that are run, and every test of a fault
//! is in it. The metrics and the words that it quotes are those of the programs.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const PAGE: &str = "docs/failure-modes.md";
/// Fault, what happens, what the customer sees, what the operator sees, proof.
const COLUMNS: usize = 5;
/// The columns of the customer and of the operator: what stands there in double quotes are
/// words of a program, in a status or in the log.
const SEEN: [usize; 2] = [2, 3];
/// The column with the names of metrics.
const OPERATOR: usize = 3;
/// Reads metrics, and shows words of others.
const CONSOLE: &str = "services/console";
/// Begins the unit tests of a file.
const UNIT_TESTS: &str = "#[cfg(test)]\nmod tests {";

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

/// What is between double quotes, but for labels of metrics, which are between backticks.
fn words(cell: &str) -> Vec<String> {
    let prose: String = cell.split('`').step_by(2).collect();
    let words = prose.split('"').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

/// Of what is between backticks, that which is spelt as metrics are, with words joined by
/// underscores: the name, and the names and values of labels in braces.
fn metrics(cell: &str) -> Vec<Vec<&str>> {
    let spelt = |name: &str| {
        let is_fit = |c: char| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit();
        name.contains('_') && name.chars().all(is_fit)
    };
    let metrics = quoted(cell).filter_map(|text| {
        let (name, labels) = text.split_once('{').unwrap_or((text, ""));
        let labels = labels.trim_end_matches('}').split(['=', ',']);
        let labels = labels.map(|part| part.trim().trim_matches('"'));
        let labels = labels.filter(|part| !part.is_empty());
        spelt(name).then(|| std::iter::once(name).chain(labels).collect())
    });
    metrics.collect()
}

/// A source file without comments and unit tests, and with the lines of a literal joined.
fn code(source: &str) -> String {
    let source = source.split(UNIT_TESTS).next().unwrap_or_default();
    let lines = source.lines().map(str::trim);
    let mut code = String::new();
    for line in lines.filter(|line| !line.starts_with("//")) {
        match line.strip_suffix('\\') {
            Some(begun) => code.push_str(begun),
            None => {
                code.push_str(line);
                code.push('\n');
            }
        }
    }
    code
}

/// The code of everything below a folder, but for tests in files of their own.
fn gather(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            gather(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&code(&std::fs::read_to_string(&path).expect("a source")));
        }
    }
}

/// The code of what is shipped, as far as it counts and says something.
fn sources() -> String {
    let mut sources = String::new();
    for folder in ["crates", "services"] {
        for entry in std::fs::read_dir(root().join(folder)).expect("a folder") {
            let package = entry.expect("an entry").path();
            if package.is_dir() && !package.ends_with(CONSOLE) {
                gather(&package.join("src"), &mut sources);
            }
        }
    }
    sources
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

#[test]
fn what_is_quoted_is_told_from_other_text() {
    let cell = r#"`a_total{kind="b", to="C"}` rises; "it is so", `/readyz` and `GET /a_b`, "end""#;
    assert_eq!(words(cell), ["it is so", "end"]);
    assert_eq!(metrics(cell), [["a_total", "kind", "b", "to", "C"]]);
    assert_eq!(metrics("`ordering.alerts`, `a_gauge`"), [["a_gauge"]]);
}

#[test]
fn words_count_where_a_program_says_them() {
    let source = "
        // a comment
        say(\"begun, and \\
             ended\");
        #[cfg(test)]
        mod it_is_used;
        say(\"used\");
        "
    .to_owned()
        + UNIT_TESTS
        + "say(\"tried\"); }";
    let code = code(&source);
    for (said, expected) in [
        ("begun, and ended", true),
        ("used", true),
        ("a comment", false),
        ("tried", false),
    ] {
        assert_eq!(code.contains(said), expected, "{said}: {code}");
    }
}

#[test]
fn the_page_quotes_metrics_and_words_that_programs_have() {
    let page = std::fs::read_to_string(root().join(PAGE)).expect(PAGE);
    let sources = sources();
    let mut found = BTreeSet::new();
    let mut missing = Vec::new();
    for row in rows(&page) {
        let literals = metrics(row[OPERATOR]).into_iter().flatten();
        let literals = literals.map(|part| format!("\"{part}\""));
        let said = SEEN.iter().flat_map(|column| words(row[*column]));
        for text in literals.chain(said) {
            match sources.contains(&text) {
                true => _ = found.insert(text),
                false => missing.push((row[0], text)),
            }
        }
    }
    assert!(missing.is_empty(), "no program has {missing:#?}");
    assert!(found.len() > 20, "hardly anything is quoted: {found:#?}");
}
