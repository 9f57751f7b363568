//! A pull request, or a group of them in the merge queue: what merging would give is compared with what there is, and said in
//! annotations, a comment and the summary of the job. Nothing of the change is executed, and nothing of it chooses the rules.
//!
//! The job is the check: it exists for forks, for the merge queue and for tokens that may not write checks, and a new run of it
//! replaces the annotations of the run before, which the host only adds to on a check of our own.

use std::collections::BTreeSet;

use crate::cli::Context;
use crate::cli::ci::authority::authorize::unreadable_teams;
use crate::cli::ci::event::{GroupRef, PullRef};
use crate::cli::ci::host::Host;
use crate::cli::ci::{CiOptions, step};
use crate::cli::desired::code_owners::OwnedTree;
use crate::cli::desired::difference::DesiredDiff;
use crate::cli::desired::preview;
use crate::cli::desired::{self, Desired};
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::{Repair, RepoContext, SelectedCommits};
use crate::config::{Actions, CONFIG_FILE, Config, MISNAMED_CONFIG_FILES};
use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::code_owners;
use crate::git::{MergeResult, ObjectId, Repo};
use crate::host::CommentUpdate;
use crate::manifest::{self, codes};
use crate::model::means_code_owners;
use crate::report::diagnostics::github as workflow_commands;
use crate::report::markdown::{COMMENT_LIMIT, RenderedComment};
use crate::report::preview::{MARKER, PageLinks, Preview, render};
use crate::report::text;
use crate::run::gate::{named_teams, owning_teams as teams_of_owners};

/// About how many teams the host is asked for one pull request.
const MOST_TEAMS: usize = 20;

/// A change that asks to be merged.
struct Proposal<'a> {
    /// The branch that it is to be merged into.
    base: &'a str,
    /// Its newest commit, as the event names it.
    head: &'a str,
    /// The reference under which the host keeps that commit, where there is one.
    reference: Option<String>,
    /// The host's default branch, when the event says.
    default: Option<&'a str>,
}

/// What merging would give.
struct MergePreview {
    preview: Preview,
    findings: Vec<Diagnostic>,
    /// Whether there is nothing against it.
    passed: bool,
    /// Teams among the reviewers that only the host knows.
    host_teams: BTreeSet<String>,
}

/// Says what merging a pull request would do.
pub(crate) fn run(
    pull: &PullRef,
    choices: &CiOptions,
    actions: &Actions,
    muted: &step::MutedRunner,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let proposal = Proposal {
        base: &pull.base,
        head: &pull.head,
        reference: Some(format!("refs/pull/{}/head", pull.number)),
        default: pull.default.as_deref(),
    };
    let mut outcome = compare(&proposal, context)?;
    // The token of such a job may only read; the report takes the answer to a job that may comment.
    if pull.fork && !pull.trusted {
        say(&outcome, choices, actions, muted, context)?;
        context.out.note("a change from a fork is reported in the summary and in annotations only")?;
    } else {
        let host = Host::open(actions);
        if let Ok(host) = &host {
            warn_of_teams(&mut outcome, host, context)?;
        }
        let rendered = say(&outcome, choices, actions, muted, context)?;
        comment(pull, &outcome, &rendered, host, context)?;
    }
    Ok(if outcome.passed { Exit::Done } else { Exit::No })
}

/// Answers the merge queue: what it has put together is judged as it would be merged. There is nobody to comment to: the pull
/// requests in it had their answers, and what the queue reads is whether the job succeeds.
pub(crate) fn run_group(
    group: &GroupRef,
    choices: &CiOptions,
    actions: &Actions,
    muted: &step::MutedRunner,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let default = group.default.as_deref();
    let proposal = Proposal { base: &group.base, head: &group.head, reference: None, default };
    let outcome = compare(&proposal, context)?;
    say(&outcome, choices, actions, muted, context)?;
    Ok(if outcome.passed { Exit::Done } else { Exit::No })
}

