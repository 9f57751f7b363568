//! The graph in the language of Graphviz.

use super::{EdgeType, GraphView, NodeKind, colours};

pub(super) fn render(view: &GraphView) -> String {
    let mut out = format!("digraph {} {{\n  rankdir=LR;\n", quoted(&view.title));
    out.push_str("  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];\n");
    for node in &view.nodes {
        let (fill, stroke) = colours(node.phase);
        let label = format!("{}\n{}", node.name.as_deref().unwrap_or(&node.id), node.caption());
        let shape = match node.kind {
            NodeKind::Task => "",
            NodeKind::Gate => ", shape=diamond, style=filled",
            NodeKind::Group => ", shape=box, style=\"dashed,filled\"",
            NodeKind::External => ", shape=ellipse, style=filled",
        };
        out.push_str(&format!(
            "  {} [label={}, fillcolor=\"{fill}\", color=\"{stroke}\"{shape}];\n",
            quoted(&node.id),
            quoted(&label),
        ));
    }
    for edge in &view.edges {
        if let (Some(from), Some(to)) = (view.node(edge.from), view.node(edge.to)) {
            let style = if edge.kind == EdgeType::Soft { " [style=dashed]" } else { "" };
            out.push_str(&format!("  {} -> {}{style};\n", quoted(&from.id), quoted(&to.id)));
        }
    }
    // Without an arrow, because a group adds no edges.
    for group in &view.nodes {
        for child in group.children.iter().filter_map(|&child| view.node(child)) {
            out.push_str(&format!(
                "  {} -> {} [style=dotted, arrowhead=none];\n",
                quoted(&child.id),
                quoted(&group.id)
            ));
        }
    }
    out.push_str("}\n");
    out
}

/// A DOT string: quotes and backslashes are escaped, line feeds become `\n`.
fn quoted(text: &str) -> String {
    // Backslashes first, or those of the other escapes would be doubled.
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn nodes_have_shapes_and_colours_and_text_is_quoted() {
        insta::assert_snapshot!(render(&samples::running()), @r##"
        digraph "demo" {
          rankdir=LR;
          node [shape=box, style="rounded,filled", fontname="sans-serif"];
          "design" [label="design\nSucceeded 12s, attempt 2", fillcolor="#dcfce7", color="#15803d"];
          "backend" [label="backend\nRunning 18s", fillcolor="#dbeafe", color="#2563eb"];
          "frontend" [label="The \"front\" <end>\nFailed 3s", fillcolor="#fee2e2", color="#b91c1c"];
          "docs" [label="docs\nPending", fillcolor="#f1f5f9", color="#94a3b8"];
          "review" [label="review\nPending", fillcolor="#f1f5f9", color="#94a3b8", shape=diamond, style=filled];
          "all" [label="all\nPending", fillcolor="#f1f5f9", color="#94a3b8", shape=box, style="dashed,filled"];
          "design" -> "backend";
          "design" -> "frontend";
          "design" -> "docs" [style=dashed];
          "backend" -> "review";
          "frontend" -> "review";
          "backend" -> "all" [style=dotted, arrowhead=none];
          "frontend" -> "all" [style=dotted, arrowhead=none];
        }
        "##);
    }

    #[test]
    fn a_quote_cannot_end_a_string() {
        assert_eq!(quoted("a\"; b -> c; \\"), r#""a\"; b -> c; \\""#);
    }
}
