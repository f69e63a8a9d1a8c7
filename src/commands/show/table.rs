//! Rows as a table for people: video, epoch within the day, plays, impressions.

use super::arrived;
use super::{ShowError, TABLE_ROWS_MAX, find};
use crate::event::VideoId;
use crate::query::Value;
use crate::stores::description::{StoredColumn, StoredQuery};
use crate::stores::{RowOrder, Selection, StoreReader, StoredRow};
use crate::time::{Definition, Epoch, rfc3339};
use crate::titles::Title;
use comfy_table::presets::ASCII_NO_BORDERS;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::ControlFlow;

const DAY_MS: i64 = 86_400_000;

/// Writes the selected rows, largest first in each epoch, at most [`TABLE_ROWS_MAX`].
pub(super) fn write(
    reader: &dyn StoreReader,
    query: &StoredQuery,
    selection: &Selection,
    out: &mut impl Write,
) -> Result<(), ShowError> {
    let rows = collect(reader, query, selection)?;
    let labels = EpochLabels::of(&reader.description().definition, &rows);
    let titles = titles(reader, query)?;
    let mut table = new_table(query, None, titles.is_empty());
    for stored in &rows {
        let mark = if stored.is_final { "" } else { "*" };
        let epoch = format!("{}{mark}", labels.label(stored.row.epoch));
        table.add_row(cells(query, stored, epoch, None, &titles));
    }
    let mut text = table.trim_fmt() + "\n";
    if rows.is_empty() {
        text += "no rows\n";
    }
    if rows.iter().any(|row| !row.is_final) {
        text += "* provisional\n";
        let open: BTreeSet<Epoch> =
            rows.iter().filter(|row| !row.is_final).map(|row| row.row.epoch).collect();
        text += &arrived::text(&reader.completeness()?, &open, |epoch| labels.label(epoch));
    }
    if rows.len() == TABLE_ROWS_MAX {
        let more = reader.count(query, selection)?.saturating_sub(TABLE_ROWS_MAX as u64);
        if more > 0 {
            text += &format!(
                "{more} more rows: narrow with --epoch, --video or --top, or print all with \
                 --format csv\n"
            );
        }
    }
    out.write_all(text.as_bytes()).map_err(ShowError::Output)
}

/// The live table of `demo`: the latest epochs with rows in the main table, the top videos of each,
/// and whether the rows are final. Their times of day identify them, so there is no date. An empty
/// store gives only the header.
///
/// # Errors
/// When the store cannot be read, or has no such table.
pub fn latest_epochs_table(
    reader: &dyn StoreReader,
    epochs: usize,
    top: usize,
) -> Result<String, ShowError> {
    let query = find(reader, None)?;
    let titles = titles(reader, query)?;
    let mut table = new_table(query, Some("Final"), titles.is_empty());
    if let Some(latest) = reader.latest_epochs(query, epochs)? {
        let top = Some(top as u64);
        let selection = Selection { epochs: Some(latest), top, ..Selection::default() };
        let rows = collect(reader, query, &selection)?;
        let definition = reader.description().definition;
        let labels = EpochLabels { definition, with_date: false };
        for stored in &rows {
            let mark = if stored.is_final { "yes" } else { "no" };
            let epoch = labels.label(stored.row.epoch);
            table.add_row(cells(query, stored, epoch, Some(mark), &titles));
        }
    }
    Ok(table.trim_fmt() + "\n")
}

