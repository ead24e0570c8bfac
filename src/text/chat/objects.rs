//! Python's values that minijinja lacks: tuples, the views of a dict, and methods that are bound to a value. And lists
//! and dicts that know how deep they nest: dropping a value that nests without end would overflow the stack, so all
//! that puts values into others makes these.

use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Error, State};

use super::methods;
use super::python::{failed, is_namespace, lookup};

/// How deep lists and dicts may nest. A page has one megabyte of stack.
pub const DEEPEST_VALUE: usize = 200;

/// How deep a value nests. What is not made here comes from JSON or has only values that are.
fn depth(value: &Value) -> usize {
    if let Some(sequence) = value.downcast_object_ref::<Sequence>() {
        return sequence.depth;
    }
    if let Some(dict) = value.downcast_object_ref::<Dict>() {
        return dict.depth;
    }
    let inside = |value: &Value| value.try_iter().into_iter().flatten().map(|item| depth(&item)).max().unwrap_or(0);
    match value.kind() {
        // A namespace could hold itself.
        ValueKind::Map if is_namespace(value) => DEEPEST_VALUE,
        ValueKind::Map => {
            let values = value.try_iter().into_iter().flatten().filter_map(|key| value.get_item(&key).ok());
            values.map(|value| depth(&value)).max().unwrap_or(0).saturating_add(1)
        }
        ValueKind::Seq | ValueKind::Iterable => inside(value).saturating_add(1),
        _ => 0,
    }
}

fn depth_over<'v>(values: impl Iterator<Item = &'v Value>) -> Result<usize, Error> {
    match values.map(depth).max().unwrap_or(0).saturating_add(1) {
        depth if depth <= DEEPEST_VALUE => Ok(depth),
        _ => Err(failed("a list, a dict or a namespace is nested too deeply")),
    }
}

/// How items in an order are held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    List,
    Tuple,
    Group,
    Keys,
    Values,
    Items,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::List => "list",
            Kind::Tuple | Kind::Group => "tuple",
            Kind::Keys => "dict_keys",
            Kind::Values => "dict_values",
            Kind::Items => "dict_items",
        }
    }
}

#[derive(Debug)]
pub struct Sequence {
    kind: Kind,
    items: Vec<Value>,
    depth: usize,
}

impl Sequence {
    pub fn type_name(&self) -> &'static str {
        self.kind.name()
    }

    pub fn value(kind: Kind, items: Vec<Value>) -> Result<Value, Error> {
        let depth = depth_over(items.iter())?;
        Ok(Value::from_object(Sequence { kind, items, depth }))
    }

    /// What `groupby` makes: a tuple whose items are also `grouper` and `list`.
    pub fn group(grouper: Value, list: Value) -> Result<Value, Error> {
        Sequence::value(Kind::Group, vec![grouper, list])
    }
}

impl Object for Sequence {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match (self.kind, key.as_str()) {
            (Kind::Group, Some("grouper")) => self.items.first().cloned(),
            (Kind::Group, Some("list")) => self.items.get(1).cloned(),
            _ => self.items.get(key.as_usize()?).cloned(),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.items.len())
    }
}

#[derive(Debug)]
pub struct Dict {
    /// minijinja's own.
    map: Value,
    depth: usize,
}

impl Dict {
    pub fn value(fields: Vec<(Value, Value)>) -> Result<Value, Error> {
        let depth = depth_over(fields.iter().map(|(_, value)| value))?;
        Ok(Value::from_object(Dict { map: fields.into_iter().collect(), depth }))
    }
}

impl Object for Dict {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        lookup(&self.map, key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.map.try_iter().into_iter().flatten().collect())
    }
}

/// What a namespace holds: anything but another namespace, which could lead back to it.
pub fn stored(value: Value) -> Result<Value, Error> {
    if is_namespace(&value) { Err(failed("a namespace holds a namespace")) } else { Ok(value) }
}

/// `value.name`, where `name` is a method of its type.
#[derive(Debug)]
pub struct Method {
    value: Value,
    name: String,
}

impl Method {
    pub fn value(value: &Value, name: &str) -> Value {
        Value::from_object(Method { value: value.clone(), name: name.to_owned() })
    }
}

impl Object for Method {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &State, args: &[Value]) -> Result<Value, Error> {
        methods::call(state, &self.value, &self.name, args)
    }
}
