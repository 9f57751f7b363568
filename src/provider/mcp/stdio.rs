//! A server that is a program: started for one call, in a checkout, and ended with its process group.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncWriteExt as _, DuplexStream};

use super::{Shared, hopeless, session};
use crate::model::NodeReason;
use crate::provider::command_line::Environment;
use crate::provider::interrupt::{Interrupt, interrupt};
use crate::provider::log::Log;
use crate::provider::process::{self, End, Input, Source};
use crate::provider::tool::ToolConfig;
use crate::provider::{Attempt, Control, Outcome, Report, Stop};

/// How much of what the server says is held until it is read.
const HELD: usize = 64 << 10;

/// Starts the server, makes the call, ends the server.
pub(super) async fn call(
    shared: Arc<Shared>,
    config: ToolConfig,
    tool: String,
    attempt: Attempt,
    control: Control,
) -> Report {
    let ends = interrupt().and_then(|ends| io::pipe().map(|pipe| (ends, pipe)));
    let ((mut asker, heard), (input, to_server)) = match ends {
        Ok(ends) => ends,
        Err(error) => return failed(format!("no pipe for the server: {error}")).into(),
    };
    let (from_server, ours) = tokio::io::duplex(HELD);
    let deadline = attempt.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let Control { mut stop, output } = control;
    let process = Process {
        shared,
        config,
        attempt: attempt.clone(),
        log_lines: output,
        input: Arc::new(input.into()),
        output: from_server,
        deadline,
        runtime: tokio::runtime::Handle::current(),
    };
    let mut running = tokio::task::spawn_blocking(move || process.run(&heard));
    let to_server = tokio::fs::File::from_std(File::from(OwnedFd::from(to_server)));
    let stopped = async {
        match stop.wait_for(Option::is_some).await.ok().and_then(|seen| *seen) {
            Some(stop) => stop,
            None => std::future::pending().await,
        }
    };
    let outcome = tokio::select! {
        outcome = session::call((ours, to_server), &tool, &attempt) => {
            // A server that ended by itself, or at the deadline, says more about why than the session does.
            Some(outcome)
        }
        stop = stopped => {
            asker.ask(stop);
            None
        }
        ended = &mut running => return report(ended.unwrap_or_else(|error| broke_off(&error)), None),
    };
    if outcome.is_some() {
        asker.ask(Stop::Shutdown);
    }
    report(running.await.unwrap_or_else(|error| broke_off(&error)), outcome)
}

/// How the server ended, and its log.
type Ended = (Result<End, Outcome>, Report);

fn broke_off(error: &tokio::task::JoinError) -> Ended {
    let outcome = failed(format!("the attempt broke off: {error}"));
    (Err(outcome.clone()), outcome.into())
}

/// What the session came to counts, unless it failed because the server was gone.
fn report((end, mut report): Ended, session: Option<Outcome>) -> Report {
    let early = match end {
        Err(outcome) => Some(outcome),
        Ok(End::TimedOut) => Some(Outcome::failed(NodeReason::Timeout, "took longer than its timeout")),
        Ok(End::Stopped(stop)) if session.is_none() => Some(Outcome::Stopped(stop)),
        Ok(End::Stopped(_)) => None,
        Ok(End::Exited(status)) => {
            report.exit_code = status.code();
            Some(failed(format!("the server ended before it answered: {status}")))
        }
    };
    report.outcome = match (session, early) {
        (Some(done @ (Outcome::Succeeded { .. } | Outcome::Failed { retryable: false, .. })), _) => done,
        (_, Some(early)) => early,
        (Some(outcome), None) => outcome,
        (None, None) => failed("the session ended without an answer".to_owned()),
    };
    report
}

fn failed(message: String) -> Outcome {
    Outcome::failed(NodeReason::ProviderFailed, message)
}

/// The server, for a thread that may block.
struct Process {
    shared: Arc<Shared>,
    config: ToolConfig,
    attempt: Attempt,
    log_lines: tokio::sync::mpsc::Sender<String>,
    input: Arc<OwnedFd>,
    output: DuplexStream,
    deadline: Option<Instant>,
    runtime: tokio::runtime::Handle,
}

impl Process {
    fn run(mut self, interrupt: &Interrupt) -> Ended {
        let path = self.attempt.run_dir.join("log");
        let mut log = Log::new(path, Arc::clone(&self.shared.redactor), self.log_lines.clone());
        let end = self.serve(interrupt, &mut log);
        let mut report = Report::from(hopeless(""));
        report.log = log.finish();
        (end, report)
    }

    fn serve(&mut self, interrupt: &Interrupt, log: &mut Log) -> Result<End, Outcome> {
        let checkout = self.attempt.workspace.prepare().map_err(|error| failed(error.to_string()))?;
        let line = self.config.command_line();
        let mut program = line
            .program(&self.environment(), &checkout, self.config.grace)
            .map_err(|error| hopeless(error.to_string()))?;
        program.split = true;
        program.input = Input::Pipe(Arc::clone(&self.input));
        let (runtime, output) = (&self.runtime, &mut self.output);
        let mut sink = |source, bytes: &[u8]| match source {
            Source::Log => log.write(bytes),
            // Nobody reads any more when the session is over, and that is fine.
            Source::Answer => drop(runtime.block_on(output.write_all(bytes))),
        };
        let end = process::run(&program, self.deadline, interrupt, &mut sink);
        end.map_err(|error| failed(line.start_error(error).to_string()))
    }

    fn environment(&self) -> Environment {
        let settings = &self.shared.settings;
        let passed = settings.environment.iter().chain(&settings.secrets);
        let mut all: Environment =
            passed.map(|(name, value)| (OsString::from(name), value.clone())).collect();
        all.extend(self.config.env.iter().map(|(name, value)| (name.into(), value.into())));
        all
    }
}
