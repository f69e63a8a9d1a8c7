//! The secret that clients must know, if there is one.

use std::fmt;

/// A secret. It is compared in constant time, and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    hash: blake3::Hash,
}

impl Token {
    /// The longest token, in bytes.
    pub const BYTES_MAX: usize = 4_096;

    /// Takes a token, without the line end of its file.
    ///
    /// # Errors
    /// When no header can carry it. The message does not quote it.
    pub fn new(text: &str) -> Result<Token, &'static str> {
        let text = text.trim_end_matches(['\n', '\r']);
        match text.len() {
            0 => Err("it is empty: write a long random text into it"),
            bytes if bytes > Token::BYTES_MAX => Err("it is longer than 4096 bytes"),
            _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err("it has spaces, or letters that are not ASCII")
            }
            _ => Ok(Token { hash: blake3::hash(text.as_bytes()) }),
        }
    }

    /// Whether a client knows it.
    pub fn is(&self, given: &str) -> bool {
        // Hashes are compared in constant time, and what is hashed was sent by the client.
        self.hash == blake3::hash(given.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_accepted() {
        let token = Token::new("s3cret\n").unwrap();
        assert!(token.is("s3cret"));
        for other in ["", "s3cre", "s3crets", "S3cret", "s3cret\n"] {
            assert!(!token.is(other), "{other}");
        }
        assert_eq!(format!("{token:?}"), "Token(hidden)");
    }

    #[test]
    fn what_no_header_can_carry_is_refused() {
        for text in ["", "\n", "two words", "schlüssel", &"x".repeat(4_097)] {
            assert!(Token::new(text).is_err(), "{text}");
        }
    }
}
