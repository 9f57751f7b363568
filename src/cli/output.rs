//! The two streams of the process. Colours are dropped here where they are not wanted; text from outside has
//! been made safe by `report::text` before it comes here.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use crate::cli::error::CliError;
use crate::cli::options::ColorWhen;
use crate::config::Environment;
use crate::markup;
use crate::report::style::Tone;

/// The lines of a terminal whose height nobody knows.
const DEFAULT_HEIGHT: u16 = 24;

/// Standard output and standard error.
pub(crate) struct Output {
    stdout: AutoStream<io::Stdout>,
    stderr: AutoStream<io::Stderr>,
    quiet: bool,
    live: bool,
    colour: bool,
}

impl Output {
    /// The streams, with colours where the user and the terminals want them.
    pub(crate) fn new(colour: ColorWhen, quiet: bool, environment: &Environment) -> Self {
        let terminals = io::stdout().is_terminal() && io::stderr().is_terminal();
        let out_choice = choice(colour, io::stdout().is_terminal(), environment);
        let err_choice = choice(colour, io::stderr().is_terminal(), environment);
        Self {
            stdout: AutoStream::new(io::stdout(), out_choice),
            stderr: AutoStream::new(io::stderr(), err_choice),
            quiet,
            // A CI system may offer a pseudo-terminal, and then keeps every frame of a live display in its
            // log.
            live: terminals && !environment.dumb_terminal() && environment.ci().is_none(),
            colour: err_choice != ColorChoice::Never,
        }
    }

    /// Whether a live display makes sense.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Whether standard error has colours.
    pub(crate) fn has_colour(&self) -> bool {
        self.colour
    }

    /// How many lines a live display may take.
    pub(crate) fn height(&self) -> usize {
        let rows = rustix::termios::tcgetwinsize(io::stderr()).map_or(DEFAULT_HEIGHT, |size| size.ws_row);
        // Half of the screen, so that what was printed before stays visible.
        usize::from(rows.max(8) / 2)
    }

    /// How many characters a line of a terminal takes; unknown in a pipe, where nothing is left out.
    pub(crate) fn width(&self) -> Option<usize> {
        if !io::stdout().is_terminal() {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        (size.ws_col > 0).then(|| usize::from(size.ws_col))
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, line: impl Display) -> Result<(), CliError> {
        Ok(writeln!(self.stdout, "{line}")?)
    }

    /// Prints a text that brings its line ends along.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), CliError> {
        Ok(self.stdout.write_all(text.as_bytes())?)
    }

    /// Prints bytes as they are: for pictures and for logs that go into a pipe.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        // Past the stream that removes escape sequences: a completion file has to arrive byte by byte.
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        Ok(stdout.flush()?)
    }

    /// Prints a value as indented JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        serde_json::to_writer_pretty(&mut self.stdout, value)?;
        Ok(self.stdout.write_all(b"\n")?)
    }

    /// Prints a value as one YAML document.
    pub(crate) fn yaml(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let text = markup::yaml(value)
            .map_err(|error| CliError::bug(format!("a value cannot be written as YAML: {error}")))?;
        self.text(&text)
    }

    /// Says something on standard error that is not part of the answer, unless the user wants quiet.
    pub(crate) fn note(&mut self, line: impl Display) -> Result<(), CliError> {
        if self.quiet { Ok(()) } else { Ok(writeln!(self.stderr, "{line}")?) }
    }

    /// Warns on standard error.
    pub(crate) fn warning(&mut self, line: impl Display) -> Result<(), CliError> {
        Ok(writeln!(self.stderr, "{} {line}", Tone::Waiting.paint("warning:"))?)
    }

    /// Prints what an error has to say; where even that fails, there is nowhere left to report it.
    pub(crate) fn error(&mut self, rendered: &str) {
        let _ = self.stderr.write_all(rendered.as_bytes());
        let _ = self.stderr.flush();
    }

    /// Brings out what is still buffered.
    pub(crate) fn flush(&mut self) -> Result<(), CliError> {
        Ok(self.stdout.flush()?)
    }
}

fn choice(wanted: ColorWhen, terminal: bool, environment: &Environment) -> ColorChoice {
    match wanted {
        // Decided here. The `Auto` of anstream reads the environment by itself, which only `config` may.
        ColorWhen::Always => ColorChoice::AlwaysAnsi,
        ColorWhen::Never => ColorChoice::Never,
        ColorWhen::Auto if terminal && !environment.no_color() => ColorChoice::AlwaysAnsi,
        ColorWhen::Auto => ColorChoice::Never,
    }
}
