//! The rows of the page's two tables, as HTML: the columns are those of `index.html`.

use crate::serve::table::{Cell, Table};
use std::fmt::Write;

/// The number of columns of the table of what is trending.
pub const TRENDING_COLUMNS: usize = 10;
/// What stands for a number that is not known.
const DASH: &str = "–";
/// The size of a line of plays.
const WIDTH: f64 = 132.0;
const HEIGHT: f64 = 26.0;
const EDGE: f64 = 3.0;
/// The number of epochs of such a line.
const SPARK_EPOCHS: f64 = 24.0;

/// A row of a table, whose cells are found by name.
struct Named<'a> {
    table: &'a Table,
    row: &'a [Cell],
}

impl Named<'_> {
    fn cell(&self, name: &str) -> &Cell {
        let position = self.table.headings().iter().position(|one| one.name == name);
        position.and_then(|position| self.row.get(position)).unwrap_or(&Cell::Null)
    }

    fn text(&self, name: &str) -> String {
        match self.cell(name).plain() {
            text if text.is_empty() => DASH.to_owned(),
            text => text,
        }
    }

    fn number(&self, name: &str) -> Option<f64> {
        match self.cell(name) {
            Cell::Whole(number) => Some(*number as f64),
            Cell::Count(number) => Some(*number as f64),
            _ => None,
        }
    }

    /// A number that is stored in parts.
    fn scaled(&self, name: &str, unit: f64) -> String {
        self.number(name).map_or(DASH.to_owned(), |number| format!("{:.1}", number / unit))
    }
}

/// The rows of what is trending.
pub fn trending(table: &Table) -> String {
    rows(table, |html, row| {
        let (id, title) = (row.text("video_id"), row.text("title"));
        let title = if matches!(row.cell("title"), Cell::Null) { id } else { title };
        cell(html, "n", &row.text("rank"));
        *html += &format!("<th scope=\"row\" class=\"title\">{}</th>", escaped(&title));
        cell(html, "genre", &row.text("genre"));
        cell(html, "n momentum", &row.scaled("momentum", 1_000.0));
        cell(html, "n score", &row.scaled("score", 1_000.0));
        cell(html, "since", &minute(&row.text("since_start")));
        cell(html, "n", &row.text("plays"));
        cell(html, "n", &row.scaled("expected_plays", 1_000.0));
        cell(html, "n rate", &percent(row.number("rate").map(|rate| rate / 1e6)));
        *html += &format!("<td class=\"spark\">{}</td>", spark(row));
    })
}

/// The rows of epochs.
pub fn epochs(table: &Table) -> String {
    rows(table, |html, row| {
        let is_final = matches!(row.cell("final"), Cell::Flag(true));
        let (start, end) = (row.text("epoch_start"), minute(&row.text("epoch_end")));
        let clock = end.split_once(' ').map_or("", |(_, clock)| clock);
        let span = format!("{}–{clock}", minute(&start));
        let share = row.number("plays").zip(row.number("impressions"));
        let share = share.filter(|(_, shown)| *shown > 0.0).map(|(played, shown)| played / shown);
        *html += &format!("<th scope=\"row\">{}</th>", escaped(&span));
        cell(html, "state", if is_final { "final" } else { "provisional" });
        cell(html, "n", &row.text("impressions"));
        cell(html, "n", &row.text("plays"));
        cell(html, "n", &percent(share));
        cell(html, "n", &row.text("videos"));
        for kind in ["impressions", "plays"] {
            let share = match row.cell("completeness") {
                Cell::Nested(complete) => complete[kind]["share"].as_f64(),
                _ => None,
            };
            cell(html, "n complete", &percent(share));
        }
        cell(html, "n", &row.text("publication"));
    })
}

