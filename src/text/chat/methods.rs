//! The methods of Python's strings, lists and dicts.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};

use super::format::percent;
use super::objects::{Kind, Sequence};
use super::operators::pairs;
use super::python::{bind, described, equal, failed, is_dict, is_list, items, lookup, type_name};
use super::strings;

const OF_STRINGS: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];
const OF_LISTS: &[&str] = &["copy", "count", "index"];
const OF_DICTS: &[&str] = &["copy", "get", "items", "keys", "values"];
/// What changes a list or a dict, which Jinja2 does not let chat templates do.
const CHANGING_LISTS: &[&str] = &["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"];
const CHANGING_DICTS: &[&str] = &["clear", "pop", "popitem", "setdefault", "update"];

/// Whether the value's type has the method.
pub fn exists(value: &Value, name: &str) -> bool {
    match type_name(value) {
        "str" => OF_STRINGS.contains(&name) || matches!(name, "encode" | "isidentifier" | "maketrans" | "translate"),
        "list" => OF_LISTS.contains(&name) || CHANGING_LISTS.contains(&name),
        "tuple" => matches!(name, "count" | "index"),
        "dict" => OF_DICTS.contains(&name) || CHANGING_DICTS.contains(&name) || name == "fromkeys",
        _ => false,
    }
}

/// `value.name(args)`.
pub fn call(state: &State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let kind = type_name(value);
    match kind {
        "str" if OF_STRINGS.contains(&name) => return strings::call(value.as_str().unwrap_or_default(), name, args),
        "list" | "tuple" if OF_LISTS.contains(&name) && (kind == "list" || name != "copy") => {
            return list(value, name, args);
        }
        "dict" if OF_DICTS.contains(&name) => return dict(value, name, args),
        "list" if CHANGING_LISTS.contains(&name) => {}
        "dict" if CHANGING_DICTS.contains(&name) => {}
        "Undefined" => return Err(failed(format!("`.{name}()` of a value that is not defined"))),
        _ => {
            if let Some(callable) = lookup(value, &Value::from(name)) {
                return callable.call(state, args);
            }
            if !is_dict(value) && !is_list(value) && value.as_object().is_some() {
                return value.call_method(state, name, args);
            }
            return Err(failed(format!("{} has no method `{name}`", described(value))));
        }
    }
    Err(failed(format!("`{name}` changes a {kind}, which a chat template may not")))
}

fn list(value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if name == "copy" {
        let [] = bind(name, args, [])?;
        return Ok(value.clone());
    }
    let [wanted] = bind(name, args, [""])?;
    let wanted = wanted.ok_or_else(|| failed(format!("`{name}` needs a value")))?;
    let mut found = Vec::new();
    for (at, item) in items(value)?.iter().enumerate() {
        found.extend(equal(item, &wanted)?.then_some(at));
    }
    match name {
        "count" => Ok(Value::from(found.len())),
        _ => {
            found.first().map(|at| Value::from(*at)).ok_or_else(|| failed("`index` of a value that is not in the list"))
        }
    }
}

fn dict(value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if name == "get" {
        let [key, default] = bind(name, args, ["", ""])?;
        let key = key.ok_or_else(|| failed("`get` needs a key"))?;
        return Ok(lookup(value, &key).or(default).unwrap_or(Value::from(())));
    }
    let [] = bind(name, args, [])?;
    let pairs = pairs(value)?;
    Ok(match name {
        "keys" => Sequence::value(Kind::Keys, pairs.into_iter().map(|(key, _)| key).collect())?,
        "values" => Sequence::value(Kind::Values, pairs.into_iter().map(|(_, value)| value).collect())?,
        "items" => {
            let pair = |(key, value)| Sequence::value(Kind::Tuple, vec![key, value]);
            Sequence::value(Kind::Items, pairs.into_iter().map(pair).collect::<Result<_, _>>()?)?
        }
        _ => value.clone(),
    })
}

/// The `format` filter: `value % args`.
pub fn format_filter(format: &str, args: &[Value]) -> Result<String, Error> {
    match args {
        [named] if named.is_kwargs() => percent(format, named),
        _ => percent(format, &Sequence::value(Kind::Tuple, args.to_vec())?),
    }
}

/// Whether a value can be called.
pub fn is_callable(value: &Value) -> bool {
    value.kind() == ValueKind::Plain
}
