//! README.md and docs/: every command in them runs and prints what they say, and every flag,
//! default, feature, message and link in them exists. CONTRIBUTING.md explains the conventions.

mod common;

#[path = "documents/blocks.rs"]
mod blocks;
#[path = "documents/matching.rs"]
mod matching;
#[path = "documents/playground.rs"]
mod playground;

use blocks::{Document, executed, read, root};
use clap::{Arg, ArgAction, Command, CommandFactory, Parser};
use playground::{Playground, report, steps};
use std::collections::BTreeSet;
use std::path::Path;
use trendmark::arguments::Arguments;
use trendmark::stores::description::FORMAT;

/// The most lines of README.md: a page for the first day.
const README_LINES_MAX: usize = 200;

/// Flags of other programs that documents name.
const OTHER_FLAGS: [&str; 12] = [
    "--bench",
    "--features",
    "--locked",
    "--log",
    "--no-default-features",
    "--path",
    "--release",
    "--repeat",
    "--seeds",
    "--test",
    "--version",
    "--help",
];

/// Documents whose links are checked besides those that are executed.
const LINKED: [&str; 7] = [
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "benches/against/README.md",
    "benches/against/streaming/README.md",
    "benches/against/talk/README.md",
    "tests/kafka/README.md",
];

fn refuse(broken: &[String]) {
    assert!(broken.is_empty(), "{} violations:\n{}", broken.len(), broken.join("\n"));
}

fn document(text: &str) -> Document {
    Document { path: "test.md".into(), text: text.into() }
}

#[test]
fn every_block_of_the_documents_runs_and_prints_what_it_says() {
    let documents = executed();
    let results: Vec<_> = std::thread::scope(|scope| {
        let run = |document| scope.spawn(move || Playground::new().execute(document));
        let running: Vec<_> = documents.iter().map(run).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut broken = Vec::new();
    for result in results {
        match result {
            Ok(not_run) => report(&not_run),
            Err(wrong) => broken.push(wrong),
        }
    }
    refuse(&broken);
}

#[test]
fn a_document_that_is_wrong_is_noticed() {
    let wrong = [
        ("```console\n$ echo one\ntwo\n```\n", "it printed:\none"),
        ("```console\n$ echo one\n```\n", "it printed:\none"),
        ("```console\n$ false\n```\n", "exit status: 1"),
        ("```sh\nfalse\ntrue\n```\n", "exit status: 1"),
        ("```sh\ntrendmark conquer\n```\n", "conquer"),
        ("```toml\nworker = 2\n```\n", "worker"),
        ("```sql\nSELECT 1;\n```\n", "unable to open"),
        ("```python\n1\n```\n", "`python` is not"),
        ("<!-- not run: it needs docker -->\n```sh\nls\n```\n", "no `docker` in it"),
        ("<!-- not run: slow -->\n```sh\nls\n```\n", "none of the reasons"),
    ];
    for (text, said) in wrong {
        let result = Playground::new().execute(&document(text));
        assert!(result.as_ref().is_err_and(|error| error.contains(said)), "{text}: {result:?}");
    }
    let right = "```console\n$ echo one && \\\n  echo two\none\ntwo\n$ echo three\nthree\n```\n";
    assert_eq!(Playground::new().execute(&document(right)), Ok(vec![]));
}

/// Commands that are not run here are at least understood by the program.
#[test]
fn every_command_in_a_block_has_valid_flags() {
    let mut broken = Vec::new();
    for document in executed() {
        for block in document.blocks().unwrap() {
            let commands: Vec<String> = match block.language.as_str() {
                "console" => steps(&block.text).unwrap().into_iter().map(|step| step.0).collect(),
                "sh" => block.text.replace("\\\n", " ").lines().map(str::to_owned).collect(),
                _ => continue,
            };
            for command in &commands {
                let words = words(&command.replace("\\\n", " "));
                if words.first().is_none_or(|first| first != "trendmark") {
                    continue;
                }
                if let Err(error) = Arguments::try_parse_from(&words)
                    && error.use_stderr()
                {
                    broken.push(format!("{}:{}: {error}", document.path, block.line));
                }
            }
        }
    }
    refuse(&broken);
}

/// The words of a command up to the first operator of the shell.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for letter in command.trim().chars().chain([' ']) {
        match (quote, letter) {
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            (None, ' ') if word.is_empty() => {}
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (None, '|' | '&' | ';' | '>' | '#') if word.is_empty() => break,
            _ => word.push(letter),
        }
    }
    words
}

