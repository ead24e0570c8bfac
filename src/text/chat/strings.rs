//! The methods of Python's strings.

use minijinja::Error;
use minijinja::value::Value;

use super::format::braces;
use super::objects::{Kind, Sequence};
use super::python::{bind, failed, integer, is_printable, items, text, type_name};

/// Python's white space includes four separators that Unicode's does not.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// `s.name(args)`.
pub fn call(s: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let none = || bind(name, args, []).map(|[]: [Option<Value>; 0]| ());
    let truth = |value: bool| none().map(|()| Value::from(value));
    let done = |value: String| none().map(|()| Value::from(value));
    let whole = |test: fn(char) -> bool| !s.is_empty() && s.chars().all(test);
    let cased = |lower: bool| {
        let wrong = |c: char| if lower { c.is_uppercase() } else { c.is_lowercase() };
        s.chars().any(|c| c.is_lowercase() || c.is_uppercase()) && !s.chars().any(wrong)
    };
    match name {
        "upper" => done(s.to_uppercase()),
        "lower" | "casefold" => done(s.to_lowercase()),
        "capitalize" => done(capitalized(s)),
        "title" => done(titled(s)),
        "swapcase" => done(
            s.chars()
                .flat_map(|c| {
                    if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect::<Vec<_>>() }
                })
                .collect(),
        ),
        "isascii" => truth(s.is_ascii()),
        "isalpha" => truth(whole(char::is_alphabetic)),
        "isalnum" => truth(whole(char::is_alphanumeric)),
        "isspace" => truth(whole(is_space)),
        "isprintable" => truth(s.chars().all(is_printable)),
        "islower" => truth(cased(true)),
        "isupper" => truth(cased(false)),
        "istitle" => truth(s == titled(s) && s.chars().any(|c| c.is_uppercase())),
        "isnumeric" => truth(whole(char::is_numeric)),
        "isdigit" | "isdecimal" => match s.chars().find(|c| c.is_numeric() && !c.is_ascii_digit()) {
            Some(c) => Err(failed(format!("`{name}` does not know whether `{c}` is one"))),
            None => truth(whole(|c| c.is_ascii_digit())),
        },
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = bind(name, args, [""])?;
            let chars = chars.filter(|chars| !chars.is_none());
            let chars = chars.as_ref().map(|chars| text(name, Some(chars))).transpose()?;
            let stripped = |c: char| chars.map_or(is_space(c), |chars| chars.contains(c));
            Ok(Value::from(match name {
                "strip" => s.trim_matches(stripped),
                "lstrip" => s.trim_start_matches(stripped),
                _ => s.trim_end_matches(stripped),
            }))
        }
        "removeprefix" | "removesuffix" => {
            let [part] = bind(name, args, [""])?;
            let part = text(name, part.as_ref())?;
            let rest = if name == "removeprefix" { s.strip_prefix(part) } else { s.strip_suffix(part) };
            Ok(Value::from(rest.unwrap_or(s)))
        }
        "split" | "rsplit" => {
            let [separator, most] = bind(name, args, ["sep", "maxsplit"])?;
            let most = most.map(|most| integer(name, &most)).transpose()?;
            let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
            let separator = separator.filter(|separator| !separator.is_none());
            let separator = separator.as_ref().map(|separator| text(name, Some(separator))).transpose()?;
            split(s, separator, most, name == "rsplit")
        }
        "splitlines" => {
            let [keep] = bind(name, args, ["keepends"])?;
            Ok(lines(s, keep.is_some_and(|keep| keep.is_true())).into_iter().map(Value::from).collect())
        }
        "partition" | "rpartition" => {
            let [separator] = bind(name, args, [""])?;
            let separator = text(name, separator.as_ref())?;
            if separator.is_empty() {
                return Err(failed(format!("`{name}` at an empty string")));
            }
            let parts = if name == "partition" { s.split_once(separator) } else { s.rsplit_once(separator) };
            let parts = match parts {
                Some((before, after)) => [before, separator, after],
                None if name == "partition" => [s, "", ""],
                None => ["", "", s],
            };
            Sequence::value(Kind::Tuple, parts.into_iter().map(Value::from).collect())
        }
        "join" => {
            let [parts] = bind(name, args, [""])?;
            let parts = items(&parts.unwrap_or_default())?;
            let parts: Result<Vec<&str>, Error> = parts.iter().map(|part| text(name, Some(part))).collect();
            Ok(Value::from(parts?.join(s)))
        }
        "replace" => {
            let [old, new, count] = bind(name, args, ["", "", "count"])?;
            let (old, new) = (text(name, old.as_ref())?, text(name, new.as_ref())?);
            let count = count.map(|count| integer(name, &count)).transpose()?;
            Ok(Value::from(replaced(s, old, new, count)?))
        }
        "startswith" | "endswith" => {
            let [parts, start, end] = bind(name, args, ["", "", ""])?;
            let parts = parts.unwrap_or_default();
            let parts = if type_name(&parts) == "tuple" { items(&parts)? } else { vec![parts] };
            let part = between(s, start.as_ref(), end.as_ref())?.map_or("", |(_, part)| part);
            let mut found = false;
            for wanted in &parts {
                let wanted = text(name, Some(wanted))?;
                found |= if name == "startswith" { part.starts_with(wanted) } else { part.ends_with(wanted) };
            }
            Ok(Value::from(found))
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let [wanted, start, end] = bind(name, args, ["", "", ""])?;
            search(s, name, text(name, wanted.as_ref())?, start.as_ref(), end.as_ref())
        }
        "zfill" | "ljust" | "rjust" | "center" => {
            let [width, fill] = bind(name, args, ["", ""])?;
            let width = integer(name, &width.unwrap_or_default())?;
            let fill = fill.as_ref().map(|fill| text(name, Some(fill))).transpose()?;
            padded(s, name, width, fill)
        }
        "expandtabs" => {
            let [size] = bind(name, args, ["tabsize"])?;
            let size = size.map(|size| integer(name, &size)).transpose()?.unwrap_or(8).clamp(0, 1000);
            let (mut out, mut column) = (String::new(), 0i64);
            for c in s.chars() {
                let spaces = column.checked_rem(size).map_or(0, |over| size.saturating_sub(over));
                match c {
                    '\t' => out.push_str(&" ".repeat(spaces.unsigned_abs() as usize)),
                    c => out.push(c),
                }
                column = match c {
                    '\t' => column.saturating_add(spaces),
                    '\n' | '\r' => 0,
                    _ => column.saturating_add(1),
                };
            }
            Ok(Value::from(out))
        }
        "format" => {
            let (named, positional) = match args.split_last() {
                Some((last, rest)) if last.is_kwargs() => (Some(last), rest),
                _ => (None, args),
            };
            braces(s, positional, named).map(Value::from)
        }
        "format_map" => {
            let [values] = bind(name, args, [""])?;
            braces(s, &[], values.as_ref()).map(Value::from)
        }
        _ => Err(failed(format!("`{name}` is not available"))),
    }
}

