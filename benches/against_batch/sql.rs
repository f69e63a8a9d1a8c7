//! Prints the queries as the benchmark against DuckDB needs them, so that the text of their SQL is
//! kept in `dataflows/` alone: a JSON array of `{name, columns: [{name, is_request}], batch_sql}`.
//!
//! `cargo run --example batch_sql`

use serde_json::{Value, json};
use trendmark::dataflows;
use trendmark::query::{Column, ColumnType, Query};

fn main() {
    let queries = dataflows::ALL.into_iter().chain([&dataflows::distinct::QUERY]);
    println!("{}", Value::Array(queries.map(describe).collect()));
}

fn describe(query: &Query) -> Value {
    let epoch = Column::new("epoch", ColumnType::Count, "");
    let columns = query.key.iter().chain([&epoch]).chain(query.values);
    json!({
        "name": query.name,
        "columns": columns.map(describe_column).collect::<Vec<_>>(),
        "batch_sql": query.batch_sql,
    })
}

fn describe_column(column: &Column) -> Value {
    json!({ "name": column.name, "is_request": column.column_type == ColumnType::Request })
}
