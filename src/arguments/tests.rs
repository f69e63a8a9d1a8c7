//! Tests of completing, printing and rejecting arguments and configurations.

use super::*;
use crate::dataflows;
use crate::decode::MessageFormat;
use crate::event::Kind;
use crate::kafka::{RegistrySettings, SecretText};
use crate::time::Span;
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
    let complete = typed.with_config().unwrap();
    assert_eq!(complete.join_window, Some(3));
    assert_eq!(complete.max_delay, Some(Span { ms: 300_000 }));
    assert_eq!(complete.max_future, Some(Span { ms: 600_000 }));
    assert_eq!(complete.plays, ["p.jsonl"]);
}

#[test]
fn the_printed_configuration_means_the_same_when_read_back() {
    let complete = run(&["--plays", "a", "b", "--store", "s.db", "--field", "video_id=v.w"])
        .with_config()
        .unwrap();
    let printed = complete.to_toml();
    assert_eq!(RunArguments::from_toml(&printed).unwrap(), complete);
}

#[test]
fn an_invalid_configuration_is_reported_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.toml");
    for text in ["join-window = 2\nepoch-lenght = \"5m\"", "\nmax-delay = \"5 parsecs\""] {
        std::fs::write(&path, text).unwrap();
        let error = run(&["--config", path.to_str().unwrap()]).with_config().unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}

#[test]
fn every_default_is_in_the_help() {
    let help = Arguments::command()
        .find_subcommand_mut("run")
        .unwrap()
        .clone()
        .term_width(1_000)
        .render_long_help()
        .to_string();
    let defaults: toml::Table = RunArguments::default().with_defaults().to_toml().parse().unwrap();
    for (flag, value) in defaults {
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Array(values) => values[0].as_str().unwrap().to_string(),
            value => value.to_string(),
        };
        let told = help.split(&format!("--{flag} <")).nth(1).unwrap();
        let told = told.split("\n\n").next().unwrap();
        let exceptions = ["workers", "alignment", "max-leap", "ready-within", "state-max"];
        let default = format!("[default: {value}]");
        assert!(told.contains(&default) || exceptions.contains(&&flag[..]), "{flag}: {told}");
    }
}

