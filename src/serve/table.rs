//! The rows of an answer, and their two forms: JSON and CSV.

use crate::event::VideoId;
use crate::query::Value;
use crate::time::{Epoch, rfc3339};
use std::fmt::Write;

/// The most bytes of the rows of an answer in memory, about.
pub const TABLE_BYTES_MAX: usize = 32 << 20;
/// The most bytes of the rows of an answer as text.
pub const TEXT_BYTES_MAX: usize = 8 << 20;
/// The bytes of an object in memory without its members, about.
const OBJECT_BYTES: usize = 640;

/// The rows of an answer take too much memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing: `null`, and an empty field in CSV.
    Null,
    /// `true` or `false`; 1 or 0 in CSV.
    Flag(bool),
    /// A whole number.
    Whole(i64),
    /// A whole number without a sign.
    Count(u64),
    /// A text.
    Text(String),
    /// An object or a list, which CSV leaves out.
    Nested(serde_json::Value),
}

impl Cell {
    /// A value of a query: ids are texts, and numbers have the unit that the query declares.
    pub fn of(value: Value) -> Cell {
        match value {
            Value::Video(VideoId(_)) | Value::Request(_) | Value::Kind(_) | Value::Digest(_) => {
                Cell::Text(value.to_string())
            }
            Value::Count(number) | Value::Rate(number) => Cell::Count(number),
            Value::Thousandths(number) => Cell::Whole(number),
            Value::Epoch(epoch) => epoch.map_or(Cell::Null, |Epoch(number)| Cell::Whole(number)),
            Value::Flag(flag) => Cell::Flag(flag),
        }
    }

    /// An instant.
    pub fn time(time_ms: i64) -> Cell {
        Cell::Text(rfc3339(time_ms))
    }

    /// A text, if there is one.
    pub fn text(text: Option<impl Into<String>>) -> Cell {
        text.map_or(Cell::Null, |text| Cell::Text(text.into()))
    }

    /// A count, if there is one.
    pub fn count(count: Option<u64>) -> Cell {
        count.map_or(Cell::Null, Cell::Count)
    }

    /// The bytes that it takes in memory, about.
    fn bytes(&self) -> usize {
        let further = match self {
            Cell::Text(text) => text.len(),
            Cell::Nested(value) => nested_bytes(value),
            _ => 0,
        };
        size_of::<Cell>() + further
    }

    /// Appends it as JSON.
    pub fn write_json(&self, out: &mut String) {
        let written = match self {
            Cell::Null => write!(out, "null"),
            Cell::Flag(flag) => write!(out, "{flag}"),
            Cell::Whole(number) => write!(out, "{number}"),
            Cell::Count(number) => write!(out, "{number}"),
            Cell::Text(text) => out.write_str(&quoted(text)),
            Cell::Nested(value) => write!(out, "{value}"),
        };
        debug_assert!(written.is_ok(), "a string takes everything");
    }

    /// The text in CSV, without quotes.
    pub fn plain(&self) -> String {
        match self {
            Cell::Null | Cell::Nested(_) => String::new(),
            Cell::Flag(flag) => u8::from(*flag).to_string(),
            Cell::Whole(number) => number.to_string(),
            Cell::Count(number) => number.to_string(),
            Cell::Text(text) => text.clone(),
        }
    }
}

fn nested_bytes(value: &serde_json::Value) -> usize {
    use serde_json::Value::{Array, Object, String};
    let further = match value {
        Object(members) => {
            let members = members.iter().map(|(name, value)| name.len() + nested_bytes(value));
            OBJECT_BYTES + members.sum::<usize>()
        }
        Array(values) => values.iter().map(nested_bytes).sum(),
        String(text) => text.len(),
        _ => 0,
    };
    size_of::<serde_json::Value>() + further
}

/// A text in JSON.
pub fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// Its name.
    pub name: String,
    /// Whether its values are objects or lists.
    pub is_nested: bool,
}

/// Rows, each with a cell for every column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    headings: Vec<Heading>,
    rows: Vec<Vec<Cell>>,
    /// The bytes of the rows, about.
    bytes: usize,
}

impl Table {
    /// An empty table.
    pub fn new(headings: Vec<Heading>) -> Table {
        Table { headings, ..Table::default() }
    }

    /// Adds a row, unless they are too large together: then there is no answer.
    ///
    /// # Panics
    /// When it does not have a cell for every column.
    pub fn push(&mut self, row: Vec<Cell>) {
        assert_eq!(row.len(), self.headings.len(), "a row has a cell for every column");
        self.bytes += size_of::<Vec<Cell>>() + row.iter().map(Cell::bytes).sum::<usize>();
        if self.bytes <= TABLE_BYTES_MAX {
            self.rows.push(row);
        }
    }

    fn check(&self, text_bytes: usize) -> Result<(), TooLarge> {
        let fits = self.bytes <= TABLE_BYTES_MAX && text_bytes <= TEXT_BYTES_MAX;
        fits.then_some(()).ok_or(TooLarge)
    }

    /// The columns.
    pub fn headings(&self) -> &[Heading] {
        &self.headings
    }

