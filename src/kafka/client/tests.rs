//! Tests that settings are resolved, and that librdkafka accepts them.

use super::super::tests::settings;

#[test]
fn a_value_comes_from_a_file_without_its_newline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "s3cret\n").unwrap();
    let reference = format!("file:{}", path.display());
    let config = settings(&[("sasl.password", &reference)]).client_config().unwrap();
    assert_eq!(config.get("sasl.password"), Some("s3cret"));
    assert_eq!(config.get("bootstrap.servers"), Some("localhost:9092"));
}

#[test]
fn a_value_comes_from_the_environment() {
    let config = settings(&[("sasl.username", "env:CARGO_PKG_NAME")]).client_config().unwrap();
    assert_eq!(config.get("sasl.username"), Some("trendmark"));
}

#[test]
fn errors_do_not_contain_secrets() {
    let told = |given: &[(&str, &str)]| settings(given).client_config().unwrap_err().to_string();
    let missing = told(&[("sasl.password", "env:TRENDMARK_NO_SUCH_VARIABLE")]);
    assert!(missing.contains("`TRENDMARK_NO_SUCH_VARIABLE`, which is not set"), "{missing}");
    let missing = told(&[("sasl.password", "file:/no/such/file")]);
    assert!(missing.contains("`/no/such/file`"), "{missing}");
    let unknown = told(&[("no.such.password", "s3cret")]);
    assert!(unknown.contains("no.such.password") && !unknown.contains("s3cret"), "{unknown}");
    let unknown = told(&[("fetch.wait.max.ms", "soon")]);
    assert!(unknown.contains("`fetch.wait.max.ms` is wrong: Invalid value"), "{unknown}");
    let hidden = told(&[("sasl.password", "(hidden)")]);
    assert!(hidden.contains("file:PATH or env:NAME"), "{hidden}");
}

#[cfg(not(feature = "kafka-tls"))]
#[test]
fn settings_that_need_tls_name_the_feature_to_build() {
    for (key, value) in [("security.protocol", "SASL_SSL"), ("sasl.mechanisms", "SCRAM-SHA-512")] {
        let error = settings(&[(key, value)]).client_config().unwrap_err().to_string();
        let named = format!("the Kafka setting `{key}={value}` needs the feature `kafka-tls`");
        assert!(error.contains(&named), "{error}");
    }
}
