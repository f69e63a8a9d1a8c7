//! Avro schemas, reduced to the layout of values.
//!
//! The schema is read as leniently as the bytes allow: names and namespaces may have any
//! characters, and defaults, symbols, documentation and order are not looked at, since none of them
//! matters for how values are written. Registries accept such schemas.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The encoding and the type of a value.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Null,
    Integer(Integer),
    Text,
    Bytes,
    /// Length-prefixed bytes that are a decimal; whether its scale is 0.
    Decimal(bool),
    /// A fixed number of bytes.
    Fixed(u64),
    /// A fixed number of bytes that are a decimal of scale 0.
    FixedDecimal(u64),
    /// A fixed number of bytes, and the name of a type that no wanted field can have.
    Plain(u64, &'static str),
    Union(Vec<Shape>),
    /// The fields with their names.
    Record(Vec<(String, Shape)>),
    Array(Box<Shape>),
    Map(Box<Shape>),
    /// A named type, by its number.
    Named(usize),
}

/// The meaning of an integer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Integer {
    Plain,
    Instant { per_ms: i64 },
    Unsupported(&'static str),
}

const LOCAL: &str = "a local time, which has no zone";

/// Converts schemas to shapes. Names may be used before they are defined.
#[derive(Default)]
pub(super) struct Shapes {
    /// The numbers of the named types, by their full names.
    numbers: BTreeMap<String, usize>,
    named: Vec<Option<Shape>>,
}

impl Shapes {
    /// Returns the shape of a schema, given as JSON.
    pub(super) fn parse(&mut self, schema: &str) -> Result<Shape, String> {
        let json = serde_json::from_str(schema);
        self.shape(&json.map_err(|error| format!("it is not JSON: {error}"))?, "")
    }

    /// Returns the shape of a schema inside a namespace.
    fn shape(&mut self, schema: &Value, space: &str) -> Result<Shape, String> {
        match schema {
            Value::String(name) => Ok(self.by_name(name, space)),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.shape(branch, space));
                Ok(Shape::Union(branches.collect::<Result<_, _>>()?))
            }
            Value::Object(schema) => self.described(schema, space),
            _ => Err(format!("a type is {schema}")),
        }
    }

    fn described(&mut self, schema: &Map<String, Value>, space: &str) -> Result<Shape, String> {
        let kind = schema.get("type").ok_or("a type has no `type`")?;
        let Value::String(kind) = kind else { return self.shape(kind, space) };
        let inside = |key: &str| schema.get(key).ok_or_else(|| format!("{kind} has no `{key}`"));
        let logical = schema.get("logicalType").and_then(Value::as_str).unwrap_or_default();
        match kind.as_str() {
            "record" | "error" => self.record(schema, space, inside("fields")?),
            "enum" => self.define(schema, space, Shape::Integer(Integer::Unsupported("an enum"))),
            "fixed" => {
                let size = inside("size")?.as_u64().ok_or("the size of a fixed is no number")?;
                let shape = match logical {
                    "decimal" if scale(schema) == 0 => Shape::FixedDecimal(size),
                    "decimal" => Shape::Plain(size, "a decimal with a fraction"),
                    "duration" => Shape::Plain(size, "a duration"),
                    _ => Shape::Fixed(size),
                };
                self.define(schema, space, shape)
            }
            "array" => Ok(Shape::Array(Box::new(self.shape(inside("items")?, space)?))),
            "map" => Ok(Shape::Map(Box::new(self.shape(inside("values")?, space)?))),
            kind => Ok(logical_type(kind, logical, scale(schema))
                .unwrap_or_else(|| self.by_name(kind, space))),
        }
    }

    fn record(
        &mut self,
        schema: &Map<String, Value>,
        space: &str,
        fields: &Value,
    ) -> Result<Shape, String> {
        let name = full_name(schema, space)?;
        let space = name.rsplit_once('.').map_or("", |(space, _)| space);
        let fields = fields.as_array().ok_or("the fields of a record are no list")?;
        let field = |field: &Value| {
            let name = field.get("name").and_then(Value::as_str).ok_or("a field has no name")?;
            let shape = field.get("type").ok_or_else(|| format!("field `{name}` has no type"))?;
            Ok((name.to_string(), self.shape(shape, space)?))
        };
        let fields = fields.iter().map(field).collect::<Result<_, String>>()?;
        self.define(schema, space, Shape::Record(fields))
    }

    /// Gives the name of a schema to a shape. The first of equal names counts.
    fn define(
        &mut self,
        schema: &Map<String, Value>,
        space: &str,
        shape: Shape,
    ) -> Result<Shape, String> {
        let number = self.number(full_name(schema, space)?);
        self.named[number].get_or_insert(shape);
        Ok(Shape::Named(number))
    }

    /// Returns the shape of a primitive type, or of the named type that a name means in a
    /// namespace.
    fn by_name(&mut self, name: &str, space: &str) -> Shape {
        primitive(name).unwrap_or_else(|| Shape::Named(self.number(qualified(name, space))))
    }

    fn number(&mut self, name: String) -> usize {
        let (numbers, named) = (&mut self.numbers, &mut self.named);
        *numbers.entry(name).or_insert_with(|| {
            named.push(None);
            named.len() - 1
        })
    }

    /// Returns the shapes of all names. A name that its namespace does not have means the same name
    /// outside all namespaces.
    pub(super) fn finish(mut self) -> Result<Vec<Shape>, String> {
        let is_defined: Vec<bool> = self.named.iter().map(Option::is_some).collect();
        for (name, &number) in self.numbers.iter().filter(|(_, number)| !is_defined[**number]) {
            let outside = name.rsplit_once('.').and_then(|(_, last)| self.numbers.get(last));
            let outside = outside.filter(|outside| is_defined[**outside]);
            let outside = outside.ok_or_else(|| format!("its type `{name}` is not defined"))?;
            self.named[number] = Some(Shape::Named(*outside));
        }
        Ok(self.named.into_iter().flatten().collect())
    }
}

