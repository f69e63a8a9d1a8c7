//! The live table of a demo: it fits the terminal, and is painted over the previous one.

use crate::commands::show::{ShowError, latest_epochs_table};
use crate::console::{self, Size};
use crate::stores::StoreReader;
use std::io;

/// Enough epochs to see the oldest become final, which takes the join window and the delay.
const EPOCHS_MAX: usize = 8;
const VIDEOS_MAX: usize = 3;
/// The header of the table, and the line between it and the rows.
const HEADER_LINES: usize = 2;

/// The numbers of epochs, and of videos in each, that a table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    epochs: usize,
    videos: usize,
}

/// Paints the title, the table and a status line on standard output; at the end, closing lines too.
pub struct Screen {
    title: String,
    /// The lines below the table when the demo has ended.
    closing: String,
    is_first: bool,
}

impl Screen {
    /// Starts with the title alone.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn start(title: String, closing: String) -> io::Result<Screen> {
        let mut screen = Screen { title, closing, is_first: true };
        screen.print("")?;
        Ok(screen)
    }

    /// Paints the table, and a status below it.
    ///
    /// # Errors
    /// If the store cannot be read, or the table cannot be written.
    pub fn paint(&mut self, reader: &dyn StoreReader, status: &str) -> Result<(), ShowError> {
        let extent = console::terminal().map_or(Extent::MAX, |size| self.extent(size));
        let table = latest_epochs_table(reader, extent.epochs, extent.videos)?;
        self.print(&format!("{table}{status}\n")).map_err(ShowError::Output)
    }

    /// Paints the table for the last time, with the closing lines below it.
    ///
    /// # Errors
    /// If the store cannot be read, or the table cannot be written.
    pub fn finish(mut self, reader: &dyn StoreReader, status: &str) -> Result<(), ShowError> {
        let last = format!("{status}\n{}", self.closing.trim_end());
        self.paint(reader, &last)?;
        console::leave_picture();
        Ok(())
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
        let has_title = self.is_first || console::terminal().is_some();
        self.is_first = false;
        let title = if has_title { format!("{}\n", self.title) } else { String::new() };
        console::repaint(&(title + text))
    }
}

impl Extent {
    const MAX: Extent = Extent { epochs: EPOCHS_MAX, videos: VIDEOS_MAX };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_table_closing_lines_and_prompt_fit_the_terminal() {
        let closing = "the store is /tmp/trendmark-demo-AbCdEf/trends.db\n\
             look at it: trendmark show --top 5 --store /tmp/trendmark-demo-AbCdEf/trends.db\n\
             remove it:  rm -r /tmp/trendmark-demo-AbCdEf";
        let screen = Screen { title: "demo".into(), closing: closing.into(), is_first: true };
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
}
