//! The flags for the parameters that queries declare.

use crate::dataflows;
use crate::query::parameters::flag;
use crate::query::{Parameter, ParameterUnit, Parameters, Query, QueryInstance};
use crate::time::{Definition, Span};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use std::collections::BTreeMap;

/// The given query parameters, by flag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryParameters {
    given: BTreeMap<String, i64>,
}

/// All declared parameters, with their queries.
fn declared() -> impl Iterator<Item = (&'static Query, &'static Parameter)> {
    let queries = dataflows::ALL.iter().copied();
    queries.flat_map(|query| query.parameters.iter().map(move |parameter| (query, parameter)))
}

/// Finds a parameter by its flag.
fn find(wanted: &str) -> Option<&'static Parameter> {
    let mut declared = declared();
    declared
        .find(|(query, parameter)| flag(query.name, parameter.name) == wanted)
        .map(|(_, parameter)| parameter)
}

impl QueryParameters {
    /// Whether a query declares a parameter with this flag.
    pub fn declares(flag: &str) -> bool {
        find(flag).is_some()
    }

    /// Sets a parameter by its flag.
    ///
    /// # Errors
    /// When no query declares the parameter, or its value is invalid.
    pub fn set(&mut self, flag: &str, text: &str) -> Result<(), String> {
        let parameter = find(flag).ok_or_else(|| format!("no query has the parameter `{flag}`"))?;
        self.given.insert(flag.to_owned(), parameter.parse(text)?);
        Ok(())
    }

    /// Merges these parameters with `others`; these take precedence.
    pub fn or_else(&self, others: &QueryParameters) -> QueryParameters {
        let given = others.given.iter().chain(&self.given);
        QueryParameters { given: given.map(|(flag, value)| (flag.clone(), *value)).collect() }
    }

    /// The given parameters as keys and values of a configuration file.
    pub fn to_table(&self) -> toml::Table {
        let value = |flag: &str, value: i64| match find(flag).map(|parameter| parameter.unit) {
            Some(ParameterUnit::Duration) => Span { ms: value }.to_string().into(),
            Some(ParameterUnit::Count) | None => toml::Value::Integer(value),
        };
        self.given.iter().map(|(flag, given)| (flag.clone(), value(flag, *given))).collect()
    }

    /// Adds the defaults of parameters of `queries` that were not given.
    pub fn with_defaults(&self, queries: &[String], definition: &Definition) -> QueryParameters {
        let is_wanted =
            |query: &Query| queries.iter().any(|name| name == query.name || name == "all");
        let wanted = declared().filter(|(query, _)| is_wanted(query));
        let defaults = wanted.map(|(query, parameter)| {
            (flag(query.name, parameter.name), parameter.default_under(definition))
        });
        self.or_else(&QueryParameters { given: defaults.collect() })
    }

    /// Returns a query with the values of its parameters in a job with this definition.
    pub fn instance(&self, query: &'static Query, definition: &Definition) -> QueryInstance {
        let default = |name: &str| {
            let parameter = query.parameters.iter().find(|parameter| parameter.name == name)?;
            Some(parameter.default_under(definition))
        };
        let given =
            |name: &str| self.given.get(&flag(query.name, name)).copied().or_else(|| default(name));
        QueryInstance { query, parameters: Parameters::new(query.parameters, given) }
    }

    /// Returns the flag and query name of a given parameter whose query is not in `queries`.
    pub fn unused(&self, queries: &[QueryInstance]) -> Option<(String, &'static str)> {
        let is_used = |query: &Query| queries.iter().any(|one| one.query.name == query.name);
        declared()
            .filter(|(query, _)| !is_used(query))
            .map(|(query, parameter)| (flag(query.name, parameter.name), query.name))
            .find(|(flag, _)| self.given.contains_key(flag))
    }
}

impl Args for QueryParameters {
    fn augment_args(command: Command) -> Command {
        declared().fold(command, |command, (query, parameter)| {
            let default = parameter.unit.text(parameter.default);
            let from = parameter.default_from.words();
            let (name, about) = (query.name, parameter.about);
            let help = format!("For the query {name}: {about} [default: {default}{from}]");
            let flag = flag(query.name, parameter.name);
            command.arg(
                Arg::new(flag.clone())
                    .long(flag)
                    .value_name(parameter.unit.name().to_uppercase())
                    .help(help)
                    .help_heading("Queries and epochs")
                    .value_parser(|text: &str| parameter.parse(text)),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        QueryParameters::augment_args(command)
    }
}

impl FromArgMatches for QueryParameters {
    fn from_arg_matches(matches: &ArgMatches) -> Result<QueryParameters, clap::Error> {
        let mut parameters = QueryParameters::default();
        parameters.update_from_arg_matches(matches)?;
        Ok(parameters)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (query, parameter) in declared() {
            let flag = flag(query.name, parameter.name);
            if let Some(value) = matches.get_one::<i64>(&flag) {
                self.given.insert(flag, *value);
            }
        }
        Ok(())
    }
}
