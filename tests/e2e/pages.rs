//! Runs a page of documentation: its `console` blocks in order, each command in a shell that remembers directory and
//! environment, and compares what they print with the page. Times, ids and widths of columns are not compared.
//!
//! * `<!-- file: PATH -->` before a block writes the block to a file in the current directory.
//! * `<!-- not run: REASON -->` before a `console` block skips it; `<!-- one command -->` says that only its first line
//!   is a command, however many prompts its output shows.
//! * A line of output that is only `…` stands for any number of lines.
//! * With `UPDATE_DOCS=1` in the environment the page is rewritten with what was printed instead.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

/// What stands for "any lines" in an output.
const ANY: &str = "…";

/// A page in the making: the lines read, the lines to write.
struct Page {
    path: PathBuf,
    lines: Vec<String>,
    update: bool,
}

/// A fenced block.
struct Block {
    language: String,
    /// The text of the comment before it.
    note: String,
    /// Its first and its last line, without the fences.
    start: usize,
    end: usize,
}

/// A command with the output that the page shows.
struct Step {
    command: String,
    output: Vec<String>,
}

/// A shell whose directory and environment last from command to command.
pub(crate) struct Shell {
    root: tempfile::TempDir,
}

impl Shell {
    /// A home that holds `checkout`, a copy of this project's examples; the shell begins in it.
    pub(crate) fn new() -> Self {
        let root = tempfile::Builder::new().prefix("planspec-page-").tempdir().unwrap();
        let (checkout, bin, state) = (root.path().join("checkout"), root.path().join("bin"), "state");
        crate::examples::copy(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"),
            &checkout.join("examples"),
        );
        fs::create_dir(&bin).unwrap();
        fs::create_dir(root.path().join(state)).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_planspec"), bin.join("planspec")).unwrap();
        fs::write(root.path().join("state/directory"), checkout.to_str().unwrap()).unwrap();
        fs::write(root.path().join("state/exports"), "").unwrap();
        Self { root }
    }

    fn directory(&self) -> PathBuf {
        PathBuf::from(fs::read_to_string(self.root.path().join("state/directory")).unwrap().trim())
    }

    /// Runs a command; its output and its errors, in the order in which they were written.
    fn run(&self, command: &str) -> Vec<String> {
        let state = self.root.path().join("state");
        let script = r#"what=$COMMAND; unset COMMAND; . "$STATE/exports"; eval "$what"
            pwd > "$STATE/directory"; export -p > "$STATE/exports""#;
        let shown = fs::File::create(state.join("output")).unwrap();
        let path = format!("{}:{}", self.root.path().join("bin").display(), std::env::var("PATH").unwrap());
        Command::new("sh")
            .args(["-c", script])
            .current_dir(self.directory())
            .env_clear()
            .envs([("STATE", state.to_str().unwrap()), ("COMMAND", command), ("PATH", &path)])
            .env("HOME", self.root.path())
            .env("TMPDIR", self.root.path())
            .envs([("TZ", "UTC"), ("LANG", "C.UTF-8"), ("COLUMNS", "110"), ("GIT_PAGER", "cat")])
            .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
            .envs([("GIT_AUTHOR_NAME", "Wendy"), ("GIT_AUTHOR_EMAIL", "wendy@example.com")])
            .envs([("GIT_COMMITTER_NAME", "Wendy"), ("GIT_COMMITTER_EMAIL", "wendy@example.com")])
            .stdin(std::process::Stdio::null())
            .stdout(shown.try_clone().unwrap())
            .stderr(shown)
            .status()
            .unwrap();
        let text = fs::read_to_string(state.join("output")).unwrap();
        let home = self.root.path().to_str().unwrap();
        let mut lines: Vec<String> =
            text.lines().map(|line| line.trim_end().replace(home, "/home/wendy")).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }
}

