//! Owners of files as reviewers of a gate: which of its reviewers they are, and whose files still wait for one of them.

use super::code_owners::owning_team;
use super::people::{People, ReviewRefusal, is_team};
use crate::model::{FileOwners, GateSpec, OwnedFiles, Review, means_code_owners};

/// Whether somebody may review. `teams` are those that the Git host has verified, `owners` those of the files that the gate shows.
///
/// # Errors
/// Why not.
pub(crate) fn eligible(
    reviewer: &str,
    teams: &[String],
    (spec, owners): (Option<&GateSpec>, Option<&FileOwners>),
    people: &People,
) -> Result<(), ReviewRefusal> {
    // A gate that names nobody is open to anyone who may write, and only they can record a review.
    let Some(spec) = spec.filter(|spec| !spec.reviewers.is_empty()) else { return Ok(()) };
    if is_named(reviewer, teams, spec, people) {
        return Ok(());
    }
    let reviewers = spec.asked(owners);
    // The entry itself means nobody, so that a gate whose owners are not known is open to none of them.
    if !spec.asks_code_owners() {
        return Err(ReviewRefusal::NotAReviewer { reviewer: reviewer.to_owned(), reviewers });
    }
    let Some(owners) = owners else { return Err(ReviewRefusal::NotShownYet(reviewer.to_owned())) };
    if owners.owners().any(|owner| is_owner(owner, reviewer, teams, people)) {
        return Ok(());
    }
    let reviewer = reviewer.to_owned();
    Err(match &owners.problem {
        Some(why) => ReviewRefusal::NoOwners { reviewer, why: why.clone() },
        None => ReviewRefusal::NotAReviewer { reviewer, reviewers },
    })
}

/// The teams among a gate's reviewers, as it writes them, without `team:`.
pub(crate) fn named_teams(reviewers: &[String]) -> impl Iterator<Item = &str> {
    reviewers.iter().filter_map(|entry| entry.trim().strip_prefix("team:").map(str::trim))
}

/// The teams on which an answer may depend, as a review records them: without `team:` or `@`.
pub(crate) fn teams_asked<'a>(
    spec: &'a GateSpec,
    owners: Option<&'a FileOwners>,
) -> impl Iterator<Item = &'a str> {
    // Only where they are asked: a record that somebody else wrote must not cost a request for each of its names.
    let owners = owners.filter(|_| spec.asks_code_owners()).into_iter().flat_map(FileOwners::owners);
    named_teams(&spec.reviewers).chain(owners.filter_map(|owner| owning_team(owner)))
}

/// Whose files wait for one of their owners after these approvals, in words; nothing when all do not, or need none.
///
/// As on GitHub, each file needs one of its owners, so that nobody approves another team's part alone. Whoever the gate names
/// beside the owners answers for all files.
pub(super) fn unowned(
    spec: Option<&GateSpec>,
    owners: Option<&FileOwners>,
    by: &[&Review],
    people: &People,
) -> Option<String> {
    let spec = spec.filter(|spec| spec.asks_code_owners())?;
    if by.iter().any(|review| is_named(&review.reviewer, teams_of(review), spec, people)) {
        return None;
    }
    let owners = match owners {
        Some(FileOwners { problem: Some(why), .. }) => return Some(why.clone()),
        Some(owners) if !owners.groups.is_empty() => owners,
        _ => return Some("the owners of the files are not known yet".to_owned()),
    };
    let approved = |group: &OwnedFiles| {
        let is_one = |review: &&Review| {
            group.owners.iter().any(|owner| is_owner(owner, &review.reviewer, teams_of(review), people))
        };
        by.iter().any(is_one)
    };
    owners.groups.iter().find(|group| !approved(group)).map(|group| {
        let more = group.files.saturating_sub(1);
        let files =
            if more > 0 { format!("`{}` and {more} more", group.path) } else { format!("`{}`", group.path) };
        match group.owners.as_slice() {
            [] => format!("{files}: no code owner"),
            owners => format!("{files}: no approval by an owner ({})", owners.join(", ")),
        }
    })
}

fn teams_of(review: &Review) -> &[String] {
    review.extensions.as_ref().map(|binding| binding.teams.as_slice()).unwrap_or_default()
}

/// Whether the gate itself names somebody, and not only as an owner.
pub(crate) fn is_named(reviewer: &str, teams: &[String], spec: &GateSpec, people: &People) -> bool {
    let others = spec.reviewers.iter().filter(|entry| !means_code_owners(entry));
    others.into_iter().any(|entry| people.means(entry, reviewer) || is_team(entry, teams))
}

fn is_owner(owner: &str, reviewer: &str, teams: &[String], people: &People) -> bool {
    if let Some(team) = owning_team(owner) {
        let entry = format!("team:{team}");
        return people.means(&entry, reviewer) || is_team(&entry, teams);
    }
    match owner.strip_prefix('@') {
        // Through the login and not by the name: `@max` is an account of the host, and `max` may be somebody else here.
        Some(login) => is_person(people.identify_login(login), reviewer, people),
        None => is_person(people.identify(owner), reviewer, people),
    }
}

