//! The live tree on a terminal: transitions scroll by, and what is under way stays below them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::skips::FoldedSkips;
use super::tree::ProgressTree;
use super::{DetailLevel, ProgressReporter};
use crate::event::Event;

/// How often elapsed times are redrawn.
const TICK: Duration = Duration::from_millis(200);

/// Shows the live tree on the terminal of standard error.
pub(crate) struct LiveProgress {
    tree: Arc<Mutex<ProgressTree>>,
    bar: ProgressBar,
    detail: DetailLevel,
    skips: FoldedSkips,
    colour: bool,
}

impl LiveProgress {
    /// A live tree of at most `height` lines.
    #[must_use]
    pub(crate) fn new(detail: DetailLevel, colour: bool, height: usize) -> Self {
        let tree = Arc::new(Mutex::new(ProgressTree::default()));
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let drawn = Arc::clone(&tree);
        let draw = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let lines = drawn.lock().unwrap_or_else(PoisonError::into_inner).lines(Instant::now(), height);
            for (i, line) in lines.iter().enumerate() {
                let end = if i + 1 == lines.len() { "" } else { "\n" };
                // Drawing goes to a string inside indicatif, which cannot fail.
                let _ = write!(out, "{}{end}", shown(line, colour));
            }
        };
        if let Ok(style) = ProgressStyle::with_template("{tree}") {
            bar.set_style(style.with_key("tree", draw));
        }
        bar.enable_steady_tick(TICK);
        Self { tree, bar, detail, skips: FoldedSkips::default(), colour }
    }
}

impl ProgressReporter for LiveProgress {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        // The lock is free again at the end of this statement: printing draws the tree, and drawing takes it.
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).note(event, Instant::now());
        for line in self.skips.of(event, self.detail) {
            // Through the bar, which clears its own lines first; any other way would leave half a frame on
            // the screen.
            self.bar.println(shown(&line, self.colour));
        }
        if matches!(event, Event::Finished { .. }) {
            self.bar.finish_and_clear();
        }
        Ok(())
    }
}

impl Drop for LiveProgress {
    fn drop(&mut self) {
        // A pass that ends by an error sends no last event, and its tree must not stay on the screen.
        self.bar.finish_and_clear();
    }
}

fn shown(line: &str, colour: bool) -> String {
    if colour { line.to_owned() } else { anstream::adapter::strip_str(line).to_string() }
}
