//! What only the host's other API, GraphQL, takes: whether a pull request is a draft, automatic merges, and comments to hide.

use serde::Deserialize;
use serde_json::{Value, json};

use super::GitHub;
use super::client::ApiRequest;
use super::pulls::CHANGES;
use crate::host::{HostError, MergeMethod, PullRequest, shown};

const ENABLE_AUTO_MERGE: &str = "mutation($input: EnablePullRequestAutoMergeInput!) { enablePullRequestAutoMerge(input: $input) { clientMutationId } }";
const MARK_READY: &str = "mutation($input: MarkPullRequestReadyForReviewInput!) { markPullRequestReadyForReview(input: $input) { clientMutationId } }";
const CONVERT_TO_DRAFT: &str = "mutation($input: ConvertPullRequestToDraftInput!) { convertPullRequestToDraft(input: $input) { clientMutationId } }";

fn word(method: MergeMethod) -> &'static str {
    match method {
        MergeMethod::Merge => "MERGE",
        MergeMethod::Squash => "SQUASH",
        MergeMethod::Rebase => "REBASE",
    }
}

#[derive(Deserialize)]
struct GraphAnswer {
    #[serde(default)]
    errors: Vec<GraphRefusal>,
}

#[derive(Deserialize)]
struct GraphRefusal {
    #[serde(default)]
    message: String,
}

impl GitHub {
    /// Asks the host to merge a pull request as soon as its rules allow that, if its head is this commit.
    ///
    /// # Errors
    /// [`HostError`]; [`HostError::Refused`] where the repository does not allow it, or nothing stands in the way of a
    /// merge by hand.
    pub(crate) async fn merge_when_allowed(
        &self,
        pull: &PullRequest,
        method: MergeMethod,
    ) -> Result<(), HostError> {
        let input = json!({
            "pullRequestId": pull.handle, "mergeMethod": word(method),
            // What was pushed in between was asked about by nobody.
            "expectedHeadOid": pull.head.sha,
        });
        self.mutate(ENABLE_AUTO_MERGE, &input, format!("enable auto-merge of pull request #{}", pull.number))
            .await
    }

    /// Says that a draft is ready to be merged; of one that is ready already, it changes nothing.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn mark_ready(&self, pull: &PullRequest) -> Result<(), HostError> {
        let input = json!({ "pullRequestId": pull.handle });
        self.mutate(MARK_READY, &input, format!("mark pull request #{} as ready", pull.number)).await
    }

    /// Makes a pull request a draft, which nobody can merge by mistake.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn convert_to_draft(&self, pull: &PullRequest) -> Result<(), HostError> {
        let input = json!({ "pullRequestId": pull.handle });
        self.mutate(CONVERT_TO_DRAFT, &input, format!("make pull request #{} a draft", pull.number)).await
    }

    /// One change.
    ///
    /// # Errors
    /// [`HostError`].
    pub(super) async fn mutate(&self, query: &str, input: &Value, what: String) -> Result<(), HostError> {
        let body = json!({ "query": query, "variables": { "input": input } });
        let answer: GraphAnswer = self.ask(ApiRequest::graph(body, &what, CHANGES)).await?;
        // This API answers 200 to what it refuses, too.
        match answer.errors.into_iter().next() {
            Some(error) => Err(HostError::Refused { what, status: 200, said: shown(&error.message) }),
            None => Ok(()),
        }
    }
}
