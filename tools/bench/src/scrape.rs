//! Prometheus' text format, as far as services write it.

use std::collections::BTreeMap;

/// A metric's samples: labels and value.
pub(crate) fn samples<'t>(
    text: &'t str,
    name: &'t str,
) -> impl Iterator<Item = (BTreeMap<&'t str, &'t str>, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once('}')?,
            None => ("", rest.strip_prefix(' ')?),
        };
        let labels = labels.split(',').filter_map(|label| {
            let (name, value) = label.split_once('=')?;
            Some((name, value.trim_matches('"')))
        });
        Some((labels.collect(), value.trim().parse().ok()?))
    })
}

/// The sum of a metric's samples.
pub(crate) fn sum(text: &str, name: &str) -> f64 {
    samples(text, name).map(|(_, value)| value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_sum x\na_sum{type=\"b\",of=\"c\"} 2\na_sum{type=\"c\"} 3.5\n\
                        a_sum_of 9\na_sum 1\nbroken{type=\"b\" 7\n";

    #[test]
    fn samples_of_a_metric_are_added_up_and_others_left_out() {
        assert!((sum(TEXT, "a_sum") - 6.5).abs() < 1e-9);
        assert!(sum(TEXT, "b").abs() < 1e-9);
        assert!(sum(TEXT, "broken").abs() < 1e-9);
    }

    #[test]
    fn labels_are_read() {
        let of_c: Vec<_> = samples(TEXT, "a_sum")
            .filter(|(labels, _)| labels.get("of") == Some(&"c"))
            .collect();
        assert_eq!(of_c.len(), 1);
        assert_eq!(of_c[0].0["type"], "b");
    }
}
