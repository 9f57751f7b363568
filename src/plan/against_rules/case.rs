//! Random plans with everything that will happen to them. Each part stands for itself, so that a case shrinks by leaving
//! nodes out: what it names is counted backwards, and what is not there is left out.

use std::collections::BTreeMap;
use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A case as it is drawn.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) nodes: Vec<Drawn>,
    /// The parameters `p0`, `p1` and `p2`.
    pub(super) flags: [bool; 3],
    /// In which order things happen: chance that must not matter.
    pub(super) order: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Drawn {
    kind: Kind,
    /// How far back a source is, and by what it is named.
    edges: Vec<(usize, Way)>,
    when: Option<When<usize>>,
    allow_failure: bool,
}

/// What a node is, and what happens to it.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Task(Task),
    Gate {
        verdict: Answer,
        timeout: bool,
    },
    /// A resource, or an address that is polled.
    External {
        answer: Answer,
        timeout: bool,
        address: bool,
    },
    Group {
        members: Vec<usize>,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) retries: u32,
    pub(super) repeatable: bool,
    /// How its attempts end, in order; every further one succeeds.
    pub(super) attempts: Vec<End>,
    /// Whether waiting for a person, or for remote work, has an end.
    pub(super) timeout: bool,
    /// What it adds to the number that it reads, if it reads one.
    pub(super) value: i64,
    pub(super) reads: bool,
    /// When a Binding for it is there.
    pub(super) bound: Bound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Fails,
    FailsForGood,
    /// The runner that claimed it is gone.
    Orphaned,
    /// The runner gave it back, before it had begun or later.
    GivenBack {
        begun: bool,
    },
    /// The work is no longer to be found where it went on.
    Lost,
    /// A person does it, or nobody.
    Person {
        done: bool,
    },
    /// It goes on remotely, and is polled in vain so often.
    Elsewhere {
        looks: u32,
        then: Then,
    },
}

/// How remote work ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Succeeds,
    Fails,
    FailsForGood,
    Lost,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    No,
    /// Yes, after a while.
    Later,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Now,
    Later,
    Never,
}

/// How a source is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    DependsOn,
    Hard,
    Soft,
    /// Twice, and not the same: the stronger counts.
    DependsOnAndSoft,
}

/// A condition over nodes that are named by `N`.
#[derive(Debug, Clone)]
pub(super) enum When<N> {
    /// An output, without asking first whether it is there.
    Output(N, i64),
    Total(Total<N>),
}

/// A condition that always has a value.
#[derive(Debug, Clone)]
pub(super) enum Total<N> {
    Phase(N, &'static str),
    Output(N, i64),
    Flag(usize),
    Not(Box<Total<N>>),
    And(Box<Total<N>>, Box<Total<N>>),
    Or(Box<Total<N>>, Box<Total<N>>),
}

/// A node with everything named by its index.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) kind: Kind,
    /// The sources, and whether the edge is hard.
    pub(super) sources: BTreeMap<usize, bool>,
    ways: Vec<(usize, Way)>,
    pub(super) when: Option<When<usize>>,
    /// The node whose number it reads.
    pub(super) reads: Option<usize>,
    pub(super) allow_failure: bool,
}

pub(super) fn case(nodes: std::ops::Range<usize>) -> impl Strategy<Value = Case> {
    (vec(drawn(), nodes), any::<[bool; 3]>(), any::<u64>()).prop_map(|(nodes, flags, order)| Case {
        nodes,
        flags,
        order,
    })
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let way = prop_oneof![
        4 => Just(Way::DependsOn),
        3 => Just(Way::Hard),
        3 => Just(Way::Soft),
        1 => Just(Way::DependsOnAndSoft)
    ];
    let edges = vec((1usize..12, way), 0..4);
    (kind(), edges, prop::option::weighted(0.35, when()), prop::bool::weighted(0.15))
        .prop_map(|(kind, edges, when, allow_failure)| Drawn { kind, edges, when, allow_failure })
}

