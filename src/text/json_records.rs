//! Records in JSON: one object per line, one list of objects, or one object over several lines.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::formats::Document;
use super::records::Record;
use crate::error::Result;

/// Whether the text is JSON objects, one per line or in one list.
pub fn is_json_lines(text: &str) -> bool {
    let is_object = |json: &str| serde_json::from_str::<BTreeMap<String, IgnoredAny>>(json).is_ok();
    if text.trim_start().starts_with('[') {
        return serde_json::from_str::<Vec<BTreeMap<String, IgnoredAny>>>(text).is_ok_and(|list| !list.is_empty());
    }
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    lines.peek().is_some() && lines.all(is_object)
}

/// The records of a JSON file, each with its line from 1: one object per line, blank lines skipped; or one list of
/// objects; or one object over several lines.
pub fn json_records(document: &Document, text: &str) -> Result<Vec<(usize, Record)>> {
    let begin = text.trim_start();
    if begin.starts_with('[') && !begin.lines().next().is_some_and(|line| is_json_value(line) && has_more(begin)) {
        let list: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| {
            document.broken(error.line(), format!("not a list of JSON objects: {}", without_line(&error)))
        })?;
        // Where the last record began, and in which line.
        let (mut last, mut line) = (0, 1usize);
        let record = |raw: &RawValue| {
            let at = (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
            line = line.saturating_add(text.get(last..at).unwrap_or_default().matches('\n').count());
            last = at;
            let record = serde_json::from_str(raw.get());
            Ok((line, record.map_err(|e| document.broken(line, format!("not a JSON object: {}", without_line(&e))))?))
        };
        return list.into_iter().map(record).collect();
    }
    if has_more(begin)
        && let Ok(record) = serde_json::from_str(text)
    {
        return Ok(vec![(1, record)]);
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let read = |(number, line)| {
        let record = serde_json::from_str(line);
        Ok((number, record.map_err(|e| document.broken(number, format!("not a JSON object: {}", without_line(&e))))?))
    };
    lines.map(read).collect()
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
