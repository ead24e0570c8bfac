//! The filters that put values in an order, as Jinja2 has them: `sort`, `dictsort`, `min`, `max` and `unique`, or
//! into groups: `groupby`, `batch` and `slice`. Upper and lower case are alike unless asked otherwise.

use std::cmp::Ordering;

use minijinja::Error;
use minijinja::value::Value;

use super::filters::at_path;
use super::objects::{Kind, Sequence};
use super::operators::pairs;
use super::python::{bind, equal, failed, integer, items, order, text};

/// How values are compared.
struct Keys {
    case_sensitive: bool,
    attribute: Option<Value>,
}

impl Keys {
    fn new(case_sensitive: Option<Value>, attribute: Option<Value>) -> Keys {
        let case_sensitive = case_sensitive.is_some_and(|value| value.is_true());
        Keys { case_sensitive, attribute: attribute.filter(|attribute| !attribute.is_none()) }
    }

    /// What an item is compared by: a list, as `sort(attribute='a,b')` has several attributes.
    fn of(&self, item: &Value) -> Result<Value, Error> {
        let keys = match &self.attribute {
            None => vec![item.clone()],
            Some(attribute) => match attribute.as_str() {
                Some(names) => {
                    let key = |name: &str| at_path(item, &Value::from(name));
                    names.split(',').map(key).collect::<Result<_, _>>()?
                }
                None => vec![at_path(item, attribute)?],
            },
        };
        let fold = |key: Value| match key.as_str() {
            Some(text) if !self.case_sensitive => Value::from(text.to_lowercase()),
            _ => key,
        };
        Ok(keys.into_iter().map(fold).collect())
    }

    /// Sorts, keeping the order of what is equal, also if `reverse` is set.
    fn sort(&self, items: Vec<Value>, reverse: bool) -> Result<Vec<Value>, Error> {
        let mut keyed = Vec::with_capacity(items.len());
        for item in items {
            keyed.push((self.of(&item)?, item));
        }
        let mut failure = None;
        keyed.sort_by(|(a, _), (b, _)| {
            let found = order(a, b, "sort").unwrap_or_else(|error| {
                failure = Some(error);
                None
            });
            let found = found.unwrap_or(Ordering::Equal);
            if reverse { found.reverse() } else { found }
        });
        match failure {
            Some(error) => Err(error),
            None => Ok(keyed.into_iter().map(|(_, item)| item).collect()),
        }
    }
}

pub fn sort(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [reverse, case_sensitive, attribute] = bind("sort", args, ["reverse", "case_sensitive", "attribute"])?;
    let reverse = reverse.is_some_and(|reverse| reverse.is_true());
    Keys::new(case_sensitive, attribute).sort(items(value)?, reverse).map(Value::from)
}

pub fn dictsort(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [case_sensitive, by, reverse] = bind("dictsort", args, ["case_sensitive", "by", "reverse"])?;
    let position = match by.as_ref().map_or(Ok("key"), |by| text("dictsort", Some(by)))? {
        "key" => 0,
        "value" => 1,
        other => return Err(failed(format!("`dictsort` by `{other}`"))),
    };
    let pair = |(key, value)| Sequence::value(Kind::Tuple, vec![key, value]);
    let pairs = pairs(value)?.into_iter().map(pair).collect::<Result<_, _>>()?;
    let keys = Keys::new(case_sensitive, Some(Value::from(position)));
    keys.sort(pairs, reverse.is_some_and(|reverse| reverse.is_true())).map(Value::from)
}

pub fn min(value: &Value, args: &[Value]) -> Result<Value, Error> {
    extreme("min", value, args, Ordering::Less)
}

pub fn max(value: &Value, args: &[Value]) -> Result<Value, Error> {
    extreme("max", value, args, Ordering::Greater)
}