fn kind() -> impl Strategy<Value = Kind> {
    let answer = || {
        prop_oneof![
            6 => Just(Answer::Yes),
            2 => Just(Answer::No),
            2 => Just(Answer::Later),
            1 => Just(Answer::Never)
        ]
    };
    prop_oneof![
        14 => task().prop_map(Kind::Task),
        2 => (answer(), any::<bool>()).prop_map(|(verdict, timeout)| Kind::Gate { verdict, timeout }),
        2 => (answer(), any::<bool>(), any::<bool>())
            .prop_map(|(answer, timeout, address)| Kind::External { answer, timeout, address }),
        2 => vec(1usize..8, 1..4).prop_map(|members| Kind::Group { members })
    ]
}

fn task() -> impl Strategy<Value = Task> {
    let attempts = prop_oneof![2 => Just(Vec::new()), 1 => vec(end(), 1..5)];
    let bound = prop_oneof![30 => Just(Bound::Now), 2 => Just(Bound::Later), 1 => Just(Bound::Never)];
    let repeatable = prop::bool::weighted(0.9);
    let yes = any::<bool>();
    (0u32..4, repeatable, attempts, yes, 0i64..10, any::<bool>(), bound).prop_map(
        |(retries, repeatable, attempts, timeout, value, reads, bound)| Task {
            retries,
            repeatable,
            attempts,
            timeout,
            value,
            reads,
            bound,
        },
    )
}

fn end() -> impl Strategy<Value = End> {
    let then = prop_oneof![
        3 => Just(Then::Succeeds),
        3 => Just(Then::Fails),
        1 => Just(Then::FailsForGood),
        1 => Just(Then::Lost),
        1 => Just(Then::Never)
    ];
    prop_oneof![
        6 => Just(End::Fails),
        2 => Just(End::FailsForGood),
        1 => Just(End::Orphaned),
        1 => any::<bool>().prop_map(|begun| End::GivenBack { begun }),
        1 => Just(End::Lost),
        1 => prop::bool::weighted(0.8).prop_map(|done| End::Person { done }),
        3 => (0u32..3, then).prop_map(|(looks, then)| End::Elsewhere { looks, then })
    ]
}

fn when() -> impl Strategy<Value = When<usize>> {
    let phase = prop::sample::select(vec!["Succeeded", "Failed", "Skipped"]);
    let leaf = prop_oneof![
        4 => (any::<usize>(), phase).prop_map(|(node, phase)| Total::Phase(node, phase)),
        2 => (any::<usize>(), 0i64..20).prop_map(|(node, least)| Total::Output(node, least)),
        1 => (0usize..3).prop_map(Total::Flag)
    ];
    let total = leaf.prop_recursive(3, 8, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|one| Total::Not(Box::new(one))),
            two.clone().prop_map(|(one, other)| Total::And(Box::new(one), Box::new(other))),
            two.prop_map(|(one, other)| Total::Or(Box::new(one), Box::new(other)))
        ]
    });
    prop_oneof![
        1 => (any::<usize>(), 0i64..20).prop_map(|(node, least)| When::Output(node, least)),
        8 => total.prop_map(When::Total)
    ]
}

/// A failing case is shown by its plan, and by what happens to the nodes.
impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "parameters {:?}, order {}", self.flags, self.order)?;
        for (index, spec) in self.specs().iter().enumerate() {
            writeln!(f, "{} with soft edges {:?}: {:?}", spec.manifest(index), spec.soft(), spec.kind)?;
        }
        Ok(())
    }
}

impl Case {
    /// The nodes with what they name found, or left out.
    pub(super) fn specs(&self) -> Vec<Spec> {
        let mut specs: Vec<Spec> = Vec::new();
        let mut grouped = vec![false; self.nodes.len()];
        for (index, drawn) in self.nodes.iter().enumerate() {
            let kind = match &drawn.kind {
                Kind::Group { members } => group(index, members, &mut grouped),
                other => other.clone(),
            };
            let mut ways: Vec<(usize, Way)> = Vec::new();
            for &(back, way) in drawn.edges.iter().filter(|(back, _)| *back <= index) {
                if ways.iter().all(|(known, _)| *known != index - back) {
                    ways.push((index - back, way));
                }
            }
            let sources: BTreeMap<usize, bool> =
                ways.iter().map(|&(source, way)| (source, way != Way::Soft)).collect();
            let when = drawn.when.as_ref().filter(|_| !matches!(kind, Kind::Group { .. }));
            let when = when.map(|when| when.over(&upstream(&specs, &sources)));
            let reads = match &kind {
                Kind::Task(task) if task.reads => readable(&specs, &sources, when.as_ref()),
                _ => None,
            };
            specs.push(Spec { kind, sources, ways, when, reads, allow_failure: drawn.allow_failure });
        }
        specs
    }