fn rows(table: &Table, write: impl Fn(&mut String, &Named<'_>)) -> String {
    let mut html = String::new();
    for row in table.rows() {
        html += "<tr>";
        write(&mut html, &Named { table, row });
        html += "</tr>\n";
    }
    html
}

fn cell(html: &mut String, class: &str, text: &str) {
    *html += &format!("<td class=\"{class}\">{}</td>", escaped(text));
}

fn percent(share: Option<f64>) -> String {
    share.map_or(DASH.to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

/// The date and minute of a time: `2026-01-01 02:30`.
fn minute(time: &str) -> String {
    time.get(..16).map_or(time.to_owned(), |minute| minute.replacen('T', " ", 1))
}

/// The plays of the last epochs as a line, broken where an epoch is missing.
fn spark(row: &Named<'_>) -> String {
    let Cell::Nested(points) = row.cell("spark") else { return String::new() };
    let last = row.number("epoch").unwrap_or(0.0);
    let points = points.as_array().into_iter().flatten();
    let points: Vec<(f64, f64)> = points
        .filter_map(|point| Some((point["epoch"].as_f64()?, point["plays"].as_f64()?)))
        .collect();
    let most = points.iter().fold(1.0_f64, |most, (_, plays)| most.max(*plays));
    let mut line = String::new();
    let mut before = None;
    for (epoch, plays) in &points {
        let place = (epoch - last + SPARK_EPOCHS - 1.0) / (SPARK_EPOCHS - 1.0);
        let x = EDGE + place * (WIDTH - 2.0 * EDGE);
        let y = HEIGHT - EDGE - plays / most * (HEIGHT - 2.0 * EDGE);
        let letter = if before == Some(epoch - 1.0) { 'L' } else { 'M' };
        let written = write!(line, "{letter}{x:.1} {y:.1}");
        debug_assert!(written.is_ok(), "a string takes everything");
        before = Some(*epoch);
    }
    let label = format!("last {} plays", points.last().map_or(0.0, |(_, plays)| *plays));
    format!(
        "<svg class=\"line\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"{label}\"><path class=\"stroke\" d=\"{line}\"></path></svg>"
    )
}

/// A text in HTML.
pub fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            letter => html.push(letter),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::api;
    use crate::serve::fields;

    /// A row of a route, with some of its values.
    fn table(fields: &'static [fields::Field], values: &[(&str, Cell)]) -> Table {
        let mut table = fields::table(fields);
        let value = |name: &str| values.iter().find(|(one, _)| *one == name);
        let cells =
            fields.iter().map(|field| value(field.name).map_or(Cell::Null, |one| one.1.clone()));
        table.push(cells.collect());
        table
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    #[test]
    fn a_row_has_every_column_of_the_page_and_its_texts_are_escaped() {
        let spark = serde_json::json!([{"epoch": 7, "plays": 2, "impressions": 9},
                                       {"epoch": 9, "plays": 4, "impressions": 9}]);
        let values = [
            ("video_id", text("7")),
            ("title", text("<b>\"A\" & 'B'</b>")),
            ("epoch", Cell::Whole(9)),
            ("momentum", Cell::Whole(-2_340)),
            ("rate", Cell::Count(50_000)),
            ("since_start", text("2026-01-01T02:30:00Z")),
            ("spark", Cell::Nested(spark)),
        ];
        let html = trending(&table(api::trending::FIELDS, &values));
        let cells = html.matches("<td").count() + html.matches("<th").count();
        assert_eq!(cells, TRENDING_COLUMNS, "{html}");
        for part in [
            "&lt;b&gt;&quot;A&quot; &amp; &#39;B&#39;&lt;/b&gt;",
            "<td class=\"n momentum\">-2.3</td>",
            "<td class=\"n rate\">5.0 %</td>",
            "<td class=\"since\">2026-01-01 02:30</td>",
            "d=\"M118.0 13.0M129.0 3.0\"",
            "<td class=\"n score\">–</td>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }

    #[test]
    fn an_epoch_says_whether_it_is_final() {
        let values = [
            ("epoch_start", text("2026-01-01T02:00:00Z")),
            ("epoch_end", text("2026-01-01T02:30:00Z")),
            ("final", Cell::Flag(true)),
            ("impressions", Cell::Count(200)),
            ("plays", Cell::Count(9)),
        ];
        let html = epochs(&table(api::epochs::FIELDS, &values));
        assert!(html.starts_with("<tr><th scope=\"row\">2026-01-01 02:00–02:30</th>"), "{html}");
        assert!(html.contains(">final</td>") && html.contains(">4.5 %</td>"), "{html}");
        assert_eq!(html.matches("<td").count(), 8);
    }
}
