//! Avro schemas, reduced to the layout of values.

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, Name, UuidSchema};
use std::collections::BTreeMap;

/// The encoding and the type of a value.
#[derive(Debug)]
pub(super) enum Shape {
    Null,
    Integer(Integer),
    Text,
    Bytes,
    /// Length-prefixed bytes that are a decimal.
    Decimal,
    /// A fixed number of bytes.
    Fixed(u64),
    /// A fixed number of bytes, and the name of a type that no wanted field can have.
    Plain(u64, &'static str),
    Union(Vec<Shape>),
    Record(Vec<Shape>),
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
    numbers: BTreeMap<String, usize>,
    named: Vec<Option<Shape>>,
}

impl Shapes {
    /// Returns the shape of a schema.
    pub(super) fn shape(&mut self, schema: &Schema) -> Result<Shape, String> {
        let integer = |integer| Ok(Shape::Integer(integer));
        let instant = |per_ms| integer(Integer::Instant { per_ms });
        let other = |what| integer(Integer::Unsupported(what));
        match schema {
            Schema::Null => Ok(Shape::Null),
            Schema::Boolean => Ok(Shape::Plain(1, "a boolean")),
            Schema::Int | Schema::Long => integer(Integer::Plain),
            Schema::Float => Ok(Shape::Plain(4, "a floating-point number")),
            Schema::Double => Ok(Shape::Plain(8, "a floating-point number")),
            Schema::Bytes => Ok(Shape::Bytes),
            Schema::String => Ok(Shape::Text),
            Schema::Date => other("a date"),
            Schema::TimeMillis | Schema::TimeMicros => other("a time of day"),
            Schema::TimestampMillis => instant(1),
            Schema::TimestampMicros => instant(1_000),
            Schema::TimestampNanos => instant(1_000_000),
            Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => other(LOCAL),
            Schema::BigDecimal => Ok(Shape::Decimal),
            Schema::Array(array) => Ok(Shape::Array(Box::new(self.shape(&array.items)?))),
            Schema::Map(map) => Ok(Shape::Map(Box::new(self.shape(&map.types)?))),
            Schema::Union(union) => {
                let variants = union.variants().iter().map(|variant| self.shape(variant));
                Ok(Shape::Union(variants.collect::<Result<_, _>>()?))
            }
            named => self.of_name(named),
        }
    }

    /// Returns the shape of a schema that has a name, or may have one.
    fn of_name(&mut self, schema: &Schema) -> Result<Shape, String> {
        match schema {
            Schema::Record(record) => {
                let parts = record.fields.iter().map(|field| self.shape(&field.schema));
                let parts = parts.collect::<Result<_, _>>()?;
                Ok(self.name(&record.name, Shape::Record(parts)))
            }
            Schema::Enum(symbols) => {
                Ok(self.name(&symbols.name, Shape::Integer(Integer::Unsupported("an enum"))))
            }
            Schema::Fixed(fixed) => Ok(self.name(&fixed.name, Shape::Fixed(fixed.size as u64))),
            Schema::Duration(fixed) => {
                Ok(self.name(&fixed.name, Shape::Plain(fixed.size as u64, "a duration")))
            }
            Schema::Decimal(decimal) => Ok(match &decimal.inner {
                InnerDecimalSchema::Bytes => Shape::Decimal,
                InnerDecimalSchema::Fixed(fixed) => {
                    self.name(&fixed.name, Shape::Plain(fixed.size as u64, "a decimal"))
                }
            }),
            Schema::Uuid(UuidSchema::String) => Ok(Shape::Text),
            Schema::Uuid(UuidSchema::Bytes) => Ok(Shape::Bytes),
            Schema::Uuid(UuidSchema::Fixed(fixed)) => {
                Ok(self.name(&fixed.name, Shape::Fixed(fixed.size as u64)))
            }
            Schema::Ref { name } => Ok(Shape::Named(self.number(name))),
            other => Err(format!("it has an unsupported type: {other:?}")),
        }
    }

    fn number(&mut self, name: &Name) -> usize {
        let (numbers, named) = (&mut self.numbers, &mut self.named);
        *numbers.entry(name.fullname(None)).or_insert_with(|| {
            named.push(None);
            named.len() - 1
        })
    }

    fn name(&mut self, name: &Name, shape: Shape) -> Shape {
        let number = self.number(name);
        self.named[number] = Some(shape);
        Shape::Named(number)
    }

    /// Returns the shapes of all names.
    pub(super) fn finish(self) -> Result<Vec<Shape>, String> {
        let named: Option<Vec<Shape>> = self.named.into_iter().collect();
        named.ok_or_else(|| "it uses an undefined name".into())
    }
}
