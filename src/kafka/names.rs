//! Topics as they are written on the command line: `kafka:TOPIC`.

/// The longest name of a topic, in bytes; Kafka's own limit.
const TOPIC_BYTES_MAX: usize = 249;

/// Why a text is not the name of a topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`kafka:{topic}` names no topic: a name has 1 to {TOPIC_BYTES_MAX} letters, digits, dots, \
     underscores and hyphens; for a file of that name write `./kafka:{topic}`"
)]
pub struct TopicNameError {
    /// What stands behind `kafka:`.
    pub topic: String,
}

/// The topic that a place stands for, or `None` if it is no place in Kafka.
///
/// # Errors
/// When it begins with `kafka:`, but Kafka has no topics of that name.
pub fn topic_of(place: &str) -> Result<Option<&str>, TopicNameError> {
    let Some(topic) = place.strip_prefix("kafka:") else { return Ok(None) };
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_topic = (1..=TOPIC_BYTES_MAX).contains(&topic.len())
        && topic.bytes().all(is_allowed)
        && !matches!(topic, "." | "..");
    if is_topic { Ok(Some(topic)) } else { Err(TopicNameError { topic: topic.into() }) }
}
