//! A share of a whole, as a percentage or a number from 0 to 1.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A share of a whole, written `1%` or `0.01`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(
    /// The share, from 0 to 1.
    pub f64,
);

impl FromStr for Share {
    type Err = String;

    /// Parses a share.
    fn from_str(text: &str) -> Result<Share, String> {
        let number = |text: &str| text.trim().parse::<f64>().ok();
        let share = match text.strip_suffix('%') {
            Some(percent) => number(percent).map(|percent| percent / 100.0),
            None => number(text),
        };
        let share = share.filter(|share| (0.0..=1.0).contains(share)).map(Share);
        share.ok_or_else(|| format!("`{text}` is not a share, such as 1% or 0.01"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Share, D::Error> {
        /// A configuration has text or a number.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Number(f64),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Number(number) => number.to_string(),
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_a_number() {
        for (text, share) in [("1%", 0.01), ("0.5", 0.5), ("0", 0.0), ("100%", 1.0), ("1", 1.0)] {
            assert_eq!(text.parse(), Ok(Share(share)), "{text}");
        }
        for text in ["", "%", "101%", "-1%", "1.5", "NaN", "one"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }
}
