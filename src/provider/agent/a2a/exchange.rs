//! One attempt by an agent at an address: handing in the task, looking at it, calling it off.

use std::time::{Duration, Instant};

use reqwest::{Method, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Shared;
use super::card::Interface;
use super::config::{Address, Place};
use super::results::Results;
use super::rpc::{self, TASK_NOT_CANCELABLE, TASK_NOT_FOUND, Trouble};
use super::task::{Answered, Listed, State, Task};
use crate::model::NodeReason;
use crate::provider::agent::brief::for_remote;
use crate::provider::web::{Request, origin, parse_address};
use crate::provider::{Attempt, Outcome, Stop, presented};

const VERSION: &str = "1.0";

/// How many bytes of an answer are taken.
const ANSWER: usize = 4 << 20;

/// How often an agent that cannot be asked just now is asked within one attempt, and how long is waited for it.
const AGAIN: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// When a task that was handed in is looked at before it is left alone: many have ended by then.
const FIRST_LOOKS: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2)];

/// The longest id of a task that is kept: it is written into the status.
const LONGEST_ID: usize = 512;

/// The namespace of the ids that we give.
const IDS: Uuid = Uuid::from_u128(0x1c3f_52b6_7d0e_5b8a_8a41_6f0e_b2d9_40c5);

/// What is kept of a task that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Handle {
    task: String,
    /// Where it is asked about, when the agent's card said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
}

/// One attempt.
pub(super) struct Exchange<'a> {
    shared: &'a Shared,
    attempt: &'a Attempt,
    address: Address,
    deadline: Option<Instant>,
}

/// The end of an attempt, as far as it is known.
type Ended = Result<Results, Outcome>;

impl<'a> Exchange<'a> {
    /// Gets ready; the time of the attempt begins now.
    pub(super) fn new(shared: &'a Shared, attempt: &'a Attempt, address: Address) -> Self {
        let deadline = attempt.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Self { shared, attempt, address, deadline }
    }

    /// Hands in the task, unless it was before, and follows it for a moment.
    pub(super) async fn begin(&self) -> Ended {
        let (place, task) = self.hand_in().await?;
        let mut task = match task {
            Answered::Message(message) => return Results::of_message(&message, self.attempt),
            Answered::Task(task) => task,
        };
        self.handle(&place, &task)?;
        for pause in FIRST_LOOKS {
            if task.status.state() != State::Working || !self.has_time_for(pause) {
                break;
            }
            tokio::time::sleep(pause).await;
            // It was handed in: what goes wrong now is no reason to say that it failed.
            if let Ok(found) = self.get(&place, &task.id).await {
                task = found;
            }
        }
        self.standing(&place, &task)
    }

    /// Looks at a task that was handed in before.
    pub(super) async fn poll(&self) -> Ended {
        let (place, id) = self.known().map_err(|why| Outcome::broken(why, false))?;
        match self.get(&place, &id).await {
            Ok(task) => self.standing(&place, &task),
            Err(Trouble::Error { code: TASK_NOT_FOUND, message }) => Err(Outcome::Lost { message }),
            // Nothing is learned, and what is recorded stays, such as a question.
            Err(trouble) if trouble.may_pass() => Err(Outcome::Stopped(Stop::Shutdown)),
            Err(trouble) => Err(trouble.outcome()),
        }
    }

    /// Calls off a task that was handed in before.
    pub(super) async fn call_off(&self) -> Result<(), String> {
        let (place, id) = self.known()?;
        self.cancel(&place, &id).await
    }

    /// Calls off what a handing in came to that nobody waits for any more.
    pub(super) async fn call_off_what_began(&self, ended: Ended) {
        let Err(Outcome::Blocked { handle: Some(handle), .. }) = ended else { return };
        if let Ok((place, id)) = self.read(&handle) {
            // The node is cancelled in any case.
            let _ = self.cancel(&place, &id).await;
        }
    }

