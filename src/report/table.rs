//! Tables in the manner of `kubectl get`: upper-case heads, no borders, three spaces between columns.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table as Grid};

use super::style::Tone;
use super::text;

/// The characters that carry a tone through the layout: they have no width, and [`text::line`] removes them
/// from everything that comes from outside.
const MARK: char = '\u{2060}';
const FIRST_TONE: u32 = 0xfe00;

/// In less room than this, sentences would be columns of single words.
const LEAST: usize = 16;

/// What stands before a text below its row.
const BELOW: &str = "    ";

/// The room in which a sentence can be read.
const SENTENCE: usize = 32;

/// A table of text.
#[derive(Debug, Default)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<TableCell>>,
}

/// One cell: text made safe for a terminal, and its tone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableCell {
    text: String,
    tone: Tone,
}

impl TableCell {
    /// A cell with a tone.
    #[must_use]
    pub(crate) fn toned(content: &str, tone: Tone) -> Self {
        Self { text: text::line(content).into_owned(), tone }
    }

    /// A cell that shows a phase.
    #[must_use]
    pub(crate) fn phase(phase: &str) -> Self {
        Self::toned(phase, Tone::of_phase(phase))
    }

    fn marked(&self) -> String {
        if self.tone == Tone::Plain || self.text.is_empty() {
            return self.text.clone();
        }
        let position = Tone::ALL.iter().position(|tone| *tone == self.tone).unwrap_or(0);
        // Escape sequences would count as width in the layout; these characters have none.
        let tone = u32::try_from(position).ok().and_then(|offset| char::from_u32(FIRST_TONE + offset));
        match tone {
            Some(tone) => format!("{MARK}{tone}{}{MARK}", self.text),
            None => self.text.clone(),
        }
    }
}

impl<S: AsRef<str>> From<S> for TableCell {
    fn from(content: S) -> Self {
        Self::toned(content.as_ref(), Tone::Plain)
    }
}

impl Table {
    /// An empty table with these heads.
    #[must_use]
    pub(crate) fn new<S: AsRef<str>>(head: impl IntoIterator<Item = S>) -> Self {
        Self { head: head.into_iter().map(|name| name.as_ref().to_uppercase()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<TableCell>) {
        self.rows.push(cells);
    }

    /// Whether there is no row.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table without columns that can be missed, in this order, as long as it does not fit into a width: for tables whose
    /// last column says the most.
    #[must_use]
    pub(crate) fn without(mut self, missable: &[&str], width: usize) -> Self {
        for name in missable {
            if needed(&self.widths()) <= width {
                break;
            }
            let Some(at) = self.head.iter().position(|head| head.eq_ignore_ascii_case(name)) else {
                continue;
            };
            self.head.remove(at);
            for row in self.rows.iter_mut().filter(|row| at < row.len()) {
                row.remove(at);
            }
        }
        self
    }

    /// The lines for a page of this width: columns that can be missed go first, in this order, and what is then still longer
    /// than its room goes on below, in the last column, broken between words.
    #[must_use]
    pub(crate) fn wrapped(self, missable: &[&str], width: usize) -> Vec<String> {
        // As wide as sentences can be read; a long message alone is no reason to hide the columns beside it.
        let last = self.widths().last().map_or(0, |last| (*last).min(SENTENCE));
        let slack = self.widths().last().map_or(0, |widest| widest - last);
        let mut table = self.without(missable, width + slack);
        let widths = table.widths();
        let before = needed(&widths) - widths.last().copied().unwrap_or_default();
        let room = width.saturating_sub(before);
        if needed(&widths) <= width {
            return table.lines();
        }
        if room < LEAST {
            return table.with_last_below(width);
        }
        let rows = std::mem::take(&mut table.rows);
        for mut row in rows {
            let Some(cell) = row.pop() else { continue };
            let mut pieces = text::wrapped(&cell.text, room).into_iter();
            let empty = vec![TableCell::from(""); row.len()];
            let first = pieces.next().unwrap_or_default();
            row.push(TableCell { text: first, tone: cell.tone });
            table.rows.push(row);
            for piece in pieces {
                let below = empty.iter().cloned().chain([TableCell { text: piece, tone: cell.tone }]);
                table.rows.push(below.collect());
            }
        }
        table.lines()
    }

    /// The lines, with what the last column says below each, where no room is beside the others.
    fn with_last_below(mut self, width: usize) -> Vec<String> {
        self.head.pop();
        let last: Vec<String> = self.rows.iter_mut().filter_map(Vec::pop).map(|cell| cell.text).collect();
        let mut lines = self.lines().into_iter();
        let mut all: Vec<String> = lines.next().into_iter().collect();
        let room = width.saturating_sub(BELOW.len());
        for (line, text) in lines.zip(last) {
            all.push(line);
            all.extend(text::wrapped(&text, room).into_iter().map(|piece| format!("{BELOW}{piece}")));
        }
        all
    }

    /// How many characters each column takes.
    fn widths(&self) -> Vec<usize> {
        let wide = |text: &str| text.chars().count();
        let mut widths: Vec<usize> = self.head.iter().map(|head| wide(head)).collect();
        for row in &self.rows {
            for (most, cell) in widths.iter_mut().zip(row) {
                *most = (*most).max(wide(&cell.text));
            }
        }
        widths
    }

    /// The table without as many columns as do not fit into a width, from the right; the first `kept` stay in any case.
    #[must_use]
    pub(crate) fn fitting(mut self, width: usize, kept: usize) -> Self {
        let widths = self.widths();
        let mut columns = widths.len();
        // A word that is broken over two lines helps nobody.
        while columns > kept && needed(widths.get(..columns).unwrap_or_default()) > width {
            columns -= 1;
        }
        self.head.truncate(columns);
        for row in &mut self.rows {
            row.truncate(columns);
        }
        self
    }

    /// The lines, the heads first, without line ends.
    #[must_use]
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut grid = Grid::new();
        // Cells are never wrapped: a row is one line, which `grep` finds as a whole.
        grid.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        grid.set_header(self.head.iter());
        for row in &self.rows {
            grid.add_row(row.iter().map(TableCell::marked));
        }
        let last = self.head.len().saturating_sub(1);
        for (i, column) in grid.column_iter_mut().enumerate() {
            column.set_padding((0, if i == last { 0 } else { 3 }));
        }
        // Blanks at the end would wrap on a narrow terminal.
        grid.lines().map(|line| paint(line.trim_end())).collect()
    }
}

/// Turns the marks that went through the layout into colours.
fn paint(line: &str) -> String {
    if !line.contains(MARK) {
        return line.to_owned();
    }
    let mut out = String::with_capacity(line.len() + 16);
    let mut open: Option<Tone> = None;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c != MARK {
            out.push(c);
        } else if let Some(tone) = open.take() {
            out.push_str(&format!("{:#}", tone.style()));
        } else if let Some(tone) = rest.next().and_then(tone_of) {
            out.push_str(&tone.style().to_string());
            open = Some(tone);
        }
    }
    out
}