/// The commands of the files in `deploy/`: of units, and of services that are built here.
#[test]
fn every_command_of_the_deployment_has_valid_flags() {
    let mut commands: Vec<(&str, Vec<String>)> = Vec::new();
    for unit in ["deploy/systemd/trendmark.service", "deploy/systemd/trendmark@.service"] {
        let text = read(unit).text.replace("\\\n", " ").replace("%i", "1");
        let command = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/"));
        commands.push((unit, words(command.unwrap())));
    }
    for file in ["docker-compose.yml", "deploy/compose.yaml"] {
        let text = read(file).text;
        for service in text.split("    build: ").skip(1) {
            let (_, after) = service.split_once("    command:\n").unwrap();
            let given = after.lines().map_while(|line| line.strip_prefix("      - "));
            let command = std::iter::once("trendmark").chain(given).map(str::to_owned);
            commands.push((file, command.collect()));
        }
    }
    assert_eq!(commands.len(), 6, "{commands:?}");
    for (file, command) in commands {
        let parsed = Arguments::try_parse_from(&command);
        assert!(parsed.is_ok(), "{file}: {command:?}: {}", parsed.unwrap_err());
    }
}

#[test]
fn every_flag_in_the_text_exists() {
    let command = Arguments::command();
    let known: BTreeSet<String> =
        command.get_subcommands().flat_map(flags).map(|flag| flag.name).collect();
    let mut broken = Vec::new();
    for document in executed() {
        for (line, code) in document.inline_code() {
            let named = code.split([' ', '|', '=', '/']).filter(|word| word.starts_with("--"));
            for flag in named.map(|flag| flag.trim_end_matches(['.', ',', '…'])) {
                if !known.contains(flag) && !OTHER_FLAGS.contains(&flag) && flag != "--" {
                    broken.push(format!("{}:{line}: no flag `{flag}`", document.path));
                }
            }
            if let Some(after) = code.strip_prefix("trendmark ") {
                let name = after.split(' ').next().unwrap();
                if !name.starts_with("--") && command.find_subcommand(name).is_none() {
                    broken.push(format!("{}:{line}: no command `{name}`", document.path));
                }
            }
        }
    }
    refuse(&broken);
}

/// A flag, as docs/settings.md has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flag {
    name: String,
    /// The name of its value; empty if it takes none.
    value: String,
    default: String,
}

/// The flags of a command.
fn flags(command: &Command) -> Vec<Flag> {
    let is_own = |argument: &&Arg| !["help", "version"].contains(&argument.get_id().as_str());
    command.get_arguments().filter(is_own).map(flag).collect()
}

fn flag(argument: &Arg) -> Flag {
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let names = argument.get_value_names().unwrap_or_default();
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let in_help = help.split_once("[default: ").and_then(|(_, after)| after.split_once(']'));
    let values = argument.get_default_values();
    let default = match (values, in_help) {
        ([value], _) if takes_value => value.to_str().unwrap().to_owned(),
        (_, Some((default, _))) => default.to_owned(),
        _ if argument.is_required_set() => "required".to_owned(),
        _ => String::new(),
    };
    let has_value = takes_value && !argument.is_positional();
    let value = if has_value { names.join(" ") } else { String::new() };
    let name = match argument.get_long() {
        Some(long) => format!("--{long}"),
        None => argument.get_id().to_string().to_uppercase(),
    };
    Flag { name, value, default }
}

