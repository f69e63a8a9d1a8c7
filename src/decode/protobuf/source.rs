//! Reads the source of a Protobuf schema (`.proto`), as far as the decoding of messages needs it:
//! the messages, their fields and the names of enums.
//!
//! Everything else is skipped: options, imports, services, extensions, reserved names. So a schema
//! can be used although a registry knows imports that it does not hand out, such as
//! `confluent/meta.proto`, and although it is of an edition with features that only generators
//! need. [Specifications](https://protobuf.dev/reference/protobuf/) of proto2, proto3 and editions.

use super::declared::{Declared, Message, ProtoFile};

/// The maximum depth of nested messages and groups.
const DEPTH_MAX: usize = 64;

/// Reads a source.
///
/// # Errors
/// If it is not one; returns the reason.
pub(super) fn parse(source: &str) -> Result<ProtoFile, String> {
    let mut parser = Parser { tokens: tokens(source)?, at: 0, is_proto3: false };
    let mut file = ProtoFile::default();
    while let Some(token) = parser.next() {
        match token {
            Token::Word("syntax") => {
                parser.expect('=')?;
                parser.is_proto3 = parser.next() == Some(Token::Text("proto3"));
                file.is_implicit |= parser.is_proto3;
                parser.skip_statement();
            }
            Token::Word("package") => {
                file.package = parser.name("the name of a package")?.into();
                parser.skip_statement();
            }
            Token::Word("option") => {
                file.is_implicit |= parser.presence_until(';') == Some(false);
            }
            Token::Word("message") => file.messages.push(parser.message(0)?),
            Token::Word("enum") => file.enums.push(parser.enumeration()?),
            Token::Word("extend") => file.messages.extend(parser.extensions(0)?),
            Token::Word("edition" | "import" | "service") => parser.skip_statement(),
            // Edition 2024: who may use the definition that follows.
            Token::Word("export" | "local") | Token::Symbol(';') => {}
            other => return Err(other.unexpected("a definition")),
        }
    }
    Ok(file)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    /// A name, with dots, or a number.
    Word(&'a str),
    /// A string, without its quotes, escapes as they are.
    Text(&'a str),
    Symbol(char),
}

impl Token<'_> {
    fn unexpected(self, expected: &str) -> String {
        let found: String = match self {
            Token::Word(text) | Token::Text(text) => text.chars().take(40).collect(),
            Token::Symbol(symbol) => symbol.into(),
        };
        format!("`{found}` in place of {expected}")
    }
}

/// Splits a source into tokens, without comments.
fn tokens(source: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
        let after = if first.is_whitespace() || first == '\u{feff}' {
            &rest[first.len_utf8()..]
        } else if let Some(comment) = rest.strip_prefix("//") {
            comment.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").ok_or("a comment does not end")?.1
        } else if first == '"' || first == '\'' {
            let text = &rest[1..];
            let end = string_end(text, first).ok_or("a string does not end")?;
            tokens.push(Token::Text(&text[..end]));
            &text[end + 1..]
        } else if is_word(first) {
            let end = rest.find(|letter| !is_word(letter)).unwrap_or(rest.len());
            tokens.push(Token::Word(&rest[..end]));
            &rest[end..]
        } else {
            tokens.push(Token::Symbol(first));
            &rest[first.len_utf8()..]
        };
        rest = after;
    }
    Ok(tokens)
}

/// Returns the position of the quote that ends a string.
fn string_end(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            letter if letter == quote => return Some(at),
            _ => {}
        }
    }
    None
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    is_proto3: bool,
}

