//! Documents as this repository has them: code blocks with their directives, tables, headings and
//! links.

use std::path::{Path, PathBuf};

/// A document, by its path from the root of the repository.
pub struct Document {
    pub path: String,
    pub text: String,
}

/// A code block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The line of its opening fence, from 1.
    pub line: usize,
    pub language: String,
    pub text: String,
    /// The reason in `<!-- not run: reason -->` before it.
    pub not_run: Option<String>,
    /// The feature in `<!-- needs: feature -->` before it.
    pub needs: Option<String>,
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a document.
pub fn read(path: &str) -> Document {
    let text = std::fs::read_to_string(root().join(path));
    Document { path: path.into(), text: text.unwrap_or_else(|error| panic!("{path}: {error}")) }
}

/// The documents whose code blocks are executed: README.md and docs/*.md.
pub fn executed() -> Vec<Document> {
    let entries = root().join("docs").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let is_document = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "md");
    let mut names: Vec<String> = entries
        .filter(is_document)
        .map(|path| format!("docs/{}", path.file_name().unwrap().to_str().unwrap()))
        .collect();
    names.sort();
    assert!(names.len() > 5, "{names:?}");
    ["README.md".to_owned()].iter().chain(&names).map(|path| read(path)).collect()
}

impl Document {
    /// The code blocks, in order.
    ///
    /// # Errors
    /// When a fence is indented or not closed, or a directive does not precede a block.
    pub fn blocks(&self) -> Result<Vec<Block>, String> {
        let mut blocks = Vec::new();
        let mut next = Block::default();
        let mut lines = self.text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let at = |what: &str| format!("{}:{}: {what}", self.path, index + 1);
            if let Some(reason) = directive(line, "not run") {
                next.not_run = Some(reason);
            } else if let Some(feature) = directive(line, "needs") {
                next.needs = Some(feature);
            } else if let Some(language) = line.strip_prefix("```") {
                (next.line, next.language) = (index + 1, language.to_owned());
                loop {
                    match lines.next() {
                        None => return Err(at("the block is not closed")),
                        Some((_, "```")) => break,
                        Some((_, line)) => next.text += &format!("{line}\n"),
                    }
                }
                blocks.push(std::mem::take(&mut next));
            } else if line.contains("```") {
                return Err(at("a fence must be at the start of its line"));
            } else if next != Block::default() {
                return Err(at("a directive must be directly before its block"));
            }
        }
        Ok(blocks)
    }

    /// The text without code blocks, with the numbers of its lines.
    pub fn prose(&self) -> Vec<(usize, &str)> {
        let mut is_inside = false;
        let mut prose = Vec::new();
        for (index, line) in self.text.lines().enumerate() {
            let is_fence = line.starts_with("```");
            if !is_fence && !is_inside {
                prose.push((index + 1, line));
            }
            is_inside ^= is_fence;
        }
        prose
    }

    /// The anchors of the headings, as GitHub makes them.
    pub fn anchors(&self) -> Vec<String> {
        let prose = self.prose().into_iter();
        let titles = prose.filter(|(_, line)| line.starts_with('#'));
        titles.map(|(_, line)| anchor(line.trim_start_matches('#').trim())).collect()
    }

    /// The targets of the links `[text](target)`, with their lines.
    pub fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (number, line) in self.prose() {
            for after in line.split("](").skip(1) {
                let target = after.split(')').next().unwrap();
                links.push((number, target.to_owned()));
            }
        }
        links
    }

    /// The rows of the tables in the section with this heading, without headers; the cells without
    /// the backticks around them.
    pub fn rows(&self, heading: &str) -> Vec<Vec<String>> {
        let mut prose = self.prose().into_iter().map(|(_, line)| line);
        assert!(prose.any(|line| line == heading), "{}: no section `{heading}`", self.path);
        let level = heading.split(' ').next().unwrap().len();
        let is_end = |line: &&str| {
            let hashes = line.len() - line.trim_start_matches('#').len();
            (1..=level).contains(&hashes)
        };
        let mut rows: Vec<Vec<String>> = Vec::new();
        for line in prose.take_while(|line| !is_end(line)).filter(|line| line.starts_with('|')) {
            if line.starts_with("|---") {
                rows.pop();
                continue;
            }
            let line = line.replace("\\|", "\u{1}");
            let cells = line.trim_matches('|').split('|').map(|cell| {
                cell.trim().trim_start_matches('`').trim_end_matches('`').replace('\u{1}', "|")
            });
            rows.push(cells.collect());
        }
        assert!(!rows.is_empty(), "{}: no table under `{heading}`", self.path);
        rows
    }

    /// The inline code, with its lines.
    pub fn inline_code(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (number, line) in self.prose() {
            let spans = line.split('`').skip(1).step_by(2);
            found.extend(spans.map(|span| (number, span.to_owned())));
        }
        found
    }
}

/// The value of `<!-- name: value -->`.
fn directive(line: &str, name: &str) -> Option<String> {
    let inside = line.strip_prefix("<!--")?.strip_suffix("-->")?.trim();
    let value = inside.strip_prefix(name)?.strip_prefix(':')?;
    Some(value.trim().to_owned())
}

/// The anchor of a heading.
fn anchor(title: &str) -> String {
    let letters = title.to_lowercase();
    let letters = letters.chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        letter => letter.is_alphanumeric().then_some(letter),
    });
    letters.collect()
}

#[test]
fn blocks_have_their_directives() {
    let text = "a\n<!-- needs: kafka -->\n```sh\none\ntwo\n```\n`in` x\n```text\n```\n";
    let document = Document { path: "d".into(), text: text.into() };
    let blocks = document.blocks().unwrap();
    let first = Block {
        line: 3,
        language: "sh".into(),
        text: "one\ntwo\n".into(),
        not_run: None,
        needs: Some("kafka".into()),
    };
    assert_eq!(blocks[0], first);
    assert_eq!((blocks[1].line, blocks[1].needs.clone()), (8, None));
    assert_eq!(document.inline_code(), [(7, "in".to_owned())]);
    for wrong in ["```sh\n", " ```sh\n```\n", "<!-- not run: x -->\ntext\n"] {
        let document = Document { path: "d".into(), text: wrong.into() };
        assert!(document.blocks().is_err(), "{wrong}");
    }
}

#[test]
fn anchors_are_those_of_github() {
    let made = ["`trendmark run`", "What to do, and when", "Limits: 1 MiB a line"].map(anchor);
    assert_eq!(made, ["trendmark-run", "what-to-do-and-when", "limits-1-mib-a-line"]);
}
