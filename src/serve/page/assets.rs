//! The files of the page. A file in `assets/` has an entry here.

use super::Asset;

/// Makes the list from the names of files.
macro_rules! assets {
    ($($name:literal),* $(,)?) => {
        &[$(Asset {
            name: $name,
            content_type: content_type($name),
            bytes: include_bytes!(concat!("assets/", $name)),
        }),*]
    };
}

/// All files.
pub static ASSETS: &[Asset] = assets![
    "api.js",
    "boot.js",
    "dom.js",
    "epochs.js",
    "format.js",
    "icon.svg",
    "job.js",
    "ledger.js",
    "live.js",
    "main.js",
    "plot.js",
    "refresher.js",
    "route.js",
    "rows.js",
    "section.js",
    "spark.js",
    "status.js",
    "stream.js",
    "style.css",
    "theme.js",
    "token.js",
    "trending.js",
    "uPlot.LICENSE",
    "uPlot.iife.min.js",
    "uPlot.min.css",
    "units.js",
    "video.js",
];

/// The type of a file, by the end of its name.
const fn content_type(name: &str) -> &'static str {
    match name.as_bytes() {
        [.., b'.', b'j', b's'] => "text/javascript; charset=utf-8",
        [.., b'.', b'c', b's', b's'] => "text/css; charset=utf-8",
        [.., b'.', b's', b'v', b'g'] => "image/svg+xml",
        [.., b'.', b'p', b'n', b'g'] => "image/png",
        _ => "text/plain; charset=utf-8",
    }
}