/// The annotations, the summary, the outputs and the report: what needs no permission on the host.
fn say(
    outcome: &MergePreview,
    choices: &CiOptions,
    actions: &Actions,
    muted: &step::MutedRunner,
    context: &mut Context,
) -> Result<RenderedComment, CliError> {
    muted.commands(&workflow_commands(&outcome.findings), &mut context.out)?;
    let full = step::summary_address(actions);
    let home = step::repository_address(actions);
    let foot = step::foot(full.as_deref(), outcome.preview.head.as_deref());
    let links = PageLinks { full: full.as_deref(), repository: home.as_deref(), foot: &foot };
    let rendered = render(&outcome.preview, COMMENT_LIMIT, links);
    step::summary(actions, &rendered.summary)?;
    let result = if outcome.passed { "valid" } else { "invalid" };
    step::outputs(
        actions,
        &[("result", result.to_owned()), ("executions", "{}".to_owned()), ("status-commit", String::new())],
    )?;
    if let Some(path) = &choices.report {
        let bytes = serde_json::to_vec_pretty(&outcome.preview)?;
        std::fs::write(path, bytes).map_err(|error| CliError::caused("cannot write the report", &error))?;
    }
    Ok(rendered)
}

/// Warns before the merge that nobody could approve as a member of a team: afterwards the Execution waits, and whoever answers
/// is refused.
fn warn_of_teams(outcome: &mut MergePreview, host: &Host, context: &mut Context) -> Result<(), CliError> {
    let mut unreadable = Vec::new();
    for team in &outcome.host_teams {
        let asked = host.ask(|github, repo| {
            let owner = repo.owner().to_owned();
            async move {
                let (organisation, slug) = team.split_once('/').unwrap_or((&owner, team));
                github.can_read_team(organisation, slug).await
            }
        });
        match asked {
            Ok(true) => {}
            Ok(false) => unreadable.push(team.clone()),
            // A host that is down is no reason to say something about teams, and none to fail.
            Err(error) => warn(&error.into(), context)?,
        }
    }
    if !unreadable.is_empty() {
        outcome
            .preview
            .warnings
            .push(format!("Some reviewers are teams, and {}.", unreadable_teams(&unreadable)));
    }
    Ok(())
}

/// The teams among the reviewers of what would start that only the host knows.
fn host_teams(preview: &Preview, owning: BTreeSet<String>, config: &Config) -> BTreeSet<String> {
    let known = |team: &str| {
        let same = |own: &String| own.trim().eq_ignore_ascii_case(team);
        config.identities.values().any(|person| person.teams.iter().any(same))
    };
    let gates = preview.starts.iter().flat_map(|start| &start.gates);
    let named = gates.flat_map(|gate| named_teams(&gate.reviewers)).map(ToOwned::to_owned);
    // Bounded, because each costs a request at every push.
    named.chain(owning).filter(|team| !known(team)).take(MOST_TEAMS).collect()
}

/// The teams that the merged CODEOWNERS names, where a gate asks owners of files. Says so before the merge where there can be
/// no owner: afterwards the Execution would wait for nobody.
fn owning_teams(
    repo: &Repo,
    merged: ObjectId,
    said: bool,
    preview: &mut Preview,
) -> Result<BTreeSet<String>, CliError> {
    let mut gates = preview.starts.iter().flat_map(|start| &start.gates);
    let Some(gate) = gates.find(|gate| gate.reviewers.iter().any(|entry| means_code_owners(entry))) else {
        return Ok(BTreeSet::new());
    };
    match code_owners(repo, repo.commit(merged)?.tree)? {
        Ok(text) => Ok(teams_of_owners(&text)),
        // A finding at the gate says so already, where this change brings the gate or takes the file.
        Err(_) if said => Ok(BTreeSet::new()),
        Err(why) => {
            let gate = gate.gate.clone();
            preview.warnings.push(format!("{gate} asks the code owners, but {why}, so that nobody is one."));
            Ok(BTreeSet::new())
        }
    }
}

