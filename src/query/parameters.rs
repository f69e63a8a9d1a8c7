//! Parameters of queries: flags and configuration keys that affect the meaning of the rows.

use crate::time::{Definition, Span};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The unit of a parameter's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterUnit {
    /// Whole numbers.
    Count,
    /// Durations, in milliseconds, written like `1h30m`.
    Duration,
}

/// What the default of a parameter follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultFrom {
    /// Nothing: it is the same in every job.
    Nothing,
    /// The length of an epoch: the number of epochs in a day.
    DayEpochs,
    /// The join window and the maximum delay: the number of epochs before one that may not be final
    /// when it begins.
    OpenEpochs,
}

/// A parameter of a query. Its flag is `--QUERY-NAME`, with hyphens for underscores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// A description in one line, for `--help`.
    pub about: &'static str,
    /// The unit of its values.
    pub unit: ParameterUnit,
    /// Its default value, under the default definition of epochs.
    pub default: i64,
    /// What the default follows from.
    pub default_from: DefaultFrom,
    /// Its smallest value.
    pub min: i64,
    /// Its largest value.
    pub max: i64,
}

/// Returns the flag of a query's parameter, without `--`, which is also its configuration key.
pub fn flag(query: &str, parameter: &str) -> String {
    format!("{query}-{parameter}").replace('_', "-")
}

impl ParameterUnit {
    /// All units.
    pub const ALL: [ParameterUnit; 2] = [ParameterUnit::Count, ParameterUnit::Duration];

    /// Returns its name in stores.
    pub fn name(self) -> &'static str {
        match self {
            ParameterUnit::Count => "count",
            ParameterUnit::Duration => "duration",
        }
    }

    /// Formats a value.
    pub fn text(self, value: i64) -> String {
        match self {
            ParameterUnit::Count => value.to_string(),
            ParameterUnit::Duration => Span { ms: value }.to_string(),
        }
    }

    /// Parses a value.
    ///
    /// # Errors
    /// If the text is not a value of this unit; the message says what was expected.
    pub fn parse(self, text: &str) -> Result<i64, String> {
        match self {
            ParameterUnit::Count => text
                .parse()
                .map_err(|_| format!("`{text}` is not a whole number; write one like `4`")),
            ParameterUnit::Duration => text.parse().map(|span: Span| span.ms),
        }
    }
}

impl DefaultFrom {
    /// Words for `--help`, behind the default.
    pub fn words(self) -> &'static str {
        match self {
            DefaultFrom::Nothing => "",
            DefaultFrom::DayEpochs => " for epochs of 30m: one day",
            DefaultFrom::OpenEpochs => " for the default definition: those that may be open",
        }
    }
}

impl Parameter {
    /// Returns its default value in a job with this definition, within its bounds.
    pub fn default_under(&self, definition: &Definition) -> i64 {
        const DAY_MS: i64 = 86_400_000;
        let Definition { epoch_length_ms, join_window_epochs, max_delay_ms, .. } = *definition;
        let ceiling = |part: i64| part.saturating_add(epoch_length_ms - 1) / epoch_length_ms;
        let default = match self.default_from {
            DefaultFrom::Nothing => self.default,
            DefaultFrom::DayEpochs => DAY_MS / epoch_length_ms,
            DefaultFrom::OpenEpochs => join_window_epochs.saturating_add(ceiling(max_delay_ms)),
        };
        default.clamp(self.min, self.max)
    }

    /// Parses a value, which must be within the bounds.
    ///
    /// # Errors
    /// If it is not; the message says what was expected.
    pub fn parse(&self, text: &str) -> Result<i64, String> {
        let value = self.unit.parse(text)?;
        if (self.min..=self.max).contains(&value) {
            return Ok(value);
        }
        let [min, max] = [self.min, self.max].map(|bound| self.unit.text(bound));
        Err(format!("`{text}` is out of range: it must be {min} to {max}"))
    }
}

/// The values of a query's parameters in a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    values: Vec<(&'static Parameter, i64)>,
}

impl Parameters {
    /// Takes the values that `given` returns by name, and the defaults of the others.
    pub fn new(declared: &'static [Parameter], given: impl Fn(&str) -> Option<i64>) -> Parameters {
        let value = |parameter: &Parameter| given(parameter.name).unwrap_or(parameter.default);
        Parameters { values: declared.iter().map(|one| (one, value(one))).collect() }
    }

    /// Returns the value of a parameter.
    ///
    /// # Panics
    /// If the query does not declare it, which is a bug in the query.
    pub fn get(&self, name: &str) -> i64 {
        match self.values.iter().find(|(parameter, _)| parameter.name == name) {
            Some((_, value)) => *value,
            None => panic!("the query does not declare the parameter `{name}`"),
        }
    }

    /// Returns the parameters and their values.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Parameter, i64)> + '_ {
        self.values.iter().copied()
    }
}

impl fmt::Display for Parameters {
    /// The parameters as `epochs=4`, separated by spaces.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (parameter, value)) in self.iter().enumerate() {
            let space = if position == 0 { "" } else { " " };
            write!(formatter, "{space}{}={}", parameter.name, parameter.unit.text(value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCHS: Parameter = Parameter {
        name: "epochs",
        about: "epochs",
        unit: ParameterUnit::Count,
        default: 4,
        default_from: DefaultFrom::Nothing,
        min: 1,
        max: 48,
    };
    const HALF_LIFE: Parameter = Parameter {
        name: "half_life",
        about: "half-life",
        unit: ParameterUnit::Duration,
        default: 7_200_000,
        default_from: DefaultFrom::Nothing,
        min: 60_000,
        max: 86_400_000,
    };
    static DECLARED: [Parameter; 2] = [EPOCHS, HALF_LIFE];

    #[test]
    fn a_value_is_within_its_bounds() {
        assert_eq!(EPOCHS.parse("48"), Ok(48));
        assert_eq!(HALF_LIFE.parse("1h30m"), Ok(5_400_000));
        for (parameter, text, said) in [
            (EPOCHS, "0", "must be 1 to 48"),
            (EPOCHS, "4h", "not a whole number"),
            (HALF_LIFE, "2d", "must be 1m to 1d"),
            (HALF_LIFE, "5", "unit"),
        ] {
            let error = parameter.parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn a_default_may_follow_from_the_definition() {
        let of = |default_from| Parameter { default_from, max: 1_440, ..EPOCHS };
        let (day, open) = (of(DefaultFrom::DayEpochs), of(DefaultFrom::OpenEpochs));
        let minute_ms = 60_000;
        for (length_ms, join_window_epochs, max_delay_ms, expected) in [
            (30 * minute_ms, 4, 10 * minute_ms, [48, 5]),
            (5 * minute_ms, 24, 11 * minute_ms, [288, 27]),
            (minute_ms, 0, 0, [1_440, 1]),
            (1_000, 2, 1_500, [1_440, 4]),
            (48 * 60 * minute_ms, 1, 1, [1, 2]),
        ] {
            let definition = Definition {
                epoch_length_ms: length_ms,
                join_window_epochs,
                max_delay_ms,
                ..Definition::default()
            };
            assert_eq!([&day, &open].map(|one| one.default_under(&definition)), expected);
        }
    }

    #[test]
    fn a_parameter_not_given_has_its_default() {
        let parameters = Parameters::new(&DECLARED, |name| (name == "epochs").then_some(9));
        assert_eq!((parameters.get("epochs"), parameters.get("half_life")), (9, 7_200_000));
        assert_eq!(parameters.to_string(), "epochs=9 half_life=2h");
    }
}
