//! Where a log is written to: files or topics.

use super::arrival::Arrival;
use super::lines::{TITLES_FILE, write_titles};
#[cfg(feature = "kafka")]
use super::titles::titles;
#[cfg(feature = "kafka")]
use super::topics::TopicWriter;
use super::write::LogFormat;
use super::{GenerateArguments, GenerateError, KafkaSettings, LogWriter, parse_topic};
use std::path::Path;

/// The name of the topics to write to, unless it is a folder.
pub fn topics_name(out: &Path) -> Result<Option<&str>, GenerateError> {
    Ok(out.to_str().map(parse_topic).transpose()?.flatten())
}

/// The files or topics of a log.
pub enum Output {
    Files(LogWriter),
    #[cfg(feature = "kafka")]
    Topics(TopicWriter),
}

impl Output {
    /// Creates the files or the topics, and writes the titles.
    ///
    /// # Errors
    /// When the arguments are invalid, there is a log already, or it cannot be written.
    pub fn create(arguments: &GenerateArguments) -> Result<Output, GenerateError> {
        let GenerateArguments { out, format, force, model, .. } = arguments;
        let Some(name) = topics_name(out)? else {
            if arguments.bootstrap_servers.is_some() || !arguments.kafka.is_empty() {
                return Err(GenerateError::NoTopics);
            }
            let files =
                LogWriter::create(out, *format, model.world.kinds(), model.partitions, *force)?;
            if arguments.titles {
                write_titles(out.join(TITLES_FILE), model)?;
            }
            return Ok(Output::Files(files));
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
        GenerateArguments { model, force, titles: has_titles, .. }: &GenerateArguments,
    ) -> Result<Output, GenerateError> {
        let mut writer = TopicWriter::create(settings, name, model, *has_titles, *force)?;
        if *has_titles {
            titles(model).try_for_each(|title| writer.write_title(&title))?;
        }
        Ok(Output::Topics(writer))
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