/// The comment. A token that may not write it is no reason to fail: the same is in the summary.
fn comment(
    pull: &PullRef,
    outcome: &MergePreview,
    rendered: &RenderedComment,
    host: Result<Host, CliError>,
    context: &mut Context,
) -> Result<(), CliError> {
    let host = match host {
        Ok(host) => host,
        Err(error) => return warn(&error, context),
    };
    // Most pull requests of a repository touch no manifest, and a bot that says so on each is one that people mute. Where an
    // earlier push had something to say, the comment still has to follow.
    let kept = if outcome.preview.is_silent() {
        host.refresh_comment(pull.number, MARKER, &rendered.comment)
    } else {
        host.keep_comment(pull.number, (MARKER, None), &rendered.comment).map(Some)
    };
    match kept {
        Ok(None) => context.out.note("no manifest is touched, so there is nothing to comment"),
        Ok(Some(CommentUpdate::Unchanged(_))) => context.out.note("the comment is already up to date"),
        Ok(Some(_)) => context.out.note(format!("commented on #{}", pull.number)),
        Err(error) => warn(&error.into(), context),
    }
}

fn warn(error: &CliError, context: &mut Context) -> Result<(), CliError> {
    let why = error.to_string();
    context.out.warning(format!("cannot report on the host: {}", text::line(&why)))
}

/// Compares what merging would give with the newest commit of the base.
fn compare(proposal: &Proposal<'_>, context: &mut Context) -> Result<MergePreview, CliError> {
    let head = head(&RepoContext::open(context)?, proposal)?;
    let desired_branch = desired_branch(proposal, head, context)?;
    // The base, whatever the job has checked out: usually that is the merge result, which must not choose the rules.
    context.options.reference = Some(proposal.base.to_owned());
    let workspace = RepoContext::open(context)?.repaired_by(Repair::Commit(head));
    let tips = workspace.tips(context)?;
    let base =
        tips.desired.ok_or_else(|| CliError::environment("the base commit is not in this repository"))?;
    // A shallow clone may not know, and then nothing is claimed.
    let stale = workspace.repo.is_ancestor(base, head)? == Some(false);
    let Some((base, merged)) = merge(&workspace, base, head)? else {
        let mut preview = Preview::empty();
        (preview.base, preview.head) = (Some(base.to_string()), Some(head.to_string()));
        preview.stale_base = stale;
        preview.conflict = true;
        return Ok(MergePreview {
            preview,
            findings: Vec::new(),
            passed: false,
            host_teams: BTreeSet::new(),
        });
    };
    // Of the base for both sides: a change does not choose the rules that it is read by, unless the base has none that are valid.
    let config = workspace.config_at(Some(base))?;
    let before = desired::load(&workspace.repo, base, &config)?;
    let after = desired::load(&workspace.repo, merged, &config)?;
    let difference = difference(&workspace, (&before, base), (&after, merged), &config, &tips)?;
    let mut preview = preview::of_difference(&difference, &before, &after, &config);
    (preview.base, preview.head) = (Some(base.to_string()), Some(head.to_string()));
    preview.stale_base = stale;
    let said = difference.findings.iter().any(|found| found.code == codes::NO_CODE_OWNERS);
    let owning_teams = owning_teams(&workspace.repo, merged, said, &mut preview)?;
    let mut findings = difference.findings;
    configuration(&workspace, base, merged, &mut preview, &mut findings)?;
    if let Some(desired) = desired_branch.filter(|desired| desired != proposal.base) {
        preview.goes_nowhere(proposal.base, &desired);
    }
    let passed = !findings.iter().any(|found| found.severity == Severity::Error);
    let host_teams = host_teams(&preview, owning_teams, &config);
    Ok(MergePreview { preview, findings, passed, host_teams })
}

/// The desired branch, where it can be known without asking: only merges into it start anything.
fn desired_branch(
    proposal: &Proposal<'_>,
    head: ObjectId,
    context: &mut Context,
) -> Result<Option<String>, CliError> {
    let Some(default) = proposal.default else { return Ok(None) };
    context.options.host_default = Some(default.to_owned());
    if let Some(given) = &context.options.reference {
        return Ok(Some(given.clone()));
    }
    RepoContext::open(context)?.repaired_by(Repair::Commit(head)).current_branch(context).map(Some)
}

