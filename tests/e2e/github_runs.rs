//! The workflows of the small Git host: started, listed, and over as soon as they are started.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The runs, and what they were started with.
#[derive(Default)]
pub(crate) struct Runs {
    pub(crate) all: Vec<Value>,
    /// `ref` and `inputs` of each start.
    pub(crate) started: Vec<Value>,
    /// Whether new runs are still at work.
    pub(crate) slow: bool,
    /// Workflows that somebody or something turned off.
    pub(crate) off: Vec<String>,
    /// The archives of reports that runs left, by the number of the run.
    pub(crate) left: BTreeMap<u64, Vec<u8>>,
    /// What happens while the next one is turned off.
    pub(crate) meanwhile: Option<std::process::Command>,
}

impl Runs {
    /// The answer to a request that is about workflows; none for any other.
    pub(crate) fn answer(&mut self, method: &str, parts: &[&str], body: &Value) -> Option<(u16, Value)> {
        let (rest, last) = (parts.strip_prefix(&["actions"])?, parts.last()?);
        match (method, rest) {
            ("POST", ["workflows", _, "dispatches"]) => {
                self.start(body);
                Some((204, Value::Null))
            }
            ("GET", ["workflows", name]) => {
                let off = self.off.iter().any(|off| off == name);
                let state = if off { "disabled_manually" } else { "active" };
                Some((200, json!({ "id": 9, "path": format!(".github/workflows/{name}"), "state": state })))
            }
            ("PUT", ["workflows", name, word @ ("enable" | "disable")]) => {
                if let Some(mut meanwhile) = self.meanwhile.take_if(|_| *word == "disable") {
                    assert!(meanwhile.status().unwrap().success());
                }
                self.off.retain(|off| off != name);
                self.off.extend((*word == "disable").then(|| (*name).to_owned()));
                Some((204, Value::Null))
            }
            ("GET", ["workflows", _, "runs"]) => {
                let runs: Vec<&Value> = self.all.iter().rev().collect();
                Some((200, json!({ "total_count": runs.len(), "workflow_runs": runs })))
            }
            ("GET", ["runs", id]) => {
                let found = self.all.iter().find(|run| run["id"].as_u64() == id.parse().ok());
                Some(found.map_or((404, json!({ "message": "Not Found" })), |run| (200, run.clone())))
            }
            ("GET", ["runs", id, "artifacts"]) if self.left.contains_key(&id.parse().unwrap_or_default()) => {
                let number: u64 = id.parse().unwrap();
                let file = json!({
                    "id": number, "name": "planspec-work", "size_in_bytes": self.left[&number].len(), "expired": false,
                    "archive_download_url": format!("https://api.github.com/repos/acme/app/actions/artifacts/{id}/zip"),
                });
                Some((200, json!({ "total_count": 1, "artifacts": [file] })))
            }
            ("GET", ["artifacts", id, "zip"]) => {
                let is_there = self.left.contains_key(&id.parse().unwrap_or_default());
                Some(if is_there { (302, Value::Null) } else { (404, json!({ "message": "Not Found" })) })
            }
            ("GET", ["runs", id, "artifacts"]) => {
                let file = json!({
                    "id": 1, "name": "site", "size_in_bytes": 34, "expired": false,
                    "archive_download_url": format!("https://api.github.com/repos/acme/app/actions/runs/{id}/zip"),
                });
                Some((200, json!({ "total_count": 1, "artifacts": [file] })))
            }
            ("POST", ["runs", id, "cancel"]) if *last == "cancel" => {
                let run = self.all.iter_mut().find(|run| run["id"].as_u64() == id.parse().ok())?;
                run["status"] = json!("completed");
                run["conclusion"] = json!("cancelled");
                Some((202, json!({})))
            }
            _ => None,
        }
    }

    /// The inputs of the start that made a run.
    pub(crate) fn inputs_of(&self, run: u64) -> Value {
        let at = self.all.iter().position(|one| one["id"] == run).unwrap();
        self.started[at]["inputs"].clone()
    }

    /// Ends a run, with the archive of what it left.
    pub(crate) fn end(&mut self, run: u64, conclusion: &str, left: Option<Vec<u8>>) {
        let found = self.all.iter_mut().find(|one| one["id"] == run).unwrap();
        found["status"] = json!("completed");
        found["conclusion"] = json!(conclusion);
        self.left.extend(left.map(|left| (run, left)));
    }

    fn start(&mut self, body: &Value) {
        let fields = body.as_object().unwrap();
        assert!(fields.keys().all(|name| name == "ref" || name == "inputs"), "{body}");
        let inputs = body["inputs"].as_object().unwrap();
        assert!(inputs.len() <= 25 && inputs.values().all(Value::is_string), "{body}");
        let id = 700 + self.all.len();
        let title = format!("Build ({})", inputs["planspec_key"].as_str().unwrap());
        self.all.push(json!({
            "id": id, "name": "build", "display_title": title, "event": "workflow_dispatch", "head_sha": "a".repeat(40),
            "status": if self.slow { "in_progress" } else { "completed" },
            "conclusion": if self.slow { Value::Null } else { json!("success") },
            "html_url": format!("https://github.com/acme/app/actions/runs/{id}"),
            "head_branch": body["ref"], "actor": { "login": "github-actions[bot]", "id": 1, "type": "Bot" },
        }));
        self.started.push(body.clone());
    }
}
