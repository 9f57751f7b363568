//! Files that Git keeps by a filter, such as those of Git LFS: no filter runs in a workspace, and nothing is committed in a form
//! that whoever checks it out does not expect.

use std::process::Command;

use planspec::model::{NodePhase, NodeReason, NodeStatus};
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Stage, manifests};
use crate::skip::{program, unless_found};

const ATTRIBUTES: &str =
    "*.bin filter=lfs diff=lfs merge=lfs -text\n*.key filter=git-crypt\n*.list filter=sorted\n";

/// The pointer of a file of three bytes.
const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\nsize 3\n";

fn stage(graph: &Graph) -> Stage {
    let files = [(".gitattributes", ATTRIBUTES), ("big.bin", POINTER), ("a.list", "a\nb\n")];
    let stage = Stage::new(QUICK, &files);
    stage.commit("work.yaml", &manifests(&[graph]));
    stage
}

fn show(stage: &Stage, node: &NodeStatus, path: &str) -> String {
    let commit = &node.extensions.result.as_ref().unwrap().commit;
    stage.environment.git_output(&["show", &format!("{commit}:{path}")])
}

#[track_caller]
fn check_refused(node: &NodeStatus, path: &str, filter: &str) {
    assert_eq!(node.extensions.reason, Some(NodeReason::ChangeRefused), "{node:#?}");
    let why = format!("`{path}` (its attribute is `filter={filter}`, and no filter is run here)");
    assert!(node.message.contains(&why), "{}", node.message);
}

#[test]
fn what_a_filter_would_keep_in_another_form_is_no_result_unless_it_is_named() {
    let allowed = json!({ "paths": { "allow": ["big.bin"] } });
    let graph = Graph::new("one")
        .editor("content", &[], "printf abcd > big.bin")
        .editor("added", &[], "mkdir sub; printf abcd > sub/new.bin")
        .editor("secret", &[], "echo secret > private.key")
        .editor("pointer", &[], "sed -i 's/size 3/size 4/' big.bin; cp big.bin same.bin")
        .editor("removed", &[], "rm big.bin")
        .editor("sorted", &[], "printf 'b\\na\\n' > a.list")
        .editor_with("named", &[], "printf abcd > big.bin", &allowed);
    let stage = stage(&graph);
    stage.reconcile(&[]);
    let node = |id: &str| stage.node("one", id);
    check_refused(&node("content"), "big.bin", "lfs");
    check_refused(&node("added"), "sub/new.bin", "lfs");
    check_refused(&node("secret"), "private.key", "git-crypt");
    for id in ["pointer", "removed", "sorted", "named"] {
        assert_eq!(node(id).phase, NodePhase::Succeeded, "{:#?}", node(id));
    }
    assert_eq!(show(&stage, &node("pointer"), "same.bin"), POINTER.trim_end().replace("size 3", "size 4"));
    assert_eq!(
        show(&stage, &node("sorted"), "a.list"),
        "b\na",
        "as Git does it where the filter is not set up"
    );
    assert_eq!(show(&stage, &node("named"), "big.bin"), "abcd");
}

#[test]
fn with_git_lfs_on_the_machine_a_workspace_holds_pointers_and_is_clean() {
    let Some(()) = unless_found(program(Command::new("git-lfs").arg("version"), "git-lfs")) else { return };
    let stage = Stage::new(QUICK, &[(".gitattributes", ATTRIBUTES)]);
    stage.environment.git(&["lfs", "install", "--local"]).succeeds();
    // As `git lfs install` has written it for the user, whose configuration Git reads in a workspace, too.
    let user = stage.outside("gitconfig");
    let filters = "[filter \"lfs\"]\n\tclean = git-lfs clean -- %f\n\tsmudge = git-lfs smudge -- %f\n\t\
                   process = git-lfs filter-process\n\trequired = true\n";
    std::fs::write(&user, filters).unwrap();
    let user = format!("export GIT_CONFIG_GLOBAL='{}'", user.display());
    // As somebody commits who has it: the repository has the pointer, and this machine the content.
    stage.commit("big.bin", "abc");
    let pointer = stage.environment.git_output(&["show", "HEAD:big.bin"]);
    assert_eq!(pointer, POINTER.trim_end());
    let outside = stage.outside("seen");
    let looks = format!(
        "{user}; (git status --porcelain; cat big.bin; git lfs ls-files) > '{}' 2>&1",
        outside.display()
    );
    let makes = "printf abcd > new; git lfs pointer --file=new > new.bin 2> /dev/null; rm new";
    let graph = Graph::new("one")
        .editor("pointer", &[], &format!("{looks}; {makes}"))
        .editor("clean", &["pointer"], &format!("{user}; test -z \"$(git status --porcelain)\"; git add --renormalize .; git diff --cached --quiet"))
        .editor("commits", &["clean"], &format!("{user}; printf abcd > added.bin; git add added.bin; git commit --quiet -m Add; git cat-file -p HEAD:added.bin | grep -q ^version"));
    stage.commit("work.yaml", &manifests(&[&graph]));
    stage.reconcile(&[]);
    let seen = std::fs::read_to_string(&outside).unwrap();
    assert!(seen.starts_with(POINTER), "clean, and a pointer: {seen}");
    let node = |id: &str| stage.node("one", id);
    for id in ["pointer", "clean"] {
        assert_eq!(node(id).phase, NodePhase::Succeeded, "{:#?}", node(id));
    }
    let made = show(&stage, &node("pointer"), "new.bin");
    assert!(made.starts_with("version https://git-lfs") && made.ends_with("size 4"), "{made}");
    // Its commit has a pointer, but nobody would have the content, and the files are what counts.
    check_refused(&node("commits"), "added.bin", "lfs");
}
