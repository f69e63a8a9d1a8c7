//! The description of the API, OpenAPI 3.1, made from the list of its paths.

use super::fields;
use super::parameters::Parameter;
use super::routes::{Action, ROUTES, Route, Rows};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::OnceLock;

/// Returns the description as it is sent. It is made once.
pub fn text(has_token: bool) -> Bytes {
    static TEXTS: [OnceLock<Bytes>; 2] = [const { OnceLock::new() }; 2];
    let text = &TEXTS[usize::from(has_token)];
    text.get_or_init(|| format!("{}\n", description(has_token)).into()).clone()
}

/// Returns the description; with a token if clients need one.
pub fn description(has_token: bool) -> Value {
    let paths: Map<String, Value> = ROUTES
        .iter()
        .map(|route| (route.path.to_owned(), json!({"get": operation(route)})))
        .collect();
    let mut description = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "trendmark",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Each answer is of one publication (commit) of the job, and names it. \
                Rows are provisional until their epoch is final. See docs/api.md.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": error_schema(), "Positions": positions_schema()}},
    });
    if has_token {
        description["components"]["securitySchemes"] =
            json!({"token": {"type": "http", "scheme": "bearer"}});
        description["security"] = json!([{"token": []}]);
    }
    description
}

fn error_schema() -> Value {
    json!({"type": "object", "required": ["error", "status"], "additionalProperties": false,
           "properties": {"error": {"type": "string"}, "status": {"type": "integer"}}})
}

fn positions_schema() -> Value {
    let offsets = json!({"type": "object", "additionalProperties": {"type": "integer"}});
    json!({"type": "object", "additionalProperties": offsets,
           "description": "the next offset of each partition, of the logs and of topics of titles"})
}

fn operation(route: &Route) -> Value {
    let parameter = |place: &'static str| {
        move |parameter: &Parameter| {
            json!({
                "name": parameter.name, "in": place, "required": parameter.is_required,
                "description": parameter.about, "schema": parameter.schema(),
            })
        }
    };
    let in_path = route.in_path.iter().map(parameter("path"));
    let parameters: Vec<Value> =
        in_path.chain(route.in_query.iter().map(parameter("query"))).collect();
    let mut responses = Map::new();
    responses.insert("200".into(), answer(route));
    let errors = [
        ("400", "a parameter is wrong"),
        ("401", "the token is missing or wrong"),
        ("403", "the Host header is of another machine"),
        ("404", "there is no such thing"),
        ("414", "the URL is too long"),
        ("503", "not now: try again"),
    ];
    for (status, about) in errors {
        let schema = json!({"$ref": "#/components/schemas/Error"});
        let content = json!({"application/json": {"schema": schema}});
        responses.insert(status.into(), json!({"description": about, "content": content}));
    }
    if matches!(route.action, Action::Rows(_)) {
        responses.insert("304".into(), json!({"description": "as before: see `If-None-Match`"}));
    }
    json!({"summary": route.about, "operationId": operation_id(route),
           "parameters": parameters, "responses": responses})
}

fn operation_id(route: &Route) -> String {
    let words = route.path.trim_start_matches("/api/v1/").split(['/', '.', '{', '}']);
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_")
}

fn answer(route: &Route) -> Value {
    match &route.action {
        Action::Rows(rows) => {
            let mut content = json!({"application/json": {"schema": envelope(rows)}});
            if rows.has_rows {
                content["text/csv"] = json!({"schema": {"type": "string"}});
            }
            let text = json!({"schema": {"type": "string"}});
            let headers = json!({"ETag": text, "Trendmark-Publication": text,
                                 "Trendmark-Generation": text, "Trendmark-Watermark": text});
            json!({"description": "rows of one publication", "content": content,
                   "headers": headers})
        }
        Action::Events => {
            let content = json!({"text/event-stream": {"schema": {"type": "string"}}});
            json!({"description": "events named `publication` or `reset`", "content": content})
        }
        Action::Description => {
            let content = json!({"application/json": {"schema": {"type": "object"}}});
            json!({"description": "OpenAPI 3.1", "content": content})
        }
    }
}

/// The schema of an answer of rows.
fn envelope(rows: &Rows) -> Value {
    let whole = json!({"type": "integer", "minimum": 0});
    let time = json!({"type": ["string", "null"], "format": "date-time"});
    let row = match rows.fields {
        Some(fields) => fields::schema(fields),
        None => json!({"type": "object", "required": ["epoch", "epoch_start", "final",
                                                      "publication"]}),
    };
    let mut properties = json!({
        "publication": whole, "generation": whole, "watermark": time, "final_through": time,
        "finished": {"type": "boolean"}, "published_at": time,
        "positions": {"$ref": "#/components/schemas/Positions"},
        "rows": {"type": "array", "items": row}, "total": whole,
    });
    for (name, schema) in rows.more {
        properties[*name] = schema();
    }
    let names: Vec<String> =
        properties.as_object().into_iter().flat_map(|all| all.keys().cloned()).collect();
    json!({"type": "object", "properties": properties, "required": names,
           "additionalProperties": false})
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The names of the parameters of each path: from the list, and from the description.
    #[test]
    fn the_description_has_every_path_and_parameter_and_no_others() {
        let description = description(false);
        let listed: BTreeSet<(&str, &str, &str)> = ROUTES
            .iter()
            .flat_map(|route| {
                let path = route.path;
                let in_path = route.in_path.iter().map(move |one| (path, "path", one.name));
                let in_query = route.in_query.iter().map(move |one| (path, "query", one.name));
                in_path.chain(in_query).chain([(path, "", "")])
            })
            .collect();
        let mut described = BTreeSet::new();
        for (path, methods) in description["paths"].as_object().unwrap() {
            assert_eq!(methods.as_object().unwrap().len(), 1, "{path}");
            described.insert((path.as_str(), "", ""));
            for one in methods["get"]["parameters"].as_array().unwrap() {
                let [place, name] = ["in", "name"].map(|member| one[member].as_str().unwrap());
                described.insert((path, place, name));
            }
        }
        assert_eq!(listed, described);
    }

    #[test]
    fn every_reference_and_every_operation_is_unique_and_there() {
        let description = description(true);
        let text = description.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(description.pointer(pointer).is_some(), "{pointer}");
        }
        let ids: BTreeSet<String> = ROUTES.iter().map(operation_id).collect();
        assert_eq!(ids.len(), ROUTES.len());
    }
}