    async fn hand_in(&self) -> Result<(Interface, Answered), Outcome> {
        // A runner that was lost may have handed it in; so may a request of ours that was not answered.
        let mut may_be_there = self.attempt.attempt > 1;
        let mut asked = 0;
        loop {
            asked += 1;
            let trouble = match self.hand_in_once(may_be_there).await {
                Ok(done) => return Ok(done),
                Err(trouble) => trouble,
            };
            may_be_there |= matches!(trouble, Trouble::Passing { acted: true, .. });
            let pause = match &trouble {
                Trouble::Passing { after, .. } => after.unwrap_or(Duration::from_secs(u64::from(asked))),
                _ => return Err(self.failed(trouble)),
            };
            if asked >= AGAIN || !self.has_time_for(pause) {
                return Err(self.failed(trouble));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn hand_in_once(&self, may_be_there: bool) -> Result<(Interface, Answered), Trouble> {
        let place = self.interface().await?;
        if may_be_there && let Some(task) = self.find(&place).await? {
            return Ok((place, Answered::Task(task)));
        }
        let params = json!({
            "message": self.message(),
            "configuration": { "returnImmediately": true, "historyLength": 0 },
        });
        let result = self.call(&place, "SendMessage", params).await?;
        let answered = rpc::read(result, &place.url)?;
        Ok((place, answered))
    }

    /// The task with the message that an earlier attempt at this work sent, if the agent lists its tasks. One that was
    /// cancelled there is over.
    async fn find(&self, place: &Interface) -> Result<Option<Task>, Trouble> {
        let Some(context) = self.context() else { return Ok(None) };
        let params = json!({ "contextId": context, "includeArtifacts": true, "historyLength": 0 });
        let listed: Listed = match self.call(place, "ListTasks", params).await {
            Ok(result) => rpc::read(result, &place.url)?,
            // It keeps no list: then the message says by its id that it came before.
            Err(Trouble::Error { .. }) => return Ok(None),
            Err(trouble) => return Err(trouble),
        };
        // The list begins with what changed last.
        let ours = |task: &Task| {
            task.context_id.as_deref() == Some(context.as_str()) && task.status.state() != State::Canceled
        };
        Ok(listed.tasks.unwrap_or_default().into_iter().find(ours))
    }

    async fn get(&self, place: &Interface, id: &str) -> Result<Task, Trouble> {
        let result = self.call(place, "GetTask", json!({ "id": id, "historyLength": 0 })).await?;
        rpc::read(result, &place.url)
    }

    async fn cancel(&self, place: &Interface, id: &str) -> Result<(), String> {
        match self.call(place, "CancelTask", json!({ "id": id })).await {
            // What has ended or is gone needs nothing more from us.
            Ok(_) | Err(Trouble::Error { code: TASK_NOT_FOUND | TASK_NOT_CANCELABLE, .. }) => Ok(()),
            Err(trouble) => Err(trouble.message()),
        }
    }

    async fn call(&self, place: &Interface, method: &str, mut params: Value) -> Result<Value, Trouble> {
        if let (Some(tenant), Some(params)) = (&place.tenant, params.as_object_mut()) {
            params.insert("tenant".to_owned(), json!(tenant));
        }
        let mut request = self.request(Method::POST, place.url.clone())?;
        request.body = Some(json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }));
        let answer = self.shared.web.send(request).await.map_err(|error| Trouble::of(&error))?;
        rpc::result(&answer)
    }

    /// Where the agent takes requests: as written, or as its card says.
    async fn interface(&self) -> Result<Interface, Trouble> {
        let card = match &self.address.place {
            Place::Endpoint(url) => return Ok(Interface { url: url.clone(), tenant: None }),
            Place::Card(card) => card,
        };
        let request = self.request(Method::GET, card.clone())?;
        let answer = self.shared.web.send(request).await.map_err(|error| Trouble::of(&error))?;
        let head = format!("{} answers {} to the request for its card", origin(card), answer.status);
        match answer.status.as_u16() {
            200 => Interface::of(&answer.body, card).map_err(Trouble::Final),
            408 | 425 | 429 | 500..=599 => {
                Err(Trouble::Passing { message: head, after: answer.retry_after(), acted: false })
            }
            _ => Err(Trouble::Final(head)),
        }
    }

    /// A request with every header that it needs.
    fn request(&self, method: Method, url: Url) -> Result<Request, Trouble> {
        let mut request = Request::new(method, url);
        request.limit = ANSWER;
        let settings = &self.shared.settings;
        self.address.prepare(&mut request, settings).map_err(|error| Trouble::Final(error.to_string()))?;
        presented::mark(&mut request, self.attempt)
            .and_then(|()| request.header("A2A-Version", VERSION))
            .map_err(|error| Trouble::Final(error.to_string()))?;
        if let Some(deadline) = self.deadline {
            request.timeout = request.timeout.min(deadline.saturating_duration_since(Instant::now()));
        }
        Ok(request)
    }

    /// What the agent is told.
    fn message(&self) -> Value {
        let attempt = self.attempt;
        let mut parts = vec![json!({ "text": for_remote(attempt) })];
        if !attempt.inputs.is_empty() || !attempt.declared_outputs.is_empty() {
            let data = json!({ "inputs": attempt.inputs, "outputs": attempt.declared_outputs });
            parts.push(json!({ "data": data, "mediaType": "application/json" }));
        }
        let mut presented = presented::document(attempt);
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

    /// What the state of a task means for the attempt.
    fn standing(&self, place: &Interface, task: &Task) -> Ended {
        let from = origin(&place.url);
        let words = task.status.words();
        let said = |what: String| if words.is_empty() { what } else { format!("{what}: {words}") };
        let blocked = |reason, message| {
            let handle = Some(self.handle(place, task)?);
            Err(Outcome::Blocked { reason, message, handle, poll_after: Some(self.address.poll_interval) })
        };
        match task.status.state() {
            State::Completed => Results::of_task(task, self.attempt),
            State::Failed => Err(Outcome::broken(said(format!("the agent at {from} failed")), true)),
            State::Rejected => {
                Err(Outcome::broken(said(format!("the agent at {from} will not do it")), false))
            }
            State::Canceled => {
                Err(Outcome::broken(said(format!("the task was cancelled at the agent at {from}")), true))
            }
            State::Working => {
                blocked(NodeReason::AwaitingProvider, said(format!("the agent at {from} works on it")))
            }
            State::InputRequired => {
                let question = said(format!("the agent at {from} asks something"));
                blocked(NodeReason::InputRequired, self.with_next_steps(&question, task))
            }
            State::AuthRequired => {
                let question = said(format!("the agent at {from} needs an authorization"));
                blocked(NodeReason::InputRequired, self.with_next_steps(&question, task))
            }
        }
    }

    fn with_next_steps(&self, question: &str, task: &Task) -> String {
        let Attempt { key, node, .. } = self.attempt;
        let (name, space) = (&key.name, &key.namespace);
        format!(
            "{question} (answer it where the agent is, as task {}, or settle it with `planspec complete {name}/{node} -n {space}`)",
            task.id
        )
    }

    /// What is kept of a task: everybody can read it, so it must hold no secret.
    fn handle(&self, place: &Interface, task: &Task) -> Result<String, Outcome> {
        let by_card = matches!(self.address.place, Place::Card(_));
        let handle = Handle {
            task: task.id.clone(),
            url: by_card.then(|| place.url.to_string()),
            tenant: place.tenant.clone(),
        };
        let text = serde_json::to_string(&handle).unwrap_or_default();
        let from = origin(&place.url);
        if task.id.is_empty() || task.id.len() > LONGEST_ID || task.id.chars().any(char::is_control) {
            return Err(Outcome::broken(format!("{from} gives a task an id that cannot be kept"), false));
        }
        if self.shared.redactor.text(&text) != text {
            return Err(Outcome::broken(format!("{from} gives a task an id that holds a secret"), false));
        }
        Ok(text)
    }

    fn known(&self) -> Result<(Interface, String), String> {
        self.read(self.attempt.handle.as_deref().unwrap_or_default())
    }

    /// The task that was kept; its address is checked again, because the settings may have changed.
    fn read(&self, handle: &str) -> Result<(Interface, String), String> {
        let handle: Handle =
            serde_json::from_str(handle).map_err(|_| "it is not known which task it is".to_owned())?;
        let known = self.address.place.known();
        let url = match (&self.address.place, &handle.url) {
            (Place::Card(_), None) => return Err("it is not known where the agent is asked".to_owned()),
            (Place::Card(_), Some(url)) => parse_address(url).map_err(|error| error.to_string())?,
            (Place::Endpoint(url), _) => url.clone(),
        };
        if url.origin() != known.origin() {
            return Err(format!("the task is at {}, and the agent now at {}", origin(&url), origin(known)));
        }
        Ok((Interface { url, tenant: handle.tenant }, handle.task))
    }

    fn failed(&self, trouble: Trouble) -> Outcome {
        let is_over = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        match trouble {
            Trouble::Passing { message, .. } if is_over => Outcome::failed(NodeReason::Timeout, message),
            trouble => trouble.outcome(),
        }
    }

    fn has_time_for(&self, pause: Duration) -> bool {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        pause <= PATIENCE && left.is_none_or(|left| pause < left)
    }
}

/// An id that is the same for the same work, in the form that agents keep ids in.
fn id(what: &str, work: &str) -> String {
    Uuid::new_v5(&IDS, format!("{what} {work}").as_bytes()).to_string()
}