fn is_person(owner: Result<String, ReviewRefusal>, reviewer: &str, people: &People) -> bool {
    owner.is_ok_and(|owner| people.person(&owner) == people.person(reviewer))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::run::gate::KnownPerson;

    fn spec(reviewers: &[&str]) -> GateSpec {
        let target = json!({ "kind": "Plan", "name": "p" });
        serde_json::from_value(json!({ "gateType": "review", "targetRef": target, "reviewers": reviewers }))
            .unwrap()
    }

    fn owners(groups: &[&[&str]]) -> FileOwners {
        let group = |(index, owners): (usize, &&[&str])| OwnedFiles {
            owners: owners.iter().map(|owner| (*owner).to_owned()).collect(),
            path: format!("f{index}"),
            files: 1,
        };
        FileOwners { groups: groups.iter().enumerate().map(group).collect(), ..FileOwners::default() }
    }

    fn people() -> People {
        let emails = ["rosa@example.com".to_owned()];
        People::new([
            KnownPerson {
                name: "rosa",
                login: Some("rosa-r"),
                account: None,
                emails: &emails,
                teams: &["o/sec".to_owned()],
            },
            KnownPerson { name: "max", login: Some("max-the-real"), account: None, emails: &[], teams: &[] },
        ])
    }

    fn approval(reviewer: &str, teams: &[&str]) -> Review {
        let binding = json!({ "execution": "u", "graphDigest": format!("sha256:{}", "0".repeat(64)), "commit": "c", "teams": teams });
        serde_json::from_value(json!({
            "reviewer": reviewer, "action": "approve", "timestamp": "2026-01-01T00:00:00Z", "extensions": binding,
        }))
        .unwrap()
    }

    #[track_caller]
    fn check_may(owner: &str, reviewer: &str, teams: &[&str], expected: bool) {
        let spec = spec(&["codeowners:"]);
        let owners = owners(&[&[owner]]);
        let teams: Vec<String> = teams.iter().map(|team| (*team).to_owned()).collect();
        let found = eligible(reviewer, &teams, (Some(&spec), Some(&owners)), &people());
        assert_eq!(found.is_ok(), expected, "{owner}, {reviewer}: {found:?}");
    }

    #[test]
    fn owners_are_accounts_teams_and_addresses_of_whom_the_configuration_knows() {
        check_may("@Ann", "ann", &[], true);
        check_may("@rosa-r", "rosa", &[], true);
        check_may("rosa@example.com", "rosa", &[], true);
        check_may("ann@example.com", "ann@example.com", &[], true);
        check_may("@o/sec", "rosa", &[], true);
        check_may("@o/docs", "ann", &["o/docs"], true);
        check_may("@o/docs", "ann", &["p/docs"], false);
        // An account that has the name of a person here is not that person.
        check_may("@max", "max", &[], false);
        check_may("@max-the-real", "max", &[], true);
        check_may("ann@example.com", "ann", &[], false);
    }

    #[test]
    fn without_owners_nobody_is_one_and_the_refusal_says_why() {
        let gate = spec(&["codeowners:"]);
        let refusal = |owners: Option<&FileOwners>| {
            eligible("ann", &[], (Some(&gate), owners), &people()).unwrap_err().to_string()
        };
        assert_eq!(
            refusal(None),
            "ann is not a reviewer of this gate; its reviewers are the owners of the files that it shows, which are not known yet"
        );
        let nobody = FileOwners::nobody("there is no CODEOWNERS file at commit c0ffee");
        assert_eq!(
            refusal(Some(&nobody)),
            "ann is not a reviewer of this gate: there is no CODEOWNERS file at commit c0ffee"
        );
        assert_eq!(
            refusal(Some(&owners(&[&["@bob", "@o/docs"], &[]]))),
            "ann is not a reviewer of this gate; reviewers: @bob, @o/docs"
        );
        let beside = spec(&["codeowners:", "user:ann"]);
        assert_eq!(eligible("ann", &[], (Some(&beside), None), &people()), Ok(()));
    }

    #[track_caller]
    fn check_missing(reviewers: &[&str], groups: &[&[&str]], by: &[&Review], expected: Option<&str>) {
        let found = unowned(Some(&spec(reviewers)), Some(&owners(groups)), by, &people());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn every_file_needs_one_of_its_owners_or_somebody_whom_the_gate_names() {
        let ann = approval("ann", &[]);
        let docs = approval("bob", &["o/docs"]);
        let only: &[&str] = &["codeowners:"];
        let both: &[&[&str]] = &[&["@ann", "@eve"], &["@o/docs"]];
        check_missing(only, both, &[&ann, &docs], None);
        check_missing(only, both, &[&ann], Some("`f1`: no approval by an owner (@o/docs)"));
        check_missing(only, both, &[], Some("`f0`: no approval by an owner (@ann, @eve)"));
        check_missing(only, &[&["@ann"], &[]], &[&ann], Some("`f1`: no code owner"));
        check_missing(only, &[], &[&ann], Some("the owners of the files are not known yet"));
        check_missing(&["codeowners:", "user:ann"], &[&["@eve"], &[]], &[&ann], None);
        check_missing(&["user:ann"], &[], &[], None);
        let nobody = FileOwners::nobody("why");
        assert_eq!(unowned(Some(&spec(only)), Some(&nobody), &[&ann], &people()).as_deref(), Some("why"));
    }

    #[test]
    fn the_teams_of_owners_are_asked_where_the_gate_asks_owners() {
        let owners = owners(&[&["@ann", "@o/docs", "x@example.com"]]);
        let asked = |reviewers: &[&str]| {
            teams_asked(&spec(reviewers), Some(&owners)).map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(asked(&["team:sec", "codeowners:"]), ["sec", "o/docs"]);
        assert_eq!(asked(&["team:sec"]), ["sec"]);
    }
}
