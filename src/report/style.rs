//! Colours and signs. Texts are made with colours always; the stream that prints them drops the colours
//! where they are not wanted.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

use crate::model::{ExecutionPhase, NodePhase};

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Tone {
    /// Ordinary text.
    Plain,
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// It is under way.
    Active,
    /// It waits for somebody.
    Waiting,
    /// It matters less.
    Muted,
    /// It heads what follows.
    Strong,
}

impl Tone {
    /// Every tone; the position of one is its mark in a table.
    pub(crate) const ALL: [Self; 7] =
        [Self::Plain, Self::Good, Self::Bad, Self::Active, Self::Waiting, Self::Muted, Self::Strong];

    /// The style of a terminal.
    #[must_use]
    pub(crate) fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Active => AnsiColor::Cyan.on_default(),
            Self::Waiting => AnsiColor::Yellow.on_default(),
            Self::Muted => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        }
    }

    /// The text in this tone.
    #[must_use]
    pub(crate) fn paint(self, text: impl Display) -> String {
        let style = self.style();
        format!("{style}{text}{style:#}")
    }

    /// The tone of a phase of any kind, by its name.
    #[must_use]
    pub(crate) fn of_phase(phase: &str) -> Self {
        match phase {
            "Succeeded" | "Approved" | "Available" | "Ready" => Self::Good,
            "Failed" | "Rejected" | "Invalid" | "Unavailable" | "Unresolved" => Self::Bad,
            "Running" | "Executing" | "Planning" => Self::Active,
            "Blocked" | "Waiting" | "PartiallyBound" | "Deprecated" => Self::Waiting,
            "Pending" | "Skipped" | "Cancelled" => Self::Muted,
            // The history may name phases that another version has written.
            _ => Self::Plain,
        }
    }
}

/// The sign of a node's phase.
#[must_use]
pub(crate) fn node_sign(phase: NodePhase) -> &'static str {
    match phase {
        // Each phase has a sign of its own, because colours may be off, and are not for everybody.
        NodePhase::Pending => "○",
        NodePhase::Running => "●",
        NodePhase::Blocked => "◍",
        NodePhase::Succeeded => "✔",
        NodePhase::Failed => "✘",
        NodePhase::Skipped => "⊘",
        NodePhase::Cancelled => "⊗",
    }
}

/// The sign of an execution's phase.
#[must_use]
pub(crate) fn execution_sign(phase: ExecutionPhase) -> &'static str {
    match phase {
        ExecutionPhase::Pending => "○",
        ExecutionPhase::Running => "●",
        ExecutionPhase::Blocked => "◍",
        ExecutionPhase::Succeeded => "✔",
        ExecutionPhase::Failed => "✘",
        ExecutionPhase::Cancelled => "⊗",
    }
}
