//! Values as Python has them: what they are called, how they print, whether they are equal, which comes first.

use std::cmp::Ordering;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::objects::{DEEPEST_VALUE, Method, Sequence};

/// An error that Python would raise, or that says what is not available.
pub fn failed(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.into())
}

/// What Python's `type(value).__name__` is.
pub fn type_name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "Undefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        ValueKind::Seq | ValueKind::Iterable => match value.downcast_object_ref::<Sequence>() {
            Some(sequence) => sequence.type_name(),
            None => "list",
        },
        ValueKind::Map if is_namespace(value) => "Namespace",
        ValueKind::Map => "dict",
        _ if value.downcast_object_ref::<Method>().is_some() => "method",
        _ => "object",
    }
}

/// For errors: also says when a value is missing.
pub fn described(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "a value that is not defined",
        ValueKind::None => "None",
        _ => type_name(value),
    }
}

pub fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}

pub fn is_dict(value: &Value) -> bool {
    value.kind() == ValueKind::Map && !is_namespace(value)
}

/// A list or a tuple; the views of a dict are none.
pub fn is_list(value: &Value) -> bool {
    matches!(type_name(value), "list" | "tuple")
}

/// A text that refuses to grow beyond what a template may render.
#[derive(Default)]
pub struct Text(String);

impl Text {
    pub fn push(&mut self, text: &str) -> Result<(), Error> {
        if text.len() > super::LONGEST_TEXT.saturating_sub(self.0.len()) {
            return Err(Error::new(ErrorKind::WriteFailure, "the text is too long"));
        }
        self.0.push_str(text);
        Ok(())
    }

    pub fn finish(self) -> String {
        self.0
    }
}

/// `str(value)`.
pub fn str(value: &Value) -> Result<String, Error> {
    match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None if value.is_undefined() => Ok(String::new()),
        None => repr(value),
    }
}

/// `repr(value)`.
pub fn repr(value: &Value) -> Result<String, Error> {
    let mut text = Text::default();
    write_repr(&mut text, value, 0)?;
    Ok(text.finish())
}

fn write_repr(text: &mut Text, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > DEEPEST_VALUE {
        return Err(failed("a list or an object is nested too deeply"));
    }
    let inner = depth.saturating_add(1);
    match type_name(value) {
        "Undefined" => text.push("Undefined"),
        "NoneType" => text.push("None"),
        "bool" => text.push(if value.is_true() { "True" } else { "False" }),
        "int" => text.push(&value.to_string()),
        "float" => text.push(&float(f64::try_from(value.clone())?)),
        "str" => text.push(&quoted(value.as_str().unwrap_or_default())),
        "dict" => {
            text.push("{")?;
            for (at, key) in value.try_iter()?.enumerate() {
                text.push(if at > 0 { ", " } else { "" })?;
                write_repr(text, &key, inner)?;
                text.push(": ")?;
                write_repr(text, &value.get_item(&key)?, inner)?;
            }
            text.push("}")
        }
        name @ ("list" | "tuple" | "dict_keys" | "dict_values" | "dict_items") => {
            let (open, close) = match name {
                "list" => ("[", "]"),
                "tuple" if value.len() == Some(1) => ("(", ",)"),
                "tuple" => ("(", ")"),
                _ => ("([", "])"),
            };
            text.push(if name.starts_with("dict") { name } else { "" })?;
            text.push(open)?;
            for (at, item) in value.try_iter()?.enumerate() {
                text.push(if at > 0 { ", " } else { "" })?;
                write_repr(text, &item, inner)?;
            }
            text.push(close)
        }
        _ => Err(failed("the template prints what is neither a text, a number, a list nor an object")),
    }
}

/// `repr` of a string: in apostrophes, or in quotes if it has only apostrophes inside.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => out.push_str(&match c as u32 {
                code @ ..0x100 => format!("\\x{code:02x}"),
                code @ ..0x10000 => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    out.push(quote);
    out
}

/// Python and Rust agree on which characters are printed as they are; Rust says so only through `Debug`, which also
/// escapes quotes, and marks that begin a string.
pub fn is_printable(c: char) -> bool {
    matches!(c, '\\' | '"' | '\'') || !format!("{:?}", format!(" {c}")).contains('\\')
}

/// `repr` of a float: the shortest digits, in scientific notation below 1e-4 and from 1e16 on.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    let scientific = format!("{value:e}");
    let power: i32 = scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    match scientific.split_once('e') {
        Some((digits, _)) if value != 0.0 && !(-4..16).contains(&power) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", power.unsigned_abs())
        }
        _ => format!("{value:?}"),
    }
}

/// A number; truth values are 0 and 1.
#[derive(Clone, Copy)]
pub enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    pub fn of(value: &Value) -> Option<Number> {
        match value.kind() {
            ValueKind::Bool => Some(Number::Int(i128::from(value.is_true()))),
            ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok().map(Number::Int),
            ValueKind::Number => f64::try_from(value.clone()).ok().map(Number::Float),
            _ => None,
        }
    }

    pub fn as_f64(self) -> f64 {
        match self {
            Number::Int(int) => int as f64,
            Number::Float(float) => float,
        }
    }
}