    /// The Plan as it would stand in a manifest. Its nodes stand in any order.
    pub(super) fn plan(&self, specs: &[Spec]) -> Value {
        let mut edges = Vec::new();
        let mut nodes: Vec<(u64, Value)> = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            for &(source, way) in &spec.ways {
                let edge = |kind: &str| json!({ "from": id(source), "to": id(index), "type": kind });
                match way {
                    Way::DependsOn => {}
                    Way::Hard => edges.push(edge("hard")),
                    Way::Soft | Way::DependsOnAndSoft => edges.push(edge("soft")),
                }
            }
            nodes.push((mix(self.order, index as u64), spec.manifest(index)));
        }
        nodes.sort_by_key(|(place, _)| *place);
        let nodes: Vec<Value> = nodes.into_iter().map(|(_, node)| node).collect();
        json!({ "description": "d", "graph": { "nodes": nodes, "edges": edges } })
    }
}

pub(super) fn id(index: usize) -> String {
    format!("n{index}")
}

/// A number that seems random.
pub(super) fn mix(seed: u64, what: u64) -> u64 {
    let mut hash = seed ^ what.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// A group of those members that are there and in no other group; without any, a task that succeeds.
fn group(index: usize, members: &[usize], grouped: &mut [bool]) -> Kind {
    let mut found: Vec<usize> =
        members.iter().filter(|back| **back <= index).map(|back| index - back).collect();
    found.sort_unstable();
    found.dedup();
    found.retain(|member| !grouped[*member]);
    if found.is_empty() {
        let attempts = Vec::new();
        let bound = Bound::Now;
        return Kind::Task(Task {
            retries: 0,
            repeatable: true,
            attempts,
            timeout: false,
            value: 0,
            reads: false,
            bound,
        });
    }
    found.iter().for_each(|member| grouped[*member] = true);
    Kind::Group { members: found }
}

/// All nodes from which a way leads to these sources, the sources first and often.
fn upstream(specs: &[Spec], sources: &BTreeMap<usize, bool>) -> Vec<usize> {
    let mut all: Vec<usize> = sources.keys().copied().collect();
    let mut next = 0;
    while let Some(&at) = all.get(next) {
        let members: &[usize] = match &specs[at].kind {
            Kind::Group { members } => members,
            _ => &[],
        };
        for &further in specs[at].sources.keys().chain(members) {
            if !all.contains(&further) && all.len() < 6 {
                all.push(further);
            }
        }
        next += 1;
    }
    all
}

/// A source whose number is there whenever the node runs.
fn readable(specs: &[Spec], sources: &BTreeMap<usize, bool>, when: Option<&When<usize>>) -> Option<usize> {
    let mut hard = sources.iter().filter(|(_, hard)| **hard).map(|(source, _)| *source);
    hard.find(|source| {
        let asked = when.is_some_and(|when| when.phases().contains(source));
        !asked && matches!(specs[*source].kind, Kind::Task(_))
    })
}

impl When<usize> {
    /// The same over these nodes; without any, a parameter decides.
    fn over(&self, nodes: &[usize]) -> Self {
        let pick = |number: usize| nodes.get(number % nodes.len().max(1)).copied();
        match self {
            Self::Output(number, least) => match pick(*number) {
                Some(node) => Self::Output(node, *least),
                None => Self::Total(Total::Flag(0)),
            },
            Self::Total(total) => Self::Total(total.over(&pick)),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Output(node, least) => format!("nodes.{}.outputs.number >= {least}", id(*node)),
            Self::Total(total) => total.text(),
        }
    }

    /// The nodes whose phase it asks for.
    pub(super) fn phases(&self) -> Vec<usize> {
        let mut found = Vec::new();
        if let Self::Total(total) = self {
            total.visit(&mut |node, phase| found.extend(phase.then_some(node)));
        }
        found
    }

    /// All nodes that it names.
    pub(super) fn names(&self) -> Vec<usize> {
        let mut found = Vec::new();
        match self {
            Self::Output(node, _) => found.push(*node),
            Self::Total(total) => total.visit(&mut |node, _| found.push(node)),
        }
        found
    }
}

impl Total<usize> {
    fn over(&self, pick: &impl Fn(usize) -> Option<usize>) -> Self {
        let boxed = |total: &Self| Box::new(total.over(pick));
        match self {
            Self::Phase(number, phase) => {
                pick(*number).map_or(Self::Flag(1), |node| Self::Phase(node, phase))
            }
            Self::Output(number, least) => {
                pick(*number).map_or(Self::Flag(2), |node| Self::Output(node, *least))
            }
            Self::Flag(flag) => Self::Flag(*flag),
            Self::Not(one) => Self::Not(boxed(one)),
            Self::And(one, other) => Self::And(boxed(one), boxed(other)),
            Self::Or(one, other) => Self::Or(boxed(one), boxed(other)),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Phase(node, phase) => format!("nodes['{}'].phase == '{phase}'", id(*node)),
            Self::Output(node, least) => {
                let output = format!("nodes.{}.outputs.number", id(*node));
                format!("(has({output}) && {output} >= {least})")
            }
            Self::Flag(flag) => format!("parameters.p{flag}"),
            Self::Not(one) => format!("!({})", one.text()),
            Self::And(one, other) => format!("({} && {})", one.text(), other.text()),
            Self::Or(one, other) => format!("({} || {})", one.text(), other.text()),
        }
    }

    fn visit(&self, see: &mut impl FnMut(usize, bool)) {
        match self {
            Self::Phase(node, _) => see(*node, true),
            Self::Output(node, _) => see(*node, false),
            Self::Flag(_) => {}
            Self::Not(one) => one.visit(see),
            Self::And(one, other) | Self::Or(one, other) => {
                one.visit(see);
                other.visit(see);
            }
        }
    }
}

impl Spec {
    fn has_timeout(&self) -> bool {
        match &self.kind {
            Kind::Task(task) => task.timeout,
            Kind::Gate { timeout, .. } | Kind::External { timeout, .. } => *timeout,
            Kind::Group { .. } => false,
        }
    }

    fn soft(&self) -> Vec<usize> {
        self.sources.iter().filter(|(_, hard)| !**hard).map(|(source, _)| *source).collect()
    }

    fn manifest(&self, index: usize) -> Value {
        let depends = |way: &Way| matches!(way, Way::DependsOn | Way::DependsOnAndSoft);
        let depends: Vec<String> =
            self.ways.iter().filter(|(_, way)| depends(way)).map(|(source, _)| id(*source)).collect();
        let mut node = json!({ "id": id(index), "dependsOn": depends });
        if let Some(when) = &self.when {
            node["when"] = json!(when.text());
        }
        if self.has_timeout() {
            node["timeout"] = json!("90s");
        }
        if self.allow_failure {
            node["annotations"]["planspec.io/allow-failure"] = json!("true");
        }
        match &self.kind {
            Kind::Task(task) => {
                node["kind"] = json!("Task");
                node["retries"] = json!(task.retries);
                if !task.repeatable {
                    node["annotations"]["planspec.io/repeatable"] = json!("false");
                }
                if let Some(source) = self.reads {
                    node["inputs"] =
                        json!({ "number": format!("${{{{ nodes.{}.outputs.number }}}}", id(source)) });
                }
            }
            Kind::Gate { .. } => {
                node["kind"] = json!("Gate");
                node["gateRef"] = json!({ "name": format!("g{index}") });
            }
            Kind::External { address, .. } => {
                node["kind"] = json!("External");
                node["externalRef"] = match address {
                    true => json!({ "type": "uri", "uri": "https://x.example" }),
                    false => json!({ "type": "resource", "resourceRef": { "name": format!("e{index}") } }),
                };
            }
            Kind::Group { members } => {
                node["kind"] = json!("Group");
                node["children"] = members.iter().map(|member| id(*member)).collect();
            }
        }
        node
    }
}
