//! Tables: a header that names the columns, and a record per line. The separator is found by looking: comma, semicolon,
//! tab or bar, whichever makes the header name columns that are known.

use std::collections::BTreeMap;

use minijinja::value::Value;

use super::columns::Columns;
use super::formats::{Document, Example};
use super::notes::Notes;
use super::records::Keys;
use crate::error::{Error, Result};
use crate::warning::Warning;

const SEPARATORS: [(u8, &str); 4] = [(b',', "comma"), (b';', "semicolon"), (b'\t', "tab"), (b'|', "bar")];

pub struct Table {
    pub examples: Vec<Example>,
    pub warnings: Vec<Warning>,
}

/// Whether the first of at least two lines names columns that are known or chosen.
pub fn is_table(text: &str, columns: &Columns) -> bool {
    let fits = |names: &Vec<String>| names.len() > 1 && known(names, columns).is_ok();
    let is_known = |separator| header(text, separator).is_some_and(|names| fits(&names));
    text.trim_end().contains('\n') && SEPARATORS.iter().any(|(separator, _)| is_known(*separator))
}

fn header(text: &str, separator: u8) -> Option<Vec<String>> {
    let mut reader = reader(text, separator);
    Some(reader.headers().ok()?.iter().map(|name| name.trim().to_owned()).collect())
}

/// The first line, split at each separator: the separator, its name, and the names of the columns.
fn headers(text: &str, tabs_first: bool) -> impl Iterator<Item = (u8, &'static str, Vec<String>)> {
    let mut separators = SEPARATORS;
    if tabs_first {
        separators.swap(0, 2);
    }
    separators.into_iter().filter_map(move |(separator, name)| Some((separator, name, header(text, separator)?)))
}

/// The first line, split at the separator that makes the most columns.
pub fn likely_header(text: &str, tabs_first: bool) -> Option<(u8, &'static str, Vec<String>)> {
    headers(text, tabs_first).max_by_key(|(separator, _, names)| (names.len(), *separator == b','))
}

fn known<'a>(names: &[String], columns: &'a Columns) -> Result<Keys<'a>, String> {
    Keys::of(&names.iter().map(String::as_str).collect::<Vec<_>>(), columns)
}

fn reader(text: &str, separator: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().delimiter(separator).from_reader(text.as_bytes())
}

impl Table {
    /// Columns that no kind of example has are noted.
    pub fn read(document: &Document, text: &str, notes: &mut Notes) -> Result<Table> {
        let columns = &document.columns;
        let tabs_first = document.has_ending("tsv");
        let fits = |names: &[String]| known(names, columns).map(|_| ());
        let known_header = headers(text, tabs_first).find(|(_, _, names)| fits(names).is_ok());
        let header = known_header.or_else(|| likely_header(text, tabs_first));
        let (separator, separator_name, names) = header.unwrap_or((b',', "comma", Vec::new()));
        if let Some(line) = unclosed_quote(text, separator) {
            return Err(document.broken(line, "a quote opens here and is never closed".to_owned()));
        }
        fits(&names).map_err(|reason| {
            let reason = format!("the first line names the columns, with a {separator_name} between: {reason}");
            document.unknown_columns(1, reason)
        })?;

        let mut table = Table { examples: Vec::new(), warnings: Vec::new() };
        let (mut suspects, mut first_suspect) = (0usize, None);
        for record in reader(text, separator).records() {
            let record = record.map_err(|e| broken(document, text, &e))?;
            let line = record.position().map_or(1, |position| position.line() as usize);
            if let Some(inner) = line_in_field(&record, line, separator, names.len()) {
                suspects = suspects.saturating_add(1);
                first_suspect.get_or_insert((line, inner));
            }
            let fields = names.iter().zip(&record).map(|(name, field)| (name.clone(), Value::from(field)));
            table.examples.push(document.example(fields.collect::<BTreeMap<_, _>>().into(), line, notes)?);
        }
        table.warnings.extend(first_suspect.map(|(line, inner)| {
            let message = format!(
                "`{}`: {suspects} records hold a line that looks like a record of its own (the first is line {inner}, \
                 in the record that begins in line {line}): a quote may be missing",
                document.name
            );
            Warning { code: "line_in_field", message }
        }));
        Ok(table)
    }
}

/// The line in which a quote opens that never closes. A quote opens only at the beginning of a field.
fn unclosed_quote(text: &str, separator: u8) -> Option<usize> {
    let (mut line, mut opened, mut at_start) = (1usize, None, true);
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, opened) {
            (b'"', Some(_)) if bytes.peek() == Some(&b'"') => {
                bytes.next();
            }
            (b'"', Some(_)) => opened = None,
            (b'"', None) if at_start => opened = Some(line),
            _ => {}
        }
        line = line.saturating_add(usize::from(byte == b'\n'));
        at_start = opened.is_none() && (byte == separator || byte == b'\n');
    }
    opened
}

/// The first line inside a field that alone has as many fields as the header.
fn line_in_field(record: &csv::StringRecord, first: usize, separator: u8, columns: usize) -> Option<usize> {
    let mut line = first;
    for field in record {
        let mut lines = field.split('\n');
        lines.next();
        for inner in lines {
            line = line.saturating_add(1);
            let mut reader =
                csv::ReaderBuilder::new().has_headers(false).delimiter(separator).from_reader(inner.as_bytes());
            let fields = reader.records().next().and_then(|record| record.ok()).map_or(0, |record| record.len());
            if columns > 1 && fields == columns {
                return Some(line);
            }
        }
    }
    None
}

fn broken(document: &Document, text: &str, error: &csv::Error) -> Error {
    // The reader counts blank lines before a record as part of the record.
    let begin = error.position().map_or(0, |p| p.byte() as usize);
    let blank = text.get(begin..).unwrap_or_default().chars().take_while(|c| *c == '\n').count();
    let line = error.position().map_or(1, |p| p.line() as usize).saturating_add(blank);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            document.broken(line, format!("expected {expected_len} fields, as in the first line, but found {len}"))
        }
        _ => document.broken(line, error.to_string()),
    }
}
