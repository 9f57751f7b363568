//! The registry of diagnostic codes: every code that a manifest can be given is a constant here.
//! `docs/diagnostics.md` explains each; a test compares the two.

use crate::diagnostic::Code;

// Ids are printed in CI logs and named in SARIF files, so that none is ever given to another finding. The
// constants and `ALL` come from one list, and no code can be left out of the registry.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $title:literal;)*) => {
        $($(#[$doc])* pub const $name: Code = Code { id: $id, title: $title };)*

        /// Every code, in the order of their ids.
        pub const ALL: &[Code] = &[$($name),*];
    };
}

codes! {
    /// The text is not YAML, or not JSON.
    SYNTAX = "PS1001", "syntax error";
    /// A mapping holds a key twice.
    DUPLICATE_KEY = "PS1002", "duplicate key";
    /// Mappings and lists are nested deeper than the limit.
    TOO_DEEP = "PS1003", "nested too deeply";
    /// Aliases are too many, expand too far, or hold themselves.
    ALIASES = "PS1004", "aliases out of bounds";
    /// The file is larger than the limit.
    TOO_LARGE = "PS1005", "file too large";
    /// The file holds more documents than the limit.
    TOO_MANY_DOCUMENTS = "PS1006", "too many documents";
    /// The file is not UTF-8.
    NOT_UTF8 = "PS1007", "not UTF-8";
    /// A key of a mapping is itself a mapping or a list.
    COMPLEX_KEY = "PS1008", "key is not a string";
    /// A value has a tag that means nothing here.
    UNKNOWN_TAG = "PS1009", "unknown tag";
    /// A number that JSON cannot hold: `.inf`, or an integer beyond 64 bits.
    BAD_NUMBER = "PS1010", "number out of range";
    /// `<<` with something that is not a mapping.
    BAD_MERGE = "PS1011", "nothing to merge";
    /// A symbolic link or a submodule where a file was expected.
    NOT_A_FILE = "PS1012", "not a regular file";
    /// More is wrong with a document than is worth listing.
    TOO_MANY_PROBLEMS = "PS1013", "too many problems";

    /// The `apiVersion` is of this group, and not one that is known; or it is missing.
    UNKNOWN_VERSION = "PS2001", "unknown apiVersion";
    /// The `kind` is missing, or not one that is known.
    UNKNOWN_KIND = "PS2002", "unknown kind";
    /// A field that does not exist at this place.
    UNKNOWN_FIELD = "PS2003", "unknown field";
    /// A field that must be there is not.
    MISSING_FIELD = "PS2004", "missing field";
    /// A value has another type than the field.
    WRONG_TYPE = "PS2005", "wrong type";
    /// A value is not one of those that the field may have.
    UNKNOWN_VALUE = "PS2006", "unknown value";
    /// A text does not have the form that the field asks for.
    BAD_FORMAT = "PS2007", "malformed value";
    /// A number, length or count is out of its range.
    OUT_OF_RANGE = "PS2008", "value out of range";
    /// A field that does not go with another one.
    CONFLICTING_FIELDS = "PS2009", "fields that exclude each other";
    /// Something that must be unique occurs twice.
    NOT_UNIQUE = "PS2010", "not unique";
    /// A field that only the reconciler sets; it is ignored.
    IGNORED_FIELD = "PS2011", "ignored field";
    /// A text is not a regular expression.
    BAD_PATTERN = "PS2012", "malformed regular expression";
    /// A value has the right form, and still cannot be used.
    UNUSABLE_VALUE = "PS2013", "unusable value";
    /// A file that looks like the configuration, under a name that is not read.
    MISNAMED_CONFIG = "PS2014", "misnamed configuration file";
    /// A Schedule whose cron expression or time zone cannot be used.
    BAD_SCHEDULE = "PS2015", "unusable schedule";

    /// Two manifests declare the same resource.
    DUPLICATE_RESOURCE = "PS3001", "duplicate resource";
    /// A reference to a resource that is not there.
    MISSING_RESOURCE = "PS3002", "missing resource";
    /// A reference to a Capability that is not there.
    MISSING_CAPABILITY = "PS3003", "missing capability";
    /// Two nodes of a plan share an id.
    DUPLICATE_NODE = "PS3004", "duplicate node";
    /// A node is named that the plan does not have.
    UNKNOWN_NODE = "PS3005", "unknown node";
    /// A node depends on itself.
    SELF_LOOP = "PS3006", "node depends on itself";
    /// Nodes depend on each other in a cycle.
    CYCLE = "PS3007", "cycle of nodes";
    /// An edge leads into a Group, where it has no effect.
    EDGE_INTO_GROUP = "PS3008", "edge into a group";
    /// The graph is not the one that `graphDigest` was computed for.
    DIGEST_MISMATCH = "PS3009", "graph digest mismatch";
    /// Capabilities require each other in a cycle.
    REQUIREMENT_CYCLE = "PS3010", "cycle of capability requirements";
    /// Plans supersede each other in a cycle.
    SUPERSEDES_CYCLE = "PS3011", "cycle of superseded plans";
    /// A task lacks an input that its capability requires.
    MISSING_INPUT = "PS3012", "missing input";
    /// A task's input is not what its capability declares.
    BAD_INPUT = "PS3013", "input of the wrong kind";
    /// A Gate that can never be approved.
    UNDECIDABLE_GATE = "PS3014", "gate that cannot be approved";
    /// An expression that cannot be compiled, or refers to something that is not there.
    BAD_EXPRESSION = "PS3015", "malformed expression";
    /// A task needs a capability that should no longer be used.
    DEPRECATED_CAPABILITY = "PS3016", "deprecated capability";
    /// Executions wait for each other, so that none of them can ever continue.
    WAIT_CYCLE = "PS3017", "executions that wait for each other";
    /// An Execution gives other parameters than its plan declares.
    BAD_PARAMETER = "PS3018", "wrong parameter";
    /// A task whose provider needs a gate, by the configuration, that does not stand before it.
    GATE_REQUIRED = "PS3019", "required gate missing";
    /// Plans that do each other's nodes, so that they would never end.
    NESTING_CYCLE = "PS3020", "plans that run each other";
    /// A Gate asks the code owners, and nobody is one.
    NO_CODE_OWNERS = "PS3021", "gate without code owners";

    /// The spec of an Execution changed.
    IMMUTABLE_SPEC = "PS4001", "immutable spec changed";
    /// A Gate changed; approvals given so far no longer count.
    APPROVALS_VOIDED = "PS4002", "approvals voided";
    /// The Plan of running Executions changed; they keep the graph that they were pinned to.
    PINNED_PLAN_CHANGED = "PS4003", "pinned plan changed";
    /// A resource that others may refer to is removed.
    RESOURCE_REMOVED = "PS4004", "resource removed";
}

/// The code with this id.
#[must_use]
pub fn find(id: &str) -> Option<Code> {
    ALL.iter().copied().find(|code| code.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_in_order() {
        assert!(ALL.windows(2).all(|pair| pair[0].id < pair[1].id));
        assert!(ALL.iter().all(|code| find(code.id) == Some(*code)));
    }

    #[test]
    fn the_page_lists_every_code_and_no_other() {
        let page = include_str!("../../docs/diagnostics.md");
        let listed: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        let known: Vec<String> = ALL.iter().map(|code| format!("{}: {}", code.id, code.title)).collect();
        assert_eq!(listed, known);
    }
}