/// Runs a page of this project, in a fresh home.
#[track_caller]
pub(crate) fn check(path: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(&path).unwrap();
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    let page = Page { path, lines: text.lines().map(str::to_owned).collect(), update };
    page.run(&Shell::new());
}

impl Page {
    fn run(mut self, shell: &Shell) {
        let mut problems = String::new();
        let blocks = self.blocks();
        assert!(
            blocks.iter().any(|block| block.language == "console"),
            "{} runs nothing",
            self.path.display()
        );
        // From the first to the last, and lines may come and go: what is written is kept aside.
        let mut written: Vec<(usize, usize, Vec<String>)> = Vec::new();
        for block in blocks {
            let content = &self.lines[block.start..block.end];
            if let Some(file) = block.note.strip_prefix("file: ") {
                let target = shell.directory().join(file);
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                fs::write(target, content.join("\n") + "\n").unwrap();
            }
            if block.language != "console" || block.note.starts_with("not run: ") {
                continue;
            }
            let mut new = Vec::new();
            for step in steps(content, block.note == "one command") {
                let shown = shell.run(&step.command);
                new.extend(format!("$ {}", step.command).lines().map(str::to_owned));
                let fits = matches(&normal(&step.output), &normal(&shown));
                let by_hand = !self.update || step.output.iter().any(|line| line == ANY);
                if !fits && by_hand {
                    let (command, page, got) = (&step.command, step.output.join("\n"), shown.join("\n"));
                    writeln!(problems, "\n$ {command}\n--- the page says\n{page}\n--- it printed\n{got}")
                        .unwrap();
                }
                new.extend(if fits { step.output } else { shown.iter().map(|line| pretty(line)).collect() });
            }
            written.push((block.start, block.end, new));
        }
        assert!(problems.is_empty(), "{} (line numbers apart){problems}", self.path.display());
        if self.update {
            for (start, end, lines) in written.into_iter().rev() {
                self.lines.splice(start..end, lines);
            }
            fs::write(&self.path, self.lines.join("\n") + "\n").unwrap();
        }
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut open: Option<Block> = None;
        let mut note = String::new();
        for (number, line) in self.lines.iter().enumerate() {
            match (&mut open, line.strip_prefix("```")) {
                (Some(_), Some(_)) => {
                    let mut block = open.take().unwrap();
                    block.end = number;
                    blocks.push(block);
                    note.clear();
                }
                (None, Some(language)) => {
                    let (language, note) = (language.trim().to_owned(), std::mem::take(&mut note));
                    open = Some(Block { language, note, start: number + 1, end: 0 });
                }
                (None, None) if line.starts_with("<!-- ") => {
                    note = line.trim_start_matches("<!-- ").trim_end_matches(" -->").to_owned();
                }
                (None, None) if !line.trim().is_empty() => note.clear(),
                _ => {}
            }
        }
        assert!(open.is_none(), "{}: a block has no end", self.path.display());
        blocks
    }
}

/// The commands of a block; a command ends where a line ends without a backslash.
fn steps(content: &[String], only_one: bool) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for line in content {
        if let Some(command) = line.strip_prefix("$ ").filter(|_| !only_one || steps.is_empty()) {
            steps.push(Step { command: command.to_owned(), output: Vec::new() });
        } else {
            let step = steps.last_mut().expect("a console block begins with `$ `");
            if goes_on {
                step.command.push('\n');
                step.command.push_str(line);
            } else {
                step.output.push(line.trim_end().to_owned());
                continue;
            }
        }
        goes_on = line.ends_with('\\');
    }
    steps
}

