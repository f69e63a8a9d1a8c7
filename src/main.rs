//! The `trendmark` program.

fn main() {}
