//! What a client is told when it gets no rows: a status, and a text that says what to do.

use super::table::{TEXT_BYTES_MAX, TooLarge, quoted};
use crate::stores::StoreError;

/// An error of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The status of HTTP.
    pub status: u16,
    /// What is wrong, and what to do.
    pub text: String,
}

impl ApiError {
    /// An error with a status and a text.
    pub fn new(status: u16, text: impl Into<String>) -> ApiError {
        ApiError { status, text: text.into() }
    }

    /// The request is wrong.
    pub fn bad(text: impl Into<String>) -> ApiError {
        ApiError::new(400, text)
    }

    /// There is no such thing.
    pub fn not_found(text: impl Into<String>) -> ApiError {
        ApiError::new(404, text)
    }

    /// It may work later.
    pub fn unavailable(text: impl Into<String>) -> ApiError {
        ApiError::new(503, text)
    }

    /// The body of the answer.
    pub fn to_json(&self) -> String {
        format!("{{\"error\":{},\"status\":{}}}\n", quoted(&self.text), self.status)
    }
}

impl From<TooLarge> for ApiError {
    fn from(TooLarge: TooLarge) -> ApiError {
        let most = TEXT_BYTES_MAX >> 20;
        ApiError::bad(format!("these rows have more than {most} MiB: ask for fewer with `limit`"))
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        if error.is_interrupted() {
            let text = "this takes longer than 10 s: ask for less, for example for one `epoch` \
                        or one `video_id`";
            return ApiError::unavailable(text);
        }
        tracing::warn!("HTTP: {error}");
        ApiError::unavailable("the store cannot be read now: try again, and see the job's log")
    }
}
