//! The path and the query of a URL, decoded.

/// Decodes percent escapes. `None` if an escape is cut, or the result is not UTF-8.
pub fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// The names and values of a query, in order. `None` if one cannot be decoded.
pub fn pairs(query: &str) -> Option<Vec<(String, String)>> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let text = |text: &str| decoded(&text.replace('+', " "));
        Some((text(name)?, text(value)?))
    };
    parts.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_decoded_and_wrong_ones_refused() {
        for (text, expected) in [
            ("", Some("")),
            ("a%20b", Some("a b")),
            ("%C3%a9", Some("é")),
            ("a+b", Some("a+b")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(decoded(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_query_is_names_and_values() {
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect::<Vec<_>>()
        };
        for (query, expected) in [
            ("", &[][..]),
            ("a=1&b=x+y%26z", &[("a", "1"), ("b", "x y&z")]),
            ("a&&=&b==", &[("a", ""), ("", ""), ("b", "=")]),
        ] {
            assert_eq!(pairs(query), Some(owned(expected)), "{query}");
        }
        assert_eq!(pairs("a=%"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_or_refused(text in any::<String>()) {
            let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(decoded(&escaped), Some(text.clone()));
            let _ = (decoded(&text), pairs(&text));
        }
    }
}