fn difference(
    workspace: &RepoContext,
    (before, base): (&Desired, ObjectId),
    (after, merged): (&Desired, ObjectId),
    config: &Config,
    tips: &SelectedCommits,
) -> Result<DesiredDiff, CliError> {
    let status = workspace.status(tips)?;
    let read = |path: &str| {
        let at = |commit| desired::read_at(&workspace.repo, commit, path, &config.limits);
        // A finding about something that is removed is in a file that only the base has.
        at(merged).or_else(|| at(base))
    };
    let tree = |commit| OwnedTree::Commit(&workspace.repo, commit);
    DesiredDiff::of(before, after, config, read, (workspace, &status), (tree(base), tree(merged)))
}

/// A change of the configuration rules nothing before it is merged, but it has to be sound.
fn configuration(
    workspace: &RepoContext,
    base: ObjectId,
    merged: ObjectId,
    preview: &mut Preview,
    findings: &mut Vec<Diagnostic>,
) -> Result<(), CliError> {
    let repo = &workspace.repo;
    let old = repo.commit(base)?.tree;
    let new = repo.commit(merged)?.tree;
    let mut changed = false;
    // A misnamed file counts too, since it would stop every reconcile after the merge.
    for name in std::iter::once(CONFIG_FILE).chain(MISNAMED_CONFIG_FILES) {
        changed |= repo.file(old, name)? != repo.file(new, name)?;
    }
    if !changed {
        return Ok(());
    }
    let most = Config::default().limits.file_bytes;
    let read = |tree| {
        manifest::read_config(|name| repo.file(tree, name)?.map(|blob| repo.blob(blob, most)).transpose())
    };
    let rules = if read(old)?.1.iter().any(|found| found.severity == Severity::Error) {
        // Nothing is reconciled by rules that cannot be read, and its own are those that count once it is merged.
        "Those of its base are not valid, so that it is read by its own."
    } else {
        "It is read by the old rules until it is merged."
    };
    preview.warnings.push(format!("The change edits {CONFIG_FILE}: reviewers, providers and rules. {rules}"));
    let (_, found) = read(new)?;
    preview.diagnostics.extend(found.iter().map(preview::finding));
    findings.extend(found);
    Ok(())
}

/// The newest commit of the change, brought in where it is not here.
fn head(workspace: &RepoContext, proposal: &Proposal<'_>) -> Result<ObjectId, CliError> {
    let head: ObjectId =
        proposal.head.parse().map_err(|_| CliError::environment("the event names an invalid commit id"))?;
    if workspace.repo.commit(head).is_ok() {
        return Ok(head);
    }
    let Some(remote) = &workspace.remote else {
        return Err(CliError::environment(format!("commit {head} is not in this repository")));
    };
    // By name first: not every server hands out a commit by its id alone. The name may have moved on since the event.
    if let Some(reference) = &proposal.reference
        && remote.fetch(&workspace.repo, &[reference]).is_ok()
        && workspace.repo.commit(head).is_ok()
    {
        return Ok(head);
    }
    remote.fetch_commit(&workspace.repo, head)?;
    Ok(head)
}

/// What merging gives, and on top of which base: our own merge, or, where history is cut off, the one that the host has
/// made and checked out. None where the two have conflicts.
fn merge(
    workspace: &RepoContext,
    base: ObjectId,
    head: ObjectId,
) -> Result<Option<(ObjectId, ObjectId)>, CliError> {
    let repo = &workspace.repo;
    let error = match repo.merge(base, head) {
        Ok(MergeResult::Commit(merged)) => return Ok(Some((base, merged))),
        Ok(MergeResult::Conflicts) => return Ok(None),
        Err(error) => error,
    };
    let checked_out = repo.commit(repo.resolve_commit("HEAD")?)?;
    match checked_out.parents.as_slice() {
        // Nothing else that is checked out is taken for the merge: its second parent has to be exactly this
        // head.
        [base, other] if *other == head && repo.commit(*base).is_ok() => Ok(Some((*base, checked_out.id))),
        _ => Err(CliError::from(error)
            .hint("check out with `fetch-depth: 0`, so that the base and the change can be merged")),
    }
}
