//! One attempt by an agent at an address: handing in the task, polling it, cancelling it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::ProviderContext;
use super::card::AgentInterface;
use super::config::{Address, AgentLocation};
use super::results::Results;
use super::rpc::{RpcError, TASK_NOT_FOUND};
use super::task::{A2aTask, A2aTaskState, SendMessageResponse};
use crate::model::{NextStep, NodeReason};
use crate::provider::web::{origin, parse_address};
use crate::provider::{Attempt, AttemptOutcome, Stop};

/// How often an agent that cannot be asked just now is asked within one attempt, and how long is waited for it.
const AGAIN: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// When a task is polled within its attempt.
// A task of a few seconds ends within its attempt, instead of waiting for the next poll.
const FIRST_LOOKS: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2)];

/// The longest id of a task that is kept: it is written into the status.
const LONGEST_ID: usize = 512;

/// What is kept of a task that continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct A2aTaskHandle {
    task: String,
    /// Where it is asked about, when the agent's card said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
}

/// One attempt.
pub(super) struct A2aExchange<'a> {
    pub(super) shared: &'a ProviderContext,
    pub(super) attempt: &'a Attempt,
    pub(super) address: Address,
    pub(super) deadline: Option<Instant>,
}

/// What is there after the task was handed in.
enum SubmittedTask {
    /// What came of the message.
    Began(SendMessageResponse),
    /// The task that an earlier message began.
    Found(A2aTask),
}

/// The end of an attempt, as far as it is known.
pub(super) type FinalReport = Result<Results, AttemptOutcome>;

impl<'a> A2aExchange<'a> {
    /// Gets ready; the time of the attempt begins now.
    pub(super) fn new(shared: &'a ProviderContext, attempt: &'a Attempt, address: Address) -> Self {
        let deadline = attempt.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Self { shared, attempt, address, deadline }
    }

    /// Hands in the task, unless it was before, and follows it for a moment.
    pub(super) async fn begin(&self) -> FinalReport {
        let (place, handed_in) = self.hand_in().await?;
        let (mut task, found) = match handed_in {
            SubmittedTask::Began(SendMessageResponse::Message(message)) => {
                return Results::of_message(&message, self.attempt);
            }
            SubmittedTask::Began(SendMessageResponse::Task(task)) => (task, false),
            SubmittedTask::Found(task) => (task, true),
        };
        let handle = self.handle(&place, &task)?;
        // An attempt before this one was lost with the answer to a question.
        if found && self.attempt.answer.is_some() && task.status.asks() {
            return self.pass_on_answer(&place, &task.id, &handle).await;
        }
        self.follow(&place, &mut task).await;
        self.standing(&place, &task)
    }

    /// Polls a task for a moment: many have ended by then.
    async fn follow(&self, place: &AgentInterface, task: &mut A2aTask) {
        for pause in FIRST_LOOKS {
            if task.status.state() != A2aTaskState::Working || !self.has_time_for(pause) {
                break;
            }
            tokio::time::sleep(pause).await;
            // It is under way: what goes wrong now is no reason to say that it failed.
            if let Ok(found) = self.get(place, &task.id).await {
                *task = found;
            }
        }
    }

    /// Polls a task that was handed in before, and passes on the answer to its question, if there is one.
    pub(super) async fn go_on(&self) -> FinalReport {
        let (place, id) = self.known().map_err(|why| AttemptOutcome::broken(why, false))?;
        if let (Some(_), Some(handle)) = (&self.attempt.answer, &self.attempt.handle) {
            return self.pass_on_answer(&place, &id, handle).await;
        }
        match self.get(&place, &id).await {
            Ok(task) => self.standing(&place, &task),
            Err(RpcError::Error { code: TASK_NOT_FOUND, message }) => Err(AttemptOutcome::Lost { message }),
            // Nothing is learned, and what is recorded stays, such as a question.
            Err(trouble) if trouble.may_pass() => Err(AttemptOutcome::Stopped(Stop::Shutdown)),
            Err(trouble) => Err(trouble.outcome()),
        }
    }

    /// Whatever goes wrong, the task is still there, and its question can be answered again.
    async fn pass_on_answer(&self, place: &AgentInterface, id: &str, handle: &str) -> FinalReport {
        let mut asked = 0;
        let trouble = loop {
            asked += 1;
            let trouble = match self.answer(place, id).await {
                Ok(mut task) => {
                    self.follow(place, &mut task).await;
                    return self.standing(place, &task);
                }
                Err(RpcError::Error { code: TASK_NOT_FOUND, message }) => {
                    return Err(AttemptOutcome::Lost { message });
                }
                Err(trouble) => trouble,
            };
            let pause = Duration::from_secs(u64::from(asked));
            if !trouble.may_pass() || asked >= AGAIN || !self.has_time_for(pause) {
                break trouble;
            }
            tokio::time::sleep(pause).await;
        };
        Err(AttemptOutcome::Blocked {
            reason: NodeReason::InputRequired,
            message: format!("the answer could not be passed on: {}", trouble.message()),
            handle: Some(handle.to_owned()),
            poll_after: Some(self.address.poll_interval),
        })
    }

    /// Cancels a task that was handed in before.
    pub(super) async fn cancel(&self) -> Result<(), String> {
        let (place, id) = self.known()?;
        self.cancel_task(&place, &id).await
    }

    /// Cancels the task that a handing in began and that nobody waits for any more.
    pub(super) async fn cancel_what_began(&self, ended: FinalReport) {
        let Err(AttemptOutcome::Blocked { handle: Some(handle), .. }) = ended else { return };
        if let Ok((place, id)) = self.read(&handle) {
            // The node is cancelled in any case.
            let _ = self.cancel_task(&place, &id).await;
        }
    }

