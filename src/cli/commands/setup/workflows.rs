//! The workflow files that `planspec init --github` writes: templates with two words to fill in, and what the person
//! who adds them has to know.

use regex::Regex;

use crate::cli::error::CliError;

/// The action of the release that this binary belongs to, pinned by commit; releases are built with it.
const OWN_ACTION: Option<&str> = option_env!("PLANSPEC_ACTION");

/// The templates, by path in the repository.
const TEMPLATES: [(&str, &str); 3] = [
    (".github/workflows/planspec-validate.yml", include_str!("../../scaffold/github/validate.yml")),
    (".github/workflows/planspec-report.yml", include_str!("../../scaffold/github/report.yml")),
    (".github/workflows/planspec-apply.yml", include_str!("../../scaffold/github/apply.yml")),
];

/// The workflow that is on only while something is due.
const SCHEDULE: (&str, &str) =
    (".github/workflows/planspec-schedule.yml", include_str!("../../scaffold/github/schedule.yml"));

/// The workflow that does the work of local commands.
const WORK: (&str, &str) =
    (".github/workflows/planspec-work.yml", include_str!("../../scaffold/github/work.yml"));

/// What the configuration says where that workflow is written.
pub(crate) const WORKER: &str = "
# Local commands run in this workflow, whose job has no token that can write.
providers:
  commands:
    workflow: planspec-work.yml
";

/// The step that makes the token of an App.
const APP_TOKEN: &str = include_str!("../../scaffold/github/app-token.yml");

/// What only the settings of the repository can do.
const PROTECT: [&str; 4] = [
    "commit these files, and merge them to the default branch",
    "Settings, Rules: a branch ruleset for `planspec/status` with \"Restrict deletions\"; leave pushes to it open for the
     workflow's token, and forced pushes too if you run `planspec gc`",
    "Settings, Rules: a ruleset for the default branch with \"Require a pull request\" and the required check \"planspec / validate\"",
    "Settings, Actions, General: require approval for workflows of outside collaborators",
];

/// What a person may choose about the workflows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WorkflowVariant<'a> {
    /// Whether what was merged is driven with the token of an App.
    pub(crate) app: bool,
    /// When a pass starts by itself; [`AUTO`] while something is due.
    pub(crate) schedule: Option<&'a str>,
    /// The host that has the action's releases, where that is not the host of the repository.
    pub(crate) server: Option<&'a str>,
    /// Whether local commands run in a workflow of their own, without the token.
    pub(crate) split: bool,
}

/// How often a pass starts by itself, unless it is chosen. Not at the full hour, when the host is busiest and drops some.
const HALF_HOURLY: &str = "13,43 * * * *";

/// The choice of a schedule that is on only while something is due.
const AUTO: &str = "auto";

/// The passes that remain while it is off, for what nobody foresaw. `cli::ci::pass` knows this pause.
const SIX_HOURLY: &str = "28 */6 * * *";

