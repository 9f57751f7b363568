//! A small Git host for `planspec ci`: comments, reactions, permissions and pull requests, kept in memory behind
//! real HTTP. What is asked and answered is judged by GitHub's own description; a mistake fails the test.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::github_issues::Issues;
use crate::github_judge;
use crate::github_runs::Runs;

/// An answer that is given in place of the right one, so many times.
pub(crate) struct Fault {
    pub(crate) method: &'static str,
    /// The end of the path.
    pub(crate) path: &'static str,
    pub(crate) times: usize,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// What the host holds.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) comments: Vec<Value>,
    pub(crate) reactions: Vec<(u64, String)>,
    /// Every pull request.
    pub(crate) pulls: Vec<Value>,
    /// Commits that a pull request brought, besides its head and its merge.
    pub(crate) brought: Vec<(String, u64)>,
    /// The accounts of the author and the committer of commits that no pull request tells of; no login where the host knows none.
    pub(crate) written: Vec<(String, [Option<&'static str>; 2])>,
    /// The commits of pull requests, with their authors; those not named here have one, of the one who opened them.
    pub(crate) pull_commits: Vec<(u64, String, Option<&'static str>)>,
    /// What the messages of commits say below their subject.
    pub(crate) messages: Vec<(String, &'static str)>,
    /// What the host remembers of the pushes of a branch.
    pub(crate) activity: Vec<Value>,
    pub(crate) reviews: Vec<Value>,
    /// The repository whose branches pull requests are made of.
    pub(crate) repository: Option<std::path::PathBuf>,
    /// The checks that every branch asks for.
    pub(crate) required_checks: Vec<&'static str>,
    /// The checks that a ruleset asks for.
    pub(crate) ruleset_checks: Vec<&'static str>,
    /// Branches, as in an address, that a ruleset keeps pushes out of.
    pub(crate) restricted: Vec<&'static str>,
    /// Whether the heads of open pull requests follow their branches, as on the host.
    pub(crate) follows_branches: bool,
    /// Whether the repository has no drafts, as a private one of a free account.
    pub(crate) has_no_drafts: bool,
    /// How many more times the host does not know yet which pull requests a commit came with, as right after a merge.
    pub(crate) late: usize,
    /// Whether the repository allows auto-merge.
    pub(crate) allows_auto_merge: bool,
    /// What was made a draft or ready, by the names of the requests.
    pub(crate) drafted: Vec<(&'static str, bool)>,
    /// Who may write.
    pub(crate) writers: Vec<String>,
    /// `TEAM/LOGIN`.
    pub(crate) members: Vec<String>,
    /// Requests whose path holds one of these are refused with 403.
    pub(crate) refused: Vec<&'static str>,
    pub(crate) issues: Issues,
    pub(crate) runs: Runs,
    /// Requests that are done at once and whose answer takes long: `METHOD PATH`.
    pub(crate) slow: Option<&'static str>,
    /// The comments that were hidden, by their other name.
    pub(crate) minimized: Vec<String>,
    /// Every text that was written as a comment of ours, new or edited.
    pub(crate) texts: Vec<String>,
    pub(crate) faults: Vec<Fault>,
    /// When something was created or changed.
    changed_at: Vec<Instant>,
    /// `METHOD PATH` of every request.
    pub(crate) seen: Vec<String>,
    /// What GitHub's description does not allow.
    mistakes: Vec<String>,
}

/// The host, and the runtime that it lives in.
pub(crate) struct GitHubHost {
    server: MockServer,
    state: Arc<Mutex<State>>,
    _runtime: tokio::runtime::Runtime,
}

impl Drop for GitHubHost {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.with(|state| {
                assert_eq!(state.mistakes, Vec::<String>::new());
                // The host's own limit on what creates content.
                let at = &state.changed_at;
                let full = at.windows(81).find(|pair| pair[80] - pair[0] < Duration::from_secs(60));
                assert!(full.is_none(), "more than 80 requests a minute create or change something");
            });
        }
    }
}

struct Answers(Arc<Mutex<State>>);

impl GitHubHost {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let server = runtime.block_on(async {
            let server = MockServer::start().await;
            Mock::given(any()).respond_with(Answers(Arc::clone(&state))).mount(&server).await;
            server
        });
        Self { server, state, _runtime: runtime }
    }

    pub(crate) fn url(&self) -> String {
        self.server.uri()
    }

    /// Reads or changes what the host holds.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// Somebody writes a comment; its number.
    pub(crate) fn comment(&self, number: u64, login: &str, text: &str) -> u64 {
        self.with(|state| state.add_comment(number, login, text)["id"].as_u64().unwrap())
    }

    /// The texts of our own comments.
    pub(crate) fn own_comments(&self) -> Vec<String> {
        self.with(|state| {
            let own = |comment: &&Value| comment["user"]["type"] == "Bot";
            let text = |comment: &Value| comment["body"].as_str().unwrap().to_owned();
            state.comments.iter().filter(own).map(text).collect()
        })
    }

    /// How many requests changed something.
    pub(crate) fn changes(&self) -> usize {
        self.with(|state| state.seen.iter().filter(|seen| !seen.starts_with("GET")).count())
    }
}

/// The number of an account, which is the same for a login however it is written.
pub(crate) fn account_id(login: &str) -> u64 {
    login.to_lowercase().bytes().fold(7, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte))
}

impl State {
    fn add_comment(&mut self, number: u64, login: &str, text: &str) -> Value {
        let kind = if login.ends_with("[bot]") { "Bot" } else { "User" };
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let comment = json!({
            "id": 1000 + self.comments.len(), "node_id": format!("IC_{}", 1000 + self.comments.len()), "body": text, "user": { "login": login, "id": account_id(login), "type": kind },
            "created_at": now, "updated_at": now,
            "issue_url": format!("https://api.github.com/repos/acme/app/issues/{number}"),
        });
        self.comments.push(comment.clone());
        comment
    }

