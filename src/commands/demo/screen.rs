//! The live table of a demo: it fits the terminal, and is painted over the previous one.

use crate::commands::show::{ShowError, latest_epochs_table};
use crate::stores::StoreReader;
use std::io::{self, IsTerminal, Write, stdout};

/// Enough epochs to see the oldest become final, which takes the join window and the delay.
const EPOCHS_MAX: usize = 8;
const VIDEOS_MAX: usize = 3;
/// The header of the table, and the line between it and the rows.
const HEADER_LINES: usize = 2;

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    columns: usize,
    lines: usize,
}

/// The numbers of epochs, and of videos in each, that a table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    epochs: usize,
    videos: usize,
}

/// Paints the title, the table and a last line or more on standard output.
pub struct Screen {
    title: String,
    /// The last lines at the end.
    closing: String,
    /// The number of lines of the previous picture, on a terminal.
    painted: usize,
}

impl Screen {
    /// Starts with the title alone.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn start(title: String, closing: String) -> io::Result<Screen> {
        let mut screen = Screen { title, closing, painted: 0 };
        screen.print("")?;
        Ok(screen)
    }

    /// Paints the table, and a status below it.
    ///
    /// # Errors
    /// If the store cannot be read, or the table cannot be written.
    pub fn paint(&mut self, reader: &dyn StoreReader, status: &str) -> Result<(), ShowError> {
        let extent = terminal().map_or(Extent::MAX, |size| self.extent(size));
        let table = latest_epochs_table(reader, extent.epochs, extent.videos)?;
        self.print(&format!("{table}{status}\n")).map_err(ShowError::Output)
    }

    /// Paints the table for the last time, with the closing lines below it.
    ///
    /// # Errors
    /// If the store cannot be read, or the table cannot be written.
    pub fn finish(mut self, reader: &dyn StoreReader, status: &str) -> Result<(), ShowError> {
        let last = format!("{status}\n{}", self.closing.trim_end());
        self.paint(reader, &last)
    }

    /// Returns what fits a terminal together with the closing lines and a prompt, so that the whole
    /// table is still there at the end.
    fn extent(&self, size: Size) -> Extent {
        let other: usize = [&*self.title, "status", &*self.closing, "$"]
            .map(|text| size.height_of(text))
            .iter()
            .sum();
        let rows = size.lines.saturating_sub(other + HEADER_LINES).max(1);
        Extent { epochs: rows.min(EPOCHS_MAX), videos: (rows / EPOCHS_MAX).clamp(1, VIDEOS_MAX) }
    }

    /// Prints the title and a text: on a terminal over the previous picture, elsewhere without
    /// repeating the title.
    fn print(&mut self, text: &str) -> io::Result<()> {
        let mut out = stdout().lock();
        let Some(size) = terminal() else {
            if std::mem::replace(&mut self.painted, 1) == 0 {
                writeln!(out, "{}", self.title)?;
            }
            write!(out, "{text}")?;
            return out.flush();
        };
        if self.painted > 0 {
            write!(out, "\x1b[{}A\r\x1b[J", self.painted)?;
        }
        let picture = format!("{}\n{text}", self.title);
        self.painted = size.height_of(&picture);
        write!(out, "{picture}")?;
        out.flush()
    }
}

impl Extent {
    const MAX: Extent = Extent { epochs: EPOCHS_MAX, videos: VIDEOS_MAX };
}

impl Size {
    /// The number of lines of a text on the terminal, where long lines are wrapped.
    fn height_of(self, text: &str) -> usize {
        text.lines().map(|line| line.chars().count().div_ceil(self.columns).max(1)).sum()
    }
}

/// Returns the size of the terminal, if standard output is one.
fn terminal() -> Option<Size> {
    let size = || terminal_size::terminal_size_of(stdout());
    let (width, height) = stdout().is_terminal().then(size)??;
    Some(Size { columns: usize::from(width.0).max(1), lines: usize::from(height.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_table_closing_lines_and_prompt_fit_the_terminal() {
        let closing = "the store is /tmp/trendmark-demo-AbCdEf/trends.db\n\
             look at it: trendmark show --top 5 --store /tmp/trendmark-demo-AbCdEf/trends.db\n\
             remove it:  rm -r /tmp/trendmark-demo-AbCdEf";
        let screen = Screen { title: "demo".into(), closing: closing.into(), painted: 0 };
        for (columns, lines, epochs, videos) in [
            (200, 60, 8, 3),
            (80, 24, 8, 2),
            (60, 24, 8, 1),
            (60, 16, 7, 1),
            (60, 14, 5, 1),
            (80, 5, 1, 1),
        ] {
            let size = Size { columns, lines };
            assert_eq!(screen.extent(size), Extent { epochs, videos }, "{size:?}");
            let others = size.height_of("demo\nstatus\n$") + size.height_of(closing);
            let all = others + HEADER_LINES + epochs * videos;
            assert!(all <= lines.max(others + HEADER_LINES + 1), "{size:?}: {all} lines");
        }
    }

    #[test]
    fn long_lines_are_wrapped() {
        let size = Size { columns: 10, lines: 24 };
        assert_eq!(size.height_of("0123456789\n01234567890\n\n"), 1 + 2 + 1);
    }
}
