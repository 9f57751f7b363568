//! The manifests that everything is measured with: about 1 KB each, a quarter each of Goals, Plans with 8 nodes,
//! Bindings and Executions; a thousand to a namespace. The same number always gives the same bytes.
//!
//! Every Execution is pinned, and blocked for good: the first task of its plan asks for a capability that its Binding
//! has no rule for. So the state comes to rest without 200,000 commands, and stays alive: a quarter of all resources are
//! unfinished Executions, each waiting for a Binding. For a reconcile with nothing to do that is the worst case: finished
//! Executions may be forgotten, these must not be.

use std::fmt::Write as _;

/// How many manifests a namespace has.
const NAMESPACE: usize = 1_000;
/// How many tasks a layer has.
const LAYER: usize = 100;

/// A file of a repository.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) content: String,
}

/// The manifests, by number.
pub(crate) fn manifests(count: usize) -> impl Iterator<Item = File> {
    (0..count).map(|number| {
        let (space, family) = (number / NAMESPACE, number / 4);
        let (kind, content) = match number % 4 {
            0 => ("goals", goal(space, family, 0)),
            1 => ("plans", plan(space, family)),
            2 => ("bindings", binding(space, family)),
            _ => ("executions", execution(space, family)),
        };
        File { path: format!("teams/team-{space:03}/{kind}/work-{family:05}.yaml"), content }
    })
}

/// The `edit`th version of a Goal.
pub(crate) fn changed_goal(number: usize, edit: usize) -> File {
    let (space, family) = (number * 4 / NAMESPACE, number);
    let path = format!("teams/team-{space:03}/goals/work-{family:05}.yaml");
    File { path, content: goal(space, family, edit) }
}

fn head(kind: &str, space: usize, family: usize) -> String {
    format!(
        "apiVersion: planspec.io/v1alpha1\nkind: {kind}\nmetadata:\n  name: work-{family:05}\n  namespace: \
         team-{space:03}\n  labels:\n    planspec.io/goal: work-{family:05}\n    planspec.io/team: team-{space:03}\n    \
         planspec.io/environment: production\n  annotations:\n    example.com/owner: \
         https://people.example.com/teams/team-{space:03}/on-call\nspec:\n"
    )
}

fn goal(space: usize, family: usize, edit: usize) -> String {
    let mut text = head("Goal", space, family);
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        text,
        "  description: |\n    Bring service {family} to the new platform (edit {edit}). Everything that it offers today stays \
         available while\n    it moves; customers must not notice, and the old machines can be given back at the \
         end of it.\n  constraints:\n    region: eu-{}\n    language: rust\n    budget: {}\n    downtime: none\n  \
         acceptanceCriteria:\n",
        family % 7,
        family * 13 % 9_000
    );
    for (id, words) in [
        ("traffic", "All traffic of the last seven days was answered by the new platform"),
        ("errors", "No more than one request in ten thousand fails over a day"),
        ("cost", "The monthly cost is at most that of the machines that it replaces"),
        ("old-machines", "The old machines are switched off and given back"),
    ] {
        let _ = write!(text, "    - id: {id}\n      description: {words}\n");
    }
    let _ = write!(
        text,
        "  planSelector:\n    matchLabels:\n      planspec.io/goal: work-{family:05}\n  priority: {}\n",
        family % 100
    );
    text
}

fn plan(space: usize, family: usize) -> String {
    let mut text = head("Plan", space, family);
    let _ = write!(
        text,
        "  description: Move service {family}\n  goalRef:\n    name: work-{family:05}\n  graph:\n    nodes:\n"
    );
    let nodes = ["intake", "survey", "schema", "copy", "shadow", "switch", "verify", "retire"];
    for (index, id) in nodes.into_iter().enumerate() {
        let needs = if index == 0 { "intake" } else { "shell" };
        let _ = write!(
            text,
            "      - id: {id}\n        kind: Task\n        capabilityRefs:\n          - name: {needs}\n"
        );
    }
    text.push_str("    edges:\n");
    for pair in nodes.windows(2) {
        let _ = write!(text, "      - from: {}\n        to: {}\n", pair[0], pair[1]);
    }
    text
}

fn binding(space: usize, family: usize) -> String {
    let mut text = head("Binding", space, family);
    text.push_str("  strategy: FirstMatch\n  rules:\n");
    for (priority, node) in ["survey", "schema", "copy", "verify"].into_iter().enumerate() {
        let _ = write!(
            text,
            "    - priority: {}\n      selector:\n        planRef:\n          name: work-{family:05}\n        nodeId: \
             {node}\n      target:\n        provider: tool://{node}\n        config:\n          command: \"true\"\n",
            10 + priority
        );
    }
    let _ = write!(
        text,
        "    - selector:\n        capabilityRef:\n          name: shell\n      target:\n        provider: \
         tool://shell\n        config:\n          command: \"true\"\n"
    );
    text
}

