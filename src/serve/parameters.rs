//! The parameters of requests: declared once, from which they are read, checked and described.

use super::error::ApiError;
use super::token::Token;
use crate::event::{REQUEST_ID_BYTES_MAX, RequestId, VideoId};
use crate::time::{Definition, Epoch, Publication, parse_rfc3339_ms};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The longest text of a parameter, in characters.
const TEXT_MAX: usize = 200;

/// A parameter of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub form: Form,
    /// Whether it must be given.
    pub is_required: bool,
    /// What it does.
    pub about: &'static str,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A whole number: least, most, and what it is without the parameter.
    Count(u64, u64, Option<u64>),
    /// The number of a publication.
    Publication,
    /// The number of an epoch, a time in it, or `latest`.
    Epoch,
    /// A video id.
    Video,
    /// A request id.
    Request,
    /// A time.
    Time,
    /// One of these texts; the first one without the parameter.
    Choice(&'static [&'static str]),
    /// The name of a column, with `-` in front for the largest first.
    Order,
    /// Any text.
    Text,
    /// A token, of any length that tokens may have.
    Token,
}

/// An epoch, as given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenEpoch {
    /// This one.
    Number(Epoch),
    /// The one with this time.
    At(i64),
    /// The latest one that has rows.
    Latest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Parsed {
    Count(u64),
    Epoch(GivenEpoch),
    Video(VideoId),
    /// `None` if no log can have it.
    Request(Option<RequestId>),
    Time(i64),
    Text(String),
}

impl Parameter {
    /// A parameter that may be left out.
    pub const fn new(name: &'static str, form: Form, about: &'static str) -> Parameter {
        Parameter { name, form, is_required: false, about }
    }

    /// A parameter that must be given.
    pub const fn required(name: &'static str, form: Form, about: &'static str) -> Parameter {
        Parameter { name, form, is_required: true, about }
    }

    fn parse(&self, text: &str) -> Result<Parsed, ApiError> {
        let parsed = match self.form {
            Form::Count(least, most, _) => {
                let count = whole(text).filter(|count| (least..=most).contains(count));
                count.map(Parsed::Count)
            }
            Form::Publication => whole(text).map(Parsed::Count),
            Form::Epoch => given_epoch(text).map(Parsed::Epoch),
            Form::Video => whole(text).map(|video| Parsed::Video(VideoId(video))),
            Form::Request => {
                let is_some = (1..=REQUEST_ID_BYTES_MAX).contains(&text.chars().count());
                is_some.then(|| Parsed::Request(RequestId::parse(text)))
            }
            Form::Time => parse_rfc3339_ms(text).ok().map(Parsed::Time),
            Form::Choice(texts) => texts.contains(&text).then(|| Parsed::Text(text.to_owned())),
            Form::Order | Form::Text | Form::Token => {
                let most = if self.form == Form::Token { Token::BYTES_MAX } else { TEXT_MAX };
                let is_some = (1..=most).contains(&text.chars().count());
                is_some.then(|| Parsed::Text(text.to_owned()))
            }
        };
        parsed.ok_or_else(|| self.refused(text, &self.allowed()))
    }

    /// The error that a value is not allowed.
    pub fn refused(&self, given: &str, allowed: &str) -> ApiError {
        let given: String = given.chars().take(TEXT_MAX).collect();
        ApiError::bad(format!("`{}` is `{given}`, but must be {allowed}", self.name))
    }

    /// What it may be, in words.
    fn allowed(&self) -> String {
        match self.form {
            Form::Count(least, most, _) => format!("a whole number from {least} to {most}"),
            Form::Publication => "the number of a publication".into(),
            Form::Epoch => {
                "the number of an epoch, a time such as 2026-01-01T00:00:00Z, or `latest`".into()
            }
            Form::Video => "a video id: a whole number from 0 to 18446744073709551615".into(),
            Form::Request => format!("a request id of 1 to {REQUEST_ID_BYTES_MAX} characters"),
            Form::Time => "a time such as 2026-01-01T00:00:00Z".into(),
            Form::Choice(texts) => format!("one of {}", texts.join(", ")),
            Form::Order => "the name of a column, with `-` in front for the largest first".into(),
            Form::Text => format!("a text of 1 to {TEXT_MAX} characters"),
            Form::Token => format!("a token of 1 to {} characters", Token::BYTES_MAX),
        }
    }