    /// The rows.
    pub fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// Appends the rows as a list of objects.
    ///
    /// # Errors
    /// When they are too large.
    pub fn write_json(&self, out: &mut String) -> Result<(), TooLarge> {
        let start = out.len();
        self.check(0)?;
        let names: Vec<String> = self.headings.iter().map(|one| quoted(&one.name)).collect();
        out.push('[');
        for (number, row) in self.rows.iter().enumerate() {
            out.push_str(if number == 0 { "{" } else { ",\n{" });
            for (position, (name, cell)) in names.iter().zip(row).enumerate() {
                out.push_str(if position == 0 { "" } else { "," });
                out.push_str(name);
                out.push(':');
                cell.write_json(out);
            }
            out.push('}');
            self.check(out.len() - start)?;
        }
        out.push(']');
        Ok(())
    }

    /// Returns the rows as CSV with a header, as RFC 4180 has it. Nested values are left out.
    ///
    /// # Errors
    /// When they are too large.
    pub fn to_csv(&self) -> Result<String, TooLarge> {
        let mut out = String::new();
        let mut line = |texts: Vec<String>| {
            let fields: Vec<String> = texts.iter().map(|text| field(text)).collect();
            out.push_str(&fields.join(","));
            out.push('\n');
            self.check(out.len())
        };
        let is_kept = |position: usize| !self.headings[position].is_nested;
        let kept: Vec<usize> = (0..self.headings.len()).filter(|at| is_kept(*at)).collect();
        line(kept.iter().map(|at| self.headings[*at].name.clone()).collect())?;
        for row in &self.rows {
            line(kept.iter().map(|at| row[*at].plain()).collect())?;
        }
        Ok(out)
    }
}

/// A field of CSV: in quotes if it needs them.
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RequestId;
    use proptest::prelude::*;

    #[test]
    fn values_have_the_documented_form() {
        let request = RequestId::from_u128(0x123);
        for (value, json, csv) in [
            (Value::Video(VideoId(u64::MAX)), "\"18446744073709551615\"", "18446744073709551615"),
            (Value::Rate(250_000), "250000", "250000"),
            (Value::Thousandths(-2_125), "-2125", "-2125"),
            (Value::Epoch(None), "null", ""),
            (Value::Epoch(Some(Epoch(-3))), "-3", "-3"),
            (Value::Flag(true), "true", "1"),
            (
                Value::Request(request),
                "\"00000000-0000-0000-0000-000000000123\"",
                "00000000-0000-0000-0000-000000000123",
            ),
        ] {
            let cell = Cell::of(value);
            let mut written = String::new();
            cell.write_json(&mut written);
            assert_eq!((written.as_str(), cell.plain().as_str()), (json, csv));
        }
    }

    #[test]
    fn rows_that_are_too_large_are_no_answer() {
        let heading = |name: &str| Heading { name: name.into(), is_nested: false };
        let with_texts = |text: &str, rows: usize| {
            let mut table = Table::new(vec![heading("a")]);
            (0..rows).for_each(|_| table.push(vec![Cell::Text(text.to_owned())]));
            let mut json = String::new();
            let (json, csv) = (table.write_json(&mut json), table.to_csv());
            (table.rows.len(), json.is_ok(), csv.is_ok())
        };
        let long = "x".repeat(1_000);
        assert_eq!(with_texts(&long, 8_000), (8_000, true, true));
        assert_eq!(with_texts(&long, 8_500), (8_500, false, false));
        // Each letter is six in JSON.
        assert_eq!(with_texts(&"\u{1}".repeat(1_000), 1_500), (1_500, false, true));
        // No more rows are kept than fit.
        let (rows, ..) = with_texts(&long, 50_000);
        assert!((30_000..34_000).contains(&rows), "{rows}");
        let points = serde_json::json!([{"epoch": 7, "plays": 2}, {"epoch": 8, "plays": 3}]);
        assert!(Cell::Nested(points).bytes() > 2 * OBJECT_BYTES);
    }

    proptest! {
        #[test]
        fn both_forms_can_be_read_back(texts in proptest::collection::vec(any::<String>(), 1..9)) {
            let heading = |name: &str, is_nested| Heading { name: name.into(), is_nested };
            let mut table = Table::new(vec![heading("a\"", false), heading("list", true)]);
            for text in &texts {
                table.push(vec![Cell::Text(text.clone()), Cell::Nested(serde_json::json!([text]))]);
            }
            let mut json = String::new();
            table.write_json(&mut json).unwrap();
            let rows: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
            prop_assert!(rows.iter().map(|row| &row["a\""]).eq(&texts));
            let csv = table.to_csv().unwrap();
            let mut reader = csv::ReaderBuilder::new().from_reader(csv.as_bytes());
            let fields: Vec<String> =
                reader.records().map(|record| record.unwrap()[0].to_owned()).collect();
            // A reader skips lines that are empty.
            let expected: Vec<&String> = texts.iter().filter(|text| !text.is_empty()).collect();
            prop_assert!(fields.iter().filter(|field| !field.is_empty()).eq(expected));
        }
    }
}
