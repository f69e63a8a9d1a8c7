//! Reads dates with times as RFC 3339, section 5.6, writes them, and nothing else.

/// Why a text is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotATime {
    /// It would be one with a zone.
    NoZone,
    /// It has another form, or there is no such day or time.
    Malformed,
}

/// Returns the time that a text of RFC 3339 means, in milliseconds rounded down, of the years 0 to
/// 9999.
///
/// As section 5.6 permits, `T` and `Z` may be in lower case, a space may take the place of `T`, and
/// seconds may have any number of decimals. A second of 60, which section 5.7 permits at the end of
/// June and of December in UTC, is read as the last millisecond before midnight, so that it belongs
/// to the day, and to the epoch, that it is written in.
///
/// # Errors
/// If the text is nothing of the kind.
pub fn parse(text: &str) -> Result<i64, NotATime> {
    let mut rest = text.as_bytes();
    let written = date_and_time(&mut rest).ok_or(NotATime::Malformed)?;
    if rest.is_empty() {
        return Err(NotATime::NoZone);
    }
    let offset_minutes = offset_minutes(rest).ok_or(NotATime::Malformed)?;
    let minutes = written.minutes - offset_minutes;
    if written.second == 60 {
        return match ends_half_year(written.year, minutes) {
            true => Ok((minutes + 1) * 60_000 - 1),
            false => Err(NotATime::Malformed),
        };
    }
    Ok(minutes * 60_000 + written.second * 1_000 + written.milliseconds)
}

/// A date with a time, in a zone that is not read yet.
struct Written {
    year: i64,
    /// The minutes since 1970-01-01T00:00.
    minutes: i64,
    second: i64,
    milliseconds: i64,
}

/// Reads everything but the zone.
fn date_and_time(rest: &mut &[u8]) -> Option<Written> {
    let year = number(rest, 4)?;
    let month = preceded(rest, b"-")?;
    let day = preceded(rest, b"-")?;
    let hour = preceded(rest, b"Tt ")?;
    let minute = preceded(rest, b":")?;
    let second = preceded(rest, b":")?;
    let milliseconds = fraction(rest)?;
    let is_day = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    if !is_day || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let minutes = (days_since_1970(year, month, day) * 24 + hour) * 60 + minute;
    Some(Written { year, minutes, second, milliseconds })
}

/// Reads a number of this many digits.
#[inline]
fn number(rest: &mut &[u8], digits: usize) -> Option<i64> {
    let (number, after) = rest.split_at_checked(digits)?;
    *rest = after;
    number.iter().try_fold(0, |value, digit| {
        digit.is_ascii_digit().then(|| 10 * value + i64::from(digit - b'0'))
    })
}

/// Reads one of these characters and two digits.
#[inline]
fn preceded(rest: &mut &[u8], characters: &[u8]) -> Option<i64> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    if characters.contains(first) { number(rest, 2) } else { None }
}

/// Reads the decimals of a second, if there are any, as whole milliseconds.
fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let Some(decimals) = rest.strip_prefix(b".") else { return Some(0) };
    let count = decimals.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (decimals, after) = decimals.split_at(count);
    *rest = after;
    let decimal = |at: usize| decimals.get(at).map_or(0, |digit| i64::from(digit - b'0'));
    (count > 0).then(|| 100 * decimal(0) + 10 * decimal(1) + decimal(2))
}

/// Returns the minutes by which a zone is ahead of UTC.
fn offset_minutes(mut rest: &[u8]) -> Option<i64> {
    let is_behind = match rest {
        b"Z" | b"z" => return Some(0),
        [b'-', ..] => true,
        _ => false,
    };
    let hours = preceded(&mut rest, b"+-")?;
    let minutes = preceded(&mut rest, b":")?;
    let offset = 60 * hours + minutes;
    let is_valid = rest.is_empty() && hours <= 23 && minutes <= 59;
    is_valid.then_some(if is_behind { -offset } else { offset })
}