    /// A commit as the host shows it, which knows an account for some addresses.
    fn commit(&self, sha: &str, [author, committer]: [Option<&str>; 2]) -> Value {
        let account = |login: Option<&str>| {
            login.map(|login| json!({ "login": login, "id": account_id(login), "type": "User" }))
        };
        let git = |login: Option<&str>| {
            let email = if login == Some("web-flow") { "noreply@github.com" } else { "somebody@example.com" };
            json!({ "name": "Somebody", "email": email, "date": "2026-01-01T00:00:00Z" })
        };
        let message = self.messages.iter().find(|(of, _)| of == sha).map_or("Change", |(_, text)| *text);
        json!({
            "sha": sha, "author": account(author), "committer": account(committer),
            "commit": { "message": message, "author": git(author), "committer": git(committer) },
        })
    }

    /// The commits of a pull request.
    fn commits_of(&self, pull: &Value) -> Vec<Value> {
        let listed: Vec<Value> = self
            .pull_commits
            .iter()
            .filter(|(number, ..)| pull["number"] == *number)
            .map(|(_, sha, author)| self.commit(sha, [*author, *author]))
            .collect();
        let author = pull["user"]["login"].as_str();
        if listed.is_empty() { vec![self.commit(&"c".repeat(40), [author, author])] } else { listed }
    }

    /// One commit: of the pull request that it merged, or of those who are said to have written it.
    fn host_commit(&self, sha: &str) -> Value {
        if let Some((_, who)) = self.written.iter().find(|(of, _)| of == sha) {
            return self.commit(sha, *who);
        }
        match self.pulls.iter().find(|pull| pull["merge_commit_sha"] == *sha) {
            Some(pull) => self.commit(sha, [pull["user"]["login"].as_str(), Some("web-flow")]),
            None => self.commit(sha, [None, None]),
        }
    }

    /// Opens a pull request, as the host does: from a branch that is there, and one only for two branches.
    fn open_pull(&mut self, body: &Value) -> (u16, Value) {
        let invalid =
            |why: &str| (422, json!({ "message": "Validation Failed", "errors": [{ "message": why }] }));
        let branch = body["head"].as_str().unwrap();
        let Some(sha) = self.tip(branch) else {
            return invalid("head is invalid");
        };
        if self.has_no_drafts && body["draft"] == true {
            let why = "Draft pull requests are not supported in this repository.";
            return (422, json!({ "message": why, "errors": [{ "message": why }] }));
        }
        let is_open = |pull: &Value| {
            pull["state"] == "open" && pull["head"]["ref"] == *branch && pull["base"]["ref"] == body["base"]
        };
        if self.pulls.iter().any(is_open) {
            return invalid("A pull request already exists");
        }
        let number = 50 + self.pulls.len();
        let pull = json!({
            "number": number, "state": "open", "draft": body["draft"].as_bool().unwrap_or_default(), "title": body["title"], "body": body["body"], "merged_at": null,
            "user": { "login": "github-actions[bot]", "id": 41_898_282, "type": "Bot" },
            "head": { "ref": branch, "sha": sha, "repo": { "full_name": "acme/app" } },
            "base": { "ref": body["base"], "sha": sha, "repo": { "full_name": "acme/app" } },
            "merge_commit_sha": null, "mergeable": null, "mergeable_state": "unknown", "node_id": format!("PR_{number}"), "auto_merge": null,
            "html_url": format!("https://github.com/acme/app/pull/{number}"),
        });
        self.pulls.push(pull.clone());
        (201, pull)
    }

