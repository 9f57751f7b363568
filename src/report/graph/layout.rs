//! Where nodes and edges of a picture go: layers from left to right by the longest way from a start, and an
//! order within each layer that has few crossings (barycentre sweeps). Knows nothing of colours and shapes.

use std::collections::BTreeMap;

use super::{EdgeType, GraphView, NodeIx};

/// How often the layers are ordered by their neighbours, forth and back.
const SWEEPS: usize = 6;

/// A layout in cells: columns count layers, rows count places within them.
#[derive(Debug)]
pub(super) struct Layout {
    /// The cell of each node.
    pub(super) cells: Vec<GridCell>,
    /// The ways of the edges, each from cell to cell.
    pub(super) ways: Vec<EdgePath>,
    /// The number of layers.
    pub(super) columns: usize,
    /// The number of places in the fullest layer.
    pub(super) rows: usize,
}

/// A place in the picture, in units of a node and its gap.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct GridCell {
    /// The layer, from 0.
    pub(super) column: usize,
    /// The place in the layer, from 0; layers are centred, so places may be halves.
    pub(super) row: f64,
}

/// The way of one edge.
#[derive(Debug)]
pub(super) struct EdgePath {
    /// The cells that the edge passes, its ends included.
    pub(super) through: Vec<GridCell>,
    /// What kind of edge it is.
    pub(super) kind: EdgeStyle,
    /// Where it begins.
    pub(super) from: NodeIx,
    /// The group, where it leads to that from one of its children.
    pub(super) group: Option<NodeIx>,
}

/// What an edge in a picture means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EdgeStyle {
    /// The target needs the source's success.
    Hard,
    /// The target waits for the source's end.
    Soft,
    /// The target is a group that holds the source.
    Member,
}

/// Lays a graph out. Edges over several layers get a place in each of them, so that they pass beside nodes.
pub(super) fn arrange(view: &GraphView) -> Layout {
    arrange_around(view, &[])
}

/// The same for a picture in which these groups are frames: lines to them are not drawn, and take no place.
pub(super) fn arrange_around(view: &GraphView, framed: &[NodeIx]) -> Layout {
    let links = links(view);
    let layer = layers(view, &links);
    let columns = layer.iter().max().map_or(0, |last| last + 1);
    let mut grid = Grid { layers: vec![Vec::new(); columns], before: Vec::new(), after: Vec::new() };
    for &column in &layer {
        grid.add(column);
    }
    // Before the layers are ordered, because the bends of long edges take part in that.
    let mut chain = |&(from, to, kind): &(NodeIx, NodeIx, EdgeStyle)| {
        // Without a bend, and without a pull on its ends: a child would give way to a line that nobody sees.
        let hidden = kind == EdgeStyle::Member && framed.contains(&to);
        if hidden { vec![from, to] } else { grid.chain(from, to, &layer) }
    };
    let chains: Vec<Vec<usize>> = links.iter().map(&mut chain).collect();
    grid.order(&units(view));
    let rows = grid.layers.iter().map(Vec::len).max().unwrap_or(0);
    let cells = grid.cells(rows);
    let cell = |vertex: usize| cells.get(vertex).copied().unwrap_or_default();
    let ways = chains
        .iter()
        .zip(&links)
        .map(|(chain, &(from, to, kind))| EdgePath {
            from,
            through: chain.iter().map(|&vertex| cell(vertex)).collect(),
            kind,
            group: (kind == EdgeStyle::Member).then_some(to),
        })
        .collect();
    Layout { cells: (0..view.nodes.len()).map(cell).collect(), ways, columns, rows }
}

/// For each node the outermost group that it belongs to, itself included: its members stay together in each layer, so that a frame
/// fits around them.
fn units(view: &GraphView) -> Vec<Option<usize>> {
    let holders = view.outermost();
    let own = |node: NodeIx| view.node(node).filter(|shown| !shown.children.is_empty()).map(|_| node);
    holders.into_iter().enumerate().map(|(node, holder)| holder.or_else(|| own(node))).collect()
}

fn links(view: &GraphView) -> Vec<(NodeIx, NodeIx, EdgeStyle)> {
    let edge_kind = |kind| if kind == EdgeType::Soft { EdgeStyle::Soft } else { EdgeStyle::Hard };
    let edges = view.edges.iter().map(|edge| (edge.from, edge.to, edge_kind(edge.kind)));
    let members =
        view.nodes.iter().enumerate().flat_map(|(group, node)| {
            node.children.iter().map(move |&child| (child, group, EdgeStyle::Member))
        });
    edges.chain(members).collect()
}

fn layers(view: &GraphView, links: &[(NodeIx, NodeIx, EdgeStyle)]) -> Vec<usize> {
    let mut sources: Vec<Vec<NodeIx>> = vec![Vec::new(); view.nodes.len()];
    for &(from, to, _) in links {
        if let Some(list) = sources.get_mut(to) {
            list.push(from);
        }
    }
    let mut layer = vec![0usize; view.nodes.len()];
    for &node in &view.order {
        let ways = sources.get(node).into_iter().flatten();
        // Every source comes before its targets in `order`, so that one pass is enough.
        let deepest = ways.filter_map(|&source| layer.get(source)).map(|depth| depth + 1).max().unwrap_or(0);
        if let Some(slot) = layer.get_mut(node) {
            *slot = deepest;
        }
    }
    layer
}

/// Vertices (nodes first, then the bends of long edges) in layers, with their neighbours on both sides.
struct Grid {
    layers: Vec<Vec<usize>>,
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
}

impl Grid {
    fn add(&mut self, column: usize) -> usize {
        let vertex = self.before.len();
        self.before.push(Vec::new());
        self.after.push(Vec::new());
        if let Some(layer) = self.layers.get_mut(column) {
            layer.push(vertex);
        }
        vertex
    }

