//! Prints the queries for the benchmark against DuckDB, so that their SQL is only in `dataflows/`:
//! a JSON array of `{name, is_ledger, columns: [{name, is_text}], batch_sql}`.
//!
//! `cargo run --example batch_sql`

use serde_json::{Value, json};
use trendmark::dataflows;
use trendmark::query::{Column, ColumnType, QueryInstance, Role};

fn main() {
    let queries = dataflows::ALL.iter().copied().chain([dataflows::LEDGER]);
    let described = queries.map(|query| describe(&QueryInstance::new(query)));
    println!("{}", Value::Array(described.collect()));
}

/// Describes a query, with the default values of its parameters in the SQL.
fn describe(QueryInstance { query, parameters }: &QueryInstance) -> Value {
    let epoch = Column::new("epoch", ColumnType::Count, "");
    let columns = query.key.iter().chain([&epoch]).chain(query.values);
    let batch_sql =
        parameters.iter().fold(query.batch_sql.to_owned(), |sql, (parameter, value)| {
            sql.replace(&format!("${}", parameter.name), &value.to_string())
        });
    json!({
        "name": query.name,
        "is_ledger": query.role == Role::Ledger,
        "columns": columns.map(describe_column).collect::<Vec<_>>(),
        "batch_sql": batch_sql,
    })
}

fn describe_column(column: &Column) -> Value {
    let is_text = matches!(column.column_type, ColumnType::Request | ColumnType::Kind);
    json!({ "name": column.name, "is_text": is_text })
}
