//! Who may decide: one answer for comments and for reviews. Everything depends on the login that the host has verified; no
//! text that anybody wrote is asked.

use crate::cli::ci::pass_view::PassView;
use crate::cli::error::CliError;
use crate::host::{Account, GitHost, HostError, RepoName, RepoPermission};
use crate::model::{FileOwners, GateSpec, Kind, Node, NodeId, NodePhase, NodeReason, ResourceKey};
use crate::run::gate::{People, eligible, is_named, teams_asked};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Permission<'a> {
    /// Approve or reject a gate; with its spec, where it has a manifest, and the owners of the files that it shows.
    Decide(Option<&'a GateSpec>, Option<&'a FileOwners>),
    /// Anything else that changes something.
    Change,
}

/// Somebody who may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthorizedActor {
    /// The login, as the host writes it.
    pub(crate) login: String,
    /// The number of the account, which outlives a change of the login.
    pub(crate) id: u64,
    /// The teams among the gate's reviewers that the person is in, as the gate writes them, without `team:`.
    pub(crate) teams: Vec<String>,
}

/// Whether somebody may: a named reviewer for a gate that names reviewers, else whoever may write. The inner error is a
/// line for the one who asked.
pub(crate) async fn authorise(
    github: &dyn GitHost,
    repo: &RepoName,
    who: &Account,
    wish: Permission<'_>,
    people: &People,
) -> Result<Result<AuthorizedActor, String>, HostError> {
    // A bot comments for anybody who can start it.
    if who.is_bot {
        return Ok(Err("bots cannot decide".to_owned()));
    }
    let login = who.login.clone();
    let name = match people.identify_account(&login, who.id) {
        Ok(name) => name,
        Err(refusal) => return Ok(Err(refusal.to_string())),
    };
    if let Permission::Decide(Some(spec), owners) = wish
        && !spec.reviewers.is_empty()
    {
        let TeamMembership { teams, unreadable } =
            teams_of(github, repo, &login, teams_asked(spec, owners)).await?;
        return Ok(match eligible(&name, &teams, (Some(spec), owners), people) {
            // On the host, too, an owner needs write access: the login of somebody who left may be another person's by now.
            Ok(())
                if !is_named(&name, &teams, spec, people)
                    && github.permission(repo, &login).await? < RepoPermission::Write =>
            {
                Err(format!("{login} is a code owner, but may not write to this repository"))
            }
            Ok(()) => Ok(AuthorizedActor { login, id: who.id, teams }),
            Err(refusal) if unreadable.is_empty() => Err(refusal.to_string()),
            // Otherwise a member of the team hears that they are none, and looks for the mistake in the wrong place.
            Err(refusal) => Err(format!("{refusal}; {}", unreadable_teams(&unreadable))),
        });
    }
    // A gate without reviewers is open to whoever may write, as the contract has it for gates without a
    // manifest.
    if github.permission(repo, &login).await? >= RepoPermission::Write {
        return Ok(Ok(AuthorizedActor { login, id: who.id, teams: Vec::new() }));
    }
    Ok(Err(format!("{login} may not write to this repository")))
}

/// What the host says of somebody and the teams among a gate's reviewers.
struct TeamMembership {
    /// Those that the person is in, as the gate writes them, without `team:`.
    teams: Vec<String>,
    /// Those that the token may not read, so that nobody is in them as far as it can see.
    unreadable: Vec<String>,
}