    fn chain(&mut self, from: NodeIx, to: NodeIx, layer: &[usize]) -> Vec<usize> {
        let column = |node: NodeIx| layer.get(node).copied().unwrap_or(0);
        let mut chain = vec![from];
        for between in column(from) + 1..column(to) {
            chain.push(self.add(between));
        }
        chain.push(to);
        for (&left, &right) in chain.iter().zip(chain.iter().skip(1)) {
            if let (Some(after), Some(before)) = (self.after.get_mut(left), self.before.get_mut(right)) {
                after.push(right);
                before.push(left);
            }
        }
        chain
    }

    fn order(&mut self, units: &[Option<usize>]) {
        let mut place = vec![0.0f64; self.before.len()];
        // Also the first layer, and the only one of a plan without edges, which no sweep orders.
        for layer in &mut self.layers {
            let keyed = layer.iter().enumerate().map(|(i, &vertex)| (number(i), vertex)).collect();
            *layer = together(keyed, units);
        }
        settle(&self.layers, &mut place);
        // In both directions by turns: ordering by sources alone leaves the targets crossed.
        for sweep in 0..SWEEPS {
            let forth = sweep % 2 == 0;
            let neighbours = if forth { &self.before } else { &self.after };
            let count = self.layers.len();
            // The first layer stays, because the others are ordered by it.
            for step in 1..count {
                let at = if forth { step } else { count - 1 - step };
                let Some(layer) = self.layers.get_mut(at) else { continue };
                let centre = |vertex: usize| centre(neighbours, &place, vertex);
                let keyed = layer.iter().map(|&vertex| (centre(vertex), vertex)).collect();
                *layer = together(keyed, units);
                settle(std::slice::from_ref(layer), &mut place);
            }
        }
    }

    fn cells(&self, rows: usize) -> Vec<GridCell> {
        let mut cells = vec![GridCell::default(); self.before.len()];
        for (column, layer) in self.layers.iter().enumerate() {
            let top = half(rows - layer.len().min(rows));
            for (i, &vertex) in layer.iter().enumerate() {
                if let Some(slot) = cells.get_mut(vertex) {
                    *slot = GridCell { column, row: top + number(i) };
                }
            }
        }
        cells
    }
}

/// Vertices by their keys, those of one unit side by side, where their middle would be.
fn together(mut keyed: Vec<(f64, usize)>, units: &[Option<usize>]) -> Vec<usize> {
    let unit = |vertex: usize| units.get(vertex).copied().flatten();
    let mut sums: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for &(key, vertex) in &keyed {
        if let Some(unit) = unit(vertex) {
            let sum = sums.entry(unit).or_default();
            *sum = (sum.0 + key, sum.1 + 1.0);
        }
    }
    let middle = |(key, vertex): (f64, usize)| match unit(vertex) {
        Some(unit) => (sums.get(&unit).map_or(key, |(sum, count)| sum / count), unit),
        None => (key, usize::MAX),
    };
    // A stable sort: among equals the order of the plan stays.
    keyed.sort_by(|a, b| {
        let one = middle(*a);
        let two = middle(*b);
        one.0.total_cmp(&two.0).then_with(|| one.1.cmp(&two.1)).then_with(|| a.0.total_cmp(&b.0))
    });
    keyed.into_iter().map(|(_, vertex)| vertex).collect()
}

/// Writes down the places of the vertices, measured from the middle of their layer.
fn settle(layers: &[Vec<usize>], place: &mut [f64]) {
    for layer in layers {
        let middle = half(layer.len());
        for (i, &vertex) in layer.iter().enumerate() {
            if let Some(slot) = place.get_mut(vertex) {
                *slot = number(i) - middle;
            }
        }
    }
}

fn centre(neighbours: &[Vec<usize>], place: &[f64], vertex: usize) -> f64 {
    let own = place.get(vertex).copied().unwrap_or(0.0);
    let list = neighbours.get(vertex).map_or(&[][..], Vec::as_slice);
    // Otherwise a node without neighbours on that side would jump to the middle.
    if list.is_empty() {
        return own;
    }
    list.iter().filter_map(|&other| place.get(other)).sum::<f64>() / number(list.len())
}

fn number(count: usize) -> f64 {
    // By way of `u32`, whose values a float holds exactly.
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn half(count: usize) -> f64 {
    number(count) / 2.0
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn every_edge_goes_to_the_right_and_passes_every_layer_between() {
        let layout = arrange(&samples::plain());
        assert_eq!((layout.columns, layout.cells.len()), (3, 6));
        for way in &layout.ways {
            let columns: Vec<usize> = way.through.iter().map(|cell| cell.column).collect();
            assert!(columns.windows(2).all(|pair| pair[1] == pair[0] + 1), "{columns:?}");
        }
    }

    #[test]
    fn no_two_nodes_share_a_cell() {
        let layout = arrange(&samples::plain());
        for (i, a) in layout.cells.iter().enumerate() {
            assert!(layout.cells.iter().skip(i + 1).all(|b| a != b), "{:?}", layout.cells);
        }
    }

    #[test]
    fn crossed_pairs_are_untangled() {
        let graph = serde_json::from_value(serde_json::json!({
            "nodes": [{"id": "a", "kind": "Task"}, {"id": "b", "kind": "Task"},
                      {"id": "x", "kind": "Task"}, {"id": "y", "kind": "Task"}],
            "edges": [{"from": "a", "to": "y"}, {"from": "b", "to": "x"}],
        }))
        .unwrap();
        let layout = arrange(&GraphView::new("t", &graph, None, samples::now()).unwrap());
        let row = |node: usize| layout.cells[node].row;
        assert!((row(0) < row(1)) == (row(3) < row(2)));
    }
}
