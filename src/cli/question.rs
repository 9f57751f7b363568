//! Questions to people. Ctrl-C is an answer at any time, and ends the command at once; the end of input is no answer.

use std::io::BufRead as _;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::signals;

/// Asks, and reads one line; `None` at the end of input.
pub(crate) fn ask(question: &str, context: &mut Context) -> Result<Option<String>, CliError> {
    // Before the question is seen: from then on it may be answered.
    let interrupted = Arc::new(Notify::new());
    let heard = Arc::clone(&interrupted);
    let _held = signals::on_interrupt(move || heard.notify_one());
    context.out.text(question)?;
    context.out.flush()?;
    let failed = |error: &std::io::Error| CliError::caused("cannot read standard input", error);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::caused("cannot start the runtime", &error))?;
    let answer = runtime.block_on(async {
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).map(|read| (read > 0).then_some(line))
        });
        tokio::select! {
            // First, so that a line that is there already does not outrun it.
            biased;
            () = interrupted.notified() => Err(CliError::interrupted()),
            read = read => match read {
                Ok(line) => line.map_err(|error| failed(&error)),
                Err(error) => Err(CliError::bug(error.to_string())),
            },
        }
    });
    // The thread may wait for a line until the process ends.
    runtime.shutdown_background();
    if answer.is_err() {
        // The cursor is still behind the question.
        context.out.line("")?;
    }
    answer
}
