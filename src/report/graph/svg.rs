//! The graph as an SVG picture that needs no script, no font and no network.

use strum::IntoEnumIterator as _;

use super::frames::{GroupFrame, entered, with_frames};
use super::layout::{EdgeStyle, GridCell, Layout};
use super::{GraphNodeView, GraphView, NodeIx, NodeKind, NodePhase, colours};
use crate::report::text;

const NODE_WIDTH: f64 = 180.0;
const NODE_HEIGHT: f64 = 48.0;
const COLUMN: f64 = 250.0;
const ROW: f64 = 72.0;
const MARGIN: f64 = 24.0;
const TITLE: f64 = 36.0;
const LABEL_CHARACTERS: usize = 24;
/// The room between a frame and what is in it.
const FRAME: f64 = 6.0;
/// The line of the legend.
const LEGEND: f64 = 26.0;
const LEGEND_WIDTH: f64 = 480.0;

/// How the frame of a group looks, on a light and on a dark page.
const FRAME_LOOK: &str = "fill=\"#94a3b8\" fill-opacity=\"0.12\" stroke-dasharray=\"4 3\"";

// Only page and title change: nodes keep their light fill, on which their text is readable wherever they lie. Rules of a
// style sheet go before attributes, which programs without media queries read.
const DARK: &str = "@media (prefers-color-scheme: dark) {.page {fill: #0d1117} .title {fill: #e6edf3}}";

pub(super) fn render(view: &GraphView) -> String {
    let view = &entered(view);
    let (layout, frames) = with_frames(view);
    let mut out = head(view, &layout);
    // Below everything else, the outer ones first.
    for frame in &frames {
        let is_inner = frames.iter().any(|outer| outer.group != frame.group && outer.holds(frame));
        out.push_str(&draw_frame(view, frame, is_inner));
    }
    let framed = |group: NodeIx| frames.iter().find(|frame| frame.group == group);
    for way in &layout.ways {
        // What a frame shows needs no line.
        if way.group.and_then(framed).is_some() {
            continue;
        }
        let mut through = way.through.clone();
        if let (Some(frame), Some(start)) = (framed(way.from), through.first_mut()) {
            *start = frame.exit();
        }
        let dashes = match way.kind {
            EdgeStyle::Hard => "",
            EdgeStyle::Soft => " stroke-dasharray=\"6 4\"",
            EdgeStyle::Member => " stroke-dasharray=\"2 4\"",
        };
        let arrow = if way.kind == EdgeStyle::Member { "" } else { " marker-end=\"url(#arrow)\"" };
        out.push_str(&format!(
            "  <path d=\"{}\" fill=\"none\" stroke=\"#64748b\" stroke-width=\"1.5\"{dashes}{arrow}/>\n",
            path(&through)
        ));
    }
    // After the edges, so that nodes lie on top of them.
    for (ix, (node, cell)) in view.nodes.iter().zip(&layout.cells).enumerate() {
        if framed(ix).is_none() {
            out.push_str(&draw(node, *cell));
        }
    }
    out.push_str(&legend(view, &layout, !frames.is_empty()));
    out.push_str("</svg>\n");
    out
}

/// The frame of a group, with its name above it.
fn draw_frame(view: &GraphView, frame: &GroupFrame, is_inner: bool) -> String {
    let Some(group) = view.node(frame.group) else { return String::new() };
    let (left, top) = corner(GridCell { column: frame.columns.0, row: frame.rows.0 });
    let (right, bottom) = corner(GridCell { column: frame.columns.1, row: frame.rows.1 });
    // Wider around wider frames, and never as wide as half of what lies between two rows.
    let room = (FRAME + 3.0 * count(frame.inner)).min((ROW - NODE_HEIGHT) / 2.0 - 1.0);
    let x = left - room;
    let y = top - room;
    let width = right - left + NODE_WIDTH + 2.0 * room;
    let height = bottom - top + NODE_HEIGHT + 2.0 * room;
    let (_, stroke) = colours(group.phase);
    let name = match &group.name {
        Some(name) => format!("{name} · {} · {}", group.id, group.caption()),
        None => format!("{} · {}", group.id, group.caption()),
    };
    // An inner one stands to the right, as frames may begin in the same corner.
    let (at, anchor) = if is_inner { (x + width - 8.0, "end") } else { (x + 8.0, "start") };
    let label = escaped(&fitted(&name, 2 * LABEL_CHARACTERS));
    format!(
        "  <g><title>{}</title><rect class=\"frame\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"10\" \
         {FRAME_LOOK} stroke=\"{stroke}\"/><text class=\"title\" \
         x=\"{at}\" y=\"{}\" text-anchor=\"{anchor}\" font-size=\"11\" fill=\"#111827\">{label}</text></g>\n",
        escaped(&group.id),
        y - 3.0
    )
}

