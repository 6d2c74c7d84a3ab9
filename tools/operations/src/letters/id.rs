//! Where a letter is.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Where a letter is: `TOPIC:PARTITION:OFFSET`, the topic by its full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterId {
    /// Full name of the dead-letter topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.topic, self.partition, self.offset)
    }
}

impl FromStr for LetterId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (rest, offset) = text.rsplit_once(':')?;
            let (topic, partition) = rest.rsplit_once(':')?;
            Some(Self {
                topic: (!topic.is_empty()).then(|| topic.to_owned())?,
                partition: partition.parse().ok().filter(|number| *number >= 0)?,
                offset: offset.parse().ok().filter(|number| *number >= 0)?,
            })
        };
        read().ok_or_else(|| {
            "a letter is TOPIC:PARTITION:OFFSET, as `checkoutctl dlq list --letters` shows it"
                .to_owned()
        })
    }
}

impl Serialize for LetterId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_named_by_its_place() {
        let id: LetterId = "eu.shopping.checkouts.dlq:3:42".parse().unwrap();
        assert_eq!((id.partition, id.offset), (3, 42));
        assert_eq!(id.to_string(), "eu.shopping.checkouts.dlq:3:42");
        for bad in ["", "a", "a:1", ":1:2", "a:b:1", "a:-1:1", "a:1:-1"] {
            assert!(bad.parse::<LetterId>().is_err(), "{bad}");
        }
    }
}
