//! The page: HTML that is filled here, so that it can be read without JavaScript, and its files.

mod assets;
mod render;

use super::api::{self, Asked};
use super::error::ApiError;
use super::head::Head;
use super::parameters::{Given, Parameter};
use super::reply::Reply;
use super::site::Site;
use super::table::Table;
use crate::stores::Snapshot;
use assets::ASSETS;
use render::{TRENDING_COLUMNS, escaped};

const TEMPLATE: &str = include_str!("index.html");

/// A file of the page.
pub struct Asset {
    /// Its name below `/assets/`.
    pub name: &'static str,
    /// Its type.
    pub content_type: &'static str,
    /// Its bytes.
    pub bytes: &'static [u8],
}

/// Returns a file of the page.
pub fn asset(path: &str) -> Option<Reply> {
    let name = path.strip_prefix("/assets/")?;
    let asset = ASSETS.iter().find(|asset| asset.name == name)?;
    Some(Reply::text(200, asset.content_type, asset.bytes))
}

/// Returns the page, with the tables as of a publication.
///
/// # Errors
/// When the store cannot be read.
pub fn page(site: &Site, snapshot: &dyn Snapshot, head: &Head) -> Result<Reply, ApiError> {
    let trending = match rows_of(site, snapshot, api::trending::answer, api::trending::PARAMETERS) {
        Ok(table) => render::trending(&table),
        // The job does not have the query.
        Err(ApiError { status: 404, text }) => {
            format!("<tr><td colspan=\"{}\">{}</td></tr>", TRENDING_COLUMNS, escaped(&text))
        }
        Err(error) => return Err(error),
    };
    let epochs = rows_of(site, snapshot, api::epochs::answer, api::epochs::PARAMETERS)?;
    Ok(filled(&trending, &render::epochs(&epochs), &status(head)))
}

/// Returns the page before there is anything to show.
pub fn empty(status: &str) -> Reply {
    filled("", "", &escaped(status))
}

fn filled(trending: &str, epochs: &str, status: &str) -> Reply {
    let html = TEMPLATE
        .replace("<!--trending-->", trending)
        .replace("<!--epochs-->", epochs)
        .replace("<!--status-->", status);
    Reply::text(200, "text/html; charset=utf-8", html)
}

fn rows_of(
    site: &Site,
    snapshot: &dyn Snapshot,
    answer: super::routes::Handler,
    parameters: &'static [Parameter],
) -> Result<Table, ApiError> {
    let given = Given::read(&[], parameters, &[], &[])?;
    Ok(answer(&Asked { site, snapshot, given: &given })?.table)
}

fn status(head: &Head) -> String {
    let watermark = head.watermark.as_deref().unwrap_or("none yet");
    escaped(&format!("Publication {}, watermark {watermark}", head.publication))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_of_the_folder_is_served_and_no_other() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/serve/page/assets");
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names: BTreeSet<String> = names.filter(|name| !name.starts_with('.')).collect();
        let listed: BTreeSet<String> = ASSETS.iter().map(|one| one.name.to_owned()).collect();
        assert_eq!(names, listed);
        assert_eq!(listed.len(), ASSETS.len());
        assert!(asset("/assets/../index.html").is_none());
    }

    #[test]
    fn the_template_has_each_marker_once() {
        for marker in ["<!--trending-->", "<!--epochs-->", "<!--status-->"] {
            assert_eq!(TEMPLATE.matches(marker).count(), 1, "{marker}");
        }
    }
}
