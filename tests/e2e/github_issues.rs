//! The issues of the small Git host: as strict with requests as the host's published description is.

use serde_json::{Value, json};

/// The issues, and how the host misbehaves.
#[derive(Default)]
pub(crate) struct Issues {
    pub(crate) all: Vec<Value>,
    /// So many lists do not show the newest issue yet.
    pub(crate) late: usize,
    /// The answers to so many openings get lost after the issue was opened.
    pub(crate) lost: usize,
    /// Logins that cannot be assigned.
    pub(crate) strangers: Vec<String>,
    closings: usize,
}

impl Issues {
    /// The answer to a request that is about issues themselves; none for any other.
    pub(crate) fn answer(
        &mut self,
        method: &str,
        parts: &[&str],
        query: &str,
        body: &Value,
    ) -> Option<(u16, Value)> {
        match (method, parts) {
            ("GET", ["issues"]) => Some(self.list(query)),
            ("POST", ["issues"]) => Some(self.open(body)),
            ("GET", ["issues", number]) if *number != "comments" => Some(match self.find(number) {
                Some(issue) => (200, issue.clone()),
                None => (404, json!({ "message": "Not Found" })),
            }),
            ("PATCH", ["issues", number]) => Some(self.change(number, body)),
            _ => None,
        }
    }

    fn find(&mut self, number: &str) -> Option<&mut Value> {
        self.all.iter_mut().find(|issue| issue["number"].as_u64() == number.parse().ok())
    }

    fn list(&mut self, query: &str) -> (u16, Value) {
        let asked: Vec<(&str, &str)> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let known = ["state", "labels", "sort", "direction", "per_page", "page"];
        assert!(asked.iter().all(|(name, _)| known.contains(name)), "{query}");
        let of = |name: &str| asked.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value);
        assert!(matches!(of("state"), "open" | "closed" | "all"), "{query}");
        if of("page").parse::<u32>().is_ok_and(|page| page > 1) {
            return (200, json!([]));
        }
        let shown = self.all.len() - usize::from(self.late > 0 && !self.all.is_empty());
        self.late = self.late.saturating_sub(1);
        let matches = |issue: &&Value| {
            (of("state") == "all" || issue["state"] == of("state"))
                && issue["labels"].as_array().unwrap().iter().any(|label| label["name"] == of("labels"))
        };
        (200, self.all[..shown].iter().filter(matches).rev().cloned().collect())
    }

    fn open(&mut self, body: &Value) -> (u16, Value) {
        check(body, &["title", "body", "labels", "assignees", "milestone"]);
        let assignees: Vec<&str> =
            body["assignees"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap()).collect();
        if assignees.iter().any(|name| self.strangers.iter().any(|stranger| stranger == name)) {
            let errors =
                json!([{ "field": "assignees", "code": "invalid", "message": "cannot be assigned" }]);
            return (422, json!({ "message": "Validation Failed", "errors": errors }));
        }
        let number = 40 + self.all.len();
        let labels = body["labels"].as_array().into_iter().flatten();
        let issue = json!({
            "number": number, "state": "open", "title": body["title"], "body": body["body"],
            "labels": labels.map(|name| json!({ "name": name })).collect::<Vec<_>>(),
            "assignees": assignees.iter().map(|name| json!({ "login": name, "type": "User" })).collect::<Vec<_>>(),
            "user": { "login": "github-actions[bot]", "type": "Bot" }, "closed_by": null, "closed_at": null,
            "state_reason": null, "html_url": format!("https://github.com/acme/app/issues/{number}"),
        });
        self.all.push(issue.clone());
        if self.lost > 0 {
            self.lost -= 1;
            return (502, json!({ "message": "Bad Gateway" }));
        }
        (201, issue)
    }

    fn change(&mut self, number: &str, body: &Value) -> (u16, Value) {
        check(body, &["title", "body", "state", "state_reason", "labels", "assignees", "milestone"]);
        if let Some(state) = body["state"].as_str() {
            let reason = body["state_reason"].as_str();
            self.turn(number.parse().unwrap(), state, reason, "github-actions[bot]");
        }
        let Some(issue) = self.find(number) else { return (404, json!({ "message": "Not Found" })) };
        if let Some(text) = body["body"].as_str() {
            issue["body"] = json!(text);
        }
        (200, issue.clone())
    }

    /// Somebody closes an issue, or opens it again.
    pub(crate) fn turn(&mut self, number: u64, state: &str, reason: Option<&str>, login: &str) {
        assert!(matches!(state, "open" | "closed"), "{state}");
        assert!(matches!(reason, None | Some("completed" | "not_planned" | "duplicate" | "reopened")));
        self.closings += 1;
        let at = format!("2026-01-01T00:00:{:02}Z", self.closings);
        let kind = if login.ends_with("[bot]") { "Bot" } else { "User" };
        let issue = self.find(&number.to_string()).unwrap();
        issue["state"] = json!(state);
        let closed = state == "closed";
        issue["state_reason"] = json!(reason.unwrap_or(if closed { "completed" } else { "reopened" }));
        issue["closed_at"] = if closed { json!(at) } else { Value::Null };
        issue["closed_by"] = if closed { json!({ "login": login, "type": kind }) } else { Value::Null };
    }
}

/// The fields that the host's description of the request knows.
fn check(body: &Value, known: &[&str]) {
    let fields = body.as_object().unwrap();
    assert!(fields.keys().all(|name| known.contains(&name.as_str())), "{body}");
    assert!(body["body"].as_str().is_none_or(|text| text.chars().count() <= 65_536));
}
