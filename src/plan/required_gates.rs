//! Gates that the configuration requires before tasks of certain providers: the repository's word, which no Plan can leave out.

use globset::{GlobBuilder, GlobMatcher};
use serde_json::Value;

use crate::config::RequiredGate;
use crate::graph::{NodeIx, Topology};
use crate::model::{JsonMap, Kind, Name, Node, NodeKind, ResourceKey};

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

    fn all(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|(_, gate)| gate.as_str())
    }
}

/// A gate that is required, with the provider that needs it.
pub(crate) type GateFor = (String, String);

/// The gates that a task with this provider and these settings needs: also those of the provider that verifies its work, which
/// starts in the same attempt.
pub(crate) fn gates_for(required: &RequiredGates, provider: &str, settings: &JsonMap) -> Vec<GateFor> {
    let verifier = match settings.get("verify") {
        Some(Value::Object(verify)) => verify.get("provider").and_then(Value::as_str),
        verify => verify.and_then(Value::as_str),
    };
    let mut found = Vec::new();
    for provider in [Some(provider), verifier].into_iter().flatten() {
        // What an expression comes to is known only after the gates: any of them could be meant.
        let open = provider.contains("${{");
        let gates: Vec<&str> = if open { required.all().collect() } else { required.of(provider).collect() };
        found.extend(gates.into_iter().map(|gate| (gate.to_owned(), provider.to_owned())));
    }
    found
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
    fn whoever_verifies_needs_the_gate_as_well() {
        let needed = |settings: Value| {
            let required = rules(&["agent://prod-*"], "prod");
            gates_for(&required, "tool://make", settings.as_object().unwrap())
        };
        let prod = |provider: &str| vec![("prod".to_owned(), provider.to_owned())];
        assert_eq!(needed(json!({ "verify": "agent://prod-judge" })), prod("agent://prod-judge"));
        let settings = json!({ "verify": { "provider": "agent://prod-judge" } });
        assert_eq!(needed(settings), prod("agent://prod-judge"));
        assert_eq!(needed(json!({ "verify": "agent://judge" })), []);
        // Nobody knows what this will be.
        let open = "${{ parameters.judge }}";
        assert_eq!(needed(json!({ "verify": open })), prod(open));
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
