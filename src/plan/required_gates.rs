//! Gates that the configuration requires before tasks of certain providers: the repository's word, which no Plan can leave out.

use globset::{GlobBuilder, GlobMatcher};

use crate::config::RequiredGate;
use crate::graph::{NodeIx, Topology};
use crate::model::{Kind, Name, Node, NodeKind, ResourceKey};

/// The rules of `gates.require`.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequiredGates {
    rules: Vec<(Vec<GlobMatcher>, String)>,
}

impl RequiredGates {
    /// Compiles the globs. One that is malformed matches every provider: what was to hold something back must not let it
    /// pass by a typing error.
    #[must_use]
    pub(crate) fn new(rules: &[RequiredGate]) -> Self {
        let everything = || GlobBuilder::new("*").build().ok();
        let compile = |glob: &String| {
            let glob = GlobBuilder::new(glob).build().ok().or_else(everything)?;
            Some(glob.compile_matcher())
        };
        let rule =
            |rule: &RequiredGate| (rule.providers.iter().filter_map(compile).collect(), rule.gate.clone());
        Self { rules: rules.iter().map(rule).collect() }
    }

    /// Whether nothing is required.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The gates that a provider needs, as they are written.
    pub(crate) fn of(&self, provider: &str) -> impl Iterator<Item = &str> {
        let needs =
            move |(globs, _): &&(Vec<GlobMatcher>, String)| globs.iter().any(|glob| glob.is_match(provider));
        self.rules.iter().filter(needs).map(|(_, gate)| gate.as_str())
    }
}

/// Whether a gate stands before a node; `home` is the namespace of the plan, and `counts` says whether a gate node does.
#[must_use]
pub(crate) fn is_behind(
    gate: &str,
    home: &Name,
    (topology, nodes): (&Topology, &[Node]),
    ix: NodeIx,
    counts: impl Fn(NodeIx) -> bool,
) -> bool {
    let (namespace, name) = gate.split_once('/').unwrap_or((home.as_str(), gate));
    let is_it = |key: &ResourceKey| key.namespace.as_str() == namespace && key.name.as_str() == name;
    let upstream = topology.upstream(ix);
    nodes.iter().enumerate().any(|(at, node)| {
        let before = node.kind == NodeKind::Gate && upstream.get(at).copied().unwrap_or_default();
        before && node.gate_ref.as_ref().is_some_and(|gate| is_it(&gate.key(Kind::Gate, home))) && counts(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PlanGraph;
    use serde_json::json;

    fn rules(globs: &[&str], gate: &str) -> RequiredGates {
        let providers = globs.iter().map(|glob| (*glob).to_owned()).collect();
        RequiredGates::new(&[RequiredGate { providers, gate: gate.to_owned() }])
    }

    #[test]
    fn globs_say_which_providers_need_a_gate() {
        let needs = |globs: &[&str], provider: &str| rules(globs, "prod").of(provider).count();
        assert_eq!(needs(&["merge://*", "tool://deploy*"], "merge://main"), 1);
        assert_eq!(needs(&["merge://*", "tool://deploy*"], "tool://deploy-web"), 1);
        assert_eq!(needs(&["merge://*"], "tool://test"), 0);
        assert_eq!(needs(&["[", "merge://*"], "tool://test"), 1, "a malformed glob lets nothing pass");
    }

    #[test]
    fn a_gate_counts_wherever_it_stands_before_the_node() {
        let plan = json!({
            "nodes": [
                { "id": "look", "kind": "Gate", "gateRef": { "name": "prod" } },
                { "id": "build", "kind": "Task", "dependsOn": ["look"] },
                { "id": "deploy", "kind": "Task", "dependsOn": ["build"] },
                { "id": "other", "kind": "Task" },
            ],
        });
        let graph: PlanGraph = serde_json::from_value(plan).unwrap();
        let topology = Topology::build(&graph).unwrap();
        let home: Name = "team".parse().unwrap();
        let behind = |gate: &str, node: &str, counts: bool| {
            let ix = topology.find(node).unwrap();
            is_behind(gate, &home, (&topology, &graph.nodes), ix, |_| counts)
        };
        assert!(behind("prod", "deploy", true) && behind("team/prod", "deploy", true));
        assert!(!behind("prod", "deploy", false) && !behind("prod", "other", true));
        assert!(!behind("security/prod", "deploy", true) && !behind("look", "deploy", true));
    }
}