pub fn int(value: i128) -> Value {
    i64::try_from(value).map_or_else(|_| Value::from(value), Value::from)
}

/// `a == b`.
pub fn equal(a: &Value, b: &Value) -> Result<bool, Error> {
    equal_at(a, b, 0)
}

fn equal_at(a: &Value, b: &Value, depth: usize) -> Result<bool, Error> {
    if depth > DEEPEST_VALUE {
        return Err(failed("lists or objects that are compared are nested too deeply"));
    }
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(order_numbers(a, b) == Some(Ordering::Equal));
    }
    if type_name(a) != type_name(b) {
        return Ok(false);
    }
    let inner = depth.saturating_add(1);
    match type_name(a) {
        "list" | "tuple" | "dict_keys" | "dict_values" | "dict_items" => {
            let (a, b) = (items(a)?, items(b)?);
            if a.len() != b.len() {
                return Ok(false);
            }
            for (a, b) in a.iter().zip(&b) {
                if !equal_at(a, b, inner)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        "dict" => {
            if a.len() != b.len() {
                return Ok(false);
            }
            for key in a.try_iter()? {
                match lookup(b, &key) {
                    Some(other) if equal_at(&a.get_item(&key)?, &other, inner)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        _ => Ok(a == b),
    }
}

/// `object.get(key)`, which says whether the key is there.
pub fn lookup(object: &Value, key: &Value) -> Option<Value> {
    object.as_object()?.get_value(key)
}

fn order_numbers(a: Number, b: Number) -> Option<Ordering> {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
        (a, b) => a.as_f64().partial_cmp(&b.as_f64()),
    }
}

/// Which of two numbers, strings or lists comes first; None for what is not a number. Other pairs have no order.
pub fn order(a: &Value, b: &Value, operator: &str) -> Result<Option<Ordering>, Error> {
    order_at(a, b, operator, 0)
}

fn order_at(a: &Value, b: &Value, operator: &str, depth: usize) -> Result<Option<Ordering>, Error> {
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(order_numbers(a, b));
    }
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return Ok(Some(a.cmp(b)));
    }
    if depth < DEEPEST_VALUE && is_list(a) && type_name(a) == type_name(b) {
        for (a, b) in a.try_iter()?.zip(b.try_iter()?) {
            if !equal(&a, &b)? {
                return order_at(&a, &b, operator, depth.saturating_add(1));
            }
        }
        return Ok(Some(a.len().cmp(&b.len())));
    }
    Err(failed(format!("`{operator}` compares {} with {}", described(a), described(b))))
}

/// The items that a loop goes through: characters of a string, keys of an object.
pub fn items(value: &Value) -> Result<Vec<Value>, Error> {
    match value.kind() {
        ValueKind::String => Ok(value.as_str().unwrap_or_default().chars().map(Value::from).collect()),
        ValueKind::Undefined => Ok(Vec::new()),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map if !is_namespace(value) => {
            Ok(value.try_iter()?.collect())
        }
        _ => Err(failed(format!("the template goes through {}, which has no items", described(value)))),
    }
}

/// The arguments of a call, positional or by name, in the order of `names`. A name of "" is positional only.
pub fn bind<const N: usize>(what: &str, args: &[Value], names: [&str; N]) -> Result<[Option<Value>; N], Error> {
    let mut bound = [const { None }; N];
    let (named, positional) = match args.split_last() {
        Some((last, rest)) if last.is_kwargs() => (Some(last), rest),
        _ => (None, args),
    };
    if positional.len() > N {
        return Err(failed(format!("`{what}` takes at most {N} arguments, found {}", positional.len())));
    }
    for (slot, value) in bound.iter_mut().zip(positional) {
        *slot = Some(value.clone());
    }
    let Some(named) = named else { return Ok(bound) };
    for key in named.try_iter()? {
        let name = key.as_str().unwrap_or_default();
        let at = names.iter().position(|known| *known == name && !name.is_empty());
        match at.and_then(|at| bound.get_mut(at)) {
            Some(slot @ None) => *slot = Some(named.get_item(&key)?),
            Some(_) => return Err(failed(format!("`{what}` has its argument `{name}` twice"))),
            None => return Err(failed(format!("`{what}` has no argument `{name}`"))),
        }
    }
    Ok(bound)
}

/// The value as a string argument of `what`.
pub fn text<'v>(what: &str, value: Option<&'v Value>) -> Result<&'v str, Error> {
    let found = value.map_or("nothing", described);
    value.and_then(Value::as_str).ok_or_else(|| failed(format!("`{what}` needs a string, found {found}")))
}

/// The value as an integer argument of `what`.
pub fn integer(what: &str, value: &Value) -> Result<i64, Error> {
    let number = match Number::of(value) {
        Some(Number::Int(int)) => i64::try_from(int).ok(),
        _ => None,
    };
    number.ok_or_else(|| failed(format!("`{what}` needs an integer, found {}", described(value))))
}