/// `team:SLUG` is a team of the organisation that owns the repository, `team:ORGANISATION/SLUG` one of another.
async fn teams_of(
    github: &dyn GitHost,
    repo: &RepoName,
    login: &str,
    teams: impl Iterator<Item = &str>,
) -> Result<TeamMembership, HostError> {
    let mut found = TeamMembership { teams: Vec::new(), unreadable: Vec::new() };
    for team in teams {
        let (organisation, slug) = team.split_once('/').unwrap_or((repo.owner(), team));
        let member = github.is_member(organisation, slug, login).await;
        let readable = match &member {
            Ok(true) => true,
            // The host answers 404 both for a person who is no member and for a team that the token may not see.
            Ok(false) => github.can_read_team(organisation, slug).await?,
            // What is no name of a team is no matter of the token.
            Err(HostError::Name(_)) => true,
            // The token of a job cannot read teams; such a reviewer is then known by `identities` alone.
            Err(error) if error.is_permission() => false,
            Err(_) => true,
        };
        if !readable {
            found.unreadable.push(team.to_owned());
            continue;
        }
        match member {
            Ok(true) => found.teams.push(team.to_owned()),
            Ok(false) | Err(HostError::Name(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// What is said of teams that the token may not read, and what helps: the same words before the merge and when somebody is
/// refused.
pub(crate) fn unreadable_teams(teams: &[String]) -> String {
    format!(
        "teams could not be read with this token: {}. Give the action a token with the permission `members: read`, or list \
         the members in `identities`",
        teams.join(", ")
    )
}

/// Who owns the files that a gate shows, where it asks them: for the Execution that was named, else for all that wait there, of
/// which the engine asks for one.
pub(crate) fn owners_at(
    view: &PassView,
    (gate, spec): (&ResourceKey, Option<&GateSpec>),
    execution: Option<&ResourceKey>,
) -> Result<Option<FileOwners>, CliError> {
    // Most gates ask no owners, and then no graph is read.
    if !spec.is_some_and(GateSpec::asks_code_owners) {
        return Ok(None);
    }
    let waiting = match execution {
        Some(key) => vec![key.clone()],
        None => waiting_at(view, gate)?,
    };
    let mut found: Option<FileOwners> = None;
    for key in waiting {
        let (Some(record), Some(graph)) = (view.record(&key)?, view.graph(&key)?) else { continue };
        let Some(status) = record.execution() else { continue };
        let home = status.extensions.pinned.as_ref().map_or(&key.namespace, |pin| &pin.plan.namespace);
        let asks = |node: &&Node| {
            node.gate_ref.as_ref().is_some_and(|reference| reference.key(Kind::Gate, home) == *gate)
        };
        let states = graph.nodes.iter().filter(asks).filter_map(|node| status.node_statuses.get(&node.id));
        for owners in states.filter_map(|state| state.extensions.owners.as_deref()) {
            let found = found.get_or_insert_default();
            found.groups.extend(owners.groups.iter().cloned());
            found.problem = found.problem.take().or_else(|| owners.problem.clone());
        }
    }
    Ok(found)
}

/// The Executions that wait at a gate.
pub(crate) fn waiting_at(view: &PassView, gate: &ResourceKey) -> Result<Vec<ResourceKey>, CliError> {
    let mut waiting = Vec::new();
    for key in view.executions()? {
        if gates_of(view, &key)?.contains(gate) {
            waiting.push(key);
        }
    }
    Ok(waiting)
}

/// The gates that an Execution waits at.
pub(crate) fn gates_of(view: &PassView, key: &ResourceKey) -> Result<Vec<ResourceKey>, CliError> {
    let Some(record) = view.record(key)? else { return Ok(Vec::new()) };
    let Some(status) = record.execution().filter(|status| !status.phase.is_terminal()) else {
        return Ok(Vec::new());
    };
    let waits = |id: &NodeId| {
        status.node_statuses.get(id).is_some_and(|state| {
            // Whoever answers one that is closed is told why.
            let asks = state.extensions.reason.is_some_and(NodeReason::stands_at_gate);
            state.phase == NodePhase::Blocked && asks
        })
    };
    // Most Executions wait at no gate, and then their graphs are not read.
    if !status.node_statuses.keys().any(waits) {
        return Ok(Vec::new());
    }
    let home = status.extensions.pinned.as_ref().map_or(&key.namespace, |pin| &pin.plan.namespace);
    let graph = view.graph(key)?;
    let Some(graph) = graph else { return Ok(Vec::new()) };
    let waiting = status.node_statuses.iter().filter(|(id, _)| waits(id));
    let gates = waiting.filter_map(|(id, state)| graph.asked_gate(id, state.extensions.reason, home));
    Ok(gates.collect())
}