#[test]
fn the_settings_are_those_of_the_program() {
    let settings = read("docs/settings.md");
    let mut broken = Vec::new();
    let all = Arguments::command();
    let of_run: BTreeSet<Flag> = flags(all.find_subcommand("run").unwrap()).into_iter().collect();
    for command in all.get_subcommands() {
        let name = command.get_name();
        let mut actual: BTreeSet<Flag> = flags(command).into_iter().collect();
        if name == "launch" {
            // It has all flags of `run`, and its table the others.
            assert!(actual.is_superset(&of_run));
            actual.retain(|flag| !of_run.contains(flag));
        }
        let rows = settings.rows(&format!("## `trendmark {name}`"));
        let written: BTreeSet<Flag> = rows
            .iter()
            .map(|row| {
                let (name, value) = row[0].split_once(' ').unwrap_or((&row[0], ""));
                Flag { name: name.into(), value: value.into(), default: row[1].clone() }
            })
            .collect();
        let difference = |what: &str, flag: &Flag| format!("{name}: {what}: {flag:?}");
        broken.extend(
            actual.difference(&written).map(|flag| difference("missing in docs/settings.md", flag)),
        );
        broken
            .extend(written.difference(&actual).map(|flag| difference("not in the program", flag)));
    }
    refuse(&broken);
}

#[test]
fn the_features_are_those_of_the_package() {
    let manifest: toml::Table = read("Cargo.toml").text.parse().unwrap();
    let features = manifest["features"].as_table().unwrap();
    let actual: BTreeSet<&str> = features.keys().map(String::as_str).collect();
    let rows = read("docs/settings.md").rows("## Features of the build");
    let written: BTreeSet<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(written, actual);
}

#[test]
fn every_message_of_the_table_is_one_of_the_program() {
    let mut texts = Vec::new();
    collect(&root().join("src"), &mut texts);
    let mut broken = Vec::new();
    for row in read("docs/troubleshooting.md").rows("## Messages") {
        let parts: Vec<&str> = row[0].split('…').map(str::trim).collect();
        let words: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        assert!(words.iter().map(|part| part.len()).sum::<usize>() >= 10, "{row:?}");
        if !texts.iter().any(|text| says(text, &words)) {
            broken.push(format!("no message of the program is `{}`", row[0]));
        }
    }
    refuse(&broken);
}

/// Whether a source has a string with these words, in this order.
fn says(source: &str, words: &[&str]) -> bool {
    source.match_indices(words[0]).any(|(at, _)| {
        let mut left = source[at..].split('"').next().unwrap();
        words.iter().all(|part| match left.split_once(part) {
            Some((_, after)) => {
                left = after;
                true
            }
            None => false,
        })
    })
}

/// Reads the sources of a folder, with strings that are continued on the next line in one piece.
fn collect(folder: &Path, texts: &mut Vec<String>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, texts);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut parts = text.split("\\\n");
            let mut whole = parts.next().unwrap().to_owned();
            whole.extend(parts.map(str::trim_start));
            texts.push(whole);
        }
    }
}

#[test]
fn the_store_format_is_the_first_of_its_table() {
    let rows = read("docs/store-formats.md").rows("## Formats");
    assert_eq!((&rows[0][0], &rows[0][1]), (&FORMAT.to_string(), &current_version()));
}

fn current_version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

#[test]
fn the_changelog_has_an_entry_for_this_version() {
    let changes = read("CHANGELOG.md");
    assert!(changes.text.contains(&format!("\n## {}", current_version())));
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let others = LINKED.iter().map(|path| read(path));
    for document in executed().into_iter().chain(others) {
        let folder = root().join(&document.path).parent().unwrap().to_owned();
        for (line, target) in document.links() {
            if target.contains("://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file =
                if path.is_empty() { root().join(&document.path) } else { folder.join(path) };
            let is_there = if anchor.is_empty() {
                file.exists()
            } else {
                let name = file.to_str().unwrap().to_owned();
                file.is_file() && read(&name).anchors().iter().any(|known| known == anchor)
            };
            if !is_there {
                broken.push(format!("{}:{line}: `{target}`", document.path));
            }
        }
    }
    refuse(&broken);
}

#[test]
fn tables_and_plots_of_scaling_are_those_of_its_results() {
    let script = root().join("benches/scaling/report.py");
    match std::process::Command::new("python3").arg(script).arg("--check").output() {
        Ok(checked) => {
            let said = String::from_utf8_lossy(&checked.stderr);
            assert!(checked.status.success(), "{said}");
        }
        Err(error) => report(&[format!("SKIPPED: docs/scaling.md needs python3: {error}")]),
    }
}

#[test]
fn the_readme_is_short() {
    let lines = read("README.md").text.lines().count();
    assert!(lines <= README_LINES_MAX, "{lines} lines, {README_LINES_MAX} at most");
}
