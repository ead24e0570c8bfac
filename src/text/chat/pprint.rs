//! Jinja's filter `pprint`: Python's `pprint.pformat`, which writes on one line what fits into 80 columns, and sorts
//! the keys of objects. Oracle: CPython, `Lib/pprint.py`, `PrettyPrinter._format` and what it calls.

use minijinja::Error;
use minijinja::value::Value;

use super::objects::{Dict, Kind, Sequence};
use super::operators::pairs;
use super::python::{Text, failed, items, repr, type_name};
use super::strings::{is_space, lines};

const WIDTH: usize = 80;

pub fn pprint(value: &Value) -> Result<Value, Error> {
    let mut printer = Printer(Text::default());
    printer.format(&sorted(value)?, Place { indent: 0, allowance: 0 }, true)?;
    Ok(Value::from(printer.0.finish()))
}

/// The value with the keys of every object in it sorted.
fn sorted(value: &Value) -> Result<Value, Error> {
    match type_name(value) {
        "dict" => {
            let mut fields = Vec::new();
            for (key, item) in pairs(value)? {
                let Some(name) = key.as_str() else {
                    return Err(failed("`pprint` of an object whose keys are not all strings"));
                };
                fields.push((name.to_owned(), key.clone(), sorted(&item)?));
            }
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Dict::value(fields.into_iter().map(|(_, key, item)| (key, item)).collect())
        }
        "list" => Sequence::value(Kind::List, items(value)?.iter().map(sorted).collect::<Result<_, _>>()?),
        "tuple" => Sequence::value(Kind::Tuple, items(value)?.iter().map(sorted).collect::<Result<_, _>>()?),
        _ => Ok(value.clone()),
    }
}

/// The column at which a value begins, and how many columns what follows it needs in its last line.
#[derive(Clone, Copy)]
struct Place {
    indent: usize,
    allowance: usize,
}

impl Place {
    fn width(self) -> usize {
        WIDTH.saturating_sub(self.indent)
    }

    fn within(self, indent: usize, allowance: usize) -> Place {
        Place { indent: self.indent.saturating_add(indent), allowance }
    }
}

struct Printer(Text);

impl Printer {
    fn format(&mut self, value: &Value, place: Place, is_outermost: bool) -> Result<(), Error> {
        let short = repr(value)?;
        if columns(&short) <= place.width().saturating_sub(place.allowance) {
            return self.0.push(&short);
        }
        match type_name(value) {
            "dict" => self.dict(value, place),
            "list" => self.list(value, place, "[", "]"),
            "tuple" if value.len() == Some(1) => self.list(value, place, "(", ",)"),
            "tuple" => self.list(value, place, "(", ")"),
            "str" => self.string(value.as_str().unwrap_or_default(), place, is_outermost),
            _ => self.0.push(&short),
        }
    }

    fn dict(&mut self, value: &Value, place: Place) -> Result<(), Error> {
        let fields = pairs(value)?;
        let last = fields.len();
        self.0.push("{")?;
        for ((key, item), number) in fields.iter().zip(1usize..) {
            let key = format!("{}: ", repr(key)?);
            self.0.push(&key)?;
            let allowance = if number == last { place.allowance.saturating_add(1) } else { 1 };
            self.format(item, place.within(columns(&key).saturating_add(1), allowance), false)?;
            if number < last {
                self.next_line(",", place.indent.saturating_add(1))?;
            }
        }
        self.0.push("}")
    }

    fn list(&mut self, value: &Value, place: Place, open: &str, close: &str) -> Result<(), Error> {
        let items = items(value)?;
        let last = items.len();
        self.0.push(open)?;
        for (item, number) in items.iter().zip(1usize..) {
            let allowance = if number == last { place.allowance.saturating_add(close.len()) } else { 1 };
            self.format(item, place.within(1, allowance), false)?;
            if number < last {
                self.next_line(",", place.indent.saturating_add(1))?;
            }
        }
        self.0.push(close)
    }

    /// Several strings, one below the other, each as many lines or words as fit.
    fn string(&mut self, text: &str, place: Place, is_outermost: bool) -> Result<(), Error> {
        let extra = usize::from(is_outermost);
        let place = place.within(extra, place.allowance.saturating_add(extra));
        let lines = lines(text, true);
        let mut chunks: Vec<String> = Vec::new();
        for (line, number) in lines.iter().zip(1usize..) {
            let is_last = number == lines.len();
            let width = |is_last: bool| place.width().saturating_sub(if is_last { place.allowance } else { 0 });
            let whole = quoted(line)?;
            if columns(&whole) <= width(is_last) {
                chunks.push(whole);
                continue;
            }
            let words = words(line);
            let mut current = String::new();
            for (word, number) in words.iter().zip(1usize..) {
                let candidate = format!("{current}{word}");
                let fits = columns(&quoted(&candidate)?) <= width(is_last && number == words.len());
                if !fits && !current.is_empty() {
                    chunks.push(quoted(&current)?);
                }
                current = if fits { candidate } else { (*word).to_owned() };
            }
            if !current.is_empty() {
                chunks.push(quoted(&current)?);
            }
        }
        let bracketed = is_outermost && chunks.len() > 1;
        self.0.push(if bracketed { "(" } else { "" })?;
        for (chunk, at) in chunks.iter().zip(0usize..) {
            if at > 0 {
                self.next_line("", place.indent)?;
            }
            self.0.push(chunk)?;
        }
        self.0.push(if bracketed { ")" } else { "" })
    }

    fn next_line(&mut self, end: &str, indent: usize) -> Result<(), Error> {
        self.0.push(&format!("{end}\n{}", " ".repeat(indent)))
    }
}

fn quoted(text: &str) -> Result<String, Error> {
    repr(&Value::from(text))
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Each word with the white space behind it; white space at the beginning is a part of its own.
fn words(line: &str) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), line);
    while !rest.is_empty() {
        let word = rest.find(is_space).unwrap_or(rest.len());
        let after = rest.get(word..).unwrap_or_default();
        let space = after.find(|c| !is_space(c)).unwrap_or(after.len());
        let (part, next) = rest.split_at_checked(word.saturating_add(space)).unwrap_or((rest, ""));
        words.push(part);
        rest = next;
    }
    words
}
