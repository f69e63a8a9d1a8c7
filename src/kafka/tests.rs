//! Tests that settings are refused and printed, and that secrets are hidden.

use super::*;

pub(super) fn settings(settings: &[(&str, &str)]) -> KafkaSettings {
    let settings = settings.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    KafkaSettings { bootstrap_servers: "localhost:9092".into(), settings: settings.collect() }
}

#[test]
fn a_secret_is_redacted_unless_it_is_a_reference() {
    let hidden = [
        "sasl.password",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.jaas.config",
        "SASL.PASSWORD",
        "some.token",
    ];
    for key in hidden {
        let printed = format!("{:?}", settings(&[(key, "s3cret")]));
        assert!(printed.contains("(hidden)") && !printed.contains("s3cret"), "{key}: {printed}");
        for elsewhere in ["file:/run/s3cret", "env:GEHEIM"] {
            let printed = format!("{:?}", settings(&[(key, elsewhere)]));
            assert!(printed.contains(elsewhere), "{key}: {printed}");
        }
    }
    for key in ["ssl.key.location", "ssl.ca.location", "sasl.username", "security.protocol"] {
        assert!(format!("{:?}", settings(&[(key, "plain")])).contains("plain"), "{key}");
    }
}

#[test]
fn settings_that_would_break_the_job_are_refused() {
    for (key, reason) in RESERVED_SETTINGS {
        let error = settings(&[(key, "true")]).check().unwrap_err();
        assert_eq!(error, KafkaSettingsError::Refused { key: key.into(), reason });
    }
    let nowhere = KafkaSettings::default().check().unwrap_err();
    assert_eq!(nowhere, KafkaSettingsError::NoServers);
}

#[test]
fn a_store_location_is_a_topic_or_a_path() {
    assert_eq!(parse_topic("kafka:plays.v1_a-b"), Ok(Some("plays.v1_a-b")));
    assert_eq!(parse_topic("./kafka:plays"), Ok(None));
    assert_eq!(parse_topic("plays.jsonl"), Ok(None));
    for wrong in ["kafka:", "kafka:a/b", "kafka:..", "kafka:*.jsonl"] {
        assert!(parse_topic(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn users_of_urls_are_hidden() {
    for (text, hidden) in [
        ("https://u:s3cret@h/x", "https://(hidden)@h/x"),
        ("a http://u@h:1 and ssl://u:p@w@h, b", "a http://(hidden)@h:1 and ssl://(hidden)@h, b"),
        ("http://h/x?y=a@b", "http://h/x?y=a@b"),
        ("://", "://"),
        ("no URL, u:p@h", "no URL, u:p@h"),
    ] {
        assert_eq!(hide_users(text), hidden);
    }
    let endpoint = "https://u:s3cret@h/token";
    let printed = format!("{:?}", settings(&[("sasl.oauthbearer.token.endpoint.url", endpoint)]));
    assert!(printed.contains("(hidden)") && !printed.contains("s3cret"), "{printed}");
    let servers = KafkaSettings { bootstrap_servers: "u:s3cret@h:1".into(), ..settings(&[]) };
    assert_eq!(servers.check(), Err(KafkaSettingsError::UserInServers));
}
