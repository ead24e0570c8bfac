//! Python's operators on the values of a template, as filters: [`super::translate`] writes `a % b` as
//! `a|python.mod(b)`.

use std::cmp::Ordering;

use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{Environment, Error, State};

use super::format::percent;
use super::methods;
use super::objects::{Dict, Kind, Method, Sequence, stored};
use super::python::{
    Number, Text, described, equal, failed, int, integer, is_dict, is_list, items, lookup, order, str, type_name,
};

/// The maximum number of items of a list that operators make.
const LONGEST_LIST: usize = 1 << 20;

pub fn add_to(environment: &mut Environment) {
    let mut filter = |name: &str, f: fn(&Value, &Value) -> Result<Value, Error>| {
        environment.add_filter(format!("python.{name}"), move |a: &Value, b: &Value| f(a, b));
    };
    filter("eq", |a, b| equal(a, b).map(Value::from));
    filter("ne", |a, b| equal(a, b).map(|equal| Value::from(!equal)));
    filter("lt", |a, b| compare("lt", a, b).map(Value::from));
    filter("le", |a, b| compare("le", a, b).map(Value::from));
    filter("gt", |a, b| compare("gt", a, b).map(Value::from));
    filter("ge", |a, b| compare("ge", a, b).map(Value::from));
    filter("in", |a, b| contains(b, a).map(Value::from));
    filter("add", add);
    filter("sub", |a, b| arithmetic("-", a, b, i128::checked_sub, |a, b| Some(a - b)));
    filter("mul", multiply);
    filter("div", divide);
    filter("floordiv", |a, b| arithmetic("//", a, b, floor_divide, |a, b| (b != 0.0).then(|| (a / b).floor())));
    filter("mod", modulo);
    filter("pow", power);
    filter("concat", |a, b| joined(&str(a)?, &str(b)?));
    filter("attr", |value, name| Ok(attribute(value, name)?.unwrap_or_default()));
    filter("item", |value, key| Ok(item(value, key)?.unwrap_or_default()));
    environment.add_filter("python.compare", chained);
    environment.add_filter("python.same", |value: Value| value);
    environment.add_filter("python.neg", negate);
    environment.add_filter("python.iter", |value: &Value| items(value).map(Value::from));
    environment.add_filter("python.unpacked", |value: &Value| unpacked(value).map(Value::from));
    environment.add_filter("python.tuple", |value: &Value| Sequence::value(Kind::Tuple, items(value)?));
    environment.add_filter("python.list", |value: &Value| Sequence::value(Kind::List, items(value)?));
    environment.add_filter("python.dict", |value: &Value| Dict::value(pairs(value)?));
    environment.add_filter("python.stored", stored);
    environment.add_filter("python.slice", slice);
    environment.add_filter("python.method", |state: &State, value: &Value, name: &str, args: Rest<Value>| {
        methods::call(state, value, name, &args)
    });
    environment.add_filter("python.call", |state: &State, value: &Value, args: Rest<Value>| value.call(state, &args));
}

/// Items that are assigned to several names each; strings are their characters.
fn unpacked(value: &Value) -> Result<Vec<Value>, Error> {
    let spread = |item: Value| match item.as_str() {
        Some(_) => items(&item).map(Value::from),
        None => Ok(item),
    };
    items(value)?.into_iter().map(spread).collect()
}

fn unsuited(operator: &str, a: &Value, b: &Value) -> Error {
    failed(format!("`{operator}` between {} and {}", described(a), described(b)))
}

pub fn compare(name: &str, a: &Value, b: &Value) -> Result<bool, Error> {
    let (operator, holds): (_, fn(Ordering) -> bool) = match name {
        "eq" => return equal(a, b),
        "ne" => return equal(a, b).map(|equal| !equal),
        "in" => return contains(b, a),
        "not in" => return contains(b, a).map(|found| !found),
        "lt" => ("<", Ordering::is_lt),
        "le" => ("<=", Ordering::is_le),
        "gt" => (">", Ordering::is_gt),
        _ => (">=", Ordering::is_ge),
    };
    Ok(order(a, b, operator)?.is_some_and(holds))
}

/// `a < b < c`, as the operators and the operands after the first.
fn chained(first: &Value, rest: Rest<Value>) -> Result<bool, Error> {
    let mut left = first;
    for pair in rest.chunks(2) {
        let [operator, right] = pair else { return Ok(false) };
        if !compare(operator.as_str().unwrap_or_default(), left, right)? {
            return Ok(false);
        }
        left = right;
    }
    Ok(true)
}

