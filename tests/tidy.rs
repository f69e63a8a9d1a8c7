//! Checks the style rules of CONTRIBUTING.md on every source file.
//!
//! Every test lists all violations of its rule, as `file:line: violation`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

/// Abbreviations, which the reader would have to guess.
const BANNED_NAMES: [&str; 7] = ["cnt", "ts", "evt", "req", "idx", "cfg", "tmp"];

/// Macros that panic if nobody reads an output any more.
const PRINTING: [&str; 4] = ["print", "println", "eprint", "eprintln"];

/// The modules that each module of the crate uses. Any other dependency points the wrong way.
const MAY_USE: [(&str, &str); 27] = [
    ("console", ""),
    ("features", ""),
    ("metrics", ""),
    ("panics", "console"),
    ("kafka", "features"),
    ("time", ""),
    ("event", ""),
    ("log", "event"),
    ("acceptance", "event log time"),
    ("decode", "event time"),
    ("showings", "event time"),
    ("query", "event showings time"),
    ("scores", "event query time"),
    ("dataflows", "event query scores showings time"),
    ("sets", "event features query showings time"),
    ("titles", "decode event features kafka panics"),
    ("completeness", "event time"),
    ("sources", "decode event features kafka log panics"),
    ("stores", "acceptance completeness event features kafka log query time titles"),
    (
        "engine",
        "acceptance completeness console event log metrics query sets showings sources \
         stores time titles",
    ),
    (
        "serve",
        "acceptance completeness engine event log metrics panics query sets showings sources \
         stores time titles",
    ),
    ("supervise", ""),
    ("generate", "console event features kafka time"),
    (
        "arguments",
        "dataflows decode engine event features generate kafka query serve sets time titles",
    ),
    (
        "commands",
        "acceptance arguments completeness console decode engine event features \
         generate kafka log query serve sources stores supervise time titles",
    ),
    ("lib", ""),
    ("main", ""),
];

/// A source file.
struct Source {
    /// The path from the root of the repository, with `/`.
    path: String,
    text: String,
}

/// A line of code without comments, with empty strings and characters.
struct Code {
    number: usize,
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        ["tests/", "benches/"].iter().any(|folder| self.path.starts_with(folder))
            || ["/tests.rs", "/fixtures.rs"].iter().any(|name| self.path.ends_with(name))
    }

    /// The lines before the tests at the end of the file.
    fn without_tests(&self) -> &str {
        self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(&self.text)
    }

    /// The module of the crate that the file belongs to.
    fn module(&self) -> Option<&str> {
        if self.path.starts_with("dataflows/") {
            return Some("dataflows");
        }
        let inside = self.path.strip_prefix("src/")?;
        let name = inside.split('/').next()?;
        Some(name.strip_suffix(".rs").unwrap_or(name))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "dataflows", "tests", "benches"] {
        collect(&root.join(folder), &mut files);
    }
    files.sort();
    let read = |file: PathBuf| {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        Source { path, text: fs::read_to_string(&file).unwrap() }
    };
    let sources: Vec<_> = files.into_iter().map(read).collect();
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "no sources at {root:?}");
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The code of a text: without comments and without the contents of quotes.
fn code(text: &str) -> Vec<Code> {
    let mut state = Quote::None;
    let line =
        |(index, line): (usize, &str)| Code { number: index + 1, text: strip(line, &mut state) };
    text.lines().enumerate().map(line).collect()
}

/// The kind of quote that is open at the start of a line.
#[derive(Clone, PartialEq)]
enum Quote {
    None,
    /// A string.
    Plain,
    /// A raw string, with its terminator.
    Raw(String),
}

fn strip(line: &str, state: &mut Quote) -> String {
    let mut code = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        rest = match state.clone() {
            Quote::Plain => after_string(rest, state),
            Quote::Raw(end) => match rest.split_once(end.as_str()) {
                Some((_, after)) => {
                    *state = Quote::None;
                    after
                }
                None => "",
            },
            Quote::None if rest.starts_with("//") => "",
            Quote::None => after_code(rest, state, &mut code),
        };
    }
    code
}

/// Skips the rest of a string, or of the line.
fn after_string<'a>(rest: &'a str, state: &mut Quote) -> &'a str {
    match rest.find(['\\', '"']) {
        None => "",
        Some(at) if rest[at..].starts_with('"') => {
            *state = Quote::None;
            &rest[at + 1..]
        }
        Some(at) => {
            let mut escaped = rest[at + 1..].chars();
            escaped.next();
            escaped.as_str()
        }
    }
}