impl<'a> Parser<'a> {
    fn peek(&self, ahead: usize) -> Option<Token<'a>> {
        self.tokens.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek(0);
        self.at += 1;
        token
    }

    fn expect(&mut self, symbol: char) -> Result<(), String> {
        match self.next() {
            Some(Token::Symbol(found)) if found == symbol => Ok(()),
            other => Err(unexpected(other, &format!("`{symbol}`"))),
        }
    }

    fn name(&mut self, what: &str) -> Result<&'a str, String> {
        match self.next() {
            Some(Token::Word(name)) => Ok(name),
            other => Err(unexpected(other, what)),
        }
    }

    /// Skips to the end of a statement: a semicolon, or a block.
    fn skip_statement(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.next() {
            match token {
                Token::Symbol('{') => depth += 1,
                Token::Symbol('}') if depth <= 1 => return,
                Token::Symbol('}') => depth -= 1,
                Token::Symbol(';') if depth == 0 => return,
                _ => {}
            }
        }
    }

    /// Skips options up to and including a symbol. Returns whether fields tell if they are present,
    /// if the options set that.
    fn presence_until(&mut self, end: char) -> Option<bool> {
        let mut presence = None;
        let mut depth = 0_usize;
        while let Some(token) = self.next() {
            match token {
                Token::Symbol(symbol) if symbol == end && depth == 0 => break,
                Token::Symbol('{' | '[') => depth += 1,
                Token::Symbol('}' | ']') => depth = depth.saturating_sub(1),
                Token::Word(name) if name.ends_with("field_presence") => {
                    presence = Some(self.peek(1) != Some(Token::Word("IMPLICIT")));
                }
                _ => {}
            }
        }
        presence
    }

    fn enumeration(&mut self) -> Result<String, String> {
        let name = self.name("the name of an enum")?;
        self.skip_statement();
        Ok(name.into())
    }

    /// Reads extensions after their keyword. Returns the types that groups among them define.
    fn extensions(&mut self, depth: usize) -> Result<Vec<Message>, String> {
        Ok(self.message(depth)?.messages)
    }

    /// Reads a message after its keyword.
    fn message(&mut self, depth: usize) -> Result<Message, String> {
        let name = self.name("the name of a message")?;
        self.expect('{')?;
        self.body(name, depth)
    }

    /// Reads the rest of a message or a group after the brace.
    fn body(&mut self, name: &str, depth: usize) -> Result<Message, String> {
        if depth == DEPTH_MAX {
            return Err("messages are nested too deeply".into());
        }
        let mut message = Message { name: name.into(), ..Message::default() };
        // Whether the statements are those of a oneof.
        let mut in_oneof = false;
        loop {
            let is_block = matches!(
                (self.peek(1), self.peek(2)),
                (Some(Token::Word(_)), Some(Token::Symbol('{')))
            );
            match self.peek(0) {
                Some(Token::Symbol('}')) if in_oneof => {
                    in_oneof = false;
                    self.at += 1;
                }
                Some(Token::Symbol('}')) => {
                    self.at += 1;
                    return Ok(message);
                }
                Some(Token::Symbol(';') | Token::Word("export" | "local")) => self.at += 1,
                Some(Token::Word("message")) if is_block => {
                    self.at += 1;
                    message.messages.push(self.message(depth + 1)?);
                }
                Some(Token::Word("enum")) if is_block => {
                    self.at += 1;
                    message.enums.push(self.enumeration()?);
                }
                Some(Token::Word("oneof")) if is_block => {
                    in_oneof = true;
                    self.at += 3;
                }
                Some(Token::Word("extend")) if is_block => {
                    self.at += 1;
                    message.messages.extend(self.extensions(depth)?);
                }
                Some(Token::Word("option" | "extensions" | "reserved")) => self.skip_statement(),
                Some(Token::Word(_)) => self.field(&mut message, in_oneof, depth)?,
                other => return Err(unexpected(other, "a field")),
            }
        }
    }

    /// Reads a field of a message, with the type that a map or a group defines.
    fn field(&mut self, message: &mut Message, in_oneof: bool, depth: usize) -> Result<(), String> {
        let label = match self.peek(0) {
            Some(Token::Word(label @ ("optional" | "required" | "repeated"))) => {
                self.at += 1;
                label
            }
            _ => "",
        };
        let mut kind = self.name("the type of a field")?.to_string();
        let is_map = kind == "map" && self.peek(0) == Some(Token::Symbol('<'));
        if is_map {
            while !matches!(self.next(), None | Some(Token::Symbol('>'))) {}
        }
        let name = self.name("the name of a field")?;
        self.expect('=')?;
        let number = self.name("the number of a field")?;
        let number = field_number(number)
            .ok_or_else(|| format!("the number of the field `{name}` is not valid"))?;
        let mut has_presence = None;
        if self.peek(0) == Some(Token::Symbol('[')) {
            self.at += 1;
            has_presence = self.presence_until(']');
        }
        if in_oneof || self.is_proto3 && label == "optional" {
            has_presence = Some(true);
        }
        let mut name = name.to_string();
        if kind == "group" && self.peek(0) == Some(Token::Symbol('{')) {
            self.at += 1;
            message.messages.push(self.body(&name, depth + 1)?);
            kind.clone_from(&name);
            name = name.to_lowercase();
        } else {
            self.expect(';')?;
        }
        if is_map {
            // The type of its entries, which counts among the nested types.
            message.messages.push(Message { is_map_entry: true, ..Message::default() });
        }
        message.fields.push(Declared {
            name,
            number,
            kind,
            is_map,
            is_repeated: label == "repeated",
            has_presence,
        });
        Ok(())
    }
}

fn unexpected(found: Option<Token<'_>>, expected: &str) -> String {
    found.map_or_else(|| format!("it ends before {expected}"), |found| found.unexpected(expected))
}

fn field_number(text: &str) -> Option<u32> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let number = match (hexadecimal, text.strip_prefix('0')) {
        (Some(digits), _) => u32::from_str_radix(digits, 16),
        (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, 8),
        _ => text.parse(),
    };
    number.ok().filter(|number| (1..=super::FIELD_NUMBER_MAX).contains(number))
}
