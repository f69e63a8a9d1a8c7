//! The paths of the API: one list, by which requests are answered and from which the description is
//! made.

use super::api::{self, Answer, Asked};
use super::error::ApiError;
use super::fields::Field;
use super::parameters::{Form, Given, Parameter};
use super::uri;

/// A path of the API.
pub struct Route {
    /// The path, with `{name}` for parameters.
    pub path: &'static str,
    /// What it answers.
    pub about: &'static str,
    /// The parameters in the path.
    pub in_path: &'static [Parameter],
    /// The parameters in the query.
    pub in_query: &'static [Parameter],
    /// What it does.
    pub action: Action,
}

/// What a path does.
pub enum Action {
    /// Answers rows of a publication.
    Rows(Rows),
    /// Sends events.
    Events,
    /// Describes the API.
    Description,
}

/// Rows, or an object about a publication.
pub struct Rows {
    /// The function that answers.
    pub answer: Handler,
    /// The fields of the rows; `None` if they depend on the query.
    pub fields: Option<&'static [Field]>,
    /// Whether there are rows, which CSV can have.
    pub has_rows: bool,
    /// Whether the answer changes between publications.
    pub is_live: bool,
    /// Other members of the object: their names, and their schemas.
    pub more: &'static [(&'static str, Schema)],
}

/// A function that returns a schema.
pub type Schema = fn() -> serde_json::Value;