    async fn hand_in(&self) -> Result<(AgentInterface, SubmittedTask), AttemptOutcome> {
        // A runner that was lost may have handed it in; so may a request of planspec that was not answered.
        let mut may_be_there = self.attempt.attempt > 1;
        let mut asked = 0;
        loop {
            asked += 1;
            let trouble = match self.hand_in_once(may_be_there).await {
                Ok(done) => return Ok(done),
                Err(trouble) => trouble,
            };
            may_be_there |= matches!(trouble, RpcError::Passing { acted: true, .. });
            let pause = match &trouble {
                RpcError::Passing { after, .. } => after.unwrap_or(Duration::from_secs(u64::from(asked))),
                _ => return Err(self.failed(trouble)),
            };
            if asked >= AGAIN || !self.has_time_for(pause) {
                return Err(self.failed(trouble));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn hand_in_once(&self, may_be_there: bool) -> Result<(AgentInterface, SubmittedTask), RpcError> {
        let place = self.interface().await?;
        if may_be_there && let Some(task) = self.find(&place).await? {
            return Ok((place, SubmittedTask::Found(task)));
        }
        let answered = self.send(&place, self.message()).await?;
        Ok((place, SubmittedTask::Began(answered)))
    }

    /// What the state of a task means for the attempt.
    fn standing(&self, place: &AgentInterface, task: &A2aTask) -> FinalReport {
        let from = origin(&place.url);
        let words = task.status.words();
        let said = |what: String| if words.is_empty() { what } else { format!("{what}: {words}") };
        let blocked = |reason, message| {
            let handle = Some(self.handle(place, task)?);
            Err(AttemptOutcome::Blocked {
                reason,
                message,
                handle,
                poll_after: Some(self.address.poll_interval),
            })
        };
        match task.status.state() {
            A2aTaskState::Completed => Results::of_task(task, self.attempt),
            A2aTaskState::Failed => {
                Err(AttemptOutcome::broken(said(format!("the agent at {from} failed")), true))
            }
            A2aTaskState::Rejected => {
                Err(AttemptOutcome::broken(said(format!("the agent at {from} rejected the task")), false))
            }
            // By somebody there: a task that we cancel is one that nobody waits for any more.
            A2aTaskState::Canceled => Err(AttemptOutcome::broken(
                said(format!("the task was cancelled at the agent at {from}")),
                true,
            )),
            A2aTaskState::Working => {
                blocked(NodeReason::AwaitingProvider, said(format!("the agent at {from} is working on it")))
            }
            A2aTaskState::InputRequired => blocked(
                NodeReason::InputRequired,
                self.with_next_step(&said(format!("the agent at {from} asks")), task),
            ),
            A2aTaskState::AuthRequired => {
                let question = said(format!("the agent at {from} requires authorization"));
                blocked(NodeReason::InputRequired, self.with_next_step(&question, task))
            }
        }
    }

    fn with_next_step(&self, question: &str, task: &A2aTask) -> String {
        let Attempt { key, node, .. } = self.attempt;
        format!("{question} (`{}`, or directly, as task {})", NextStep::answer(key, node), task.id)
    }

    /// What is kept of a task: everybody can read it, so it must hold no secret.
    fn handle(&self, place: &AgentInterface, task: &A2aTask) -> Result<String, AttemptOutcome> {
        let by_card = matches!(self.address.place, AgentLocation::Card(_));
        let handle = A2aTaskHandle {
            task: task.id.clone(),
            // An address of the configuration is read again each time; one that a card gave is not asked for twice.
            url: by_card.then(|| place.url.to_string()),
            tenant: place.tenant.clone(),
        };
        let text = serde_json::to_string(&handle).unwrap_or_default();
        let from = origin(&place.url);
        if task.id.is_empty() || task.id.len() > LONGEST_ID || task.id.chars().any(char::is_control) {
            return Err(AttemptOutcome::broken(
                format!("{from} returned a task id that cannot be stored"),
                false,
            ));
        }
        // To redact it would leave an id that no agent knows.
        if self.shared.redactor.text(&text) != text {
            return Err(AttemptOutcome::broken(
                format!("{from} returned a task id that contains a secret"),
                false,
            ));
        }
        Ok(text)
    }

    fn known(&self) -> Result<(AgentInterface, String), String> {
        self.read(self.attempt.handle.as_deref().unwrap_or_default())
    }

    /// The task that was kept; its address is checked again, because the settings may have changed.
    fn read(&self, handle: &str) -> Result<(AgentInterface, String), String> {
        let handle: A2aTaskHandle =
            serde_json::from_str(handle).map_err(|_| "the task id is unknown".to_owned())?;
        let known = self.address.place.known();
        let url = match (&self.address.place, &handle.url) {
            (AgentLocation::Card(_), None) => {
                return Err("the address of the agent is unknown".to_owned());
            }
            (AgentLocation::Card(_), Some(url)) => parse_address(url).map_err(|error| error.to_string())?,
            (AgentLocation::Endpoint(url), _) => url.clone(),
        };
        // The headers hold secrets for the agent that is configured now.
        if url.origin() != known.origin() {
            return Err(format!("the task is at {}, and the agent now at {}", origin(&url), origin(known)));
        }
        Ok((AgentInterface { url, tenant: handle.tenant }, handle.task))
    }

    fn failed(&self, trouble: RpcError) -> AttemptOutcome {
        let is_over = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        match trouble {
            // The request was cut short by the attempt's own deadline, which is what to say.
            RpcError::Passing { message, .. } if is_over => {
                AttemptOutcome::failed(NodeReason::Timeout, message)
            }
            trouble => trouble.outcome(),
        }
    }

    fn has_time_for(&self, pause: Duration) -> bool {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        pause <= PATIENCE && left.is_none_or(|left| pause < left)
    }
}
