//! What an expression of PromQL asks for.

use std::collections::BTreeSet;
use std::convert::Infallible;

use promql_parser::label::MatchOp;
use promql_parser::parser::{Expr, LabelModifier, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};

/// The label of a bucket.
pub const BOUND: &str = "le";

/// What a series with this bucket has.
pub fn bound(value: &str) -> String {
    format!("{BOUND}={value}")
}

/// A series, and the labels that it has to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub series: String,
    /// Their names; of a bucket also its bound, such as `le=30`.
    pub labels: BTreeSet<String>,
}

/// The series that an expression names.
///
/// # Errors
/// It is no PromQL.
pub fn asked(expression: &str) -> Result<Vec<Asked>, String> {
    // Grafana puts a duration there.
    let expression = expression.replace("$__rate_interval", "5m");
    let parsed = promql_parser::parser::parse(&expression)
        .map_err(|error| format!("{expression}: {error}"))?;
    let mut collector = Collector::default();
    let Ok(_) = walk_expr(&mut collector, &parsed);
    Ok(collector.found)
}

#[derive(Default)]
struct Collector {
    /// The labels of the aggregations around, from the outside in.
    grouped_by: Vec<Vec<String>>,
    found: Vec<Asked>,
}

impl Collector {
    fn add(&mut self, selector: &VectorSelector) {
        let Some(series) = selector.name.clone() else {
            return;
        };
        let matchers = &selector.matchers.matchers;
        let bounds = matchers
            .iter()
            .filter(|matcher| matcher.name == BOUND && matcher.op == MatchOp::Equal);
        let bounds = bounds.map(|matcher| bound(&matcher.value));
        let matched = matchers.iter().map(|matcher| matcher.name.clone());
        // An inner aggregation has to keep what an outer one groups by; it is enough
        // to look at the innermost.
        let grouped = self.grouped_by.last().cloned().unwrap_or_default();
        self.found.push(Asked {
            series,
            labels: matched.chain(bounds).chain(grouped).collect(),
        });
    }
}

impl ExprVisitor for Collector {
    type Error = Infallible;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, Infallible> {
        match expression {
            Expr::Aggregate(aggregate) => self.grouped_by.push(match &aggregate.modifier {
                Some(LabelModifier::Include(labels)) => labels.labels.clone(),
                _ => Vec::new(),
            }),
            Expr::VectorSelector(selector) => self.add(selector),
            Expr::MatrixSelector(selector) => self.add(&selector.vs),
            _ => {}
        }
        Ok(true)
    }

    fn post_visit(&mut self, expression: &Expr) -> Result<bool, Infallible> {
        if let Expr::Aggregate(_) = expression {
            self.grouped_by.pop();
        }
        Ok(true)
    }
}

#[test]
fn series_are_found_with_the_labels_that_they_need() {
    let told = asked(
        r#"sum by (topic) (rate(a_total{code!="x"}[$__rate_interval])) / on() vector(1)
           and max by (p) (sum by (topic, p) (b unless c offset 15m)) > 1
           or d_bucket{le="30"}"#,
    )
    .unwrap();
    let told: Vec<_> = told
        .iter()
        .map(|asked| {
            (
                asked.series.as_str(),
                asked.labels.iter().map(String::as_str),
            )
        })
        .map(|(series, labels)| (series, labels.collect::<Vec<_>>().join(" ")))
        .collect();
    let expected = [
        ("a_total", "code topic"),
        ("b", "p topic"),
        ("c", "p topic"),
        ("d_bucket", "le le=30"),
    ];
    assert_eq!(
        told,
        expected.map(|(series, labels)| (series, labels.to_owned()))
    );
    assert!(asked("sum by (").is_err());
}
