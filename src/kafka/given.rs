//! Parses settings from the command line (`KEY=VALUE`) and from a configuration (a table), and
//! writes them with secrets hidden.

use super::settings::redacted;
use super::{KafkaSettings, KafkaSettingsError};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A setting as given by the user. The value may be a secret and is hidden when printed.
#[derive(Clone, PartialEq, Eq)]
pub struct GivenSetting {
    key: String,
    value: Option<String>,
}

impl FromStr for GivenSetting {
    type Err = Infallible;

    /// Never fails, so that no error message can quote a secret.
    fn from_str(text: &str) -> Result<GivenSetting, Infallible> {
        Ok(match text.split_once('=') {
            Some((key, value)) => {
                GivenSetting { key: key.trim().into(), value: Some(value.to_string()) }
            }
            None => {
                let is_key = |letter: &char| letter.is_alphanumeric() || "._-".contains(*letter);
                GivenSetting { key: text.chars().take_while(is_key).collect(), value: None }
            }
        })
    }
}

impl fmt::Debug for GivenSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_ref().map_or("", |value| redacted(&self.key, value));
        write!(formatter, "{}={value}", self.key)
    }
}

impl KafkaSettings {
    /// Returns the given settings. If a key is given several times, the last value wins.
    ///
    /// # Errors
    /// When a setting has no value, or [`KafkaSettings::check`] fails.
    pub fn given(
        bootstrap_servers: &str,
        settings: &[GivenSetting],
    ) -> Result<KafkaSettings, KafkaSettingsError> {
        let valued = |given: &GivenSetting| match &given.value {
            Some(value) if !given.key.is_empty() => Ok((given.key.clone(), value.clone())),
            _ => Err(KafkaSettingsError::NoValue { key: given.key.clone() }),
        };
        let settings: Result<BTreeMap<_, _>, _> = settings.iter().map(valued).collect();
        let settings =
            KafkaSettings { bootstrap_servers: bootstrap_servers.into(), settings: settings? };
        settings.check()?;
        Ok(settings)
    }
}

/// Writes settings as a table, with secrets hidden.
///
/// # Errors
/// When the serializer fails.
pub fn serialize_settings<S: Serializer>(
    settings: &[GivenSetting],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let shown = settings.iter().map(|given| {
        let value = given.value.as_ref().map_or("", |value| redacted(&given.key, value));
        (given.key.as_str(), value)
    });
    shown.collect::<BTreeMap<_, _>>().serialize(serializer)
}

/// Reads settings from a table: `"sasl.username" = "x"`, or the same without quotes.
///
/// # Errors
/// When a value is not a string, number, boolean or table.
pub fn deserialize_settings<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<GivenSetting>, D::Error> {
    let table = BTreeMap::<String, Value>::deserialize(deserializer)?;
    let mut settings = Vec::new();
    flatten("", table, &mut settings).map_err(D::Error::custom)?;
    Ok(settings)
}

/// The value of a key. An unquoted key with dots is parsed as nested tables.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(String),
    Table(BTreeMap<String, Value>),
    Other(serde::de::IgnoredAny),
}

fn flatten(
    prefix: &str,
    table: BTreeMap<String, Value>,
    settings: &mut Vec<GivenSetting>,
) -> Result<(), String> {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        let value = match value {
            Value::Bool(truth) => truth.to_string(),
            Value::Integer(integer) => integer.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Text(text) => text,
            Value::Table(table) => {
                flatten(&format!("{key}."), table, settings)?;
                continue;
            }
            Value::Other(_) => {
                return Err(format!(
                    "the Kafka setting `{key}` is not a string, number or boolean"
                ));
            }
        };
        settings.push(GivenSetting { key, value: Some(value) });
    }
    Ok(())
}
