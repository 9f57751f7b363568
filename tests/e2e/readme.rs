//! The pages that show commands and their output: what they show is what happens.

use std::path::Path;

use crate::environment::TestEnvironment;
use crate::pages;

const README: &str = "README.md";
const GUIDE: &str = "docs/writing-plans.md";
const COOKBOOK: &str = "docs/cookbook.md";
/// Pages without commands, whose links are followed.
const PROSE: [&str; 2] = ["docs/concepts.md", "docs/compared.md"];
const EXAMPLES: [&str; 18] = [
    "examples/feature-release/README.md",
    "examples/sso/README.md",
    "examples/two-hundred/README.md",
    "examples/agent/README.md",
    "examples/custom-provider/README.md",
    "examples/http/README.md",
    "examples/mcp/README.md",
    "examples/reference/README.md",
    "examples/everything/README.md",
    "examples/a2a/README.md",
    "examples/human/README.md",
    "examples/github-actions/README.md",
    "examples/hello/README.md",
    "examples/nightly/README.md",
    "examples/incident/README.md",
    "examples/release/README.md",
    "examples/migrate-services/README.md",
    "examples/agents-build-a-feature/README.md",
];

#[test]
fn the_readme_is_true() {
    pages::check(README);
}

#[test]
fn the_guide_is_true() {
    pages::check(GUIDE);
}

#[test]
fn the_cookbook_is_true() {
    pages::check(COOKBOOK);
}

#[test]
fn the_page_of_the_incident_is_true() {
    pages::check(EXAMPLES[14]);
}

#[test]
fn the_page_of_the_release_is_true() {
    pages::check(EXAMPLES[15]);
}

#[test]
fn the_page_of_the_feature_release_is_true() {
    pages::check(EXAMPLES[0]);
}

#[test]
fn the_page_of_the_sign_in_example_is_true() {
    pages::check(EXAMPLES[1]);
}

#[test]
fn the_page_of_the_two_hundred_resources_is_true() {
    pages::check(EXAMPLES[2]);
}

#[test]
fn the_page_of_the_agent_is_true() {
    pages::check(EXAMPLES[3]);
}

#[test]
fn the_page_of_the_nightly_example_is_true() {
    pages::check(EXAMPLES[13]);
}

#[test]
fn the_page_of_the_migration_is_true() {
    pages::check(EXAMPLES[16]);
}

#[test]
fn the_page_of_the_custom_provider_is_true() {
    pages::check(EXAMPLES[4]);
}

#[test]
fn the_page_of_the_http_service_is_true() {
    pages::check(EXAMPLES[5]);
}

#[test]
fn the_page_of_the_mcp_server_is_true() {
    pages::check(EXAMPLES[6]);
}

#[test]
fn the_page_of_the_published_shapes_is_true() {
    pages::check(EXAMPLES[7]);
}

#[test]
fn the_page_of_everything_is_true() {
    pages::check(EXAMPLES[8]);
}

#[test]
fn the_page_of_the_agent_at_an_address_is_true() {
    pages::check(EXAMPLES[9]);
}

#[test]
fn the_page_of_the_task_for_a_person_is_true() {
    pages::check(EXAMPLES[10]);
}

#[test]
fn the_page_of_the_workflows_is_true() {
    pages::check(EXAMPLES[11]);
}

#[test]
fn the_page_of_hello_is_true() {
    pages::check(EXAMPLES[12]);
}

#[test]
fn the_page_of_the_agents_that_build_a_feature_is_true() {
    pages::check(EXAMPLES[EXAMPLES.len() - 1]);
}

#[test]
fn every_example_has_a_page_that_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(root.join("examples")).unwrap() {
        let page = entry.unwrap().path().join("README.md");
        let page = page.strip_prefix(root).unwrap().to_str().unwrap();
        assert!(EXAMPLES.contains(&page), "{page} is run by no test");
    }
}

/// The pictures of the pages, each what `planspec graph` draws of an example; `UPDATE_DOCS=1` draws them again.
#[test]
fn the_pictures_are_what_graph_draws() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (example, plan) in [("feature-release", "search-release"), ("migrate-services", "migrate")] {
        let environment = TestEnvironment::with_repository();
        crate::examples::copy(&root.join("examples").join(example), &environment.repo());
        environment.commit_files(&[], "Begin");
        let drawn =
            environment.planspec(&["graph", &format!("plan/{plan}"), "--format", "svg"]).succeeds().stdout;
        let picture = root.join(format!("docs/pictures/{example}.svg"));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(picture.parent().unwrap()).unwrap();
            std::fs::write(&picture, &drawn).unwrap();
        }
        let kept = std::fs::read_to_string(&picture).unwrap_or_default();
        assert!(kept == drawn, "{} is not what is drawn; run with UPDATE_DOCS=1", picture.display());
    }
}

/// The part of the README on GitHub is read in three minutes: 200 words a minute of text, and what is shown takes a look.
#[test]
fn the_part_on_github_is_read_in_three_minutes() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(README)).unwrap();
    let (_, rest) = page.split_once("\n## On GitHub\n").unwrap();
    let part = rest.split_once("\n## ").map_or(rest, |(part, _)| part);
    let mut code = false;
    let is_text = |line: &&str| {
        let fence = line.starts_with("```");
        code ^= fence;
        !code && !fence && !line.starts_with('>')
    };
    let words: usize = part.lines().filter(is_text).map(|line| line.split_whitespace().count()).sum();
    let shown = part.lines().filter(|line| line.starts_with('>')).count();
    assert!((100..=600).contains(&words) && shown <= 140, "{words} words, and {shown} lines of comments");
}

/// A link to a file of this project leads somewhere.
#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let link = regex::Regex::new(r"\]\(([^)#:]+)[)#]").unwrap();
    for page in [README, GUIDE, COOKBOOK].into_iter().chain(PROSE).chain(EXAMPLES) {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        for found in link.captures_iter(&text) {
            let target = root.join(page).parent().unwrap().join(&found[1]);
            assert!(target.exists(), "{page} links to {}, which is not there", &found[1]);
        }
    }
}
