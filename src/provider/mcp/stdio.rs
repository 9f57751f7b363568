//! A server that is a program: started for one call, in a checkout, and ended with its process group.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinError;

use super::{SessionResult, permanent, session};
use crate::model::NodeReason;
use crate::provider::local::ToolConfig;
use crate::provider::output::AttemptLog;
use crate::provider::process::{self, EnvVars, Interrupt, OutputStream, ProcessEnd, ProcessInput, interrupt};
use crate::provider::{
    Attempt, AttemptOutcome, AttemptReport, Evidence, PrivateCheckout, ProviderContext, Stop, stop_requested,
};

/// How much of what the server says is held until it is read.
// A server that writes faster than the session reads is held up by its own pipe, and takes no memory here.
const HELD: usize = 64 << 10;

/// How long a session may take to hear what a server said before it ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What a call leaves: how it ended, the log if it is still there, and the checkout that the server worked in.
type CallResult = (AttemptReport, Option<AttemptLog>, Option<PrivateCheckout>);

/// Starts the server, makes the call, ends the server.
pub(super) async fn call(
    shared: &ProviderContext,
    config: ToolConfig,
    tool: String,
    attempt: &Attempt,
    stop: &mut watch::Receiver<Option<Stop>>,
    log: AttemptLog,
) -> CallResult {
    let ends = interrupt().and_then(|ends| io::pipe().map(|pipe| (ends, pipe)));
    let ((mut asker, heard), (input, to_server)) = match ends {
        Ok(ends) => ends,
        Err(error) => {
            let message = format!("cannot create a pipe for the server: {error}");
            return (AttemptOutcome::not_possible_here(message).into(), Some(log), None);
        }
    };
    let (from_server, ours) = tokio::io::duplex(HELD);
    let process = Process {
        shared: shared.clone(),
        config,
        attempt: attempt.clone(),
        log,
        input: Arc::new(input.into()),
        output: from_server,
        deadline: attempt.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
        runtime: tokio::runtime::Handle::current(),
    };
    let mut running = tokio::task::spawn_blocking(move || process.run(&heard));
    // A write to the pipe may block, so it is left to the runtime's threads for files.
    let to_server = tokio::fs::File::from_std(File::from(OwnedFd::from(to_server)));
    let mut session = pin!(session::call((ours, to_server), &tool, attempt, None));
    let done = tokio::select! {
        done = &mut session => {
            // A server need not end when its input does, so it is ended like any other process.
            asker.ask(Stop::Shutdown);
            Some(done)
        }
        stop = stop_requested(stop) => {
            asker.ask(stop);
            None
        }
        ended = &mut running => {
            // What it said last may not have been heard yet.
            let heard = tokio::time::timeout(LAST_WORDS, session).await;
            return left(ended, heard.ok());
        }
    };
    left(running.await, done)
}

/// What the server said counts; where it said nothing, how it ended tells more than the session, which only sees its pipe close.
fn left(ended: Result<ServerExit, JoinError>, session: Option<SessionResult>) -> CallResult {
    let ServerExit { end, log, checkout } = match ended {
        Ok(ended) => ended,
        Err(error) => return (failed(format!("the attempt was aborted: {error}")).into(), None, None),
    };
    let mut exit_code = None;
    let early = match end {
        Err(outcome) => Some(outcome),
        Ok(ProcessEnd::TimedOut) => {
            Some(AttemptOutcome::failed(NodeReason::Timeout, "took longer than its timeout"))
        }
        Ok(ProcessEnd::Stopped(stop)) if session.is_none() => Some(AttemptOutcome::Stopped(stop)),
        // The session was over first: it was us who ended the server then.
        Ok(ProcessEnd::Stopped(_)) => None,
        Ok(ProcessEnd::Exited(status)) => {
            exit_code = status.code();
            Some(failed(format!("the server exited before it responded: {status}")))
        }
    };
    let outcome = match (session, early) {
        // Such a server may have ended before it was asked to: many do when their input ends.
        (Some(Ok(said)), _) => said,
        (_, Some(early)) => early,
        (Some(Err(broken)), None) => broken,
        (None, None) => failed("the session ended without a response".to_owned()),
    };
    let evidence = Evidence { exit_code, ..Evidence::default() };
    (AttemptReport { outcome, evidence }, Some(log), checkout)
}

fn failed(message: String) -> AttemptOutcome {
    AttemptOutcome::failed(NodeReason::ProviderFailed, message)
}

/// How a server ended, and what it leaves.
struct ServerExit {
    end: Result<ProcessEnd, AttemptOutcome>,
    log: AttemptLog,
    checkout: Option<PrivateCheckout>,
}

/// The server, for a thread that may block.
struct Process {
    shared: ProviderContext,
    config: ToolConfig,
    attempt: Attempt,
    log: AttemptLog,
    input: Arc<OwnedFd>,
    output: DuplexStream,
    deadline: Option<Instant>,
    runtime: tokio::runtime::Handle,
}

impl Process {
    fn run(mut self, interrupt: &Interrupt) -> ServerExit {
        match self.attempt.workspace.prepare() {
            Ok(checkout) => {
                let end = self.serve(&checkout, interrupt);
                ServerExit { end, log: self.log, checkout: Some(checkout) }
            }
            Err(error) => ServerExit { end: Err(error.outcome()), log: self.log, checkout: None },
        }
    }

    fn serve(
        &mut self,
        checkout: &PrivateCheckout,
        interrupt: &Interrupt,
    ) -> Result<ProcessEnd, AttemptOutcome> {
        let line = self.config.command_line();
        let mut program = line
            .program(&self.environment(), checkout, self.config.grace)
            .map_err(|error| permanent(error.to_string()))?;
        program.split = true;
        program.input = ProcessInput::Pipe(Arc::clone(&self.input));
        let runtime = &self.runtime;
        let output = &mut self.output;
        let log = &mut self.log;
        let mut sink = |source, bytes: &[u8]| match source {
            OutputStream::Log => log.write(bytes),
            // Nobody reads any more when the session is over, and that is fine.
            OutputStream::Answer => drop(runtime.block_on(output.write_all(bytes))),
        };
        let end = process::run(&program, self.deadline, interrupt, &mut sink);
        end.map_err(|error| line.start_error(error).outcome())
    }

    fn environment(&self) -> EnvVars {
        let settings = &self.shared.settings;
        let passed = settings.environment.iter().chain(&settings.secrets);
        let mut all: EnvVars = passed.map(|(name, value)| (OsString::from(name), value.clone())).collect();
        all.extend(self.config.env.iter().map(|(name, value)| (name.into(), value.into())));
        all
    }
}
