//! What is wanted of the records of a schema: the layout of values, with the wanted fields marked.

use super::shape::{Shape, Shapes};
use crate::decode::{FieldNames, FieldTree};
use std::collections::BTreeMap;

/// How to read a value.
#[derive(Debug)]
pub(super) enum Step {
    /// Skip it.
    Skip(Shape),
    /// It is the wanted field of this index.
    Field(usize, Shape),
    /// A record with wanted fields inside, by its number.
    Record(usize),
    /// A union with wanted fields inside some of its branches.
    Union(Vec<Step>),
    /// A null in place of the record that has these wanted fields inside.
    Null(Vec<usize>),
}

/// How to read the records of a schema.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) root: Step,
    /// The steps of the records that have wanted fields inside, by number.
    pub(super) records: Vec<Vec<Step>>,
    /// The named types, by number.
    pub(super) named: Vec<Shape>,
}

impl Plan {
    /// Plans how to read records of a schema. Names in it may be defined by the references.
    pub(super) fn new(
        fields: &FieldNames,
        schema: &str,
        references: &[(String, String)],
    ) -> Result<Plan, String> {
        let mut shapes = Shapes::default();
        for (name, text) in references {
            shapes.parse(text).map_err(|error| format!("in its reference `{name}`, {error}"))?;
        }
        let root = shapes.parse(schema)?;
        let named = shapes.finish()?;
        let is_record = |shape: &Shape| matches!(resolved(shape, &named), Shape::Record(_));
        let has_record = match resolved(&root, &named) {
            Shape::Union(branches) => branches.iter().any(is_record),
            root => is_record(root),
        };
        if !has_record {
            return Err("it is the schema of neither a record nor a union with one".into());
        }
        let mut planner = Planner { named: &named, records: Vec::new(), numbers: BTreeMap::new() };
        let tree = fields.tree();
        let root = planner.step(&root, &tree);
        let records = planner.records;
        Ok(Plan { root, records, named })
    }
}

/// Follows the numbers of named types. An undefined name leads to a defined one, so this ends.
fn resolved<'s>(shape: &'s Shape, named: &'s [Shape]) -> &'s Shape {
    match shape {
        Shape::Named(number) => resolved(&named[*number], named),
        shape => shape,
    }
}

struct Planner<'s> {
    named: &'s [Shape],
    records: Vec<Vec<Step>>,
    /// The number of the record of a named type, for what is wanted of it: so the size of a plan is
    /// bounded by that of the schema, however often a type is used.
    numbers: BTreeMap<(usize, *const FieldTree), usize>,
}

impl Planner<'_> {
    /// Returns how to read a value of which a tree is wanted. Ends, as each record goes one step
    /// down the tree.
    fn step(&mut self, shape: &Shape, tree: &FieldTree) -> Step {
        if let Some(field) = tree.field {
            return Step::Field(field, shape.clone());
        }
        match shape {
            _ if tree.inside.is_empty() => Step::Skip(shape.clone()),
            Shape::Null => Step::Null(fields_inside(tree)),
            Shape::Union(branches) => {
                Step::Union(branches.iter().map(|branch| self.step(branch, tree)).collect())
            }
            Shape::Named(number) => match &self.named[*number] {
                Shape::Record(fields) => Step::Record(self.record(*number, fields, tree)),
                Shape::Named(other) => self.step(&Shape::Named(*other), tree),
                _ => Step::Skip(shape.clone()),
            },
            shape => Step::Skip(shape.clone()),
        }
    }

    fn record(&mut self, named: usize, fields: &[(String, Shape)], tree: &FieldTree) -> usize {
        let key = (named, std::ptr::from_ref(tree));
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let mut steps = Vec::new();
        for (name, shape) in fields {
            steps.push(match tree.place(name) {
                Some(place) => self.step(shape, &tree.inside[place].1),
                None => Step::Skip(shape.clone()),
            });
        }
        self.records.push(steps);
        let number = self.records.len() - 1;
        self.numbers.insert(key, number);
        number
    }
}

fn fields_inside(tree: &FieldTree) -> Vec<usize> {
    let inside = tree.inside.iter().flat_map(|(_, inside)| fields_inside(inside));
    tree.field.into_iter().chain(inside).collect()
}
