//! Comparison of what a command printed with what a document says that it prints.
//!
//! `…` in a line stands for any text, and a line that is only `…` for any number of lines.

/// The placeholder for any text.
const ANY: &str = "…";

/// Compares an output with the expected one, without spaces at the ends of lines.
///
/// # Errors
/// Describes the difference.
pub fn check(expected: &str, actual: &str) -> Result<(), String> {
    let lines = |text: &str| text.trim_end().lines().map(str::to_owned).collect::<Vec<_>>();
    let (wanted, found) = (lines(expected), lines(actual));
    if all_match(&wanted, &found) {
        return Ok(());
    }
    Err(format!("expected:\n{}\nbut it printed:\n{}", wanted.join("\n"), found.join("\n")))
}

fn all_match(wanted: &[String], found: &[String]) -> bool {
    match (wanted.split_first(), found.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((first, rest)), _) if first.trim() == ANY => {
            (0..=found.len()).any(|skipped| all_match(rest, &found[skipped..]))
        }
        (Some(_), None) => false,
        (Some((first, rest)), Some((line, others))) => {
            line_matches(first.trim_end(), line.trim_end()) && all_match(rest, others)
        }
    }
}

fn line_matches(wanted: &str, found: &str) -> bool {
    let Some((begin, rest)) = wanted.split_once(ANY) else { return wanted == found };
    let Some(mut left) = found.strip_prefix(begin) else { return false };
    let (last, parts) = match rest.rsplit_once(ANY) {
        Some((parts, last)) => (last, parts.split(ANY).collect()),
        None => (rest, Vec::new()),
    };
    for part in parts {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(last)
}

#[test]
fn only_what_is_left_open_may_differ() {
    let same = [
        ("a\nb", "a\nb\n"),
        ("a  \n", "a"),
        ("…", ""),
        ("…", "a\nb"),
        ("a\n…\nd", "a\nb\nc\nd"),
        ("a … c", "a b c"),
        ("…c", "abc"),
        ("in … s (… M/s); …", "in 0.2 s (3.0 M/s); 4 epochs"),
    ];
    for (expected, actual) in same {
        assert_eq!(check(expected, actual), Ok(()), "{expected} {actual}");
    }
    let other = [
        ("a", "b"),
        ("a", "a\nb"),
        ("a\nb", "a"),
        ("a\n…\nd", "a\nb\nc"),
        ("a … c", "a b d"),
        ("a … c … a", "a b a"),
        ("", "a"),
    ];
    for (expected, actual) in other {
        assert!(check(expected, actual).is_err(), "{expected} {actual}");
    }
}
