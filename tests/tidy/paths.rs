//! Every path that a file mentions (in imports, code, macros and attributes), and which file of the crate it means.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

use crate::project::{Project, Source};

/// A path as it is written, import lists taken apart.
#[derive(Debug)]
pub(crate) struct Mention {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// From `pub use`: the name is passed on, not used.
    pub(crate) passed_on: bool,
}

/// All paths of a file.
pub(crate) fn mentions(source: &Source) -> Vec<Mention> {
    let mut collector = Collector::default();
    collector.visit_file(&source.syntax);
    collector.found
}

/// What looks like a path in text that is not parsed.
static IN_TOKENS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?-u)[A-Za-z_]\w*(?:\s*::\s*[A-Za-z_]\w*)+").unwrap());

#[derive(Default)]
struct Collector {
    found: Vec<Mention>,
}

impl Collector {
    /// Macros and attributes are not parsed further: what looks like a path in them is taken for one.
    fn tokens(&mut self, text: &str, line: usize) {
        let paths = IN_TOKENS.find_iter(text).map(|found| Mention {
            segments: found.as_str().split("::").map(|segment| segment.trim().to_owned()).collect(),
            line,
            passed_on: false,
        });
        self.found.extend(paths.collect::<Vec<_>>());
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let passed_on = !matches!(item.vis, syn::Visibility::Inherited);
        let line = item.span().start().line;
        for (segments, _) in use_leaves(&item.tree) {
            self.found.push(Mention { segments, line, passed_on });
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.found.push(Mention { segments, line: path.span().start().line, passed_on: false });
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(&call.tokens.to_string(), call.span().start().line);
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let (false, syn::Meta::List(list)) = (attribute.path().is_ident("doc"), &attribute.meta) {
            self.tokens(&list.tokens.to_string(), attribute.span().start().line);
        }
    }
}

/// The paths that an import brings in, each with the name it goes by here (`*` for all of them).
pub(crate) fn use_leaves(tree: &syn::UseTree) -> Vec<(Vec<String>, String)> {
    let below = |name: String, leaves: Vec<(Vec<String>, String)>| {
        let longer = leaves.into_iter().map(|(path, local)| ([vec![name.clone()], path].concat(), local));
        longer.collect::<Vec<_>>()
    };
    match tree {
        syn::UseTree::Path(path) => {
            let name = path.ident.to_string();
            let mut leaves = below(name.clone(), use_leaves(&path.tree));
            for (segments, local) in &mut leaves {
                if segments.last().is_some_and(|last| last == "self") {
                    segments.pop();
                    if local == "self" {
                        local.clone_from(&name);
                    }
                }
            }
            leaves
        }
        syn::UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        syn::UseTree::Rename(name) => vec![(vec![name.ident.to_string()], name.rename.to_string())],
        syn::UseTree::Glob(_) => vec![(vec!["*".to_owned()], "*".to_owned())],
        syn::UseTree::Group(group) => group.items.iter().flat_map(use_leaves).collect(),
    }
}

/// Which module a path means: the crate's files, and the names that each brings in.
pub(crate) struct Resolver {
    /// The imports of each module: local name to absolute path.
    modules: BTreeMap<Vec<String>, BTreeMap<String, Vec<String>>>,
}

impl Resolver {
    pub(crate) fn new(project: &Project) -> Self {
        let library = project.sources.iter().filter(|source| source.path != "src/main.rs");
        let mut resolver = Resolver {
            modules: library.clone().map(|source| (source.module.clone(), BTreeMap::new())).collect(),
        };
        for source in library {
            let imports = source.syntax.items.iter().filter_map(|item| match item {
                syn::Item::Use(item) => Some(use_leaves(&item.tree)),
                _ => None,
            });
            let absolute = imports
                .flatten()
                .filter_map(|(path, local)| Some((local, resolver.absolute(&source.module, &path)?)));
            let absolute: BTreeMap<String, Vec<String>> = absolute.collect();
            resolver.modules.insert(source.module.clone(), absolute);
        }
        resolver
    }

    /// The module of this crate that holds what `path` names when it is written in `from`.
    pub(crate) fn module_of(&self, from: &[String], path: &[String]) -> Option<Vec<String>> {
        self.walk(&self.absolute(from, path)?, 8)
    }

    /// The path from the crate's root; none for paths into other crates and local names.
    fn absolute(&self, from: &[String], path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let base = match first.as_str() {
            "crate" | "planspec" => Vec::new(),
            "self" => from.to_vec(),
            "super" => {
                let parent = from.get(..from.len().checked_sub(1)?)?;
                if rest.first().is_some_and(|next| next == "super") {
                    return self.absolute(parent, rest);
                }
                parent.to_vec()
            }
            name => {
                let child: Vec<String> = from.iter().cloned().chain([name.to_owned()]).collect();
                if !self.modules.contains_key(&child) {
                    return None;
                }
                from.to_vec()
            }
        };
        let rest = if ["crate", "planspec", "self", "super"].contains(&first.as_str()) { rest } else { path };
        Some([base, rest.to_vec()].concat())
    }

    fn walk(&self, path: &[String], jumps: u8) -> Option<Vec<String>> {
        let mut module = Vec::new();
        for (at, name) in path.iter().enumerate() {
            let child: Vec<String> = module.iter().cloned().chain([name.clone()]).collect();
            if self.modules.contains_key(&child) {
                module = child;
            } else if let (Some(target), true) = (self.modules.get(&module)?.get(name), jumps > 0) {
                let longer = [target.clone(), path[at + 1..].to_vec()].concat();
                return self.walk(&longer, jumps - 1);
            } else {
                break;
            }
        }
        Some(module)
    }
}
