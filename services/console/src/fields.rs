//! What a query or a form says: names and values, a name as often as it likes.

/// The fields, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads `a=1&b=2`.
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// A field's value, without the blanks around it; absent where it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(of, _)| of == name);
        found
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// All values of a name, but empty ones.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let of_name = self.0.iter().filter(|(of, _)| of == name);
        of_name
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
            .collect()
    }

    /// All fields that say something, as a query; `leave_out` excepted.
    pub(crate) fn query_without(&self, leave_out: &[&str]) -> String {
        let kept = self
            .0
            .iter()
            .filter(|(name, value)| !value.is_empty() && !leave_out.contains(&name.as_str()));
        query(kept.map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

/// `a=1&b=2`, escaped.
pub(crate) fn query<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_written() {
        let fields = Fields::parse("state=STUCK&state=&step=+&cart=a%26b&state=FAILED");
        assert_eq!(fields.all("state"), ["STUCK", "FAILED"]);
        assert_eq!(fields.get("step"), None);
        assert_eq!(fields.get("cart"), Some("a&b"));
        assert_eq!(fields.query_without(&["state", "step"]), "cart=a%26b");
    }
}