    /// Its schema, for the description of the API.
    pub fn schema(&self) -> Value {
        match self.form {
            Form::Count(least, most, default) => {
                let mut schema = json!({"type": "integer", "minimum": least, "maximum": most});
                if let Some(default) = default {
                    schema["default"] = default.into();
                }
                schema
            }
            Form::Publication => json!({"type": "integer", "minimum": 0, "maximum": i64::MAX}),
            Form::Epoch => json!({"anyOf": [
                {"type": "integer", "minimum": EPOCH_MIN, "maximum": EPOCH_MAX},
                {"type": "string", "format": "date-time"},
                {"const": "latest"},
            ]}),
            Form::Video => {
                let pattern = "^(0|[1-9][0-9]{0,19})$";
                json!({"type": "string", "pattern": pattern, "examples": ["51474863"]})
            }
            Form::Request => {
                json!({"type": "string", "minLength": 1, "maxLength": REQUEST_ID_BYTES_MAX})
            }
            Form::Time => json!({"type": "string", "format": "date-time"}),
            Form::Choice(texts) => json!({"enum": texts, "default": texts[0]}),
            Form::Order => json!({"type": "string", "pattern": "^-?[a-z_]+$"}),
            Form::Text => {
                json!({"type": "string", "minLength": 1, "maxLength": TEXT_MAX})
            }
            Form::Token => {
                json!({"type": "string", "minLength": 1, "maxLength": Token::BYTES_MAX})
            }
        }
    }
}

/// The least and the greatest number of an epoch: of any length, they are beyond all times.
const EPOCH_MIN: i64 = -(1 << 52);
const EPOCH_MAX: i64 = 1 << 52;

/// Parses a whole number in its only form, which can be a key.
fn whole(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

fn given_epoch(text: &str) -> Option<GivenEpoch> {
    if text == "latest" {
        return Some(GivenEpoch::Latest);
    }
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => {
            let is_valid = (EPOCH_MIN..=EPOCH_MAX).contains(&number);
            is_valid.then_some(GivenEpoch::Number(Epoch(number)))
        }
        _ => parse_rfc3339_ms(text).ok().map(GivenEpoch::At),
    }
}

impl GivenEpoch {
    /// The epoch that it is, given which one is the latest.
    pub fn resolve(self, definition: &Definition, latest: Option<Epoch>) -> Option<Epoch> {
        match self {
            GivenEpoch::Number(epoch) => Some(epoch),
            GivenEpoch::At(time_ms) => Some(definition.epoch(time_ms)),
            GivenEpoch::Latest => latest,
        }
    }
}

/// The parameters of a request, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    declared: Vec<Parameter>,
    values: BTreeMap<&'static str, Parsed>,
}

impl Given {
    /// Reads the parameters of a request: those of the path, and those of the query.
    ///
    /// # Errors
    /// When one is unknown, given twice, missing or not allowed.
    pub fn read(
        in_path: &'static [Parameter],
        in_query: &'static [Parameter],
        path: &[(&str, String)],
        query: &[(String, String)],
    ) -> Result<Given, ApiError> {
        let declared = [in_path, in_query].concat();
        let mut values = BTreeMap::new();
        for parameter in in_path {
            if let Some((_, text)) = path.iter().find(|(name, _)| *name == parameter.name) {
                values.insert(parameter.name, parameter.parse(text)?);
            }
        }
        for (name, text) in query {
            let Some(parameter) = in_query.iter().find(|one| one.name == name) else {
                return Err(unknown(name, in_query));
            };
            if values.insert(parameter.name, parameter.parse(text)?).is_some() {
                return Err(ApiError::bad(format!("`{name}` is given twice: give it once")));
            }
        }
        if let Some(missing) =
            declared.iter().find(|one| one.is_required && !values.contains_key(one.name))
        {
            let (name, allowed) = (missing.name, missing.allowed());
            return Err(ApiError::bad(format!("`{name}` is missing: give {allowed}")));
        }
        Ok(Given { declared, values })
    }

    /// The declaration of a parameter.
    ///
    /// # Panics
    /// When the route does not declare it, which is a bug in its handler.
    pub fn parameter(&self, name: &str) -> &Parameter {
        match self.declared.iter().find(|declared| declared.name == name) {
            Some(declared) => declared,
            None => panic!("the route does not declare the parameter `{name}`"),
        }
    }

    fn get(&self, name: &str) -> Option<&Parsed> {
        let Parameter { name, .. } = self.parameter(name);
        self.values.get(name)
    }

    /// Whether a parameter is given.
    pub fn is_given(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A number, or what it is without the parameter.
    pub fn count(&self, name: &str) -> u64 {
        let default = match self.parameter(name).form {
            Form::Count(_, _, default) => default,
            _ => None,
        };
        self.count_if_given(name).or(default).unwrap_or(0)
    }

    /// A number, if it is given.
    pub fn count_if_given(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Parsed::Count(count) => Some(*count),
            _ => None,
        }
    }

    /// A publication.
    pub fn publication(&self, name: &str) -> Option<Publication> {
        self.count_if_given(name).map(Publication)
    }

    /// An epoch.
    pub fn epoch(&self, name: &str) -> Option<GivenEpoch> {
        match self.get(name)? {
            Parsed::Epoch(epoch) => Some(*epoch),
            _ => None,
        }
    }

    /// A video.
    pub fn video(&self, name: &str) -> Option<VideoId> {
        match self.get(name)? {
            Parsed::Video(video) => Some(*video),
            _ => None,
        }
    }

