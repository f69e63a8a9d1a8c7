//! The settings of the HTTP server: where it listens, and the token of its clients.

use super::{ArgumentError, RunArguments};
use crate::serve::{HttpAddress, Token};
use std::io::Read;

/// The variable that may have the token.
const TOKEN_VARIABLE: &str = "TRENDMARK_HTTP_TOKEN";

/// The settings of the HTTP server.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Where process 0 listens.
    pub address: HttpAddress,
    /// What clients must know, if anything.
    pub token: Option<Token>,
}

impl RunArguments {
    /// The settings of the HTTP server, if there is one.
    pub(super) fn http(&self) -> Result<Option<HttpSettings>, ArgumentError> {
        let Some(address) = self.http_address.clone() else {
            return match &self.http_token_file {
                Some(_) => Err(ArgumentError::Missing("--http-token-file needs --http-address")),
                None => Ok(None),
            };
        };
        Ok(Some(HttpSettings { address, token: self.token()? }))
    }

    fn token(&self) -> Result<Option<Token>, ArgumentError> {
        let (place, text) = match &self.http_token_file {
            Some(path) => {
                let place = format!("`{}`", path.display());
                let mut bytes = Vec::new();
                let read = std::fs::File::open(path).and_then(|file| {
                    file.take(2 * Token::BYTES_MAX as u64).read_to_end(&mut bytes)
                });
                let text = read
                    .map_err(|error| error.to_string())
                    .and_then(|_| String::from_utf8(bytes).map_err(|_| "it is no text".to_owned()));
                let wrong = |reason| ArgumentError::Token { place: place.clone(), reason };
                let text = text.map_err(wrong)?;
                (place, text)
            }
            None => match std::env::var(TOKEN_VARIABLE) {
                Ok(text) => (TOKEN_VARIABLE.to_owned(), text),
                Err(std::env::VarError::NotPresent) => return Ok(None),
                Err(error) => {
                    let (place, reason) = (TOKEN_VARIABLE.to_owned(), "it is no text".to_owned());
                    debug_assert!(matches!(error, std::env::VarError::NotUnicode(_)));
                    return Err(ArgumentError::Token { place, reason });
                }
            },
        };
        let token = Token::new(&text);
        token.map(Some).map_err(|reason| ArgumentError::Token { place, reason: reason.to_owned() })
    }
}
