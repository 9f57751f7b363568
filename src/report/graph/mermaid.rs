//! The graph in the language of Mermaid. Nodes are numbered, so that no id can be a word of the language.

use std::collections::BTreeSet;

use super::{EdgeType, GraphView, NodeKind, NodePhase, colours};

pub(super) fn render(view: &GraphView) -> String {
    let mut out = String::from("flowchart LR\n");
    let mut phases: BTreeSet<&'static str> = BTreeSet::new();
    for (i, node) in view.nodes.iter().enumerate() {
        let label =
            format!("{}<br/>{}", escaped(node.name.as_deref().unwrap_or(&node.id)), escaped(&node.caption()));
        let (open, close) = match node.kind {
            NodeKind::Task => ("[\"", "\"]"),
            NodeKind::Gate => ("{{\"", "\"}}"),
            NodeKind::Group => ("[[\"", "\"]]"),
            NodeKind::External => ("([\"", "\"])"),
        };
        out.push_str(&format!("  n{i}{open}{label}{close}"));
        if let Some(phase) = node.phase {
            // Only the classes that occur are defined below.
            phases.insert(phase.as_str());
            out.push_str(&format!(":::{phase}"));
        }
        out.push('\n');
    }
    for edge in &view.edges {
        let arrow = if edge.kind == EdgeType::Soft { "-.->" } else { "-->" };
        out.push_str(&format!("  n{} {arrow} n{}\n", edge.from, edge.to));
    }
    for (i, group) in view.nodes.iter().enumerate() {
        for child in &group.children {
            // Without an arrow, because a group adds no edges.
            out.push_str(&format!("  n{child} -.- n{i}\n"));
        }
    }
    for phase in NodePhase::ALL.into_iter().filter(|phase| phases.contains(phase.as_str())) {
        let (fill, stroke) = colours(Some(phase));
        // The colour of the text is fixed: the fills stay light on a dark page.
        out.push_str(&format!("  classDef {phase} fill:{fill},stroke:{stroke},color:#111827\n"));
    }
    out
}

/// Everything but letters, digits, spaces and a few harmless signs becomes a Mermaid entity, so that text
/// ends neither the label nor the diagram, and is no Markdown and no HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | ',' | ':' | '/' | '+') {
            out.push(c);
        } else {
            out.push_str(&format!("#{};", u32::from(c)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn nodes_have_shapes_and_classes_and_text_is_escaped() {
        insta::assert_snapshot!(render(&samples::running()), @r#"
        flowchart LR
          n0["design<br/>Succeeded 12s, attempt 2"]:::Succeeded
          n1["backend<br/>Running 18s"]:::Running
          n2["The #34;front#34; #60;end#62;<br/>Failed 3s"]:::Failed
          n3["docs<br/>Pending"]:::Pending
          n4{{"review<br/>Pending"}}:::Pending
          n5[["all<br/>Pending"]]:::Pending
          n0 --> n1
          n0 --> n2
          n0 -.-> n3
          n1 --> n4
          n2 --> n4
          n1 -.- n5
          n2 -.- n5
          classDef Pending fill:#f1f5f9,stroke:#94a3b8,color:#111827
          classDef Running fill:#dbeafe,stroke:#2563eb,color:#111827
          classDef Succeeded fill:#dcfce7,stroke:#15803d,color:#111827
          classDef Failed fill:#fee2e2,stroke:#b91c1c,color:#111827
        "#);
    }

    #[test]
    fn text_cannot_leave_its_label() {
        assert_eq!(escaped("\"] --> x; `<b>`"), "#34;#93; --#62; x#59; #96;#60;b#62;#96;");
    }
}