    /// A request id, if it is one that a log can have.
    pub fn request(&self, name: &str) -> Option<RequestId> {
        match self.get(name)? {
            Parsed::Request(request) => *request,
            _ => None,
        }
    }

    /// A time, in milliseconds.
    pub fn time_ms(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Parsed::Time(time_ms) => Some(*time_ms),
            _ => None,
        }
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Parsed::Text(text) => Some(text),
            _ => None,
        }
    }
}

fn unknown(name: &str, known: &[Parameter]) -> ApiError {
    let name: String = name.chars().take(TEXT_MAX).collect();
    let known: Vec<&str> = known.iter().map(|one| one.name).collect();
    let known = match &known[..] {
        [] => "this path has none".to_owned(),
        known => format!("this path has {}", known.join(", ")),
    };
    ApiError::bad(format!("unknown parameter `{name}`: {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static ALL: &[Parameter] = &[
        Parameter::new("limit", Form::Count(0, 100, Some(10)), ""),
        Parameter::new("since", Form::Publication, ""),
        Parameter::new("epoch", Form::Epoch, ""),
        Parameter::required("video_id", Form::Video, ""),
        Parameter::new("request_id", Form::Request, ""),
        Parameter::new("at", Form::Time, ""),
        Parameter::new("direction", Form::Choice(&["rising", "falling"]), ""),
        Parameter::new("order", Form::Order, ""),
        Parameter::new("genre", Form::Text, ""),
        Parameter::new("token", Form::Token, ""),
    ];

    fn read(query: &str) -> Result<Given, String> {
        let pairs = super::super::uri::pairs(query).unwrap();
        Given::read(&[], ALL, &[], &pairs).map_err(|error| {
            assert_eq!(error.status, 400);
            error.text
        })
    }

    #[test]
    fn parameters_are_read() {
        let given = read("video_id=7&epoch=-3&limit=5&genre=Sci-Fi+%26+more&since=4").unwrap();
        assert_eq!((given.count("limit"), given.video("video_id")), (5, Some(VideoId(7))));
        assert_eq!(given.epoch("epoch"), Some(GivenEpoch::Number(Epoch(-3))));
        assert_eq!(given.text("genre"), Some("Sci-Fi & more"));
        assert_eq!(given.publication("since"), Some(Publication(4)));
        assert_eq!((given.time_ms("at"), given.request("request_id")), (None, None));
        let given = read("video_id=18446744073709551615&epoch=1970-01-01T00:00:01Z").unwrap();
        assert_eq!(given.count("limit"), 10);
        assert_eq!(given.epoch("epoch"), Some(GivenEpoch::At(1_000)));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_parameter_the_value_and_what_is_allowed() {
        for (query, said) in [
            ("", "`video_id` is missing: give a video id"),
            ("video_id=-1", "`video_id` is `-1`, but must be a video id: a whole number from 0"),
            ("video_id=007", "`video_id` is `007`"),
            ("video_id=1&video_id=2", "`video_id` is given twice"),
            ("video_id=1&limit=101", "`limit` is `101`, but must be a whole number from 0 to 100"),
            ("video_id=1&limit=", "`limit` is ``"),
            ("video_id=1&epoch=today", "`epoch` is `today`, but must be the number of an epoch"),
            ("video_id=1&direction=up", "must be one of rising, falling"),
            ("video_id=1&genre=", "`genre` is ``, but must be a text of 1 to 200 characters"),
            ("video_id=1&videos=2", "unknown parameter `videos`: this path has limit, since"),
            ("video_id=1&at=noon", "`at` is `noon`, but must be a time such as"),
        ] {
            let error = read(query).unwrap_err();
            assert!(error.starts_with(said) || error.contains(said), "{query}: {error}");
        }
    }

    #[test]
    fn what_a_server_accepts_as_a_token_is_one_as_a_parameter() {
        let longest = "x".repeat(Token::BYTES_MAX);
        assert!(Token::new(&longest).is_ok());
        let given = read(&format!("video_id=1&token={longest}")).unwrap();
        assert_eq!(given.text("token"), Some(&*longest));
        assert!(read(&format!("video_id=1&token={longest}x")).is_err());
    }

    #[test]
    fn the_schema_of_a_video_id_has_room_for_the_largest() {
        let schema = Parameter::new("video_id", Form::Video, "").schema();
        let pattern = schema["pattern"].as_str().unwrap();
        let digits = u64::MAX.to_string().len();
        assert_eq!(pattern, format!("^(0|[1-9][0-9]{{0,{}}})$", digits - 1));
    }

    proptest! {
        #[test]
        fn garbage_is_read_or_refused(query in any::<String>(), name in 0..ALL.len()) {
            let query = query.replace('%', "");
            let _ = read(&query);
            let _ = read(&format!("{}={query}", ALL[name].name));
        }
    }
}
