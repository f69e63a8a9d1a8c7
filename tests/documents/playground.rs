//! Executes the code blocks of a document in a temporary folder of its own, with `trendmark` on the
//! path.

use super::blocks::{Block, Document};
use super::common::program::{WAIT_MAX, write_hostfile};
use super::matching;
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use trendmark::features::Feature;

/// The reasons for which a block may not be run, each with a word that such a block has.
pub const REASONS: [(&str, &str); 3] = [
    ("it builds with cargo", "cargo"),
    ("it needs docker", "docker"),
    ("it needs other machines", ".example"),
];

/// The line that separates the outputs of the commands of a block.
const END: &str = "--- end of a command ---";
/// The file that the configuration in a `toml` block is written to.
const CONFIGURATION: &str = "job.toml";
/// The store that `sql` blocks read.
const STORE: &str = "trends.db";

/// The folder of a document.
pub struct Playground {
    folder: TempDir,
    /// Texts of the documents, and what is run in their place.
    replacements: Vec<(String, String)>,
}

impl Playground {
    pub fn new() -> Playground {
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("ports");
        write_hostfile(2, &hosts);
        let addresses = std::fs::read_to_string(&hosts).unwrap();
        std::fs::remove_file(hosts).unwrap();
        let mut replacements: Vec<(String, String)> = ["localhost:2101", "localhost:2102"]
            .iter()
            .zip(addresses.lines())
            .map(|(written, free)| ((*written).to_owned(), free.to_owned()))
            .collect();
        if let Ok(servers) = std::env::var("TRENDMARK_TEST_KAFKA") {
            replacements.push(("localhost:9092".into(), servers));
            replacements.push((" kafka:".into(), format!(" kafka:{}-", unique())));
        }
        Playground { folder, replacements }
    }

    /// Executes all blocks of a document. Returns what was not run.
    ///
    /// # Errors
    /// Names the first block that does not do what the document says.
    pub fn execute(&self, document: &Document) -> Result<Vec<String>, String> {
        let mut not_run = Vec::new();
        for block in document.blocks()? {
            let at = format!("{}:{}", document.path, block.line);
            if let Some(reason) = &block.not_run {
                allow(reason, &block).map_err(|wrong| format!("{at}: {wrong}"))?;
                not_run.push(format!("not run: {at}: {reason}"));
                continue;
            }
            if let Some(missing) = block.needs.as_deref().and_then(missing) {
                not_run.push(format!("SKIPPED: {at} needs {missing}"));
                continue;
            }
            self.block(&block).map_err(|wrong| format!("{at}: {wrong}"))?;
        }
        Ok(not_run)
    }

    fn block(&self, block: &Block) -> Result<(), String> {
        let replaced = |text: String, (written, run): &(String, String)| text.replace(written, run);
        let text = self.replacements.iter().fold(block.text.clone(), replaced);
        match block.language.as_str() {
            "console" => self.console(&text),
            "sh" => self.bash(&text).map(|_| ()),
            "toml" => {
                std::fs::write(self.folder.path().join(CONFIGURATION), &text).unwrap();
                self.bash(&format!("trendmark run --config {CONFIGURATION} --print-config"))?;
                Ok(())
            }
            "sql" => sql(&self.folder.path().join(STORE), &text),
            "text" => Ok(()),
            other => Err(format!("`{other}` is not console, sh, toml, sql or text")),
        }
    }

    /// Executes a block of `$ command` lines in one shell, and compares the output of each.
    fn console(&self, text: &str) -> Result<(), String> {
        let steps = steps(text)?;
        let script: String =
            steps.iter().map(|(command, _)| format!("{command}echo '{END}'\n")).collect();
        let printed = self.bash(&script)?;
        let end = format!("{END}\n");
        for ((command, expected), output) in steps.iter().zip(printed.split(&end)) {
            let differs = |difference| format!("`{}`: {difference}", command.trim_end());
            matching::check(expected, output).map_err(differs)?;
        }
        Ok(())
    }

    /// Executes a script. Returns what it prints, on standard output and standard error together.
    fn bash(&self, script: &str) -> Result<String, String> {
        let trendmark = Path::new(env!("CARGO_BIN_EXE_trendmark")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = tempfile::tempfile().unwrap();
        let mut child = Command::new("bash")
            .args(["-eu", "-c", &format!("exec 2>&1\n{script}")])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", trendmark.display()))
            .env("TMPDIR", self.folder.path())
            .env_remove("RUST_LOG")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("bash: {error}"))?;
        let started = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if started.elapsed() >= WAIT_MAX => break None,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        // Ends what the block has left running, and the shell itself if it takes too long.
        let group = format!("-{}", child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = child.wait();
        let printed = contents(output);
        match status {
            Some(status) if status.success() => Ok(printed),
            Some(status) => Err(format!("{status}:\n{script}\n{printed}")),
            None => Err(format!("does not end within {WAIT_MAX:?}:\n{script}\n{printed}")),
        }
    }
}

/// Checks the reason for not running a block.
fn allow(reason: &str, block: &Block) -> Result<(), String> {
    match REASONS.iter().find(|(allowed, _)| *allowed == reason) {
        Some((_, word)) if block.text.contains(word) => Ok(()),
        Some((_, word)) => Err(format!("is not run as {reason}, but there is no `{word}` in it")),
        None => Err(format!("`{reason}` is none of the reasons for not running a block")),
    }
}

/// What is missing to run a block that needs a feature.
fn missing(feature: &str) -> Option<String> {
    let known = Feature::ALL.into_iter().find(|known| known.name() == feature);
    let known = known.unwrap_or_else(|| panic!("no feature `{feature}`"));
    if !known.is_built_in() {
        return Some(format!("`cargo test --features {known}`"));
    }
    let has_broker = std::env::var("TRENDMARK_TEST_KAFKA").is_ok();
    (known == Feature::Kafka && !has_broker).then(|| "TRENDMARK_TEST_KAFKA".to_owned())
}

/// The commands of a console block, each with the output that follows it.
pub fn steps(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let is_continued =
            |(command, output): &(String, String)| output.is_empty() && command.ends_with("\\\n");
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push((format!("{command}\n"), String::new()));
        } else if let Some(last) = steps.last_mut() {
            let part = if is_continued(last) { &mut last.0 } else { &mut last.1 };
            *part += &format!("{line}\n");
        } else {
            return Err("a console block must begin with `$ `".into());
        }
    }
    Ok(steps)
}

/// Executes statements on a store. Each must return at least one row.
fn sql(store: &Path, text: &str) -> Result<(), String> {
    let failed = |error: rusqlite::Error| format!("{error}");
    let connection = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let connection = connection.map_err(failed)?;
    for statement in text.split_inclusive(";\n").filter(|text| !text.trim().is_empty()) {
        let mut prepared = connection.prepare(statement).map_err(failed)?;
        let mut rows = prepared.query([]).map_err(failed)?;
        if rows.next().map_err(failed)?.is_none() {
            return Err(format!("no rows: {statement}"));
        }
    }
    Ok(())
}

fn contents(mut file: File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A unique prefix for topics.
fn unique() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("documents-{}-{}", now.as_micros(), std::process::id())
}

/// Reports lines even if the test succeeds, which hides the output of `eprintln`.
pub fn report(lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}
