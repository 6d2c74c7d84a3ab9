//! Reads what services expose: Prometheus' text format, as far as their exporter writes
//! it.

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Sample {
    /// The value of a label, empty where it has none.
    pub(super) fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(of, _)| of == name);
        found.map_or("", |(_, value)| value)
    }
}

/// All values of a text; lines that are none are passed over.
pub(super) fn samples(text: &str) -> impl Iterator<Item = Sample> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(sample)
}

fn sample(line: &str) -> Option<Sample> {
    let (name, rest) = match line.find(['{', ' ']) {
        Some(at) => line.split_at(at),
        None => return None,
    };
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: rest.split_whitespace().next()?.parse().ok()?,
    })
}

/// The labels up to the closing brace, and what is behind it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        rest = loop {
            match characters.next()? {
                (at, '"') => break quoted.get(at + 1..)?,
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.push((name.to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_their_labels() {
        let text = "# HELP a_total what\n# TYPE a_total counter\n\
                    a_total{outcome=\"failed\",reason=\"a \\\"b\\\"}, c\\\\\"} 3\n\
                    b 2.5\nc_bucket{le=\"+Inf\"} 7 1700000000\nnonsense\nd{e=\"\n";
        let found: Vec<Sample> = samples(text).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(found[0].label("outcome"), "failed");
        assert_eq!(found[0].label("reason"), "a \"b\"}, c\\");
        assert_eq!(found[0].value, 3.0);
        assert_eq!((found[1].name.as_str(), found[1].value), ("b", 2.5));
        assert_eq!((found[2].label("le"), found[2].value), ("+Inf", 7.0));
        assert_eq!(found[2].label("other"), "");
    }
}
