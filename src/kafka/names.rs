//! The names of topics, `kafka:TOPIC`, and of their partitions, `kafka:TOPIC/NUMBER`.

/// The maximum length of a topic name, in bytes; Kafka's own limit.
const TOPIC_BYTES_MAX: usize = 249;

/// The error for an invalid topic name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`kafka:{topic}` is not a valid topic: a topic name has 1 to {TOPIC_BYTES_MAX} letters, \
     digits, dots, underscores and hyphens; for a file of that name write `./kafka:{topic}`"
)]
pub struct TopicNameError {
    /// The text after `kafka:`.
    pub topic: String,
}

/// Returns the topic in `kafka:TOPIC`, or `None` if `place` does not begin with `kafka:`.
///
/// # Errors
/// When the text after `kafka:` is not a valid topic name.
pub fn parse_topic(place: &str) -> Result<Option<&str>, TopicNameError> {
    let Some(topic) = place.strip_prefix("kafka:") else { return Ok(None) };
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_topic = (1..=TOPIC_BYTES_MAX).contains(&topic.len())
        && topic.bytes().all(is_allowed)
        && !matches!(topic, "." | "..");
    if is_topic { Ok(Some(topic)) } else { Err(TopicNameError { topic: topic.into() }) }
}

/// Returns the topic and the number of the partition in `kafka:TOPIC/NUMBER`, or `None` if `name`
/// is not of this form. No name of a file is, as it ends with the format of the file.
pub fn parse_partition(name: &str) -> Option<(&str, i32)> {
    let (topic, number) = name.strip_prefix("kafka:")?.rsplit_once('/')?;
    let number = number.parse().ok().filter(|number| *number >= 0)?;
    Some((topic, number))
}
