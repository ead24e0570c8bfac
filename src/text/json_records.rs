//! Records in JSON: one object per line, one list of objects, or one object over several lines.

use std::borrow::Cow;
use std::collections::BTreeMap;

use minijinja::value::Value;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::formats::Document;
use super::records::Record;
use crate::error::Result;
use crate::files::json::plain;

/// Whether the text is JSON objects, one per line or in one list.
pub fn is_json_lines(text: &str) -> bool {
    let source = Source::new(text);
    let is_object = |json: &str| serde_json::from_str::<BTreeMap<String, IgnoredAny>>(json).is_ok();
    if source.plain.trim_start().starts_with('[') {
        let list = serde_json::from_str::<Vec<BTreeMap<String, IgnoredAny>>>(&source.plain);
        return list.is_ok_and(|list| !list.is_empty());
    }
    let mut lines = source.plain.lines().filter(|line| !line.trim().is_empty()).peekable();
    lines.peek().is_some() && lines.all(is_object)
}

/// The records of a JSON file, each with its line from 1: one object per line, blank lines skipped; or one list of
/// objects; or one object over several lines.
pub fn json_records(document: &Document, text: &str) -> Result<Vec<(usize, Record)>> {
    let source = Source::new(text);
    let plain: &str = &source.plain;
    let begin = plain.trim_start();
    let broken = |line, e: &serde_json::Error| document.broken(line, format!("not a JSON object: {}", without_line(e)));
    if begin.starts_with('[') && !begin.lines().next().is_some_and(|line| is_json_value(line) && has_more(begin)) {
        let list: Vec<&RawValue> = serde_json::from_str(plain).map_err(|error| {
            document.broken(error.line(), format!("not a list of JSON objects: {}", without_line(&error)))
        })?;
        // Where the last record began, and in which line.
        let (mut last, mut line) = (0, 1usize);
        let record = |raw: &RawValue| {
            let at = source.place(raw.get());
            line = line.saturating_add(plain.get(last..at).unwrap_or_default().matches('\n').count());
            last = at;
            Ok((line, source.record(raw.get()).map_err(|e| broken(line, &e))?))
        };
        return list.into_iter().map(record).collect();
    }
    if has_more(begin)
        && let Ok(record) = source.record(plain)
    {
        return Ok(vec![(1, record)]);
    }
    let lines = (1..).zip(plain.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| Ok((number, source.record(line).map_err(|e| broken(number, &e))?))).collect()
}

/// A text as the file has it, and as JSON of the same length: Python writes numbers that are not finite, which no
/// standard knows.
struct Source<'a> {
    written: &'a str,
    plain: Cow<'a, str>,
}

impl<'a> Source<'a> {
    fn new(written: &'a str) -> Source<'a> {
        // What is replaced is ASCII, and so is what replaces it.
        let plain = match plain(written.as_bytes()) {
            Ok(Cow::Owned(bytes)) => String::from_utf8(bytes).map_or(Cow::Borrowed(written), Cow::Owned),
            _ => Cow::Borrowed(written),
        };
        Source { written, plain }
    }

    /// Where a part of the plain text begins.
    fn place(&self, part: &str) -> usize {
        (part.as_ptr() as usize).saturating_sub(self.plain.as_ptr() as usize)
    }

    /// The record of a part of the plain text.
    fn record(&self, part: &str) -> serde_json::Result<Record> {
        let fields: BTreeMap<String, Value> = serde_json::from_str(part)?;
        let mut not_finite = BTreeMap::new();
        if matches!(self.plain, Cow::Owned(_)) {
            let raw: BTreeMap<String, &RawValue> = serde_json::from_str(part)?;
            let found = raw.into_iter().filter_map(|(key, value)| Some((key, self.not_finite(value.get())?)));
            not_finite = found.collect();
        }
        Ok(Record { fields, not_finite })
    }

    /// The first number in a part of the plain text that is not finite, and its column.
    fn not_finite(&self, part: &str) -> Option<String> {
        let begin = self.place(part);
        let written = self.written.get(begin..begin.saturating_add(part.len()))?;
        let at = written.bytes().zip(part.bytes()).position(|(a, b)| a != b)?;
        let name: String = written.get(at..)?.chars().take_while(|c| c.is_ascii_alphabetic() || *c == '-').collect();
        let at = begin.saturating_add(at);
        let line_begin = self.written.get(..at)?.rfind('\n').map_or(0, |end| end.saturating_add(1));
        Some(format!("{name} at column {}", at.saturating_sub(line_begin).saturating_add(1)))
    }
}

fn is_json_value(line: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(line).is_ok()
}

/// Whether there is more than one line.
fn has_more(text: &str) -> bool {
    text.trim_end().contains('\n')
}

/// serde_json also reports a line number, which is useless where it only ever sees one line.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    format!("{} at column {}", text.split(" at line ").next().unwrap_or_default(), error.column())
}
