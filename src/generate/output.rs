//! Where a log is written to: files or topics.

use super::arrival::Arrival;
#[cfg(feature = "kafka")]
use super::topics::TopicWriter;
use super::write::LogFormat;
use super::{GenerateArguments, GenerateError, KafkaSettings, LogWriter, parse_topic};

/// The files or topics of a log.
pub enum Output {
    Files(LogWriter),
    #[cfg(feature = "kafka")]
    Topics(TopicWriter),
}

impl Output {
    /// Creates the files or the topics.
    ///
    /// # Errors
    /// When the arguments are invalid, there is a log already, or it cannot be written.
    pub fn create(arguments: &GenerateArguments) -> Result<Output, GenerateError> {
        let GenerateArguments { out, format, force, model, .. } = arguments;
        let Some(name) = out.to_str().map(parse_topic).transpose()?.flatten() else {
            if arguments.bootstrap_servers.is_some() || !arguments.kafka.is_empty() {
                return Err(GenerateError::NoTopics);
            }
            return Ok(Output::Files(LogWriter::create(out, *format, model.partitions, *force)?));
        };
        if *format != LogFormat::Jsonl {
            return Err(GenerateError::Format(format.extension()));
        }
        let servers = arguments.bootstrap_servers.as_deref().unwrap_or("");
        let settings = KafkaSettings::given(servers, &arguments.kafka)?;
        Output::create_topics(&settings, name, arguments)
    }

    #[cfg(feature = "kafka")]
    fn create_topics(
        settings: &KafkaSettings,
        name: &str,
        GenerateArguments { model, force, .. }: &GenerateArguments,
    ) -> Result<Output, GenerateError> {
        Ok(Output::Topics(TopicWriter::create(settings, name, model, *force)?))
    }

    #[cfg(not(feature = "kafka"))]
    fn create_topics(
        _: &KafkaSettings,
        name: &str,
        _: &GenerateArguments,
    ) -> Result<Output, GenerateError> {
        Err(crate::features::Feature::Kafka.missing(format!("`kafka:{name}`")).into())
    }

    /// Writes one record, which may stay in a buffer.
    ///
    /// # Errors
    /// When it cannot be written.
    #[inline]
    pub fn write(&mut self, arrival: &Arrival) -> Result<(), GenerateError> {
        match self {
            Output::Files(writer) => writer.write(arrival)?,
            #[cfg(feature = "kafka")]
            Output::Topics(writer) => writer.write(arrival)?,
        }
        Ok(())
    }

    /// Flushes buffered records to the files, for readers that follow them. Kafka messages need no
    /// flush.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> Result<(), GenerateError> {
        match self {
            Output::Files(writer) => writer.flush()?,
            #[cfg(feature = "kafka")]
            Output::Topics(_) => {}
        }
        Ok(())
    }

    /// Completes the log, and returns its size in bytes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> Result<u64, GenerateError> {
        match self {
            Output::Files(writer) => Ok(writer.finish()?),
            #[cfg(feature = "kafka")]
            Output::Topics(writer) => Ok(writer.finish()?),
        }
    }
}