/// `item in container`.
pub fn contains(container: &Value, item: &Value) -> Result<bool, Error> {
    match type_name(container) {
        "str" => match item.as_str() {
            Some(part) => Ok(container.as_str().unwrap_or_default().contains(part)),
            None => Err(failed(format!("`in` looks for {} in a string", described(item)))),
        },
        "dict" => Ok(lookup(container, item).is_some()),
        "Undefined" => Ok(false),
        "list" | "tuple" | "dict_keys" | "dict_values" | "dict_items" => {
            for other in container.try_iter()? {
                if equal(&other, item)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Err(failed(format!("`in` looks into {}", described(container)))),
    }
}

fn joined(a: &str, b: &str) -> Result<Value, Error> {
    let mut text = Text::default();
    text.push(a)?;
    text.push(b)?;
    Ok(Value::from(text.finish()))
}

/// `a + b`.
pub fn add(a: &Value, b: &Value) -> Result<Value, Error> {
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return joined(a, b);
    }
    if is_list(a) && type_name(a) == type_name(b) {
        let both = [items(a)?, items(b)?].concat();
        if both.len() > LONGEST_LIST {
            return Err(failed("a list becomes too long"));
        }
        return Sequence::value(if type_name(a) == "tuple" { Kind::Tuple } else { Kind::List }, both);
    }
    arithmetic("+", a, b, i128::checked_add, |a, b| Some(a + b))
}

fn arithmetic(
    operator: &str,
    a: &Value,
    b: &Value,
    ints: fn(i128, i128) -> Option<i128>,
    floats: fn(f64, f64) -> Option<f64>,
) -> Result<Value, Error> {
    let impossible = || failed(format!("`{operator}` of these numbers has no result"));
    match (Number::of(a), Number::of(b)) {
        (Some(Number::Int(a)), Some(Number::Int(b))) => ints(a, b).map(int).ok_or_else(impossible),
        (Some(a), Some(b)) => floats(a.as_f64(), b.as_f64()).map(Value::from).ok_or_else(impossible),
        _ => Err(unsuited(operator, a, b)),
    }
}

/// Towards minus infinity.
fn floor_divide(a: i128, b: i128) -> Option<i128> {
    let (quotient, rest) = (a.checked_div(b)?, a.checked_rem(b)?);
    if rest != 0 && (rest < 0) != (b < 0) { quotient.checked_sub(1) } else { Some(quotient) }
}

/// `a % b`: the rest with the sign of `b`, or what `a` formats.
pub fn modulo(a: &Value, b: &Value) -> Result<Value, Error> {
    if let Some(format) = a.as_str() {
        return percent(format, b).map(Value::from);
    }
    let ints = |a: i128, b: i128| a.checked_sub(floor_divide(a, b)?.checked_mul(b)?);
    arithmetic("%", a, b, ints, |a, b| (b != 0.0).then(|| a - (a / b).floor() * b))
}

fn multiply(a: &Value, b: &Value) -> Result<Value, Error> {
    let (repeated, times) = if a.as_str().is_some() || is_list(a) { (a, b) } else { (b, a) };
    let Some(Number::Int(times)) = Number::of(times) else {
        return arithmetic("*", a, b, i128::checked_mul, |a, b| Some(a * b));
    };
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    if let Some(text) = repeated.as_str() {
        let fits = text.len().checked_mul(times).is_some_and(|length| length <= super::LONGEST_TEXT);
        return if fits { Ok(Value::from(text.repeat(times))) } else { Err(failed("a repeated string is too long")) };
    }
    if is_list(repeated) {
        let items = items(repeated)?;
        if items.len().checked_mul(times).is_none_or(|length| length > LONGEST_LIST) {
            return Err(failed("a repeated list is too long"));
        }
        let items: Vec<Value> = std::iter::repeat_n(items, times).flatten().collect();
        return Sequence::value(if type_name(repeated) == "tuple" { Kind::Tuple } else { Kind::List }, items);
    }
    arithmetic("*", a, b, i128::checked_mul, |a, b| Some(a * b))
}

fn divide(a: &Value, b: &Value) -> Result<Value, Error> {
    match (Number::of(a), Number::of(b)) {
        (Some(_), Some(b)) if b.as_f64() == 0.0 => Err(failed("`/` divides by zero")),
        (Some(a), Some(b)) => Ok(Value::from(a.as_f64() / b.as_f64())),
        _ => Err(unsuited("/", a, b)),
    }
}

fn power(a: &Value, b: &Value) -> Result<Value, Error> {
    match (Number::of(a), Number::of(b)) {
        (Some(Number::Int(a)), Some(Number::Int(b))) if b >= 0 => {
            let result = u32::try_from(b).ok().and_then(|b| a.checked_pow(b));
            result.map(int).ok_or_else(|| failed("the result of `**` is too large"))
        }
        (Some(a), Some(b)) => match a.as_f64().powf(b.as_f64()) {
            result if result.is_finite() => Ok(Value::from(result)),
            _ => Err(failed("`**` of these numbers has no result")),
        },
        _ => Err(unsuited("**", a, b)),
    }
}

fn negate(value: &Value) -> Result<Value, Error> {
    match Number::of(value) {
        Some(Number::Int(value)) => value.checked_neg().map(int).ok_or_else(|| failed("`-` of a number this large")),
        Some(Number::Float(value)) => Ok(Value::from(-value)),
        None => Err(failed(format!("`-` of {}", described(value)))),
    }
}

/// `value.name`: a method of its type, or the value of a key. None is what Jinja2 calls undefined.
pub fn attribute(value: &Value, name: &Value) -> Result<Option<Value>, Error> {
    let key = name.as_str().unwrap_or_default();
    match value.kind() {
        ValueKind::Undefined => Err(failed(format!("`.{key}` of a value that is not defined"))),
        _ if methods::exists(value, key) => Ok(Some(Method::value(value, key))),
        ValueKind::Map => Ok(lookup(value, name)),
        ValueKind::Plain => Ok(value.get_attr(key).ok().filter(|value| !value.is_undefined())),
        // What a filter such as `groupby` returns has names as well as positions.
        ValueKind::Seq => Ok(lookup(value, name)),
        _ => Ok(None),
    }
}

/// `value[key]`: an item, or else a method of its type.
pub fn item(value: &Value, key: &Value) -> Result<Option<Value>, Error> {
    let index = |length: usize| {
        let Some(Number::Int(at)) = Number::of(key) else { return None };
        let at = if at < 0 { at.checked_add(i128::try_from(length).ok()?)? } else { at };
        usize::try_from(at).ok()
    };
    let found = match type_name(value) {
        "Undefined" => {
            let key = super::super::shortened(str(key)?);
            return Err(failed(format!("`[{key}]` of a value that is not defined")));
        }
        "str" => {
            let text = value.as_str().unwrap_or_default();
            index(text.chars().count()).and_then(|at| text.chars().nth(at)).map(Value::from)
        }
        "list" | "tuple" => {
            let items = items(value)?;
            index(items.len()).and_then(|at| items.get(at)).cloned()
        }
        "dict" | "Namespace" => lookup(value, key),
        _ => None,
    };
    match (found, key.as_str()) {
        (None, Some(_)) => attribute(value, key),
        (found, _) => Ok(found),
    }
}

/// `value[start:stop:step]`.
fn slice(value: &Value, start: &Value, stop: &Value, step: &Value) -> Result<Value, Error> {
    let items = match type_name(value) {
        "str" | "list" | "tuple" => items(value)?,
        "Undefined" => return Err(failed("`[:]` of a value that is not defined")),
        // As in Jinja2, what cannot be cut is undefined.
        _ => return Ok(Value::UNDEFINED),
    };
    let bound = |value: &Value| match value.is_none() {
        true => Ok(None),
        false => integer("[:]", value).map(Some),
    };
    let (Ok(start), Ok(stop), Ok(step)) = (bound(start), bound(stop), bound(step)) else {
        return Ok(Value::UNDEFINED);
    };
    let step = step.unwrap_or(1);
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    // The bounds are clipped to [lowest, highest], and count from the end if they are negative.
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length.saturating_sub(1)) };
    let clip = |bound: Option<i64>, default: i64| match bound {
        Some(bound) if bound < 0 => bound.saturating_add(length).clamp(lowest, highest),
        Some(bound) => bound.min(highest),
        None => default,
    };
    let mut taken = Vec::new();
    let (mut at, end) = match step.signum() {
        1 => (clip(start, lowest), clip(stop, highest)),
        -1 => (clip(start, highest), clip(stop, lowest)),
        _ => return Err(failed("`[::0]` takes no step")),
    };
    while if step > 0 { at < end } else { at > end } {
        taken.extend(usize::try_from(at).ok().and_then(|at| items.get(at)).cloned());
        at = at.saturating_add(step);
    }
    Ok(match type_name(value) {
        "str" => Value::from(taken.iter().filter_map(Value::as_str).collect::<String>()),
        "tuple" => Sequence::value(Kind::Tuple, taken)?,
        _ => Value::from(taken),
    })
}

/// Checks that `is_dict` values are meant where a filter needs pairs.
pub fn pairs(value: &Value) -> Result<Vec<(Value, Value)>, Error> {
    if !is_dict(value) {
        return Err(failed(format!("pairs of keys and values of {}", described(value))));
    }
    value.try_iter()?.map(|key| Ok((key.clone(), value.get_item(&key)?))).collect()
}
