//! How large files and functions may grow, and what files may be called.
//!
//! Comments that are no documentation are not counted: a limit that counted them would make people leave the reason out.

use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

use crate::project::{Finding, Project};

/// The lines of a file before its tests.
const FILE_LINES: usize = 400;

/// The lines of a function from its signature to its last brace.
const FUNCTION_LINES: usize = 60;

/// Names that say nothing of what a file is about, so that anything may end up in it.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc", "shared", "stuff"];

/// One idea a file: about 400 lines before the tests.
pub(crate) fn file_size(project: &Project) -> Vec<Finding> {
    let counted = project.sources.iter().map(|source| {
        let comments = comment_lines(project, &source.path, 1, source.lines);
        (source, source.lines - comments)
    });
    counted
        .filter(|(_, lines)| *lines > FILE_LINES)
        .map(|(source, lines)| {
            let message = format!("{lines} lines before its tests; {FILE_LINES} are enough: split it");
            Finding::new(&source.path, 0, message)
        })
        .collect()
}

/// One thought a function: about 60 lines.
pub(crate) fn function_size(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &project.sources {
        let mut functions = Functions::default();
        functions.visit_file(&source.syntax);
        for (name, line, all) in functions.found {
            let lines = all - comment_lines(project, &source.path, line, line + all - 1);
            if lines > FUNCTION_LINES {
                let message = format!("`{name}` has {lines} lines; {FUNCTION_LINES} are enough: split it");
                findings.push(Finding::new(&source.path, line, message));
            }
        }
    }
    findings
}

/// The lines between `first` and `last`, counted from 1 and included, that hold nothing but a comment that is no documentation.
fn comment_lines(project: &Project, path: &str, first: usize, last: usize) -> usize {
    let text = project.texts.get(path).map(String::as_str).unwrap_or_default();
    let lines = text.lines().take(last).skip(first - 1).map(str::trim_start);
    lines
        .filter(|line| line.starts_with("//") && !line.starts_with("///") && !line.starts_with("//!"))
        .count()
}

/// Names of files and folders say what is in them.
pub(crate) fn names(project: &Project) -> Vec<Finding> {
    let rust = project.texts.keys().filter(|path| path.ends_with(".rs"));
    let named = rust.filter_map(|path| {
        let mut parts = path.trim_end_matches(".rs").split('/');
        let empty = parts.find(|part| EMPTY_NAMES.contains(part))?;
        Some(Finding::new(path, 0, format!("`{empty}` says nothing of what is in it")))
    });
    named.collect()
}

#[derive(Default)]
struct Functions {
    found: Vec<(String, usize, usize)>,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (first, last) = (signature.span().start().line, block.span().end().line);
        self.found.push((signature.ident.to_string(), first, last - first + 1));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}