fn execution(space: usize, family: usize) -> String {
    let mut text = head("Execution", space, family);
    let _ = write!(
        text,
        "  goalRef:\n    name: work-{family:05}\n  planRef:\n    name: work-{family:05}\n  bindingRef:\n    name: \
         work-{family:05}\n  parameters:\n    dryRun: false\n    window: night\n    batch: {}\n    contact: \
         team-{space:03}@example.com\n  context:\n    - name: background\n      format: markdown\n      content: |\n",
        family % 500
    );
    for line in [
        "The service was written four years ago and has been moved once before.",
        "Its database holds the orders of the last ten years; nothing of it may be lost.",
        "During the night fewer than a hundred requests a minute arrive, so that is when to move it.",
        "The people who know it best are named in the annotation `example.com/owner` above.",
    ] {
        let _ = writeln!(text, "        {line}");
    }
    text
}

/// The three capabilities that the plans of a namespace ask for are declared once each.
pub(crate) fn capabilities(count: usize) -> impl Iterator<Item = File> {
    (0..count.div_ceil(NAMESPACE)).flat_map(|space| {
        ["intake", "shell"].map(|name| File {
            path: format!("teams/team-{space:03}/capabilities/{name}.yaml"),
            content: format!(
                "apiVersion: planspec.io/v1alpha1\nkind: Capability\nmetadata:\n  name: {name}\n  namespace: \
                 team-{space:03}\nspec:\n  description: What it takes to {name}\n"
            ),
        })
    })
}

/// How the tasks of a plan hang together.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Each by itself.
    Wide,
    /// Each waits for the one before it.
    Chain,
    /// Layers of a hundred; each task waits for two of the layer before.
    Layers,
}

impl Shape {
    /// What a task waits for.
    pub(crate) fn before(self, number: usize) -> impl Iterator<Item = usize> {
        let (one, other) = match self {
            Self::Wide => (None, None),
            Self::Chain => (number.checked_sub(1), None),
            Self::Layers => {
                let first = (number / LAYER).checked_sub(1).map(|layer| layer * LAYER);
                (first.map(|first| first + number % LAYER), first.map(|first| first + (number + 1) % LAYER))
            }
        };
        one.into_iter().chain(other)
    }
}

/// A Plan of `count` tasks that run `true`, its Binding and its Execution.
pub(crate) fn tasks(count: usize, shape: Shape, checkout: bool) -> Vec<File> {
    let head = |kind: &str| {
        format!(
            "apiVersion: planspec.io/v1alpha1\nkind: {kind}\nmetadata:\n  name: many\n  namespace: bench\nspec:\n"
        )
    };
    let mut plan = head("Plan") + "  description: Many tasks\n  graph:\n    nodes:\n";
    for number in 0..count {
        let _ = write!(plan, "      - id: t{number}\n        kind: Task\n");
        let before: Vec<String> = shape.before(number).map(|before| format!("t{before}")).collect();
        if !before.is_empty() {
            let _ = writeln!(plan, "        dependsOn: [{}]", before.join(", "));
        }
    }
    let binding = head("Binding")
        + &format!(
            "  rules:\n    - selector:\n        planRef:\n          name: many\n      target:\n        provider: \
             tool://true\n        config:\n          command: \"true\"\n          checkout: {checkout}\n"
        );
    let execution = head("Execution") + "  planRef:\n    name: many\n  bindingRef:\n    name: many\n";
    [("plan", plan), ("binding", binding), ("execution", execution)]
        .map(|(name, content)| File { path: format!("{name}.yaml"), content })
        .into()
}

/// `executions` Executions of one Plan, a chain of `tasks` tasks that run `command`; `config` is `.planspec.yaml`.
pub(crate) fn chains(executions: usize, tasks: usize, command: &str, config: &str) -> Vec<File> {
    let head = |kind: &str, name: &str| {
        format!(
            "---\napiVersion: planspec.io/v1alpha1\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: bench\nspec:\n"
        )
    };
    let mut text = head("Plan", "chain") + "  description: A chain\n  graph:\n    nodes:\n";
    for number in 0..tasks {
        let _ = write!(text, "      - id: t{number}\n        kind: Task\n");
        if number > 0 {
            let _ = writeln!(text, "        dependsOn: [t{}]", number - 1);
        }
    }
    text += &head("Binding", "chain");
    let _ = write!(
        text,
        "  rules:\n    - selector:\n        planRef:\n          name: chain\n      target:\n        provider: tool://sleep\n        \
         config:\n          command: \"{command}\"\n          checkout: false\n"
    );
    for number in 0..executions {
        text += &head("Execution", &format!("e{number:03}"));
        text += "  planRef:\n    name: chain\n  bindingRef:\n    name: chain\n";
    }
    let manifests = File { path: "chains.yaml".to_owned(), content: text };
    let config = File { path: ".planspec.yaml".to_owned(), content: config.to_owned() };
    vec![manifests, config]
}
