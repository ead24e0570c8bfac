//! `tojson` as transformers defines it: Python's `json.dumps` with `ensure_ascii`, `indent`, `separators` and
//! `sort_keys`, which writes a space after commas and colons, keeps non-ASCII characters and the order of keys unless
//! asked otherwise.

use minijinja::Error;
use minijinja::value::{Rest, Value};

use super::objects::DEEPEST_VALUE;
use super::python::{self, Text, failed, type_name};

struct Options {
    ensure_ascii: bool,
    /// What each level is indented by; None writes one line.
    indent: Option<String>,
    between_items: String,
    after_keys: String,
    sort_keys: bool,
}

pub fn dumps(value: &Value, args: Rest<Value>) -> Result<String, Error> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ensure_ascii, indent, separators, sort_keys] = python::bind("tojson", &args, names)?;
    let indent = match indent.filter(|indent| !indent.is_none()) {
        Some(indent) => Some(match indent.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(python::integer("tojson(indent)", &indent)?.clamp(0, 1000).unsigned_abs() as usize),
        }),
        None => None,
    };
    let (between_items, after_keys) = match separators.filter(|separators| !separators.is_none()) {
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
        Some(separators) => match &python::items(&separators)?[..] {
            [items, keys] => {
                let text = |value| python::text("tojson(separators)", Some(value)).map(str::to_owned);
                (text(items)?, text(keys)?)
            }
            _ => return Err(failed("`tojson(separators)` needs two strings")),
        },
    };
    let truth = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let (ensure_ascii, sort_keys) = (truth(ensure_ascii), truth(sort_keys));
    let options = Options { ensure_ascii, indent, between_items, after_keys, sort_keys };
    let mut text = Text::default();
    options.write(&mut text, value, 0)?;
    Ok(text.finish())
}

impl Options {
    fn write(&self, text: &mut Text, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST_VALUE {
            return Err(failed("`tojson` of a value that is nested too deeply"));
        }
        let inner = depth.saturating_add(1);
        match type_name(value) {
            "str" => self.string(text, value.as_str().unwrap_or_default()),
            "dict" => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    sort(&mut keys)?;
                }
                text.push("{")?;
                for (at, key) in keys.iter().enumerate() {
                    self.separate(text, at, inner)?;
                    match type_name(key) {
                        "str" => self.string(text, key.as_str().unwrap_or_default())?,
                        _ => self.string(text, &scalar(key)?)?,
                    }
                    text.push(&self.after_keys)?;
                    self.write(text, &value.get_item(key)?, inner)?;
                }
                self.close(text, keys.is_empty(), depth)?;
                text.push("}")
            }
            "list" | "tuple" => {
                let items = python::items(value)?;
                text.push("[")?;
                for (at, item) in items.iter().enumerate() {
                    self.separate(text, at, inner)?;
                    self.write(text, item, inner)?;
                }
                self.close(text, items.is_empty(), depth)?;
                text.push("]")
            }
            _ => text.push(&scalar(value)?),
        }
    }

    fn separate(&self, text: &mut Text, at: usize, depth: usize) -> Result<(), Error> {
        text.push(if at > 0 { &self.between_items } else { "" })?;
        self.new_line(text, depth)
    }

    fn close(&self, text: &mut Text, empty: bool, depth: usize) -> Result<(), Error> {
        if empty { Ok(()) } else { self.new_line(text, depth) }
    }

    fn new_line(&self, text: &mut Text, depth: usize) -> Result<(), Error> {
        let Some(indent) = &self.indent else { return Ok(()) };
        text.push("\n")?;
        (0..depth).try_for_each(|_| text.push(indent))
    }

    fn string(&self, text: &mut Text, string: &str) -> Result<(), Error> {
        let mut escaped = String::with_capacity(string.len().saturating_add(2));
        for c in string.chars() {
            match c {
                '"' => escaped.push_str("\\\""),
                '\\' => escaped.push_str("\\\\"),
                '\n' => escaped.push_str("\\n"),
                '\r' => escaped.push_str("\\r"),
                '\t' => escaped.push_str("\\t"),
                '\u{8}' => escaped.push_str("\\b"),
                '\u{c}' => escaped.push_str("\\f"),
                c if c < ' ' || (self.ensure_ascii && !(' '..='~').contains(&c)) => {
                    let units =
                        c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
                    escaped.push_str(&units);
                }
                c => escaped.push(c),
            }
        }
        text.push("\"")?;
        text.push(&escaped)?;
        text.push("\"")
    }
}

/// What JSON writes without quotes.
fn scalar(value: &Value) -> Result<String, Error> {
    Ok(match type_name(value) {
        "NoneType" => "null".to_owned(),
        "bool" => if value.is_true() { "true" } else { "false" }.to_owned(),
        "int" => value.to_string(),
        "float" => match python::float(f64::try_from(value.clone())?).as_str() {
            "nan" => "NaN".to_owned(),
            "inf" => "Infinity".to_owned(),
            "-inf" => "-Infinity".to_owned(),
            float => float.to_owned(),
        },
        _ => return Err(failed(format!("`tojson` of {}", python::described(value)))),
    })
}

/// Sorts keys as Python does; a mixture of types has no order.
fn sort(keys: &mut [Value]) -> Result<(), Error> {
    for pair in keys.windows(2) {
        if let [a, b] = pair {
            python::order(a, b, "sort_keys")?;
        }
    }
    keys.sort_by(|a, b| python::order(a, b, "sort_keys").ok().flatten().unwrap_or(std::cmp::Ordering::Equal));
    Ok(())
}