    /// The requests that only the host's other API takes.
    fn graphql(&mut self, body: &Value) -> (u16, Value) {
        if body["query"].as_str().unwrap().contains("minimizeComment") {
            return self.minimize(body);
        }
        self.mutate(body)
    }

    /// The host hides a comment that is there, for a reason that it knows, and refuses the rest with a status of success.
    fn minimize(&mut self, body: &Value) -> (u16, Value) {
        let query = body["query"].as_str().unwrap();
        assert!(query.contains("($input: MinimizeCommentInput!)"), "{query}");
        assert!(query.contains("minimizeComment(input: $input) { clientMutationId }"), "{query}");
        let input = &body["variables"]["input"];
        assert!(input.as_object().unwrap().keys().eq(["subjectId", "classifier"]), "{input}");
        let reason = input["classifier"].as_str().unwrap();
        assert!(
            ["ABUSE", "DUPLICATE", "OFF_TOPIC", "OUTDATED", "RESOLVED", "SPAM"].contains(&reason),
            "{input}"
        );
        let subject = input["subjectId"].as_str().unwrap();
        if !self.comments.iter().any(|comment| comment["node_id"] == subject) {
            let why = format!("Could not resolve to a node with the global id of '{subject}'");
            return (200, json!({ "data": null, "errors": [{ "message": why }] }));
        }
        self.minimized.push(subject.to_owned());
        (200, json!({ "data": { "minimizeComment": { "clientMutationId": null } } }))
    }

