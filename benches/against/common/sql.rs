//! Prints the queries for the benchmark against DuckDB, so that their SQL is only in `dataflows/`:
//! a JSON array of `{name, is_ledger, reads_queries, columns: [{name, is_text}], batch_sql,
//! whole_sql}`. `whole_sql` begins with the queries that a query reads, which precede it in the
//! array.
//!
//! `cargo run --example batch_sql [--QUERY-PARAMETER=VALUE …]`

use serde_json::{Value, json};
use trendmark::dataflows;
use trendmark::query::parameters::flag;
use trendmark::query::{Column, ColumnType, Parameters, Query, QueryInstance, Role};

fn main() {
    let queries = dataflows::ALL.iter().copied().chain([dataflows::LEDGER]);
    let described = queries.map(|query| describe(&parametrised(query)));
    println!("{}", Value::Array(described.collect()));
}

/// Returns the query with the parameters that the arguments give.
fn parametrised(query: &'static Query) -> QueryInstance {
    let given = |name: &str| {
        let begin = format!("--{}=", flag(query.name, name));
        std::env::args().find_map(|argument| argument.strip_prefix(&begin)?.parse().ok())
    };
    QueryInstance { query, parameters: Parameters::new(query.parameters, given) }
}

/// Returns the SQL of a query, with the values of its parameters.
fn batch_sql(QueryInstance { query, parameters }: &QueryInstance) -> String {
    parameters.iter().fold(query.batch_sql.to_owned(), |sql, (parameter, value)| {
        sql.replace(&format!("${}", parameter.name), &value.to_string())
    })
}

/// Returns the SQL of a query and of those that it reads.
fn whole_sql(instance: &QueryInstance) -> String {
    let reads = instance.query.reads.iter().map(|read| {
        let sql = batch_sql(&parametrised(read));
        format!("{} AS ({sql})", read.name)
    });
    match reads.collect::<Vec<_>>() {
        reads if reads.is_empty() => batch_sql(instance),
        reads => format!("WITH {} SELECT * FROM ({})", reads.join(", "), batch_sql(instance)),
    }
}

fn describe(instance: &QueryInstance) -> Value {
    let query = instance.query;
    let epoch = Column::new("epoch", ColumnType::Count, "");
    let columns = query.key.iter().chain([&epoch]).chain(query.values);
    json!({
        "name": query.name,
        "is_ledger": query.role == Role::Ledger,
        "reads_queries": !query.reads.is_empty(),
        "columns": columns.map(describe_column).collect::<Vec<_>>(),
        "batch_sql": batch_sql(instance),
        "whole_sql": whole_sql(instance),
    })
}

fn describe_column(column: &Column) -> Value {
    let is_text = matches!(column.column_type, ColumnType::Request | ColumnType::Kind);
    json!({ "name": column.name, "is_text": is_text })
}
