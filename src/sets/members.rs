//! Looks one showing up in the files of an epoch. Of each file only the row groups are read whose
//! bounds include the request.

use super::{SetFile, SetsError};
use crate::event::{RequestId, VideoId};
#[cfg(feature = "parquet")]
use crate::showings::members::Member;
use std::path::Path;

/// Returns whether a showing was played, or `None` if it is in no set.
///
/// # Errors
/// When a file cannot be read: it may have been replaced since it was listed.
#[cfg(feature = "parquet")]
pub fn find(
    folder: &Path,
    files: &[SetFile],
    request: RequestId,
    video: VideoId,
) -> Result<Option<bool>, SetsError> {
    let folder = super::Folder::new(folder.to_owned());
    let mut found = None;
    for file in files {
        let path = folder.published(file);
        let member = std::fs::File::open(&path)
            .and_then(|opened| super::parquet::find(opened, request.to_u128(), video.0))
            .map_err(super::folder::failed("read", &path))?;
        found = found.max(member);
    }
    Ok(match found {
        None | Some(Member::Removed) => None,
        Some(member) => Some(member == Member::Played),
    })
}

/// Fails: this build has no Parquet.
///
/// # Errors
/// Always.
#[cfg(not(feature = "parquet"))]
pub fn find(
    _folder: &Path,
    _files: &[SetFile],
    _request: RequestId,
    _video: VideoId,
) -> Result<Option<bool>, SetsError> {
    super::require()?;
    Ok(None)
}
