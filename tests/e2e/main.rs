//! The end-to-end tests: the real binary, real repositories. One binary, so that it links once.

#![allow(clippy::disallowed_methods, reason = "tests start programs with an environment of their own")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod a2a;
mod approvals;
mod artifacts;
mod authority;
mod boundaries;
mod broken;
mod command_line;
mod completion;
mod custom_provider;
mod decisions;
mod deliveries;
mod delivery_fates;
mod desired_branch;
mod diff;
mod engine_crash;
mod engine_desired;
mod engine_elsewhere;
mod engine_faults;
mod engine_graph;
mod engine_large;
mod engine_lease;
mod engine_limits;
mod engine_many;
mod engine_outage;
mod engine_pass;
mod engine_publish;
mod engine_rig;
mod engine_signals;
mod engine_table;
mod entry_points;
mod environment;
mod evidence;
mod examples;
mod external;
mod external_on_host;
mod fixtures;
mod for_each;
mod foreign;
mod gates_closed;
mod git_http;
mod git_local;
mod git_push;
mod git_remote;
mod git_server;
mod github_action;
mod github_authors;
mod github_ci;
mod github_commands;
mod github_deliveries;
mod github_dispatch;
mod github_drafts;
mod github_failures;
mod github_host;
mod github_hostile;
mod github_init;
mod github_issues;
mod github_judge;
mod github_limits;
mod github_notices;
mod github_owners;
mod github_page;
mod github_push_rules;
mod github_renamed;
mod github_replay;
mod github_reverts;
mod github_rework;
mod github_runs;
mod github_schedule;
mod github_witness;
mod goals;
mod habits;
mod http_provider;
mod http_service;
mod human_issue;
mod judged_fates;
mod language;
mod lfs;
mod logs;
mod mcp;
mod nested;
mod nested_approvals;
mod nested_work;
mod next_steps;
mod object_store;
mod overdue;
mod packaging;
mod pages;
mod pins;
mod postponed;
mod provider_hostile;
mod reading;
mod readme;
mod reconciled;
mod rerun;
mod schedules;
mod short_history;
mod signed_edits;
mod signing;
mod skip;
mod split;
mod status_edits;
mod status_history;
mod submodules;
mod terminal;
mod unfinished;
mod validate;
mod work;
mod work_bases;
mod work_by_hand;
mod work_fates;
mod work_shown;
mod workspace_forms;
mod workspaces;
mod writing;
mod zip_file;

/// A file that is not named above would never be compiled, and its tests would silently not run.
#[test]
fn every_file_of_this_folder_is_compiled() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e");
    let source = std::fs::read_to_string(folder.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap();
        let named = source.lines().any(|line| line.trim() == format!("mod {module};"));
        assert!(module == "main" || named, "tests/e2e/main.rs has no line `mod {module};`");
    }
}
