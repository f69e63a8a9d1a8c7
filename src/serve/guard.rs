//! Who is answered: whoever knows the token, and on this machine no page of another site.

use super::error::ApiError;
use super::token::Token;
use std::collections::BTreeSet;

/// The names of every machine for itself.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What is checked of a request before anything else.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The path.
    pub path: &'a str,
    /// The header `Host`.
    pub host: Option<&'a str>,
    /// The header `Authorization`.
    pub authorization: Option<&'a str>,
    /// The parameter `token` of the query.
    pub token: Option<&'a str>,
}

/// The paths that need no token: the page asks for it, and those who supervise a job or scrape its
/// metrics have none by custom. They show no rows.
fn is_open(path: &str) -> bool {
    ["/", "/healthz", "/readyz", "/metrics"].contains(&path) || path.starts_with("/assets/")
}

/// Refuses names of other machines, if the server is reached from this one only: all but those of
/// every machine for itself, and `names`, by which it was told to listen. A page of another
/// site could otherwise give its name the address of this machine, and read what is served here
/// ("DNS rebinding").
///
/// # Errors
/// When the header `Host` is missing or names another machine.
pub fn check_host(
    caller: &Caller<'_>,
    is_loopback: bool,
    names: &[String],
) -> Result<(), ApiError> {
    let host = caller.host.ok_or_else(|| ApiError::bad("the header `Host` is missing"))?;
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let known = OWN_NAMES.into_iter().chain(names.iter().map(String::as_str));
    let is_known = known.clone().any(|one| name.eq_ignore_ascii_case(one));
    if is_loopback && !is_known {
        let known: BTreeSet<&str> = known.collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        let text = format!(
            "the header `Host` names another machine: this server answers to {known} only; for \
             others, give --http-address another address"
        );
        return Err(ApiError::new(403, text));
    }
    Ok(())
}

/// Refuses clients that do not know the token, if there is one.
///
/// # Errors
/// When it is missing or wrong.
pub fn check_token(caller: &Caller<'_>, token: Option<&Token>) -> Result<(), ApiError> {
    let Some(token) = token.filter(|_| !is_open(caller.path)) else { return Ok(()) };
    let in_header = caller.authorization.and_then(|value| {
        let (scheme, given) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| given.trim_start())
    });
    let in_query = caller.token.filter(|_| caller.path == "/api/v1/events");
    match in_header.or(in_query) {
        Some(given) if token.is(given) => Ok(()),
        Some(_) => Err(ApiError::new(401, "the token is wrong")),
        None => Err(ApiError::new(
            401,
            "this server needs a token: send the header `Authorization: Bearer TOKEN`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller<'a>(path: &'a str, host: Option<&'a str>) -> Caller<'a> {
        Caller { path, host, authorization: None, token: None }
    }

    #[test]
    fn only_names_of_this_machine_are_answered_on_loopback() {
        for (host, status) in [
            (Some("localhost"), None),
            (Some("LOCALHOST:8080"), None),
            (Some("127.0.0.1:1"), None),
            (Some("[::1]:8080"), None),
            (Some("[::1]"), None),
            (Some("evil.example"), Some(403)),
            (Some("localhost.evil.example:8080"), Some(403)),
            (Some("evil.example:localhost"), Some(403)),
            (Some(""), Some(403)),
            (Some(":8080"), Some(403)),
            (None, Some(400)),
        ] {
            let checked = check_host(&caller("/", host), true, &[]);
            assert_eq!(checked.err().map(|error| error.status), status, "{host:?}");
        }
        assert!(check_host(&caller("/", Some("trends.example")), false, &[]).is_ok());
    }

    #[test]
    fn a_server_answers_to_the_names_by_which_it_was_told_to_listen() {
        let names = ["127.0.1.1".to_owned(), "my-host".to_owned()];
        for (host, is_answered) in [
            ("127.0.1.1:8080", true),
            ("My-Host:8080", true),
            ("localhost:8080", true),
            ("127.0.1.2:8080", false),
            ("my-host.evil.example", false),
        ] {
            let checked = check_host(&caller("/", Some(host)), true, &names);
            assert_eq!(checked.is_ok(), is_answered, "{host}");
            let said = checked.err().map(|error| error.text);
            assert!(said.is_none_or(|said| said.contains("127.0.1.1, [::1], localhost, my-host")));
        }
    }

    #[test]
    fn the_token_is_needed_except_for_the_page() {
        let token = Token::new("s3cret").unwrap();
        let status =
            |caller: Caller<'_>| check_token(&caller, Some(&token)).err().map(|one| one.status);
        for path in ["/", "/healthz", "/readyz", "/metrics", "/assets/page.js"] {
            assert_eq!(status(caller(path, None)), None, "{path}");
        }
        let job = caller("/api/v1/job", None);
        assert_eq!(status(job), Some(401));
        for (value, expected) in [
            ("Bearer s3cret", None),
            ("bearer  s3cret", None),
            ("Bearer s3cre", Some(401)),
            ("Basic s3cret", Some(401)),
            ("s3cret", Some(401)),
        ] {
            assert_eq!(status(Caller { authorization: Some(value), ..job }), expected, "{value}");
        }
        // A token in a URL may be in logs: only where there is no other way.
        assert_eq!(status(Caller { token: Some("s3cret"), ..job }), Some(401));
        let events = caller("/api/v1/events", None);
        assert_eq!(status(Caller { token: Some("s3cret"), ..events }), None);
        assert_eq!(status(Caller { token: Some("other"), ..events }), Some(401));
        assert!(check_token(&job, None).is_ok());
    }
}