/// The files for a default branch, with the action to use.
pub(crate) fn files(
    branch: &str,
    action: Option<&str>,
    variant: &WorkflowVariant<'_>,
) -> Result<Vec<(&'static str, String)>, CliError> {
    let used = used(action)?;
    // The name becomes a part of YAML and of expressions in a workflow that may write.
    if !matches(r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", branch) {
        return Err(CliError::usage("this branch name cannot be used in a workflow")
            .hint("name one that has only letters, digits, `.`, `_`, `/` and `-` with `--branch`"));
    }
    let chosen = variant.schedule.map_or(HALF_HOURLY, str::trim);
    let auto = chosen == AUTO;
    let schedule = if auto { SIX_HOURLY } else { chosen };
    // The host takes five fields of numbers; the names of days and months would do, but are not needed here.
    if !matches(r"^[0-9*,/-]+( [0-9*,/-]+){4}$", schedule) {
        return Err(CliError::usage("`--schedule` is a cron expression of five fields")
            .hint("once a day: `--schedule '13 5 * * *'`; only while something is due: `--schedule auto`"));
    }
    // It becomes a value of YAML in each workflow, and the action takes no other form.
    let server = variant.server.map(|server| server.trim_end_matches('/'));
    if server.is_some_and(|server| !matches(r"^https?://[A-Za-z0-9.:-]+$", server)) {
        return Err(CliError::usage("`--server` is the address of a host, without a path")
            .hint("for releases on GitHub: `--server https://github.com`"));
    }
    let filled = |template: &str| {
        let template = server.map_or_else(|| template.to_owned(), |server| with_server(template, server));
        let template = template.as_str();
        let template = if auto { with_switch(template) } else { template.to_owned() };
        let template = if variant.split { with_worker(&template) } else { template };
        let template = if variant.app { with_app(&template) } else { template };
        template
            .replace("- uses: PLANSPEC_ACTION", &format!("- uses: {used}"))
            .replace("DEFAULT_BRANCH", branch)
    };
    let mut written: Vec<_> = TEMPLATES
        .iter()
        .map(|(path, template)| (*path, filled(&template.replace(HALF_HOURLY, schedule))))
        .collect();
    written.extend(auto.then(|| (SCHEDULE.0, filled(SCHEDULE.1))));
    written.extend(variant.split.then(|| (WORK.0, filled(WORK.1))));
    Ok(written)
}

/// The steps that use the action, with the host that has its releases: GitHub Enterprise Server has none of other hosts.
fn with_server(template: &str, server: &str) -> String {
    const STEP: &str = "      - uses: PLANSPEC_ACTION\n        with:\n";
    template.replace(STEP, &format!("{STEP}          server: {server}\n"))
}

/// The job that drives what was merged, as one that turns the workflow of the schedule on and off; other templates stay as they
/// are.
fn with_switch(template: &str) -> String {
    const PERMISSION: &str = "      contents: write # the status branch";
    const LAST: &str = "          allow-mass-delete: ${{ inputs.allow-mass-delete || false }}\n";
    if !template.contains(LAST) {
        return template.to_owned();
    }
    let permission = format!("      actions: write # turns planspec-schedule.yml on and off\n{PERMISSION}");
    template.replacen(PERMISSION, &permission, 1).replacen(
        LAST,
        &format!("{LAST}          schedule-workflow: planspec-schedule.yml\n"),
        1,
    )
}

/// The job that drives what was merged, as one that starts the workflow for commands and looks when that is over; other templates
/// stay as they are.
fn with_worker(template: &str) -> String {
    const STARTS: &str = "  workflow_dispatch:\n    inputs:\n      allow-mass-delete:\n";
    const PERMISSION: &str = "      contents: write # the status branch";
    const SWITCHES: &str = "      actions: write # turns ";
    if !template.contains(PERMISSION) {
        return template.to_owned();
    }
    let over = "  workflow_run: # zizmor: ignore[dangerous-triggers] nothing of the run is checked out or run; what it left is data
    workflows: [planspec work]
    types: [completed]
";
    let template = template.replacen(STARTS, &format!("{over}{STARTS}"), 1);
    if template.contains(SWITCHES) {
        return template.replacen(SWITCHES, "      actions: write # starts planspec-work.yml; turns ", 1);
    }
    let permission = format!("      actions: write # starts planspec-work.yml\n{PERMISSION}");
    template.replacen(PERMISSION, &permission, 1)
}