#[test]
fn values_out_of_bounds_are_refused_with_flag_and_limit() {
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
    ];
    for (arguments, message) in refused {
        let arguments = [&sources[..], &arguments].concat();
        let error = run(&arguments).with_config().unwrap().plan().unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn an_unknown_query_is_refused_with_the_list_of_queries() {
    let arguments = ["--plays", "a", "--store", "s.db", "--query", "trend"];
    let error = run(&arguments).with_config().unwrap().plan().unwrap_err().to_string();
    assert!(error.starts_with("--query is trend, but must be one of trends, "), "{error}");
    assert!(dataflows::ALL.iter().all(|query| error.contains(query.name)), "{error}");
}

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

const IN_KAFKA: [&str; 6] =
    ["--plays", "kafka:plays", "--store", "s.db", "--bootstrap-servers", "localhost:9092"];

#[test]
fn a_location_with_the_kafka_prefix_is_a_topic_and_any_other_a_path() {
    let arguments = [
        &["--impressions", "kafka:b", "kafka:a", "files/*.jsonl", "--until-end"][..],
        &["--plays", "kafka:plays", "--store", "kafka:trends"],
        &["--bootstrap-servers", "one:9092,two:9092", "--kafka", "linger.ms=5"],
    ];
    let plan = run(&arguments.concat()).with_config().unwrap().plan().unwrap();
    let topics = [(Kind::Impression, "a"), (Kind::Impression, "b"), (Kind::Play, "plays")];
    assert_eq!(plan.inputs.topics, topics.map(|(kind, topic)| (kind, topic.to_string())));
    assert_eq!(plan.inputs.paths, [(Kind::Impression, "files/*.jsonl".to_string())]);
    assert_eq!(plan.store, StoreLocation::Kafka { topic: "trends".into() });
    let kafka = plan.kafka.unwrap();
    assert_eq!(kafka.bootstrap_servers, "one:9092,two:9092");
    assert_eq!(kafka.settings["linger.ms"], "5");
    let files = run(&["--plays", "p.jsonl", "--store", "s.db"]).with_config().unwrap();
    let plan = files.plan().unwrap();
    assert_eq!((plan.kafka, plan.store), (None, StoreLocation::Sqlite("s.db".into())));
}

#[test]
fn topics_are_endless_unless_read_until_their_ends() {
    let follows = |more: &[&str]| {
        let plan = run(&[&IN_KAFKA[..], more].concat()).with_config().unwrap().plan();
        plan.map(|plan| plan.settings.follow).map_err(|error| error.to_string())
    };
    assert_eq!(follows(&[]), Ok(true));
    assert_eq!(follows(&["--follow"]), Ok(true));
    assert_eq!(follows(&["--until-end"]), Ok(false));
    assert_eq!(follows(&["--impressions", "i.jsonl", "--follow"]), Ok(true));
    assert_eq!(follows(&["--impressions", "i.jsonl", "--until-end"]), Ok(false));
    let mixed = follows(&["--impressions", "i.jsonl"]).unwrap_err();
    assert!(mixed.contains("give --until-end or --follow, for both"), "{mixed}");
    let shared = follows(&["--impressions", "kafka:plays"]).unwrap_err();
    assert!(shared.contains("give each its own"), "{shared}");
}

#[test]
fn kafka_settings_are_flags_or_a_table_and_the_flag_wins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.toml");
    let text = "bootstrap-servers = \"b:1\"\n[kafka]\n\"sasl.username\" = \"file\"\n\
                linger.ms = 5\nsecurity.protocol = \"SSL\"";
    std::fs::write(&path, text).unwrap();
    let typed = ["--config", path.to_str().unwrap(), "--kafka", "sasl.username=flag=x"];
    let plan = run(&[&IN_KAFKA[..4], &typed].concat()).with_config().unwrap().plan().unwrap();
    let kafka = plan.kafka.unwrap();
    assert_eq!(kafka.bootstrap_servers, "b:1");
    let settings: Vec<_> =
        kafka.settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expected = [("linger.ms", "5"), ("sasl.username", "flag=x"), ("security.protocol", "SSL")];
    assert_eq!(settings, expected);
}

#[test]
fn a_secret_is_never_printed() {
    let secrets = ["--kafka", "sasl.password=s3cret", "--kafka", "ssl.key.password=env:KEY"];
    let typed = run(&[&IN_KAFKA[..], &secrets].concat());
    let complete = typed.with_config().unwrap();
    let printed = complete.to_toml();
    let debug = format!("{typed:?} {complete:?} {:?}", complete.plan().unwrap());
    assert!(!printed.contains("s3cret") && !debug.contains("s3cret"), "{printed} {debug}");
    assert!(printed.contains("\"sasl.password\" = \"(hidden)\""), "{printed}");
    assert!(printed.contains("\"ssl.key.password\" = \"env:KEY\""), "{printed}");
    let read_back = RunArguments::from_toml(&printed).unwrap();
    let error = read_back.plan().unwrap_err().to_string();
    assert!(error.contains("`sasl.password` is `(hidden)`"), "{error}");
    let shown = ["--kafka", "sasl.username=me", "--kafka", "linger.ms=5"];
    let complete = run(&[&IN_KAFKA[..], &shown].concat()).with_config().unwrap();
    let printed = complete.to_toml();
    let read_back = RunArguments::from_toml(&printed).unwrap();
    assert_eq!(read_back.plan().unwrap().kafka, complete.plan().unwrap().kafka);
}