/// A function that answers.
pub type Handler = fn(&Asked<'_>) -> Result<Answer, ApiError>;

const fn rows(answer: Handler, fields: &'static [Field]) -> Action {
    Action::Rows(Rows { answer, fields: Some(fields), has_rows: true, is_live: false, more: &[] })
}

/// The parameters of the stream of events.
static OF_EVENTS: &[Parameter] = &[
    Parameter::new("query", Form::Text, "also send the changed rows of this query"),
    Parameter::new("limit", Form::Count(0, api::LIMIT_MAX, Some(500)), "the most rows of an event"),
    Parameter::new("since", Form::Publication, "begin with what has changed after it"),
    Parameter::new("token", Form::Token, "the token, for clients that cannot send headers"),
];

/// All paths of the API.
pub static ROUTES: &[Route] = &[
    Route {
        path: "/api/v1/job",
        about: "The job: what it computes, how fast it is, and how far behind its logs.",
        in_path: &[],
        in_query: &[],
        action: Action::Rows(Rows {
            answer: api::job::answer,
            fields: Some(&[]),
            has_rows: false,
            is_live: true,
            more: &[("job", api::job::schema)],
        }),
    },
    Route {
        path: "/api/v1/epochs",
        about: "The epochs that have rows, with their sums.",
        in_path: &[],
        in_query: api::epochs::PARAMETERS,
        action: rows(api::epochs::answer, api::epochs::FIELDS),
    },
    Route {
        path: "/api/v1/queries",
        about: "The queries of the job, with their columns and parameters.",
        in_path: &[],
        in_query: &[],
        action: rows(api::queries::answer, api::queries::FIELDS),
    },
    Route {
        path: "/api/v1/queries/{name}/rows",
        about: "The rows of a query, with the columns of its view in an SQLite store.",
        in_path: api::rows::IN_PATH,
        in_query: api::rows::PARAMETERS,
        action: Action::Rows(Rows {
            answer: api::rows::answer,
            fields: None,
            has_rows: true,
            is_live: false,
            more: &[],
        }),
    },
    Route {
        path: "/api/v1/trending",
        about: "The videos that are played most beyond what is usual for them, in one epoch.",
        in_path: &[],
        in_query: api::trending::PARAMETERS,
        action: rows(api::trending::answer, api::trending::FIELDS),
    },
    Route {
        path: "/api/v1/videos/{video_id}",
        about: "The last epochs of a video, oldest first.",
        in_path: api::videos::IN_PATH,
        in_query: api::videos::PARAMETERS,
        action: Action::Rows(Rows {
            answer: api::videos::answer,
            fields: Some(api::videos::FIELDS),
            has_rows: true,
            is_live: false,
            more: &[("title", api::titles::schema_of_one)],
        }),
    },
    Route {
        path: "/api/v1/titles",
        about: "The names of videos, their genres and launch dates.",
        in_path: &[],
        in_query: api::titles::PARAMETERS,
        action: Action::Rows(Rows {
            answer: api::titles::answer,
            fields: Some(api::titles::FIELDS),
            has_rows: true,
            is_live: false,
            more: &[("genres", api::titles::schema_of_genres)],
        }),
    },
    Route {
        path: "/api/v1/ledger",
        about: "What became of all events: the latest epoch first.",
        in_path: &[],
        in_query: api::ledger::PARAMETERS,
        action: rows(api::ledger::answer, api::ledger::FIELDS),
    },
    Route {
        path: "/api/v1/partitions",
        about: "How far each partition of the logs is read.",
        in_path: &[],
        in_query: api::partitions::PARAMETERS,
        action: Action::Rows(Rows {
            answer: api::partitions::answer,
            fields: Some(api::partitions::FIELDS),
            has_rows: true,
            is_live: true,
            more: &[],
        }),
    },
    Route {
        path: "/api/v1/membership",
        about: "Whether a request is in the sets of a video and an epoch.",
        in_path: &[],
        in_query: api::membership::PARAMETERS,
        action: Action::Rows(Rows {
            answer: api::membership::answer,
            fields: Some(&[]),
            has_rows: false,
            is_live: false,
            more: &[("member", api::membership::schema)],
        }),
    },
    Route {
        path: "/api/v1/events",
        about: "A stream of server-sent events: one for every publication.",
        in_path: &[],
        in_query: OF_EVENTS,
        action: Action::Events,
    },
    Route {
        path: "/api/v1/openapi.json",
        about: "This description.",
        in_path: &[],
        in_query: &[],
        action: Action::Description,
    },
];

/// A route that was found, and its parameters.
pub struct Found {
    /// The route.
    pub route: &'static Route,
    /// Whether the path ends in `.csv`.
    pub is_csv: bool,
    /// The parameters.
    pub given: Given,
}

/// Finds the route of a path, and reads the parameters.
///
/// # Errors
/// When there is no such path, or a parameter is wrong.
pub fn find(path: &str, query: &str) -> Result<Found, ApiError> {
    let exact = ROUTES.iter().find_map(|route| Some((route, matches(route, path)?)));
    let (found, is_csv) = match path.strip_suffix(".csv") {
        _ if exact.as_ref().is_some_and(|(route, _)| route.in_path.is_empty()) => (exact, false),
        Some(stem) => {
            let has_rows =
                |route: &&Route| matches!(&route.action, Action::Rows(rows) if rows.has_rows);
            let of_rows = ROUTES.iter().filter(has_rows);
            (of_rows.into_iter().find_map(|route| Some((route, matches(route, stem)?))), true)
        }
        None => (exact, false),
    };
    let Some((route, in_path)) = found else { return Err(unknown(path)) };
    let wrong = || ApiError::bad("the URL has an escape (`%`) that cannot be decoded as UTF-8");
    let decoded = in_path.into_iter().map(|(name, text)| Some((name, uri::decoded(text)?)));
    let in_path: Vec<_> = decoded.collect::<Option<_>>().ok_or_else(wrong)?;
    let in_query = uri::pairs(query).ok_or_else(wrong)?;
    let given = Given::read(route.in_path, route.in_query, &in_path, &in_query)?;
    Ok(Found { route, is_csv, given })
}

/// The parameters in a path, if it is one of a route.
fn matches<'a>(route: &Route, path: &'a str) -> Option<Vec<(&'static str, &'a str)>> {
    let mut found = Vec::new();
    let (mut wanted, mut given) = (route.path.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(found),
            (Some(wanted), Some(given)) => {
                let name = wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
                match name {
                    Some(name) if !given.is_empty() => found.push((name, given)),
                    None if wanted == given => {}
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
}

fn unknown(path: &str) -> ApiError {
    let path: String = path.chars().take(200).collect();
    let all: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
    ApiError::not_found(format!("there is nothing at `{path}`: there is {}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::VideoId;

    fn path_of(path: &str) -> Option<(&'static str, bool)> {
        let found = find(path, "").ok()?;
        Some((found.route.path, found.is_csv))
    }

    #[test]
    fn paths_are_found_with_and_without_csv() {
        for (path, expected) in [
            ("/api/v1/epochs", Some(("/api/v1/epochs", false))),
            ("/api/v1/epochs.csv", Some(("/api/v1/epochs", true))),
            ("/api/v1/queries/a%20b/rows.csv", Some(("/api/v1/queries/{name}/rows", true))),
            ("/api/v1/videos/7", Some(("/api/v1/videos/{video_id}", false))),
            ("/api/v1/videos/7.csv", Some(("/api/v1/videos/{video_id}", true))),
            ("/api/v1/openapi.json", Some(("/api/v1/openapi.json", false))),
            ("/api/v1/job.csv", None),
            ("/api/v1/events.csv", None),
            ("/api/v1/", None),
            ("/api/v1/epochs/", None),
            ("/api/v1/queries//rows", None),
            ("/api/v1/videos/%ff", None),
            ("", None),
        ] {
            assert_eq!(path_of(path), expected, "{path}");
        }
        let found = find("/api/v1/videos/7", "epochs=3").unwrap();
        let epochs = found.given.count("epochs");
        assert_eq!((found.given.video("video_id"), epochs), (Some(VideoId(7)), 3));
    }

    #[test]
    fn the_parameters_of_a_path_are_declared_and_those_of_a_query_are_others() {
        for route in ROUTES {
            let in_path = route.path.split(['{', '}']).skip(1).step_by(2);
            assert!(in_path.eq(route.in_path.iter().map(|one| one.name)), "{}", route.path);
            let all = route.in_path.iter().chain(route.in_query);
            let names: std::collections::BTreeSet<&str> = all.map(|one| one.name).collect();
            assert_eq!(names.len(), route.in_path.len() + route.in_query.len(), "{}", route.path);
        }
    }
}