/// What colours, shapes and lines mean, as far as the picture has them.
fn legend(view: &GraphView, layout: &Layout, framed: bool) -> String {
    let mut out = String::new();
    let y = MARGIN + TITLE + count(layout.rows.saturating_sub(1)) * ROW + NODE_HEIGHT + MARGIN;
    let mut x = MARGIN;
    let mut entry = |mark: &dyn Fn(f64) -> String, word: &str| {
        out.push_str(&format!(
            "  {}<text class=\"title\" x=\"{}\" y=\"{}\" font-size=\"11\" fill=\"#111827\">{word}</text>\n",
            mark(x),
            x + 24.0,
            y + 10.0
        ));
        // No font is measured here: seven units a letter are enough for all that browsers take.
        x += 36.0 + 7.0 * count(word.chars().count());
    };
    let swatch =
        |look: String| move |x: f64| format!("<rect x=\"{x}\" y=\"{y}\" width=\"18\" height=\"12\" {look}/>");
    for phase in NodePhase::iter() {
        if view.nodes.iter().any(|node| node.phase == Some(phase)) {
            let (fill, stroke) = colours(Some(phase));
            let look = format!("rx=\"3\" fill=\"{fill}\" stroke=\"{stroke}\"");
            entry(&swatch(look), phase.into());
        }
    }
    let gate = |x: f64| {
        let right = x + 18.0;
        let middle = y + 6.0;
        format!(
            "<polygon points=\"{},{y} {},{y} {right},{middle} {},{} {},{} {x},{middle}\" fill=\"none\" stroke=\"#64748b\"/>",
            x + 5.0,
            x + 13.0,
            x + 13.0,
            y + 12.0,
            x + 5.0,
            y + 12.0
        )
    };
    if view.nodes.iter().any(|node| node.kind == NodeKind::Gate) {
        entry(&gate, "Gate");
    }
    if view.nodes.iter().any(|node| node.kind == NodeKind::External) {
        entry(&swatch("rx=\"6\" fill=\"none\" stroke=\"#64748b\"".to_owned()), "External");
    }
    if framed || view.nodes.iter().any(|node| node.kind == NodeKind::Group) {
        // As the frames look: with the fill of a node it would be another thing on a dark page.
        entry(&swatch(format!("rx=\"3\" {FRAME_LOOK} stroke=\"#64748b\"")), "Group");
    }
    let soft =
        |x: f64| format!("<path d=\"M{x} {0} h18\" stroke=\"#64748b\" stroke-dasharray=\"6 4\"/>", y + 6.0);
    if layout.ways.iter().any(|way| way.kind == EdgeStyle::Soft) {
        entry(&soft, "waits for the end, not for success");
    }
    out
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn head(view: &GraphView, layout: &Layout) -> String {
    let width = 2.0 * MARGIN + (count(layout.columns) - 1.0).max(0.0) * COLUMN + NODE_WIDTH;
    // As wide as a legend of a few words, also where the graph is narrow.
    let width = width.max(LEGEND_WIDTH);
    let height = 2.0 * MARGIN + TITLE + (count(layout.rows) - 1.0).max(0.0) * ROW + NODE_HEIGHT + LEGEND;
    // As an element of its own too, which screen readers read.
    let title = escaped(&view.title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" font-family=\"sans-serif\">\n  <title>{title}</title>\n  <defs><marker \
         id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#64748b\"/></marker></defs>\n  <style>{DARK}</style>\n  \
         <rect class=\"page\" width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n  <text class=\"title\" \
         x=\"{MARGIN}\" y=\"{}\" font-size=\"16\" font-weight=\"bold\" fill=\"#111827\">{title}</text>\n",
        MARGIN + 14.0
    )
}

/// The upper left corner of a cell's node.
fn corner(cell: GridCell) -> (f64, f64) {
    let column = f64::from(u32::try_from(cell.column).unwrap_or(u32::MAX));
    (MARGIN + column * COLUMN, MARGIN + TITLE + cell.row * ROW)
}

/// From the right side of the first cell to the left side of the last, straight across the cells between.
fn path(through: &[GridCell]) -> String {
    let mut out = String::new();
    let mut at: Option<(f64, f64)> = None;
    let last = through.len().saturating_sub(1);
    for (i, &cell) in through.iter().enumerate() {
        let (x, top) = corner(cell);
        let y = top + NODE_HEIGHT / 2.0;
        if let Some((from_x, from_y)) = at {
            // With both control points half way, the curve leaves and arrives level.
            let middle = f64::midpoint(from_x, x);
            out.push_str(&format!(" C{middle} {from_y} {middle} {y} {x} {y}"));
        } else {
            out.push_str(&format!("M{} {y}", x + NODE_WIDTH));
        }
        at = Some((x + NODE_WIDTH, y));
        // Straight on where a node would be: the edge passes between its neighbours.
        if i > 0 && i < last {
            out.push_str(&format!(" H{}", x + NODE_WIDTH));
        }
    }
    out
}

fn draw(node: &GraphNodeView, cell: GridCell) -> String {
    let (fill, stroke) = colours(node.phase);
    let (x, y) = corner(cell);
    let right = x + NODE_WIDTH;
    let bottom = y + NODE_HEIGHT;
    let middle_x = x + NODE_WIDTH / 2.0;
    let middle_y = y + NODE_HEIGHT / 2.0;
    let look = format!("fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"1.5\"");
    let shape = match node.kind {
        NodeKind::Gate => format!(
            "<polygon points=\"{},{y} {},{y} {right},{middle_y} {},{bottom} {},{bottom} {x},{middle_y}\" {look}/>",
            x + 16.0,
            right - 16.0,
            right - 16.0,
            x + 16.0
        ),
        NodeKind::External => rectangle(x, y, NODE_HEIGHT / 2.0, &look),
        NodeKind::Group => rectangle(x, y, 4.0, &format!("{look} stroke-dasharray=\"4 3\"")),
        NodeKind::Task => rectangle(x, y, 8.0, &look),
    };
    let name = escaped(&fitted(node.name.as_deref().unwrap_or(&node.id), LABEL_CHARACTERS));
    // Commands take the id, so that a name alone leaves a reader without the word to type.
    let captioned = |said: &str| match node.name {
        Some(_) => format!("{} · {said}", fitted(&node.id, LABEL_CHARACTERS / 2)),
        None => said.to_owned(),
    };
    let most = LABEL_CHARACTERS + 6;
    let whole = captioned(&node.caption());
    // The colour says the phase too, and nothing else says how many of a group failed.
    let is_long = whole.chars().count() > most && node.phase.is_some() && !node.detail.is_empty();
    let whole = if is_long { captioned(&node.detail) } else { whole };
    let caption = escaped(&text::shortened(&whole, most));
    format!(
        "  <g><title>{}</title>{shape}<text x=\"{middle_x}\" y=\"{}\" text-anchor=\"middle\" font-size=\"13\" \
         fill=\"#111827\">{name}</text><text x=\"{middle_x}\" y=\"{}\" text-anchor=\"middle\" font-size=\"11\" \
         fill=\"#475569\">{caption}</text></g>\n",
        escaped(&node.id),
        y + 20.0,
        y + 37.0
    )
}

/// A label of at most `width` characters, which keeps both of its ends: nodes that differ in their last characters, as
/// instances do in their numbers, would look alike without them.
fn fitted(label: &str, width: usize) -> String {
    // No font is measured here, so that a label is bounded by its number of characters.
    let label = text::line(label);
    let count = label.chars().count();
    if count <= width {
        return label.into_owned();
    }
    let end = width / 3;
    let begin = width.saturating_sub(end + 1);
    let begin = label.chars().take(begin);
    let end = label.chars().skip(count.saturating_sub(end));
    begin.chain(std::iter::once('…')).chain(end).collect()
}

fn rectangle(x: f64, y: f64, radius: f64, look: &str) -> String {
    format!(
        "<rect x=\"{x}\" y=\"{y}\" width=\"{NODE_WIDTH}\" height=\"{NODE_HEIGHT}\" rx=\"{radius}\" {look}/>"
    )
}

/// XML text: the five special characters become entities; control characters are gone already.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn the_picture_holds_every_node_and_edge_once() {
        let picture = render(&samples::running());
        assert_eq!(picture.matches("<g>").count(), 6);
        assert_eq!(picture.matches("marker-end").count(), 5);
        assert!(picture.contains("Failed 3s") && picture.contains("Succeeded 12s, attempt 2"), "{picture}");
    }

    #[test]
    fn a_legend_explains_what_the_picture_has_and_nothing_else() {
        let picture = render(&samples::running());
        for word in ["Succeeded", "Running", "Failed", "Gate", "Group", "waits for the end"] {
            assert!(picture.contains(&format!(">{word}")), "{word}\n{picture}");
        }
        assert!(!picture.contains(">Skipped") && !picture.contains(">External"), "{picture}");
        let plain = render(&samples::plain());
        assert!(!plain.contains(">Succeeded") && plain.contains(">Gate"), "{plain}");
    }

    #[test]
    fn a_frame_takes_the_place_of_the_lines_to_a_group() {
        let picture = render(&samples::plain());
        assert_eq!(picture.matches("class=\"frame\"").count(), 1);
        assert!(!picture.contains("stroke-dasharray=\"2 4\""), "{picture}");
    }

    #[test]
    fn text_from_a_manifest_is_no_markup() {
        let picture = render(&samples::plain());
        assert!(picture.contains("The &quot;front&quot; &lt;end&gt;"));
        assert!(!picture.contains("<end>"));
    }

    #[test]
    fn long_labels_that_differ_at_their_end_stay_different() {
        let labels = ["migrate-the-service-of-accounts-1", "migrate-the-service-of-accounts-11"];
        assert_eq!(
            labels.map(|label| fitted(label, LABEL_CHARACTERS)),
            ["migrate-the-ser…counts-1", "migrate-the-ser…ounts-11"]
        );
        assert_eq!(fitted("build", LABEL_CHARACTERS), "build");
    }

    #[test]
    fn a_named_node_shows_its_id_and_the_page_follows_a_dark_screen() {
        let picture = render(&samples::plain());
        assert!(picture.contains("prefers-color-scheme: dark"), "{picture}");
        let named = samples::plain().nodes.into_iter().find(|node| node.name.is_some()).unwrap();
        assert!(picture.contains(&format!(">{} · ", named.id)), "{picture}");
    }

    #[test]
    fn a_long_caption_keeps_the_counts_and_leaves_the_phase_to_the_colour() {
        let mut view = samples::plain();
        let node = view.nodes.iter_mut().find(|node| node.name.is_some()).unwrap();
        node.phase = Some(NodePhase::Failed);
        node.detail = "18 nodes: 15 ✓ 1 ✘".to_owned();
        let caption = format!(">{} · 18 nodes: 15 ✓ 1 ✘</text>", fitted(&node.id, LABEL_CHARACTERS / 2));
        let picture = render(&view);
        assert!(picture.contains(&caption), "{caption}: {picture}");
    }

    #[test]
    fn an_empty_way_draws_nothing() {
        assert_eq!(path(&[]), "");
    }
}