fn collect(
    reader: &dyn StoreReader,
    query: &StoredQuery,
    selection: &Selection,
) -> Result<Vec<StoredRow>, ShowError> {
    let mut rows = Vec::new();
    reader.visit(query, selection, RowOrder::Values, &mut |stored| {
        rows.push(stored.clone());
        let is_full = rows.len() == TABLE_ROWS_MAX;
        if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(rows)
}

/// The titles of videos, if the rows of a query are of one.
fn titles(
    reader: &dyn StoreReader,
    query: &StoredQuery,
) -> Result<BTreeMap<VideoId, Title>, ShowError> {
    if query.is_of_video() { Ok(reader.titles()?.titles) } else { Ok(BTreeMap::new()) }
}

/// An empty table with its header. Columns of numbers are right-aligned, but not titles.
fn new_table(query: &StoredQuery, last: Option<&str>, has_ids: bool) -> Table {
    const STYLE: TableStyle = ASCII_NO_BORDERS
        .header_separator(LineStyle::none().fill('-').junction('+'))
        .row_separator(LineStyle::none());
    let mut headers: Vec<String> = query.columns().map(header).collect();
    headers.insert(1, "Epoch".to_owned());
    headers.extend(last.map(str::to_owned));
    let mut table = Table::new();
    table.load_style(STYLE).set_header(headers);
    if let Some(first) = table.column_mut(0) {
        first.set_padding((0, 1));
    }
    for (position, column) in query.columns().enumerate() {
        let number = column.column_type.is_number() && (has_ids || position > 0);
        let position = if position == 0 { 0 } else { position + 1 };
        if let Some(column) = table.column_mut(position).filter(|_| number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The header of a column: `Video` for `video_id`.
fn header(column: &StoredColumn) -> String {
    let words = column.name.strip_suffix("_id").unwrap_or(&column.name).replace('_', " ");
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => words,
    }
}

fn cells(
    query: &StoredQuery,
    stored: &StoredRow,
    epoch: String,
    last: Option<&str>,
    titles: &BTreeMap<VideoId, Title>,
) -> Vec<String> {
    let mut cells: Vec<String> =
        query.values_of(&stored.row).map(|value| value.to_string()).collect();
    if let Some(Value::Video(video)) = query.values_of(&stored.row).next()
        && let Some(Title { title, .. }) = titles.get(&video)
    {
        cells[0] = format!("{} ({video})", printable(title), video = video.0);
    }
    cells.insert(1, epoch);
    cells.extend(last.map(str::to_owned));
    cells
}

/// A title as it may be printed: in one line, and not long.
fn printable(title: &str) -> String {
    const LENGTH_MAX: usize = 48;
    let letters = title.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let shown: String = letters.clone().take(LENGTH_MAX).collect();
    if letters.count() > LENGTH_MAX { shown + "…" } else { shown }
}

/// Labels epochs with their number within the day, and with the date if it is needed.
struct EpochLabels {
    definition: Definition,
    with_date: bool,
}

impl EpochLabels {
    fn of(definition: &Definition, rows: &[StoredRow]) -> EpochLabels {
        let day = |stored: &StoredRow| definition.start_ms(stored.row.epoch).div_euclid(DAY_MS);
        // Rows are sorted by epoch.
        let several = rows.first().map(day) != rows.last().map(day);
        EpochLabels {
            definition: *definition,
            with_date: several || definition.epoch_length_ms > DAY_MS,
        }
    }

    /// Formats an epoch as `1 (00:00-00:30)`, or `2026-01-01 1 (00:00-00:30)`.
    fn label(&self, epoch: Epoch) -> String {
        let start_ms = self.definition.start_ms(epoch);
        let number = start_ms.rem_euclid(DAY_MS) / self.definition.epoch_length_ms + 1;
        let (date, start) = date_and_time(start_ms);
        let (end_date, end) = date_and_time(self.definition.end_ms(epoch));
        let is_long = self.definition.epoch_length_ms > DAY_MS;
        let end = if is_long { format!("{end_date} {end}") } else { end };
        let date = if self.with_date { format!("{date} ") } else { String::new() };
        format!("{date}{number} ({start}-{end})")
    }
}

/// The date and the time of day, without seconds if they are zero.
fn date_and_time(time_ms: i64) -> (String, String) {
    let text = rfc3339(time_ms);
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let time = time.trim_end_matches('Z');
    (date.to_owned(), time.strip_suffix(":00").unwrap_or(time).to_owned())
}