fn tone_of(mark: char) -> Option<Tone> {
    let offset = u32::from(mark).checked_sub(FIRST_TONE)?;
    Tone::ALL.get(usize::try_from(offset).ok()?).copied()
}

/// How many characters columns of these widths take, with the three spaces between them.
fn needed(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + 3 * widths.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(["name", "phase", "age"]);
        table.row(vec!["enable-google-sso".into(), TableCell::phase("Succeeded"), "3m12s".into()]);
        table.row(vec!["x".into(), TableCell::phase("Pending"), "".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_without_borders() {
        let plain: Vec<String> =
            sample().lines().iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
        assert_eq!(
            plain,
            [
                "NAME                PHASE       AGE",
                "enable-google-sso   Succeeded   3m12s",
                "x                   Pending",
            ]
        );
    }

    #[test]
    fn what_does_not_fit_is_left_out_from_the_right() {
        let lines = |width| sample().fitting(width, 2).lines().len();
        assert_eq!(lines(20), 3, "rows stay");
        let heads = |width| anstream::adapter::strip_str(&sample().fitting(width, 2).lines()[0]).to_string();
        assert_eq!(heads(80), "NAME                PHASE       AGE");
        assert_eq!(heads(36), "NAME                PHASE");
        assert_eq!(heads(10), "NAME                PHASE");
    }

    #[test]
    fn what_can_be_missed_goes_first_where_the_last_column_says_the_most() {
        let heads = |width| {
            let table = sample().without(&["phase", "name"], width);
            anstream::adapter::strip_str(&table.lines()[0]).to_string()
        };
        assert_eq!(heads(80), "NAME                PHASE       AGE");
        assert_eq!(heads(30), "NAME                AGE");
        assert_eq!(heads(10), "AGE");
    }

    #[test]
    fn a_long_last_column_goes_on_below_between_words() {
        let mut table = Table::new(["node", "provider", "message"]);
        table.row(vec!["build".into(), "tool://sh".into(), "there is no binding of that name".into()]);
        table.row(vec!["test".into(), "-".into(), "".into()]);
        let lines: Vec<String> = table.wrapped(&["provider"], 30);
        assert_eq!(
            lines,
            ["NODE    MESSAGE", "build   there is no binding of", "        that name", "test",]
        );
    }

    #[test]
    fn a_last_column_without_room_goes_below_its_row() {
        let mut table = Table::new(["node", "message"]);
        table.row(vec!["a-long-name".into(), "one two three".into()]);
        assert_eq!(table.wrapped(&[], 14), ["NODE", "a-long-name", "    one two", "    three"]);
    }

    #[test]
    fn a_tone_surrounds_exactly_its_cell() {
        let green = Tone::Good.style();
        assert!(sample().lines()[1].contains(&format!("   {green}Succeeded{green:#}   3m12s")));
    }

    #[test]
    fn hostile_cells_stay_on_their_line_and_bring_no_colour() {
        let mut table = Table::new(["a", "b"]);
        table.row(vec!["x\n\u{1b}[31my\u{2060}\u{fe01}".into(), "z".into()]);
        let lines = table.lines();
        assert_eq!(lines.len(), 2);
        assert!(!lines[1].contains('\u{1b}'), "{lines:?}");
    }
}