/// Returns the full name of the named type that a schema defines.
fn full_name(schema: &Map<String, Value>, space: &str) -> Result<String, String> {
    let text = |key: &str| schema.get(key).and_then(Value::as_str);
    let name = text("name").ok_or("a record, enum or fixed has no name")?;
    Ok(qualified(name, text("namespace").unwrap_or(space)))
}

fn qualified(name: &str, space: &str) -> String {
    match name.contains('.') || space.is_empty() {
        true => name.into(),
        false => format!("{space}.{name}"),
    }
}

fn primitive(name: &str) -> Option<Shape> {
    Some(match name {
        "null" => Shape::Null,
        "boolean" => Shape::Plain(1, "a boolean"),
        "int" | "long" => Shape::Integer(Integer::Plain),
        "float" => Shape::Plain(4, "a floating-point number"),
        "double" => Shape::Plain(8, "a floating-point number"),
        "bytes" => Shape::Bytes,
        "string" => Shape::Text,
        _ => return None,
    })
}

/// Returns the shape of a primitive type with a logical type, which is ignored where it does not
/// fit.
fn logical_type(kind: &str, logical: &str, scale: u64) -> Option<Shape> {
    let integer = |integer| Some(Shape::Integer(integer));
    let instant = |per_ms| integer(Integer::Instant { per_ms });
    match (kind, logical) {
        ("long", "timestamp-millis") => instant(1),
        ("long", "timestamp-micros") => instant(1_000),
        ("long", "timestamp-nanos") => instant(1_000_000),
        ("long", "local-timestamp-millis" | "local-timestamp-micros" | "local-timestamp-nanos") => {
            integer(Integer::Unsupported(LOCAL))
        }
        ("int", "date") => integer(Integer::Unsupported("a date")),
        ("int", "time-millis") | ("long", "time-micros") => {
            integer(Integer::Unsupported("a time of day"))
        }
        ("bytes", "decimal") => Some(Shape::Decimal(scale == 0)),
        ("bytes", "big-decimal") => Some(Shape::Decimal(false)),
        (kind, _) => primitive(kind),
    }
}

/// The scale of a decimal, 0 by default; one that is no number counts as a fraction.
fn scale(schema: &Map<String, Value>) -> u64 {
    schema.get("scale").map_or(0, |scale| scale.as_u64().unwrap_or(1))
}