/// Whether a minute in UTC is the last one of a June or December. `year` is at most one off.
fn ends_half_year(year: i64, minutes: i64) -> bool {
    let begins = |(year, month)| days_since_1970(year, month, 1) * 24 * 60 == minutes + 1;
    [(year, 1), (year, 7), (year + 1, 1)].into_iter().any(begins)
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from
/// March, so that the leap day is the last: `days_from_civil` of Howard Hinnant's
/// *chrono-Compatible Low-Level Date Algorithms*.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn a_time_is_read_to_the_millisecond() {
        for (text, expected_ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00.0019z", 1),
            ("1970-01-01 01:00:00+01:00", 0),
            ("1970-01-01T00:00:00-00:00", 0),
            ("1969-12-31T23:59:59.9985Z", -2),
            ("1969-12-31T00:00:01-23:59", -59_000),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("0000-03-01T00:00:00Z", -62_162_035_200_000),
            ("9999-12-31T23:59:59.999999999999999999999Z", 253_402_300_799_999),
            ("2016-12-31T23:59:59Z", 1_483_228_799_000),
            ("2016-12-31T23:59:60Z", 1_483_228_799_999),
            ("2016-12-31T23:59:60.75Z", 1_483_228_799_999),
            ("2017-01-01T00:00:00Z", 1_483_228_800_000),
            ("2017-01-01T00:59:60+01:00", 1_483_228_799_999),
            ("2016-12-31T15:59:60-08:00", 1_483_228_799_999),
            ("1972-06-30T23:59:60Z", 78_796_799_999),
        ] {
            assert_eq!(parse(text), Ok(expected_ms), "{text}");
        }
    }

    #[test]
    fn what_rfc_3339_does_not_write_is_no_time() {
        for text in [
            "",
            "noon",
            "2026",
            "2026-01-01",
            "2026-01-01T00Z",
            "2026-01-01T00:00Z",
            "2026-01-01T00:00:00+25:00",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+01:60",
            "2026-01-01T00:00:00+01",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00 Z",
            "2026-01-01T00:00:00Z ",
            " 2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00,5Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00[UTC]",
            "2026-01-01T00:00:00Z[UTC]",
            "2026-01-01_00:00:00Z",
            "20260101T000000Z",
            "2026-1-1T00:00:00Z",
            "+2026-01-01T00:00:00Z",
            "-002026-01-01T00:00:00Z",
            "12026-01-01T00:00:00Z",
            "2026-W01-1T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:60Z",
            "2016-12-31T23:59:60+01:00",
            "2016-03-31T23:59:60Z",
            "2016-12-30T23:59:60Z",
            "２０26-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), Err(NotATime::Malformed), "{text}");
        }
        for text in ["2026-01-01T00:00:00", "2026-01-01 00:00:00.123456", "2026-01-01t00:00:60"] {
            assert_eq!(parse(text), Err(NotATime::NoZone), "{text}");
        }
    }

    /// Counts days one by one.
    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = days_since_1970(0, 1, 1);
        assert_eq!(expected, -719_528);
        for year in 0..=9_999 {
            for month in 1..=12 {
                for day in 1..=days_of(year, month) {
                    assert_eq!(days_since_1970(year, month, day), expected);
                    expected += 1;
                }
            }
        }
        assert_eq!(days_since_1970(1970, 1, 1), 0);
    }

    /// RFC 3339 by its grammar alone, with jiff for the calendar.
    fn parse_slowly(text: &str) -> Option<i64> {
        let text = text.to_ascii_uppercase();
        let (date, time) = text.split_at_checked(10)?;
        let date: jiff::civil::Date = match date.as_bytes() {
            [.., b'-', _, _, b'-', _, _] => date.parse().ok()?,
            _ => return None,
        };
        let time = time.strip_prefix(['T', ' '])?;
        let zone_at = time.find(['Z', '+', '-'])?;
        let (time, zone) = time.split_at(zone_at);
        let (whole, decimals) = time.split_once('.').unwrap_or((time, "0"));
        let two = |text: &str, limit: i64| {
            let is_two = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|&value: &i64| is_two && value < limit)
        };
        let parts: Vec<_> = whole.split(':').collect();
        let [hour, minute, second] = parts[..] else { return None };
        let (hour, minute, second) = (two(hour, 24)?, two(minute, 60)?, two(second, 61)?);
        if decimals.is_empty() || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let offset = match zone.strip_prefix(['+', '-']) {
            None if zone == "Z" => 0,
            None => return None,
            Some(offset) => {
                let (hours, minutes) = offset.split_once(':')?;
                let offset = two(hours, 24)? * 60 + two(minutes, 60)?;
                if zone.starts_with('-') { -offset } else { offset }
            }
        };
        let midnight = jiff::tz::Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
        let minutes = midnight.as_second() / 60 + hour * 60 + minute - offset;
        if second == 60 {
            let next = Timestamp::from_second((minutes + 1) * 60).ok()?.to_string();
            let is_leap = ["-01-01T00:00:00Z", "-07-01T00:00:00Z"];
            let may_be = is_leap.iter().any(|ending| next.ends_with(ending));
            return may_be.then_some((minutes + 1) * 60_000 - 1);
        }
        let thousandths: i64 = format!("{decimals}000")[..3].parse().ok()?;
        Some((minutes * 60 + second) * 1_000 + thousandths)
    }

    fn time() -> impl Strategy<Value = String> {
        let two = |limit: u32| (0..limit + 2).prop_map(|value| format!("{value:02}"));
        let date = (0..9_999, two(12), two(31)).prop_map(|(y, m, d)| format!("{y:04}-{m}-{d}"));
        let half_year = (1_970..2_040, 0..4_usize).prop_map(|(year, place)| {
            let day = ["06-30", "12-31", "01-01", "07-01"][place];
            format!("{year}-{day}")
        });
        let often = |usual: &'static str, rare: &'static str| {
            let usual = Just(usual.to_string());
            prop_oneof![9 => usual, 1 => rare]
        };
        let clock = prop_oneof![
            (two(23), two(59), two(60)).prop_map(|(h, m, s)| format!("{h}:{m}:{s}")),
            Just("23:59:60".to_string()),
            two(23).prop_map(|hour| format!("{hour}:59:60")),
        ];
        let zone = prop_oneof![
            Just("Z".to_string()),
            ("[+-]", two(23), two(59)).prop_map(|(sign, h, m)| format!("{sign}{h}:{m}")),
            ("[+-]", two(23)).prop_map(|(sign, h)| format!("{sign}{h}:00")),
            "[zZ+-]?[0-9:]{0,5}",
        ];
        let date = prop_oneof![2 => date, 1 => half_year];
        (date, often("T", "[tT _-]"), clock, often("", "[.,][0-9]{0,12}"), zone)
            .prop_map(|(date, t, clock, decimals, zone)| date + &t + &clock + &decimals + &zone)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn a_text_is_the_time_that_the_grammar_says(
            text in time(), at in any::<proptest::sample::Index>(), byte in "[ -~]", spoil in 0..4,
        ) {
            let mut text = text;
            if spoil == 0 {
                let at = at.index(text.len());
                text.replace_range(at..=at, &byte);
            }
            prop_assert_eq!(parse(&text).ok(), parse_slowly(&text), "{}", text);
        }

        #[test]
        fn what_jiff_writes_is_read(time_ms in -62_135_596_800_000..253_402_207_200_000_i64) {
            let written = Timestamp::from_millisecond(time_ms).unwrap().to_string();
            prop_assert_eq!(parse(&written), Ok(time_ms));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = parse(&text);
        }
    }
}