/// The job that drives what was merged, with the token of an App; other templates stay as they are. The jobs for pull requests
/// never get it: whoever may push a branch can change what they run, and would take the key along.
fn with_app(template: &str) -> String {
    const JOB: &str = "    timeout-minutes: 60\n";
    const STEP: &str = "      - uses: PLANSPEC_ACTION\n        with:\n";
    if !template.contains(JOB) {
        return template.to_owned();
    }
    // The environment gives its key to runs of the default branch alone; a review runs on another reference, and would be
    // refused as a whole.
    let environment =
        "    environment: ${{ github.event_name != 'pull_request_review' && 'planspec' || '' }}\n";
    let token = "          token: ${{ steps.app.outputs.token || github.token }}\n";
    let step = format!("{APP_TOKEN}{STEP}{token}");
    template.replacen(JOB, &format!("{environment}{JOB}"), 1).replacen(STEP, &step, 1)
}

/// What is left to do on the host, by number, for whoever has just had the files written.
pub(crate) fn next_steps(action: Option<&str>, variant: &WorkflowVariant<'_>) -> String {
    // What the first run of the merged workflows needs comes before the merge.
    let mut steps: Vec<String> = Vec::new();
    if variant.app {
        // The page is not in the repository of whoever reads this.
        let page = origin(action).map_or_else(
            || "docs/github.md of planspec".to_owned(),
            |(repository, commit)| {
                format!("https://github.com/{repository}/blob/{commit}/docs/github.md#with-a-github-app")
            },
        );
        steps.push(format!(
            "register a GitHub App, and install it on this repository; its manifest is in\n     {page}"
        ));
        let environment =
            "Settings, Environments: an environment `planspec` for the default branch alone, with the secret
     PLANSPEC_APP_PRIVATE_KEY and the variable PLANSPEC_APP_CLIENT_ID of the App";
        steps.push(environment.to_owned());
    }
    if let Some(server) = variant.server {
        steps.push(format!(
            "runners: install `gh`, and let them reach {server}, where the action gets its release"
        ));
    }
    steps.extend(PROTECT.map(str::to_owned));
    let mut text = String::from("next, on GitHub:");
    for (number, step) in (1..).zip(&steps) {
        text.push_str(&format!("\n  {number}. {step}"));
    }
    if variant.schedule.map(str::trim) == Some(AUTO) {
        text.push_str(
            "\nwhile nothing is due, Actions shows \"planspec schedule\" as disabled; passes turn it on again",
        );
    }
    text
}

/// Whether this names one commit for good; a branch or a tag may be moved by its owner.
pub(crate) fn is_pinned(action: &str) -> bool {
    action.starts_with("./") || matches(r"@[0-9a-f]{40}$", action)
}

/// The first line of a file, by which editors know its schema: that of the commit of the action, which never changes. None where the
/// action is not one of a commit on GitHub.
pub(crate) fn modeline(action: Option<&str>, schema: &str) -> Option<String> {
    let (repository, commit) = origin(action)?;
    let address =
        format!("https://raw.githubusercontent.com/{repository}/{commit}/schemas/{schema}.schema.json");
    Some(format!("# yaml-language-server: $schema={address}\n"))
}

/// The repository that has the action, and its commit; none where the action is not one of a commit on GitHub.
fn origin(action: Option<&str>) -> Option<(&str, &str)> {
    let (place, commit) = action.or(OWN_ACTION)?.split_once('@')?;
    let repository = place.strip_suffix("/action").unwrap_or(place);
    // It becomes an address.
    let is_plain =
        matches(r"^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", repository) && matches("^[0-9a-f]{40}$", commit);
    is_plain.then_some((repository, commit))
}

