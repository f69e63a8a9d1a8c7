//! Arguments and configurations, completed, printed and refused.

use super::*;
use clap::CommandFactory;

fn run(arguments: &[&str]) -> RunArguments {
    let arguments = ["trendmark", "run"].iter().chain(arguments);
    match Arguments::try_parse_from(arguments).unwrap().command {
        Command::Run(run) => *run,
        other => panic!("not run: {other:?}"),
    }
}

#[test]
fn a_flag_wins_over_the_configuration_and_both_over_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.toml");
    std::fs::write(&path, "join-window = 2\nmax-delay = \"5m\"\nplays = [\"p.jsonl\"]").unwrap();
    let typed = run(&["--config", path.to_str().unwrap(), "--join-window", "3"]);
    let complete = typed.complete().unwrap();
    assert_eq!(complete.join_window, Some(3));
    assert_eq!(complete.max_delay, Some(Span { ms: 300_000 }));
    assert_eq!(complete.max_future, Some(Span { ms: 600_000 }));
    assert_eq!(complete.plays, ["p.jsonl"]);
}

#[test]
fn the_printed_configuration_means_the_same_when_read_back() {
    let complete =
        run(&["--plays", "a", "b", "--store", "s.db", "--field", "video_id=v"]).complete().unwrap();
    let printed = toml::to_string(&complete).unwrap();
    assert_eq!(toml::from_str::<RunArguments>(&printed).unwrap(), complete);
}

#[test]
fn a_wrong_configuration_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.toml");
    for text in ["join-window = 2\nepoch-lenght = \"5m\"", "\nmax-delay = \"5 parsecs\""] {
        std::fs::write(&path, text).unwrap();
        let error = run(&["--config", path.to_str().unwrap()]).complete().unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}

#[test]
fn every_default_is_told_in_the_help() {
    let help = Arguments::command()
        .find_subcommand_mut("run")
        .unwrap()
        .clone()
        .term_width(1_000)
        .render_long_help()
        .to_string();
    let defaults = toml::Table::try_from(RunArguments::default().with_defaults()).unwrap();
    for (flag, value) in defaults {
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Array(values) => values[0].as_str().unwrap().to_string(),
            value => value.to_string(),
        };
        let told = help.split(&format!("--{flag} <")).nth(1).unwrap();
        let told = told.split("\n\n").next().unwrap();
        let exceptions = ["workers", "alignment"];
        let default = format!("[default: {value}]");
        assert!(told.contains(&default) || exceptions.contains(&&flag[..]), "{flag}: {told}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_flag_value_and_limit() {
    let sources = ["--plays", "a", "--store", "s.db"];
    let refused = [
        (vec!["--epoch-length", "0s"], "--epoch-length is 0s, but must be 1s to 366d"),
        (vec!["--join-window", "1001"], "--join-window is 1001, but must be 0 to 1000"),
        (vec!["--process", "1"], "--process is 1, but must be less than --processes"),
        (vec!["--workers", "0"], "--workers is 0, but must be 1 to 1024"),
        (
            vec!["--field", "video=v"],
            "--field is video=v, but the fields are request_id, \
             video_id, event_time and record_time",
        ),
        (
            vec!["--field", "video_id=request_id"],
            "--field is video_id=request_id, but no two fields can have one name",
        ),
    ];
    for (arguments, message) in refused {
        let arguments = [&sources[..], &arguments].concat();
        let error = run(&arguments).complete().unwrap().plan().unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_query_that_is_not_in_the_list_is_refused_with_the_list() {
    let arguments = ["--plays", "a", "--store", "s.db", "--query", "trend"];
    let error = run(&arguments).complete().unwrap().plan().unwrap_err().to_string();
    assert!(error.starts_with("--query is trend, but must be one of trends, "), "{error}");
    assert!(dataflows::ALL.iter().all(|query| error.contains(query.name)), "{error}");
}

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}
