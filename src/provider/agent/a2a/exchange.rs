//! One attempt by an agent at an address: handing in the task, looking at it, calling it off.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Shared;
use super::card::Interface;
use super::config::{Address, Place};
use super::results::Results;
use super::rpc::{TASK_NOT_FOUND, Trouble};
use super::task::{Answered, State, Task};
use crate::model::NodeReason;
use crate::provider::web::{origin, parse_address};
use crate::provider::{Attempt, Outcome, Stop};

/// How often an agent that cannot be asked just now is asked within one attempt, and how long is waited for it.
const AGAIN: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(60);

/// When a task is looked at before it is left alone.
const FIRST_LOOKS: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2)];

/// The longest id of a task that is kept: it is written into the status.
const LONGEST_ID: usize = 512;

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
    pub(super) shared: &'a Shared,
    pub(super) attempt: &'a Attempt,
    pub(super) address: Address,
    pub(super) deadline: Option<Instant>,
}

/// What is there after the task was handed in.
enum HandedIn {
    /// What came of the message.
    Began(Answered),
    /// The task that an earlier message began.
    Found(Task),
}

/// The end of an attempt, as far as it is known.
pub(super) type Ended = Result<Results, Outcome>;

impl<'a> Exchange<'a> {
    /// Gets ready; the time of the attempt begins now.
    pub(super) fn new(shared: &'a Shared, attempt: &'a Attempt, address: Address) -> Self {
        let deadline = attempt.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Self { shared, attempt, address, deadline }
    }

    /// Hands in the task, unless it was before, and follows it for a moment.
    pub(super) async fn begin(&self) -> Ended {
        let (place, handed_in) = self.hand_in().await?;
        let (mut task, found) = match handed_in {
            HandedIn::Began(Answered::Message(message)) => {
                return Results::of_message(&message, self.attempt);
            }
            HandedIn::Began(Answered::Task(task)) => (task, false),
            HandedIn::Found(task) => (task, true),
        };
        let handle = self.handle(&place, &task)?;
        // An attempt before this one was lost with the answer to a question.
        if found && self.attempt.answer.is_some() && task.status.asks() {
            return self.pass_on_answer(&place, &task.id, &handle).await;
        }
        self.follow(&place, &mut task).await;
        self.standing(&place, &task)
    }

    /// Looks at a task for a moment: many have ended by then.
    async fn follow(&self, place: &Interface, task: &mut Task) {
        for pause in FIRST_LOOKS {
            if task.status.state() != State::Working || !self.has_time_for(pause) {
                break;
            }
            tokio::time::sleep(pause).await;
            // It is under way: what goes wrong now is no reason to say that it failed.
            if let Ok(found) = self.get(place, &task.id).await {
                *task = found;
            }
        }
    }

    /// Looks at a task that was handed in before, and passes on the answer to its question, if there is one.
    pub(super) async fn go_on(&self) -> Ended {
        let (place, id) = self.known().map_err(|why| Outcome::broken(why, false))?;
        if let (Some(_), Some(handle)) = (&self.attempt.answer, &self.attempt.handle) {
            return self.pass_on_answer(&place, &id, handle).await;
        }
        match self.get(&place, &id).await {
            Ok(task) => self.standing(&place, &task),
            Err(Trouble::Error { code: TASK_NOT_FOUND, message }) => Err(Outcome::Lost { message }),
            // Nothing is learned, and what is recorded stays, such as a question.
            Err(trouble) if trouble.may_pass() => Err(Outcome::Stopped(Stop::Shutdown)),
            Err(trouble) => Err(trouble.outcome()),
        }
    }

    /// Whatever goes wrong, the task is still there, and its question can be answered again.
    async fn pass_on_answer(&self, place: &Interface, id: &str, handle: &str) -> Ended {
        let mut asked = 0;
        let trouble = loop {
            asked += 1;
            let trouble = match self.answer(place, id).await {
                Ok(mut task) => {
                    self.follow(place, &mut task).await;
                    return self.standing(place, &task);
                }
                Err(Trouble::Error { code: TASK_NOT_FOUND, message }) => {
                    return Err(Outcome::Lost { message });
                }
                Err(trouble) => trouble,
            };
            let pause = Duration::from_secs(u64::from(asked));
            if !trouble.may_pass() || asked >= AGAIN || !self.has_time_for(pause) {
                break trouble;
            }
            tokio::time::sleep(pause).await;
        };
        Err(Outcome::Blocked {
            reason: NodeReason::InputRequired,
            message: format!("the answer could not be passed on: {}", trouble.message()),
            handle: Some(handle.to_owned()),
            poll_after: Some(self.address.poll_interval),
        })
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

    async fn hand_in(&self) -> Result<(Interface, HandedIn), Outcome> {
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

    async fn hand_in_once(&self, may_be_there: bool) -> Result<(Interface, HandedIn), Trouble> {
        let place = self.interface().await?;
        if may_be_there && let Some(task) = self.find(&place).await? {
            return Ok((place, HandedIn::Found(task)));
        }
        let answered = self.send(&place, self.message()).await?;
        Ok((place, HandedIn::Began(answered)))
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
            State::InputRequired => blocked(
                NodeReason::InputRequired,
                self.with_next_step(&said(format!("the agent at {from} asks")), task),
            ),
            State::AuthRequired => {
                let question = said(format!("the agent at {from} needs an authorization"));
                blocked(NodeReason::InputRequired, self.with_next_step(&question, task))
            }
        }
    }

    fn with_next_step(&self, question: &str, task: &Task) -> String {
        let Attempt { key, node, .. } = self.attempt;
        format!(
            "{question} (`planspec answer {}/{node} -n {} TEXT`, or there, as task {})",
            key.name, key.namespace, task.id
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