#[test]
fn a_schema_registry_is_given_by_flag_or_configuration_and_its_secret_is_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.toml");
    let text = "kafka-format = \"protobuf\"\nschema-registry = \"https://r/path/\"\n\
                schema-registry-auth = \"u:s3cret\"";
    std::fs::write(&path, text).unwrap();
    let config = ["--config", path.to_str().unwrap()];
    let planned = |more: &[&str]| {
        let complete = run(&[&IN_KAFKA[..], &config, more].concat()).with_config().unwrap();
        let printed = complete.to_toml();
        let plan = complete.plan().unwrap();
        let told = format!("{complete:?} {plan:?} {printed}");
        assert!(!told.contains("s3cret"), "{told}");
        (plan.message_formats[1], plan.registry.unwrap())
    };
    let url = |url: &str| url.parse::<SecretText>().unwrap();
    let settings = |at, auth| RegistrySettings::given(&url(at), Some(&url(auth))).unwrap();
    assert_eq!(planned(&[]), (MessageFormat::Protobuf, settings("https://r/path", "u:s3cret")));
    let typed = ["--kafka-format", "avro", "--schema-registry-auth", "env:USER"];
    assert_eq!(planned(&typed), (MessageFormat::Avro, settings("https://r/path", "env:USER")));
    let typed = ["--schema-registry", "http://s:1"];
    assert_eq!(planned(&typed), (MessageFormat::Protobuf, settings("http://s:1", "u:s3cret")));
    std::fs::write(&path, "schema-registry-auth = s3cret").unwrap();
    let error = run(&config).with_config().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
}

#[test]
fn a_line_that_may_hold_a_secret_is_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("job.toml");
    let lines =
        ["\"sasl.password\" = s3cret", "\"sasl.password\" = [\"s3cret\"]", "token = \"s3cret"];
    for line in lines {
        std::fs::write(&path, format!("[kafka]\n{line}\n")).unwrap();
        let error = run(&["--config", path.to_str().unwrap()]).with_config().unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains("invalid configuration") && !told.contains("s3cret"), "{told}");
    }
}

#[test]
fn invalid_kafka_settings_are_refused() {
    let told =
        |arguments: &[&str]| run(arguments).with_config().unwrap().plan().unwrap_err().to_string();
    let told_with = |more: &[&str]| told(&[&IN_KAFKA[..], more].concat());
    assert!(told(&IN_KAFKA[..4]).starts_with("give --bootstrap-servers"));
    assert!(told_with(&["--kafka", "isolation.level=read_uncommitted"]).contains("cannot be set"));
    let error = told_with(&["--kafka", "sasl.password s3cret"]);
    assert!(error.contains("`sasl.password` has no value"), "{error}");
    assert!(
        told_with(&["--impressions", "kafka:a/b"]).contains("`kafka:a/b` is not a valid topic")
    );
    assert!(told(&["--plays", "p", "--store", "kafka:"]).contains("`kafka:` is not a valid topic"));
}

/// Every place that can hold a secret has one, and each character is left out in turn, or replaced.
#[test]
fn no_error_about_a_configuration_quotes_a_secret() {
    const MARKER: &str = "s3cret";
    let text = r#"bootstrap-servers = "u:s3cret@h:9092"
schema-registry = "http://u:s3cret@r"
schema-registry-auth = "u:s3cret"
impressions = ["kafka:i", "https://u:s3cret@h/i.jsonl"]
store = "ssl://u:s3cret@h/s"
hostfile = 'sftp://u:s3cret@h/s'
[kafka]
"sasl.password" = "s3cret"
"ssl.key.pem" = """
s3cret"""
sasl.jaas = { config = "s3cret" }
"#;
    let told = |text: &str| match RunArguments::from_toml(text) {
        Err(error) => error,
        Ok(arguments) => {
            let planned = arguments.with_config().map(|complete| complete.plan().err());
            let error = planned.unwrap_or_else(Some);
            error.map_or_else(String::new, |error| format!("{error} {error:?}"))
        }
    };
    for at in 0..text.len() {
        for put in ["", "\"", "[", "=", "\n", "5", "\\"] {
            let text = format!("{}{put}{}", &text[..at], &text[at + 1..]);
            let told = told(&text);
            assert!(!told.contains(MARKER), "{told}\n{text}");
        }
    }
    for (at, said) in [(0, "UserInServers"), (1, "Url"), (3, "URL"), (4, "URL"), (5, "URL")] {
        let line = text.lines().nth(at).unwrap();
        let plays = "plays = [\"kafka:p\"]\nkafka-format = \"avro\"\n";
        let servers = if at == 0 { "" } else { "bootstrap-servers = \"h:1\"\n" };
        let store = if at == 4 { "" } else { "store = \"s.db\"\n" };
        let error = told(&format!("{line}\n{plays}{servers}{store}"));
        assert!(error.contains(said) && !error.contains(MARKER), "{at}: {error}");
    }
}