/// The first item that comes before, or after, all others; undefined if there is none.
fn extreme(name: &str, value: &Value, args: &[Value], wanted: Ordering) -> Result<Value, Error> {
    let [case_sensitive, attribute] = bind(name, args, ["case_sensitive", "attribute"])?;
    let keys = Keys::new(case_sensitive, attribute);
    let mut best: Option<(Value, Value)> = None;
    for item in items(value)? {
        let key = keys.of(&item)?;
        let better = match &best {
            None => true,
            Some((other, _)) => order(&key, other, name)? == Some(wanted),
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map(|(_, item)| item).unwrap_or_default())
}

/// The most items that `unique` compares with each other.
const MOST_UNIQUE: usize = 2000;

pub fn unique(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [case_sensitive, attribute] = bind("unique", args, ["case_sensitive", "attribute"])?;
    let keys = Keys::new(case_sensitive, attribute);
    let mut kept: Vec<(Value, Value)> = Vec::new();
    'items: for item in items(value)? {
        let key = keys.of(&item)?;
        for (other, _) in &kept {
            if equal(&key, other)? {
                continue 'items;
            }
        }
        if kept.len() == MOST_UNIQUE {
            return Err(failed(format!("`unique` of more than {MOST_UNIQUE} items")));
        }
        kept.push((key, item));
    }
    Ok(kept.into_iter().map(|(_, item)| item).collect())
}

/// Pairs of a value of the attribute and the items that have it; the pairs have names too.
pub fn groupby(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [attribute, default, case_sensitive] = bind("groupby", args, ["attribute", "default", "case_sensitive"])?;
    let keys = Keys::new(case_sensitive, attribute);
    let Some(path) = &keys.attribute else { return Err(failed("`groupby` needs an attribute")) };
    let named = |item: &Value| -> Result<Value, Error> {
        let found = at_path(item, path)?;
        Ok(if found.is_undefined() { default.clone().unwrap_or(found) } else { found })
    };
    let folded = |key: Value| match key.as_str() {
        Some(text) if !keys.case_sensitive => Value::from(text.to_lowercase()),
        _ => key,
    };
    let mut pairs = Vec::new();
    for item in items(value)? {
        let key = named(&item)?;
        pairs.push(Sequence::value(Kind::Tuple, vec![folded(key.clone()), key, item])?);
    }
    let by_key = Keys::new(Some(Value::from(true)), Some(Value::from(0)));
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for pair in by_key.sort(pairs, false)? {
        let [key, name, item] = &items(&pair)?[..] else { continue };
        match groups.last_mut() {
            Some((last, _, members)) if equal(last, key)? => members.push(item.clone()),
            _ => groups.push((key.clone(), name.clone(), vec![item.clone()])),
        }
    }
    let group = |(_, name, members)| Sequence::group(name, Sequence::value(Kind::List, members)?);
    groups.into_iter().map(group).collect::<Result<Vec<_>, _>>().map(Value::from)
}

/// Lists of `linecount` items, the last one filled up.
pub fn batch(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [size, fill] = bind("batch", args, ["linecount", "fill_with"])?;
    let size = group_size("batch", size)?;
    let mut lists = Vec::new();
    for chunk in items(value)?.chunks(size) {
        let mut chunk = chunk.to_vec();
        if let Some(fill) = fill.as_ref().filter(|fill| !fill.is_none()) {
            chunk.resize(size, fill.clone());
        }
        lists.push(Sequence::value(Kind::List, chunk)?);
    }
    Ok(Value::from(lists))
}

/// `slices` lists, whose lengths differ by one at most; the shorter ones are filled up.
pub fn slice(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [slices, fill] = bind("slice", args, ["slices", "fill_with"])?;
    let slices = group_size("slice", slices)?;
    let items = items(value)?;
    let (each, over) = (items.len().checked_div(slices).unwrap_or(0), items.len().checked_rem(slices).unwrap_or(0));
    let mut rest = items.as_slice();
    let mut lists = Vec::new();
    for at in 0..slices {
        let (list, after) = rest.split_at_checked(each.saturating_add(usize::from(at < over))).unwrap_or((rest, &[]));
        rest = after;
        let mut list = list.to_vec();
        list.extend(fill.clone().filter(|fill| !fill.is_none() && at >= over));
        lists.push(Sequence::value(Kind::List, list)?);
    }
    Ok(Value::from(lists))
}

fn group_size(name: &str, size: Option<Value>) -> Result<usize, Error> {
    match usize::try_from(integer(name, &size.unwrap_or_default())?) {
        Ok(size @ 1..=10_000) => Ok(size),
        _ => Err(failed(format!("`{name}` needs a number from 1 to 10000"))),
    }
}