pub fn capitalized(s: &str) -> String {
    let mut chars = s.chars();
    let first = chars.next().map(|c| c.to_uppercase().collect::<String>()).unwrap_or_default();
    first + &chars.as_str().to_lowercase()
}

fn titled(s: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    for c in s.chars() {
        match inside {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
        inside = c.is_lowercase() || c.is_uppercase();
    }
    out
}

fn split(s: &str, separator: Option<&str>, most: usize, from_end: bool) -> Result<Value, Error> {
    let pieces = most.saturating_add(1);
    let mut parts: Vec<&str> = match separator {
        Some("") => return Err(failed("`split` at an empty string")),
        Some(separator) if from_end => s.rsplitn(pieces, separator).collect(),
        Some(separator) => s.splitn(pieces, separator).collect(),
        None => {
            let (mut parts, mut rest) = (Vec::new(), s);
            loop {
                rest = if from_end { rest.trim_end_matches(is_space) } else { rest.trim_start_matches(is_space) };
                if rest.is_empty() {
                    break parts;
                }
                let cut = if from_end { rest.rfind(is_space) } else { rest.find(is_space) };
                let Some(cut) = cut.filter(|_| parts.len() < most) else {
                    let edge = if from_end { rest.trim_start_matches(is_space) } else { rest };
                    parts.push(if parts.len() < most { edge } else { rest });
                    break parts;
                };
                let (before, after) = rest.split_at_checked(cut).unwrap_or((rest, ""));
                if from_end {
                    parts.push(after.trim_start_matches(is_space));
                    rest = before;
                } else {
                    parts.push(before);
                    rest = after;
                }
            }
        }
    };
    if from_end {
        parts.reverse();
    }
    Ok(Value::from(parts.into_iter().map(Value::from).collect::<Vec<_>>()))
}

/// `splitlines`.
pub fn lines(s: &str, keep_ends: bool) -> Vec<&str> {
    let is_end = |c| matches!(c, '\n'..='\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let (mut lines, mut rest) = (Vec::new(), s);
    while !rest.is_empty() {
        let end = rest.find(is_end).unwrap_or(rest.len());
        let (line, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let broken = after.strip_prefix("\r\n").or_else(|| after.strip_prefix(is_end)).unwrap_or("");
        let whole = rest.len().saturating_sub(broken.len());
        lines.push(if keep_ends { rest.get(..whole).unwrap_or(line) } else { line });
        rest = broken;
    }
    lines
}

pub fn replaced(s: &str, old: &str, new: &str, count: Option<i64>) -> Result<String, Error> {
    let count = count.and_then(|count| usize::try_from(count).ok());
    let found = s.matches(old).count().min(count.unwrap_or(usize::MAX));
    if found.saturating_mul(new.len()).saturating_add(s.len()) > super::LONGEST_TEXT {
        return Err(failed("`replace` makes a text that is too long"));
    }
    Ok(s.replacen(old, new, found))
}

/// The part of `s` between two positions in characters, and the position at which it begins.
fn between<'s>(s: &'s str, start: Option<&Value>, end: Option<&Value>) -> Result<Option<(usize, &'s str)>, Error> {
    let length = i64::try_from(s.chars().count()).unwrap_or(i64::MAX);
    let position = |value: Option<&Value>, default: i64| match value.filter(|value| !value.is_none()) {
        None => Ok(default),
        Some(value) => integer("position", value).map(|at| if at < 0 { at.saturating_add(length).max(0) } else { at }),
    };
    let (start, end) = (position(start, 0)?, position(end, length)?.min(length));
    let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else { return Ok(None) };
    let byte = |at: usize| s.char_indices().nth(at).map_or(s.len(), |(byte, _)| byte);
    // Python finds nothing, not even an empty string, where the part would end before it begins.
    Ok((start <= end).then(|| (start, s.get(byte(start)..byte(end)).unwrap_or_default())))
}

fn search(s: &str, name: &str, wanted: &str, start: Option<&Value>, end: Option<&Value>) -> Result<Value, Error> {
    let part = between(s, start, end)?;
    if name == "count" {
        return Ok(Value::from(part.map_or(0, |(_, part)| part.matches(wanted).count())));
    }
    let found = part.and_then(|(offset, part)| {
        let byte = if name.starts_with('r') { part.rfind(wanted) } else { part.find(wanted) }?;
        Some(part.get(..byte)?.chars().count().saturating_add(offset))
    });
    match found {
        Some(at) => Ok(Value::from(at)),
        None if name.ends_with("find") => Ok(Value::from(-1)),
        None => Err(failed(format!("`{name}` does not find the string"))),
    }
}

pub fn padded(s: &str, name: &str, width: i64, fill: Option<&str>) -> Result<Value, Error> {
    let mut chars = fill.unwrap_or(if name == "zfill" { "0" } else { " " }).chars();
    let (Some(fill), None) = (chars.next(), chars.next()) else {
        return Err(failed(format!("`{name}` fills with one character")));
    };
    let width = usize::try_from(width).unwrap_or(0);
    if width > super::LONGEST_TEXT {
        return Err(failed(format!("`{name}` makes a text that is too long")));
    }
    let missing = width.saturating_sub(s.chars().count());
    let fills = |count: usize| fill.to_string().repeat(count);
    Ok(Value::from(match name {
        "ljust" => format!("{s}{}", fills(missing)),
        "rjust" => format!("{}{s}", fills(missing)),
        "center" => {
            // The odd space goes where CPython puts it: to the left if the width is odd.
            let half = missing.checked_div(2).unwrap_or(0);
            let before = half.saturating_add(missing & width & 1);
            format!("{}{s}{}", fills(before), fills(missing.saturating_sub(before)))
        }
        _ => match s.strip_prefix(['+', '-']) {
            Some(digits) => format!("{}{}{digits}", s.get(..1).unwrap_or_default(), fills(missing)),
            None => format!("{}{s}", fills(missing)),
        },
    }))
}