/// Takes one character of code, or enters a string.
fn after_code<'a>(rest: &'a str, state: &mut Quote, code: &mut String) -> &'a str {
    if let Some(inside) = rest.strip_prefix('"') {
        *state = Quote::Plain;
        return inside;
    }
    if !code.ends_with(|letter: char| letter.is_alphanumeric())
        && let Some((hashes, inside)) = rest.strip_prefix('r').and_then(|raw| raw.split_once('"'))
        && hashes.bytes().all(|byte| byte == b'#')
    {
        *state = Quote::Raw(format!("\"{hashes}"));
        return inside;
    }
    if let Some(after) = after_character(rest) {
        return after;
    }
    let mut letters = rest.chars();
    code.extend(letters.next());
    letters.as_str()
}

/// Skips a character literal such as `'"'` or `'\n'`; a lifetime is not one.
fn after_character(rest: &str) -> Option<&str> {
    let inside = rest.strip_prefix('\'')?;
    let mut letters = inside.chars();
    if letters.next()? == '\\' {
        letters.next()?;
        return letters.as_str().split_once('\'').map(|(_, after)| after);
    }
    letters.as_str().strip_prefix('\'')
}

/// The words of a line of code.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
}

fn refuse(broken: &[String]) {
    assert!(broken.is_empty(), "{} violations:\n{}", broken.len(), broken.join("\n"));
}

/// Checks every line of code of the sources that `applies` selects.
fn check_code(applies: fn(&Source) -> bool, finds: impl Fn(&str) -> Option<String>) {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| applies(source)) {
        for line in code(source.without_tests()) {
            if let Some(what) = finds(&line.text) {
                broken.push(format!("{}:{}: {what}", source.path, line.number));
            }
        }
    }
    refuse(&broken);
}

#[test]
fn every_file_starts_with_a_module_comment() {
    let sources = sources();
    let silent = sources.iter().filter(|source| !source.text.starts_with("//! "));
    refuse(
        &silent
            .map(|source| format!("{}:1: does not start with `//!`", source.path))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn files_and_lines_have_a_maximum_length() {
    let mut broken = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            broken.push(format!("{}: {lines} lines, {LINES_MAX} at most", source.path));
        }
        for (index, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                broken.push(format!("{}:{}: {columns} columns", source.path, index + 1));
            }
        }
    }
    refuse(&broken);
}

#[test]
fn functions_have_a_maximum_length() {
    let mut broken = Vec::new();
    for source in sources() {
        for (name, number, lines) in functions(&code(&source.text)) {
            if lines > FUNCTION_LINES_MAX {
                broken.push(format!("{}:{number}: `{name}` has {lines} lines", source.path));
            }
        }
    }
    refuse(&broken);
}

/// The functions with bodies: name, first line, and number of lines.
fn functions(code: &[Code]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let mut depth = 0_usize;
    // The function whose body has not started, and the functions whose bodies have not ended.
    let mut declared: Option<(String, usize)> = None;
    let mut open: Vec<(String, usize, usize)> = Vec::new();
    for line in code {
        // In a type `fn(…)` no name follows.
        let name = line.text.split("fn ").nth(1).and_then(|after| words(after).next());
        if let Some(name) = name {
            declared = Some((name.to_string(), line.number));
        }
        for letter in line.text.chars() {
            match letter {
                '{' => {
                    depth += 1;
                    open.extend(declared.take().map(|(name, number)| (name, number, depth)));
                }
                '}' => {
                    let ended = open.pop_if(|(_, _, body)| *body == depth);
                    depth = depth.saturating_sub(1);
                    found.extend(
                        ended.map(|(name, number, _)| (name, number, line.number - number + 1)),
                    );
                }
                ';' => declared = None,
                _ => {}
            }
        }
    }
    found
}

#[test]
fn names_are_whole_words() {
    let mut broken = Vec::new();
    for source in sources() {
        for line in code(&source.text) {
            let text = line.text.replace("cfg(", "(").replace("cfg!(", "(");
            let banned = words(&text).find(|word| BANNED_NAMES.contains(word));
            broken.extend(banned.map(|word| format!("{}:{}: `{word}`", source.path, line.number)));
        }
    }
    refuse(&broken);
}

