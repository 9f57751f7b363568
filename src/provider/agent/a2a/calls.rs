//! The calls that an attempt makes, each by one request.

use std::time::Instant;

use reqwest::{Method, Url};
use serde_json::{Value, json};
use uuid::Uuid;

use super::card::AgentInterface;
use super::config::AgentLocation;
use super::exchange::A2aExchange;
use super::rpc::{self, RpcError, TASK_NOT_CANCELABLE, TASK_NOT_FOUND};
use super::task::{A2aTask, A2aTaskList, A2aTaskState, SendMessageResponse};
use crate::provider::agent::brief::for_remote;
use crate::provider::web::{Request, origin};

const VERSION: &str = "1.0";

/// How many bytes of an answer are taken.
const ANSWER: usize = 4 << 20;

/// The namespace of the ids that we give.
const IDS: Uuid = Uuid::from_u128(0x1c3f_52b6_7d0e_5b8a_8a41_6f0e_b2d9_40c5);

impl A2aExchange<'_> {
    /// The task with the message that an earlier attempt at this work sent, if the agent lists its tasks. One that was
    /// cancelled there is over.
    pub(super) async fn find(&self, place: &AgentInterface) -> Result<Option<A2aTask>, RpcError> {
        // Without a context of planspec, our tasks cannot be distinguished from those of others.
        let Some(context) = self.context() else { return Ok(None) };
        let params = json!({ "contextId": context, "includeArtifacts": true, "historyLength": 0 });
        let listed: A2aTaskList = match self.call(place, "ListTasks", params).await {
            Ok(result) => rpc::read(result, &place.url).unwrap_or_default(),
            Err(trouble @ RpcError::Passing { .. }) => return Err(trouble),
            // It keeps no list: then the message says by its id that it came before.
            Err(RpcError::Error { .. } | RpcError::Final(_)) => return Ok(None),
        };
        // The list begins with what changed last.
        let ours = |task: &A2aTask| {
            task.context_id.as_deref() == Some(context.as_str())
                && task.status.state() != A2aTaskState::Canceled
        };
        Ok(listed.tasks.unwrap_or_default().into_iter().find(ours))
    }

    /// Answers the question of a task, unless it asks none any more.
    pub(super) async fn answer(&self, place: &AgentInterface, task: &str) -> Result<A2aTask, RpcError> {
        let task = self.get(place, task).await?;
        let Some(answer) = self.attempt.answer.as_ref().filter(|_| task.status.asks()) else {
            return Ok(task);
        };
        let mut message = json!({
            "messageId": id("answer", &format!("{} {}", self.attempt.work, answer.at)),
            "role": "ROLE_USER",
            "taskId": task.id,
            "parts": [{ "text": answer.text }],
        });
        if let (Some(context), Some(fields)) = (&task.context_id, message.as_object_mut()) {
            fields.insert("contextId".to_owned(), json!(context));
        }
        match self.send(place, message).await? {
            SendMessageResponse::Task(task) => Ok(task),
            // It says something to it, and the task shows what comes of it.
            SendMessageResponse::Message(_) => self.get(place, &task.id).await,
        }
    }

    pub(super) async fn send(
        &self,
        place: &AgentInterface,
        message: Value,
    ) -> Result<SendMessageResponse, RpcError> {
        // Otherwise the answer comes with the end of the task, and until then a lost runner would leave nothing by
        // which it is found.
        let configuration = json!({ "returnImmediately": true, "historyLength": 0 });
        let params = json!({ "message": message, "configuration": configuration });
        rpc::read(self.call(place, "SendMessage", params).await?, &place.url)
    }

    pub(super) async fn get(&self, place: &AgentInterface, id: &str) -> Result<A2aTask, RpcError> {
        let result = self.call(place, "GetTask", json!({ "id": id, "historyLength": 0 })).await?;
        rpc::read(result, &place.url)
    }

    pub(super) async fn cancel_task(&self, place: &AgentInterface, id: &str) -> Result<(), String> {
        match self.call(place, "CancelTask", json!({ "id": id })).await {
            // What has ended or is gone needs nothing more from us.
            Ok(_) | Err(RpcError::Error { code: TASK_NOT_FOUND | TASK_NOT_CANCELABLE, .. }) => Ok(()),
            Err(error) => Err(error.message()),
        }
    }

    async fn call(&self, place: &AgentInterface, method: &str, mut params: Value) -> Result<Value, RpcError> {
        if let (Some(tenant), Some(params)) = (&place.tenant, params.as_object_mut()) {
            params.insert("tenant".to_owned(), json!(tenant));
        }
        let mut request = self.request(Method::POST, place.url.clone())?;
        request.body = Some(json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }));
        let answer = self.shared.web.send(request).await.map_err(|error| RpcError::of(&error))?;
        rpc::result(&answer)
    }

    /// Where the agent takes requests: as written, or as its card says.
    pub(super) async fn interface(&self) -> Result<AgentInterface, RpcError> {
        let card = match &self.address.place {
            AgentLocation::Endpoint(url) => return Ok(AgentInterface { url: url.clone(), tenant: None }),
            AgentLocation::Card(card) => card,
        };
        let request = self.request(Method::GET, card.clone())?;
        let answer = self.shared.web.send(request).await.map_err(|error| RpcError::of(&error))?;
        let head = format!("{} responded {} to the request for its card", origin(card), answer.status);
        match answer.status.as_u16() {
            200 => AgentInterface::of(&answer.body, card).map_err(RpcError::Final),
            408 | 425 | 429 | 500..=599 => {
                Err(RpcError::Passing { message: head, after: answer.retry_after(), acted: false })
            }
            _ => Err(RpcError::Final(head)),
        }
    }

    /// A request with every header that it needs.
    fn request(&self, method: Method, url: Url) -> Result<Request, RpcError> {
        let mut request = Request::new(method, url);
        request.limit = ANSWER;
        let settings = &self.shared.settings;
        self.address.prepare(&mut request, settings).map_err(|error| RpcError::Final(error.to_string()))?;
        request
            .identify(self.attempt)
            .and_then(|()| request.header("A2A-Version", VERSION))
            .map_err(|error| RpcError::Final(error.to_string()))?;
        if let Some(deadline) = self.deadline {
            request.timeout = request.timeout.min(deadline.saturating_duration_since(Instant::now()));
        }
        Ok(request)
    }

    /// The message that hands the task in.
    pub(super) fn message(&self) -> Value {
        let attempt = self.attempt;
        let mut parts = vec![json!({ "text": for_remote(attempt) })];
        if !attempt.inputs.is_empty() || !attempt.declared_outputs.is_empty() {
            let data = json!({ "inputs": attempt.inputs, "outputs": attempt.declared_outputs });
            parts.push(json!({ "data": data, "mediaType": "application/json" }));
        }
        let mut presented = attempt.document();
        // They are a part of the message already, as data.
        presented.remove("inputs");
        presented.insert("fencingToken".to_owned(), json!(attempt.fencing_token));
        let mut message = json!({
            "messageId": id("message", &attempt.work),
            "role": "ROLE_USER",
            "parts": parts,
            "metadata": { "planspec.io/attempt": presented },
        });
        if let (Some(context), Some(fields)) = (self.context(), message.as_object_mut()) {
            fields.insert("contextId".to_owned(), json!(context));
        }
        message
    }

    /// The id of the context of this work, unless the agent gives its own.
    fn context(&self) -> Option<String> {
        self.address.names_context.then(|| id("context", &self.attempt.work))
    }
}

/// An id that is the same for the same work, in the form that agents keep ids in.
fn id(what: &str, work: &str) -> String {
    Uuid::new_v5(&IDS, format!("{what} {work}").as_bytes()).to_string()
}