    /// The commit of a branch.
    fn tip(&self, branch: &str) -> Option<String> {
        let output = std::process::Command::new("git")
            .args(["rev-parse", "--verify", "--quiet", &format!("refs/heads/{branch}")])
            .current_dir(self.repository.as_ref().unwrap())
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A push moves the head of the pull requests of its branch.
    fn follow_branches(&mut self) {
        for at in 0..self.pulls.len() {
            let branch = self.pulls[at]["head"]["ref"].as_str().unwrap().to_owned();
            if self.pulls[at]["state"] == "open"
                && let Some(tip) = self.tip(&branch)
            {
                self.pulls[at]["head"]["sha"] = json!(tip);
            }
        }
    }

    /// A request of the host's other API: one of three changes, each with a type and an input of its own, and a status of success
    /// whatever comes of it.
    fn mutate(&mut self, body: &Value) -> (u16, Value) {
        let query = body["query"].as_str().unwrap();
        let input = &body["variables"]["input"];
        let refused = |why: &str| (200, json!({ "data": null, "errors": [{ "message": why }] }));
        let drafts = [("markPullRequestReadyForReview", false), ("convertPullRequestToDraft", true)];
        let Some((name, draft)) = drafts.into_iter().find(|(name, _)| query.contains(name)) else {
            return self.enable_auto_merge(query, input);
        };
        let typed = format!("{}{}Input!", name[..1].to_uppercase(), &name[1..]);
        assert_eq!(
            query,
            format!("mutation($input: {typed}) {{ {name}(input: $input) {{ clientMutationId }} }}")
        );
        assert!(input.as_object().unwrap().keys().eq(["pullRequestId"]), "{input}");
        let Some(pull) = self.pulls.iter_mut().find(|pull| pull["node_id"] == input["pullRequestId"]) else {
            return refused("Could not resolve to a node with the global id");
        };
        if pull["state"] != "open" {
            return refused("Pull request is closed");
        }
        if draft && self.has_no_drafts {
            return refused("Draft pull requests are not supported in this repository.");
        }
        pull["draft"] = json!(draft);
        self.drafted.push((name, draft));
        (200, json!({ "data": { name: { "clientMutationId": null } } }))
    }

    /// It names the pull request by its other name, and the host refuses it for another head and where the repository does not
    /// allow it.
    fn enable_auto_merge(&mut self, query: &str, input: &Value) -> (u16, Value) {
        assert!(query.contains("enablePullRequestAutoMerge(input: $input)"), "{query}");
        assert!(
            input.as_object().unwrap().keys().eq(["pullRequestId", "mergeMethod", "expectedHeadOid"]),
            "{input}"
        );
        let method = input["mergeMethod"].as_str().unwrap();
        assert!(["MERGE", "SQUASH", "REBASE"].contains(&method), "{method}");
        let refused = |why: &str| (200, json!({ "data": null, "errors": [{ "message": why }] }));
        if !self.allows_auto_merge {
            return refused("Auto merge is not allowed for this repository");
        }
        let pull = self.pulls.iter_mut().find(|pull| pull["node_id"] == input["pullRequestId"]).unwrap();
        if pull["head"]["sha"] != input["expectedHeadOid"] {
            return refused("Head sha didn't match expected sha");
        }
        pull["auto_merge"] = json!({ "merge_method": method.to_lowercase() });
        (200, json!({ "data": { "enablePullRequestAutoMerge": { "clientMutationId": null } } }))
    }

    fn answer(&mut self, method: &str, path: &str, query: &str, body: &Value) -> (u16, Value) {
        let missing = (404, json!({ "message": "Not Found" }));
        if path == "/user" || self.refused.iter().any(|part| path.contains(part)) {
            return (403, json!({ "message": "Resource not accessible by integration" }));
        }
        if (method, path) == ("POST", "/graphql") {
            return self.graphql(body);
        }
        if self.follows_branches {
            self.follow_branches();
        }
        let Some(rest) = (path.strip_prefix("/repos/acme/app/"))
            .or_else(|| path.strip_prefix("/repos/acme/site/"))
            .or_else(|| path.strip_prefix("/repos/acme/app"))
        else {
            // The token of a job may read no team: only a host that knows members was opened with another one.
            if self.members.is_empty() {
                return (403, json!({ "message": "Resource not accessible by integration" }));
            }
            if path == "/orgs/acme/teams/security/members" {
                return (200, json!([]));
            }
            let member = path.strip_prefix("/orgs/acme/teams/").map(|rest| rest.replace("/memberships", ""));
            let known = member.is_some_and(|member| self.members.contains(&member));
            return if known { (200, json!({ "state": "active" })) } else { missing };
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let ours = self.issues.answer(method, parts.as_slice(), query, body);
        if let Some(answer) = ours.or_else(|| self.runs.answer(method, parts.as_slice(), body)) {
            return answer;
        }
        match (method, parts.as_slice()) {
            ("GET", ["issues", "comments", id]) => {
                let found = self.comments.iter().find(|comment| comment["id"].as_u64() == id.parse().ok());
                found.map_or(missing, |comment| (200, comment.clone()))
            }
            ("PATCH", ["issues", "comments", id]) => {
                let found =
                    self.comments.iter_mut().find(|comment| comment["id"].as_u64() == id.parse().ok());
                found.map_or(missing, |comment| {
                    comment["body"] = body["body"].clone();
                    self.texts.push(body["body"].as_str().unwrap().to_owned());
                    (200, comment.clone())
                })
            }
            ("POST", ["issues", "comments", id, "reactions"]) => {
                self.reactions.push((id.parse().unwrap(), body["content"].as_str().unwrap().to_owned()));
                (201, json!({ "id": 1, "content": body["content"] }))
            }
            ("GET", ["issues", number, "comments"]) => {
                let end = format!("/issues/{number}");
                let here = |comment: &&Value| comment["issue_url"].as_str().unwrap().ends_with(&end);
                (200, self.comments.iter().filter(here).cloned().collect())
            }
            ("POST", ["issues", number, "comments"]) => {
                let text = body["body"].as_str().unwrap();
                self.texts.push(text.to_owned());
                (201, self.add_comment(number.parse().unwrap(), "github-actions[bot]", text))
            }
            ("GET", ["collaborators", login, "permission"]) => {
                let may = self.writers.iter().any(|writer| writer == login);
                (200, json!({ "permission": if may { "write" } else { "read" } }))
            }
            ("GET", ["commits", _, "pulls"]) if self.late > 0 => {
                self.late -= 1;
                (200, json!([]))
            }
            ("GET", ["commits", sha, "pulls"]) => {
                let has = |pull: &&Value| {
                    let listed =
                        |(commit, number): &(String, u64)| commit == sha && pull["number"] == *number;
                    pull["merge_commit_sha"] == *sha
                        || pull["head"]["sha"] == *sha
                        || self.brought.iter().any(listed)
                };
                // A list does not say who merged.
                let simple = |mut pull: Value| {
                    pull.as_object_mut().unwrap().retain(|name, _| name != "merged_by" && name != "commits");
                    pull
                };
                let shown = self.pulls.iter().filter(|pull| pull["hidden"] != true);
                (200, shown.filter(has).cloned().map(simple).collect())
            }
            ("GET", ["pulls"]) => {
                let all = query.contains("state=all");
                let from = |pull: &&Value| {
                    let branch = pull["head"]["ref"].as_str().unwrap_or_default().replace('/', "%2F");
                    !all || query.split('&').any(|part| part.starts_with("head=") && part.ends_with(&branch))
                };
                let shown = self.pulls.iter().filter(|pull| all || pull["state"] == "open").filter(from);
                // In a list the host says nothing of what stands in the way of a merge.
                let simple = |mut pull: Value| {
                    for name in ["mergeable", "mergeable_state", "merged_by", "commits"] {
                        pull.as_object_mut().unwrap().remove(name);
                    }
                    pull
                };
                (200, shown.cloned().map(simple).collect())
            }
            ("POST", ["pulls"]) => self.open_pull(body),
            ("PATCH", ["pulls", number]) => {
                let found = self.pulls.iter_mut().find(|pull| pull["number"].as_u64() == number.parse().ok());
                found.map_or(missing, |pull| {
                    for (name, value) in body.as_object().unwrap() {
                        pull[name] = value.clone();
                    }
                    (200, pull.clone())
                })
            }
            ("GET", []) | ("GET", [""]) => (200, json!({ "default_branch": "main" })),
            ("GET", ["branches", name]) => {
                let checks = json!({ "contexts": self.required_checks });
                let mut branch =
                    json!({ "protection": { "enabled": true, "required_status_checks": checks } });
                if self.repository.is_some() {
                    let Some(tip) = self.tip(&name.replace("%2F", "/")) else { return missing };
                    branch["commit"] = json!({ "sha": tip });
                    branch["protected"] = json!(false);
                }
                (200, branch)
            }
            ("GET", ["rules", "branches", name]) => {
                let check = |name: &&str| json!({ "context": name });
                let checks: Vec<Value> = self.ruleset_checks.iter().map(check).collect();
                let parameters = json!({ "required_status_checks": checks, "strict_required_status_checks_policy": false });
                let mut rules = vec![
                    json!({ "type": "deletion" }),
                    json!({ "type": "required_status_checks", "parameters": parameters }),
                ];
                rules.extend(
                    self.restricted.iter().any(|branch| branch == name).then(|| json!({ "type": "update" })),
                );
                (200, json!(rules))
            }
            ("GET", ["commits", _, "check-runs"]) => (200, json!({ "total_count": 0, "check_runs": [] })),
            ("GET", ["pulls", number]) => {
                let found = self.pulls.iter().find(|pull| pull["number"].as_u64() == number.parse().ok());
                found.map_or(missing, |pull| {
                    let mut pull = pull.clone();
                    let commits = self.commits_of(&pull).len();
                    let fields = pull.as_object_mut().unwrap();
                    fields.remove("hidden");
                    fields.entry("commits").or_insert(json!(commits));
                    if fields["merged_at"].is_string() {
                        fields
                            .entry("merged_by")
                            .or_insert(json!({ "login": "merger", "id": 5, "type": "User" }));
                    }
                    (200, pull)
                })
            }
            ("GET", ["activity"]) => {
                assert!(query.starts_with("ref=refs%2Fheads%2Fplanspec%2Fstatus&"), "{query}");
                let asked = |one: &&Value| query.contains(one["activity_type"].as_str().unwrap());
                (200, self.activity.iter().filter(asked).cloned().collect())
            }
            ("GET", ["pulls", number, "commits"]) => {
                let found = self.pulls.iter().find(|pull| pull["number"].as_u64() == number.parse().ok());
                found.map_or(missing, |pull| (200, json!(self.commits_of(pull))))
            }
            ("GET", ["commits", sha]) => (200, self.host_commit(sha)),
            ("GET", ["pulls", _, "reviews"]) => (200, json!(self.reviews)),
            _ => missing,
        }
    }
}

/// A page of a list whose pages begin at marks, and the header that says where the next one begins, if there is one.
fn marked_page(address: &wiremock::http::Url, all: Value) -> (Value, Option<String>) {
    const MARK: &str = "A/b=";
    let query: HashMap<_, _> = address.query_pairs().into_owned().collect();
    let size: usize = query["per_page"].parse().unwrap();
    let from: usize = query.get("after").map_or(0, |mark| mark.strip_prefix(MARK).unwrap().parse().unwrap());
    let Value::Array(entries) = all else { return (all, None) };
    let page: Vec<Value> = entries.iter().skip(from).take(size).cloned().collect();
    let next = (entries.len() > from + size).then(|| {
        let mut next = address.clone();
        let kept = query.iter().filter(|(name, _)| *name != "after");
        next.query_pairs_mut()
            .clear()
            .extend_pairs(kept)
            .append_pair("after", &format!("{MARK}{}", from + size));
        format!("<https://elsewhere.invalid/?before=x>; rel=\"prev\", <{next}>; rel=\"next\"")
    });
    (json!(page), next)
}

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut state = self.0.lock().unwrap();
        let (method, path) = (request.method.as_str(), request.url.path());
        let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        // A repository that was renamed is found by its number: what only reads is sent there for good, and everything else once more.
        if let Some(rest) = path.strip_prefix("/repos/acme/old") {
            let host = request.headers.get("host").unwrap().to_str().unwrap();
            let place = format!("http://{host}/repositories/1{rest}{query}");
            let said = json!({ "message": "Moved Permanently", "url": place });
            let status = if method == "GET" { 301 } else { 307 };
            return ResponseTemplate::new(status).set_body_json(said).insert_header("location", place);
        }
        // Where archives are stored is another host, for which the token is none.
        if let Some(run) = path.strip_prefix("/storage/") {
            assert!(!request.headers.contains_key("authorization"), "the token went to the storage");
            let archive = state.runs.left[&run.parse().unwrap()].clone();
            return ResponseTemplate::new(200).set_body_bytes(archive);
        }
        let named = path.replacen("/repositories/1", "/repos/acme/app", 1);
        let path = named.as_str();
        state.seen.push(format!("{method} {path}"));
        if method != "GET" {
            state.changed_at.push(Instant::now());
        }
        let fits =
            |fault: &&mut Fault| fault.times > 0 && fault.method == method && path.ends_with(fault.path);
        let fault = state.faults.iter_mut().find(fits).map(|fault| {
            fault.times -= 1;
            let said = json!({ "message": "for the test" });
            let template = ResponseTemplate::new(fault.status).set_body_json(said);
            fault
                .headers
                .iter()
                .fold(template, |template, (name, value)| template.insert_header(*name, value.as_str()))
        });
        if let Some(fault) = fault {
            return fault;
        }
        let (status, answer) = state.answer(method, path, request.url.query().unwrap_or_default(), &body);
        let (answer, next) =
            if path.ends_with("/activity") { marked_page(&request.url, answer) } else { (answer, None) };
        let found =
            github_judge::mistakes(method, &format!("{path}{query}"), &request.body, (status, &answer));
        state.mistakes.extend(found);
        if status == 302 {
            let host = request.headers.get("host").unwrap().to_str().unwrap();
            let run = path.trim_end_matches("/zip").rsplit('/').next().unwrap();
            let storage = host.replace("127.0.0.1", "localhost");
            return ResponseTemplate::new(302)
                .insert_header("location", format!("http://{storage}/storage/{run}"));
        }
        let slow = state.slow == Some(format!("{method} {path}").as_str());
        let delay = Duration::from_secs(if slow { 30 } else { 0 });
        let template = ResponseTemplate::new(status).set_body_json(answer).set_delay(delay);
        next.into_iter().fold(template, |template, link| template.insert_header("link", link.as_str()))
    }
}