fn used(action: Option<&str>) -> Result<String, CliError> {
    let own = OWN_ACTION.map(|own| format!("{own} # v{}", env!("CARGO_PKG_VERSION")));
    let Some(action) = action else {
        return own.ok_or_else(|| {
            CliError::usage("this binary is not a release build, so it does not know its action")
                .hint("name it: `--action OWNER/planspec/action@COMMIT`")
        });
    };
    // As strict, because this text becomes the `uses:` of a step.
    let local = r"\./[A-Za-z0-9_][A-Za-z0-9._/-]*";
    let remote = r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*@[A-Za-z0-9._/-]+";
    if matches(&format!("^({local}|{remote})$"), action) {
        return Ok(action.to_owned());
    }
    Err(CliError::usage("`--action` is `OWNER/planspec/action@COMMIT` or a path that begins with `./`"))
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PINNED: &str = "wendy/planspec/action@08c6903cd8c0fde910a37f88322edcfb5dd907a8";

    #[test]
    fn nothing_of_a_template_is_left_to_fill_in() {
        for (path, text) in files("trunk", Some(PINNED), &WorkflowVariant::default()).unwrap() {
            assert!(text.contains(&format!("- uses: {PINNED}\n")), "{path}:\n{text}");
            assert!(!text.contains("PLANSPEC_ACTION") && !text.contains("DEFAULT_BRANCH"), "{path}");
        }
        assert!(
            files("trunk", Some(PINNED), &WorkflowVariant::default()).unwrap()[2]
                .1
                .contains("branches: [trunk]")
        );
    }

    #[test]
    fn names_that_would_change_a_workflow_are_refused() {
        for branch in ["", "*", "a]", "a\nb", "-a", "a b", "a'", "${{ x }}"] {
            assert!(files(branch, Some(PINNED), &WorkflowVariant::default()).is_err(), "{branch:?}");
        }
        for action in ["", "planspec", "a/b", "a/b@c # d", "a/b@c\n", "../a", "${{ x }}/b@c", "./a b"] {
            assert!(files("main", Some(action), &WorkflowVariant::default()).is_err(), "{action:?}");
        }
    }

    /// Whoever may push a branch can change what runs for its pull request, and must not get the App's key that way.
    #[test]
    fn the_key_of_an_app_is_in_no_job_of_a_pull_request() {
        let plain = files("main", Some(PINNED), &WorkflowVariant::default()).unwrap();
        let variant = WorkflowVariant { app: true, ..WorkflowVariant::default() };
        let app = files("main", Some(PINNED), &variant).unwrap();
        assert_eq!((&app[0], &app[1]), (&plain[0], &plain[1]));
        let apply = &app[2].1;
        for part in ["    environment: ${{", APP_TOKEN, "          token: ${{ steps.app.outputs.token"] {
            assert!(apply.contains(part) && !plain[2].1.contains(part), "{part}");
        }
        assert!(!apply.contains("- uses: PLANSPEC_ACTION"), "{apply}");
    }

    #[test]
    fn the_schedule_is_chosen_and_is_nothing_but_a_schedule() {
        let with = |schedule| WorkflowVariant { schedule: Some(schedule), ..WorkflowVariant::default() };
        let written = files("main", Some(PINNED), &with("13 5 * * 1-5")).unwrap();
        assert!(written[2].1.contains("    - cron: \"13 5 * * 1-5\" #"), "{}", written[2].1);
        for wrong in ["", "* * * *", "@daily", "1 2 3 4 5\"", "1 2 3 4 5\n", "1  2 3 4 5", "1 2 3 4 ${{x}}"] {
            // A line end is cut off, and what is left is a schedule.
            assert_eq!(
                files("main", Some(PINNED), &with(wrong)).is_err(),
                wrong.trim() != "1 2 3 4 5",
                "{wrong:?}"
            );
        }
    }

    /// A step without it would ask the job's own host for releases that it does not have.
    #[test]
    fn every_step_of_the_action_names_the_host_of_its_releases() {
        let with = |server| WorkflowVariant {
            app: true,
            schedule: Some("auto"),
            server,
            ..WorkflowVariant::default()
        };
        let server = "          server: https://github.com\n";
        for (path, text) in files("main", Some(PINNED), &with(Some("https://github.com/"))).unwrap() {
            let steps = text.matches(&format!("- uses: {PINNED}\n")).count();
            assert_eq!((steps, text.matches(server).count()), (1, 1), "{path}:\n{text}");
        }
        let plain = files("main", Some(PINNED), &with(None)).unwrap();
        assert!(plain.iter().all(|(_, text)| !text.contains("server: ")));
        for wrong in ["", "github.com", "https://github.com/a", "https://x\n", "https://${{x}}", "file:///"] {
            assert!(files("main", Some(PINNED), &with(Some(wrong))).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_schedule_that_is_turned_off_leaves_four_passes_a_day() {
        let plain = files("main", Some(PINNED), &WorkflowVariant::default()).unwrap();
        let variant = WorkflowVariant { app: true, schedule: Some("auto"), ..WorkflowVariant::default() };
        let auto = files("main", Some(PINNED), &variant).unwrap();
        assert_eq!((auto.len(), &auto[0], &auto[1]), (4, &plain[0], &plain[1]));
        let [apply, schedule] = [&auto[2].1, &auto[3].1];
        assert!(apply.contains("    - cron: \"28 */6 * * *\" #"), "{apply}");
        assert!(schedule.contains("    - cron: \"13,43 * * * *\"\n"), "{schedule}");
        for text in [apply, schedule] {
            assert_eq!(text.matches("      actions: write # turns ").count(), 1, "{text}");
            assert_eq!(
                text.matches("          schedule-workflow: planspec-schedule.yml\n").count(),
                1,
                "{text}"
            );
            assert!(text.contains(APP_TOKEN) && text.contains("    environment: ${{"), "{text}");
        }
        // In one group, passes wait for each other.
        let group = |text: &str| text.lines().find(|line| line.starts_with("  group: ")).map(str::to_owned);
        assert_eq!(group(schedule).as_deref(), Some("  group: planspec-apply-pass"));
        assert!(group(apply).unwrap().ends_with("'pass' }}"), "{apply}");
    }

    #[test]
    fn editors_are_told_the_schema_of_the_action_s_commit() {
        let line = "# yaml-language-server: $schema=https://raw.githubusercontent.com/wendy/planspec/08c6903cd8c0fde910a37f88322edcfb5dd907a8/schemas/config.schema.json\n";
        assert_eq!(modeline(Some(PINNED), "config").as_deref(), Some(line));
        for other in [
            "./action",
            "wendy/planspec/action@v0.1.0",
            "wendy/planspec/a/b@08c6903cd8c0fde910a37f88322edcfb5dd907a8",
        ] {
            assert_eq!(modeline(Some(other), "config"), None, "{other}");
        }
    }

    #[test]
    fn the_next_steps_are_those_of_what_was_written() {
        let plain = next_steps(Some(PINNED), &WorkflowVariant::default());
        assert!(plain.contains("\n  4. Settings, Actions") && !plain.contains("\n  5. "), "{plain}");
        let variant = WorkflowVariant {
            app: true,
            schedule: Some("auto"),
            server: Some("https://github.com"),
            split: true,
        };
        let all = next_steps(Some(PINNED), &variant);
        let page = "\n     https://github.com/wendy/planspec/blob/08c6903cd8c0fde910a37f88322edcfb5dd907a8/docs/github.md#with-a-github-app\n";
        assert!(
            all.starts_with("next, on GitHub:\n  1. register a GitHub App") && all.contains(page),
            "{all}"
        );
        assert!(
            all.contains("\n  3. runners: install `gh`, and let them reach https://github.com,"),
            "{all}"
        );
        // The first run needs all of that, so the merge comes after it.
        assert!(
            all.contains("\n  4. commit these files, and merge") && all.contains("\n  7. Settings, Actions")
        );
        assert!(all.ends_with("passes turn it on again"), "{all}");
        // A local action says nothing of where the page is.
        assert!(next_steps(Some("./action"), &variant).contains("\n     docs/github.md of planspec\n"));
    }

    #[test]
    fn only_a_commit_is_pinned() {
        assert!(is_pinned(PINNED) && is_pinned("./action"));
        assert!(!is_pinned("wendy/planspec/action@v0.1.0"));
    }
}
