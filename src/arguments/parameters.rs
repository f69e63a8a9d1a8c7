//! The flags of the queries' parameters, which the queries declare.

use crate::dataflows;
use crate::query::parameters::flag;
use crate::query::{Parameter, ParameterUnit, Parameters, Query, QueryInstance};
use crate::time::Span;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use std::collections::BTreeMap;

/// The parameters of queries that were given, by their flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryParameters {
    given: BTreeMap<String, i64>,
}

/// All parameters, with their queries.
fn declared() -> impl Iterator<Item = (&'static Query, &'static Parameter)> {
    let queries = dataflows::ALL.iter().copied();
    queries.flat_map(|query| query.parameters.iter().map(move |parameter| (query, parameter)))
}

/// The parameter of a flag.
fn find(wanted: &str) -> Option<&'static Parameter> {
    let mut declared = declared();
    declared
        .find(|(query, parameter)| flag(query.name, parameter.name) == wanted)
        .map(|(_, parameter)| parameter)
}

impl QueryParameters {
    /// Whether a flag is that of a parameter.
    pub fn declares(flag: &str) -> bool {
        find(flag).is_some()
    }

    /// Sets a parameter by its flag.
    ///
    /// # Errors
    /// When there is none, or it cannot have this value.
    pub fn set(&mut self, flag: &str, text: &str) -> Result<(), String> {
        let parameter = find(flag).ok_or_else(|| format!("no query has the parameter `{flag}`"))?;
        self.given.insert(flag.to_owned(), parameter.parse(text)?);
        Ok(())
    }

    /// These, and those of others that are not among them.
    pub fn over(&self, others: &QueryParameters) -> QueryParameters {
        let given = others.given.iter().chain(&self.given);
        QueryParameters { given: given.map(|(flag, value)| (flag.clone(), *value)).collect() }
    }

    /// Those that were given, as they are written in a configuration.
    pub fn to_table(&self) -> toml::Table {
        let value = |flag: &str, value: i64| match find(flag).map(|parameter| parameter.unit) {
            Some(ParameterUnit::Duration) => Span { ms: value }.to_string().into(),
            Some(ParameterUnit::Count) | None => toml::Value::Integer(value),
        };
        self.given.iter().map(|(flag, given)| (flag.clone(), value(flag, *given))).collect()
    }

    /// The same, with the defaults of the parameters of some queries that were not given.
    pub fn with_defaults(&self, queries: &[String]) -> QueryParameters {
        let is_wanted =
            |query: &Query| queries.iter().any(|name| name == query.name || name == "all");
        let wanted = declared().filter(|(query, _)| is_wanted(query));
        let defaults =
            wanted.map(|(query, parameter)| (flag(query.name, parameter.name), parameter.default));
        self.over(&QueryParameters { given: defaults.collect() })
    }

    /// A query with its parameters.
    pub fn instance(&self, query: &'static Query) -> QueryInstance {
        let given = |name: &str| self.given.get(&flag(query.name, name)).copied();
        QueryInstance { query, parameters: Parameters::new(query.parameters, given) }
    }

    /// A parameter that was given, but not to one of these queries: its flag and its query.
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
            let help =
                format!("For the query {}: {} [default: {default}]", query.name, parameter.about);
            let flag = flag(query.name, parameter.name);
            command.arg(
                Arg::new(flag.clone())
                    .long(flag)
                    .value_name(parameter.unit.name().to_uppercase())
                    .help(help)
                    .help_heading("What is computed")
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