/// Lines without what differs from run to run. Progress lines of one moment may come in any order.
fn normal(lines: &[String]) -> Vec<String> {
    let patterns = [
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?|\b\d\d:\d\d:\d\d\b", "TIME"),
        // The time of the next poll is said while it is ahead, which a busy machine may miss.
        (r"^((?:waiting|person): .*), until TIME$", "$1"),
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UID"),
        (r"[A-Za-z0-9._-]+-\d+-[0-9a-f]{6}\b", "RUNNER"),
        (r"\b\d{8}-\d{6}\b", "STAMP"),
        // The name of an attempt begins with the token of a lease, and how many of those there were depends on the pace.
        (r"/\d+\.\d+/", "/ATTEMPT/"),
        (r"planspec-demo-\w+", "DEMO"),
        (r"\b[0-9a-f]{7,64}\b", "HASH"),
        (r"\b(\d+ms|\d+h)?(\d+m)?\d+(\.\d+)?s\b|\b\d+ms\b", "SPAN"),
        // The next time of a Schedule: how far away it is depends on the time of day.
        (r"\bin \d+[dhm][0-9dhms]*", "in SPAN"),
        (r"\bdurationMillis: \d+", "SPAN"),
        (r"\d+ status commits?", "N status commits"),
        (r"  +|\t", " "),
        (r"─+", "─"),
    ];
    let patterns = patterns.map(|(pattern, with)| (Regex::new(pattern).unwrap(), with));
    let mut lines: Vec<String> = lines
        .iter()
        .map(|line| {
            let bare = line.trim_start_matches(' ');
            let indent = &line[..line.len() - bare.len()];
            let replace = |text: String, (pattern, with): &(Regex, &str)| {
                pattern.replace_all(&text, *with).into_owned()
            };
            let text = patterns.iter().fold(bare.to_owned(), replace);
            format!("{indent}{}", text.trim_end())
        })
        .collect();
    for run in lines.chunk_by_mut(|a, b| a.starts_with("TIME ") && b.starts_with("TIME ")) {
        run.sort();
    }
    lines
}

fn matches(page: &[String], got: &[String]) -> bool {
    match page.split_first() {
        None => got.is_empty(),
        Some((first, rest)) if first == ANY => (0..=got.len()).any(|skipped| matches(rest, &got[skipped..])),
        Some((first, rest)) => {
            got.split_first().is_some_and(|(line, more)| first == line && matches(rest, more))
        }
    }
}

/// A line as a page shows it: without the name of this machine, and with columns that still stand.
fn pretty(line: &str) -> String {
    let runner = Regex::new(r"([A-Za-z0-9._-]+)(-\d+-[0-9a-f]{6})\b(\s{2,})?").unwrap();
    let named = |found: &regex::Captures<'_>| {
        let room = found.get(3).map_or(String::new(), |gap| {
            format!("{}{}", gap.as_str(), " ".repeat(found[1].len().saturating_sub("pc".len())))
        });
        format!("pc{}{room}", &found[2])
    };
    runner.replace_all(line, named).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(page: &str, got: &str, expected: bool) {
        let lines = |text: &str| normal(&text.lines().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(matches(&lines(page), &lines(got)), expected, "{page}\n--\n{got}");
    }

    #[test]
    fn times_and_ids_are_not_compared_and_words_are() {
        check("12:00:01 a/b Running", "23:59:59 a/b Running", true);
        check("12:00:01 a/b Running", "23:59:59 a/b Failed", false);
        check("committed 1a2b3c4d", "committed 99999999", true);
        check("NAME   AGE\nx      3s", "NAME  AGE\nx     12m4s", true);
        check("by pc-12-0a1b2c   x", "by a-long-name-99-ffffff x", true);
        check("  indented", "indented", false);
    }

    #[test]
    fn progress_of_one_moment_has_no_order_and_everything_else_has() {
        check("12:00:01 a\n12:00:01 b\nend", "12:00:02 b\n12:00:03 a\nend", true);
        check("a\nb", "b\na", false);
    }

    #[test]
    fn an_ellipsis_stands_for_any_lines() {
        check("first\n…\nlast", "first\n1\n2\nlast", true);
        check("first\n…\nlast", "first\nlast", true);
        check("first\n…\nlast", "first\n1", false);
        check("first", "first\nsecond", false);
        check("", "something", false);
    }
}