#[test]
fn only_tests_unwrap() {
    check_code(
        |source| !source.is_test(),
        |code| code.contains(".unwrap()").then(|| "`unwrap` outside a test".to_string()),
    );
}

#[test]
fn no_todo_and_no_dbg_is_left() {
    check_code(
        |_| true,
        |code| {
            let left = ["todo!", "dbg!"];
            left.iter().find(|left| code.contains(*left)).map(|left| format!("`{left}`"))
        },
    );
}

#[test]
fn only_the_console_prints() {
    check_code(
        |source| !source.is_test(),
        |code| {
            let mut printed = words(code).filter(|word| PRINTING.contains(word));
            printed
                .next()
                .filter(|word| code.contains(&format!("{word}!(")))
                .map(|word| format!("`{word}!` panics at a closed pipe: use `console`"))
        },
    );
}

#[test]
fn dependencies_point_one_way() {
    let mut broken = Vec::new();
    let mut used_by = BTreeSet::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let Some(module) = source.module() else { continue };
        let Some((_, may_use)) = MAY_USE.iter().find(|(known, _)| *known == module) else {
            broken.push(format!("{}: add the module `{module}` to MAY_USE", source.path));
            continue;
        };
        for (number, used) in crate_modules(source.without_tests()) {
            if used != module && !may_use.split(' ').any(|may| may == used) {
                broken.push(format!("{}:{number}: `{module}` uses `{used}`", source.path));
            }
            used_by.insert((module.to_string(), used));
        }
    }
    for (module, may_use) in MAY_USE {
        let unused = may_use
            .split_whitespace()
            .filter(|used| !used_by.contains(&(module.to_string(), used.to_string())));
        broken.extend(unused.map(|used| format!("MAY_USE: `{module}` does not use `{used}`")));
    }
    refuse(&broken);
}

/// The modules that a text names after `crate::`, with their lines.
fn crate_modules(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for line in code(text) {
        for after in line.text.split("crate::").skip(1) {
            let named = match after.strip_prefix('{') {
                // The first word of each part of the group on this line.
                Some(group) => group.split(',').filter_map(|part| words(part).next()).collect(),
                None => Vec::from_iter(words(after).next()),
            };
            found.extend(named.into_iter().map(|name| (line.number, name.to_string())));
        }
    }
    found
}

#[test]
fn only_the_engine_uses_the_worker_of_timely() {
    check_code(
        |source| {
            let is_engine = source.path.starts_with("src/engine/");
            source.path.starts_with("src/") && !is_engine && !source.is_test()
        },
        |code| {
            let worker = ["timely::worker", "timely::execute"];
            worker.iter().find(|word| code.contains(*word)).map(|word| format!("`{word}`"))
        },
    );
}

#[test]
fn every_query_is_in_the_list() {
    let sources = sources();
    let list = sources.iter().find(|source| source.path == "dataflows/mod.rs").unwrap();
    let listed: BTreeSet<String> = list
        .text
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .map(|name| name.trim_end_matches(';').to_string())
        .collect();
    let named = list.text.split("pub static ").skip(1).collect::<String>();
    let mut broken = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with("dataflows/")) {
        let name = source.path["dataflows/".len()..].trim_end_matches(".rs");
        let is_picked = named.contains(&format!("&{name}::QUERY"));
        if name != "mod" && !(listed.contains(name) && is_picked) {
            broken.push(format!("{}: not in the list of dataflows/mod.rs", source.path));
        }
    }
    refuse(&broken);
}

#[test]
fn the_scanner_of_this_file_sees_only_code() {
    let text = "let a = \"cfg \\\" tmp\"; // req\nlet b = r#\"idx\"\ncnt\"#; let c = '\"'; evt";
    let seen: Vec<String> = code(text).into_iter().map(|line| line.text).collect();
    assert_eq!(seen, ["let a = ; ", "let b = ", "; let c = ; evt"]);
    let two = code("fn one() {\n    if x {\n    }\n}\nfn none();\nfn two() {}\n");
    let expected = [("one".to_string(), 1, 4), ("two".to_string(), 6, 1)];
    assert_eq!(functions(&two), expected);
    let used = crate_modules("use crate::{time::Epoch, event};\nlet x = crate::query::Row;\n");
    let expected = [(1, "time".into()), (1, "event".into()), (2, "query".to_string())];
    assert_eq!(used, expected);
}
