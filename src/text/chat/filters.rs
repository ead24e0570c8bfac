//! The filters and functions of Jinja2 that minijinja lacks or that differ in it, as Python computes them. What
//! minijinja has and Jinja2 has not is removed: a template that uses it would work nowhere else.

use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, Error};

use super::methods;
use super::objects::{Dict, Kind, Method, Sequence, stored};
use super::operators::{add, item as item_at, pairs};
use super::pprint::pprint;
use super::python::{Number, bind, described, failed, int, integer, is_dict, is_namespace, items, lookup, str, text};
use super::sorting;
use super::strings::{self, is_space, lines};

pub fn add_to(environment: &mut Environment) {
    for name in ["bool", "chain", "lines", "split", "zip"] {
        environment.remove_filter(name);
    }
    environment.remove_global("debug");
    for (name, filter) in FILTERS {
        environment.add_filter(*name, move |value: &Value, args: Rest<Value>| filter(value, &args));
    }
    environment.add_function("dict", |args: Rest<Value>| dict(&args));
    environment.add_function("namespace", |args: Rest<Value>| {
        let fields = dict(&args)?;
        for (_, value) in pairs(&fields)? {
            stored(value)?;
        }
        minijinja::functions::namespace(Some(fields))
    });
}

type Filter = fn(&Value, &[Value]) -> Result<Value, Error>;

const FILTERS: &[(&str, Filter)] = &[
    ("string", |value, args| bind("string", args, []).and_then(|[]: [_; 0]| str(value).map(Value::from))),
    ("upper", |value, _| Ok(Value::from(str(value)?.to_uppercase()))),
    ("lower", |value, _| Ok(Value::from(str(value)?.to_lowercase()))),
    ("capitalize", |value, _| Ok(Value::from(strings::capitalized(&str(value)?)))),
    ("title", |value, _| Ok(Value::from(title(&str(value)?)))),
    ("trim", trim),
    ("replace", replace),
    ("join", join),
    ("length", length),
    ("count", length),
    ("list", |value, _| items(value).map(Value::from)),
    ("items", |value, _| match value.is_undefined() {
        true => Ok(Value::from(Vec::<Value>::new())),
        false => {
            let pair = |(key, value)| Sequence::value(Kind::Tuple, vec![key, value]);
            pairs(value)?.into_iter().map(pair).collect::<Result<Vec<_>, _>>().map(Value::from)
        }
    }),
    ("reverse", |value, _| {
        let reversed = items(value)?.into_iter().rev();
        Ok(match value.as_str() {
            Some(text) => Value::from(text.chars().rev().collect::<String>()),
            None => reversed.collect(),
        })
    }),
    ("int", to_int),
    ("float", to_float),
    ("abs", |value, _| match Number::of(value) {
        Some(Number::Int(number)) => Ok(int(number.saturating_abs())),
        Some(Number::Float(number)) => Ok(Value::from(number.abs())),
        None => Err(failed(format!("`abs` of {}", described(value)))),
    }),
    ("round", round),
    ("sum", sum),
    ("indent", indent),
    ("wordcount", |value, _| {
        let text = str(value)?;
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        Ok(Value::from(words.count()))
    }),
    ("truncate", truncate),
    ("center", |value, args| {
        let [width] = bind("center", args, ["width"])?;
        let width = width.map(|width| integer("center", &width)).transpose()?.unwrap_or(80);
        strings::padded(&str(value)?, "center", width, None)
    }),
    ("urlencode", urlencode),
    ("pprint", |value, args| bind("pprint", args, []).and_then(|[]: [_; 0]| pprint(value))),
    ("format", |value, args| methods::format_filter(&str(value)?, args).map(Value::from)),
    ("escape", |value, _| escape(value)),
    ("attr", |value, args| {
        let [name] = bind("attr", args, ["name"])?;
        let name = str(&name.unwrap_or_default())?;
        Ok(match methods::exists(value, &name) {
            true => Method::value(value, &name),
            false if is_namespace(value) => lookup(value, &Value::from(name)).unwrap_or_default(),
            false => Value::UNDEFINED,
        })
    }),
    ("batch", sorting::batch),
    ("groupby", sorting::groupby),
    ("slice", sorting::slice),
    ("sort", sorting::sort),
    ("dictsort", sorting::dictsort),
    ("min", sorting::min),
    ("max", sorting::max),
    ("unique", sorting::unique),
    ("e", |value, _| escape(value)),
    ("forceescape", |value, _| escape(value)),
];

/// Jinja2 begins a word after white space, a hyphen or an opening bracket.
fn title(text: &str) -> String {
    let mut begins = true;
    let mut out = String::new();
    for c in text.chars() {
        match begins {
            true => out.extend(c.to_uppercase()),
            false => out.extend(c.to_lowercase()),
        }
        begins = is_space(c) || "-({[<".contains(c);
    }
    out
}

fn trim(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [chars] = bind("trim", args, ["chars"])?;
    let chars = chars.filter(|chars| !chars.is_none());
    let chars = chars.as_ref().map(|chars| text("trim", Some(chars))).transpose()?;
    let value = str(value)?;
    Ok(Value::from(value.trim_matches(|c: char| chars.map_or(is_space(c), |chars| chars.contains(c)))))
}

fn replace(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [old, new, count] = bind("replace", args, ["old", "new", "count"])?;
    let count = count.filter(|count| !count.is_none()).map(|count| integer("replace", &count)).transpose()?;
    let argument = |value: Option<Value>| str(&value.ok_or_else(|| failed("`replace` needs two strings"))?);
    strings::replaced(&str(value)?, &argument(old)?, &argument(new)?, count).map(Value::from)
}

fn join(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [between, attribute] = bind("join", args, ["d", "attribute"])?;
    let between = between.map(|between| str(&between)).transpose()?.unwrap_or_default();
    let attribute = attribute.filter(|attribute| !attribute.is_none());
    let mut parts = Vec::new();
    let mut length = 0usize;
    for item in items(value)? {
        let part = str(&match &attribute {
            Some(path) => at_path(&item, path)?,
            None => item,
        })?;
        length = length.saturating_add(part.len()).saturating_add(between.len());
        if length > super::LONGEST_TEXT {
            return Err(failed("`join` makes a text that is too long"));
        }
        parts.push(part);
    }
    Ok(Value::from(parts.join(&between)))
}

/// `attribute='a.b'` of a filter.
pub fn at_path(item: &Value, path: &Value) -> Result<Value, Error> {
    if path.as_str().is_none_or(str::is_empty) {
        return Ok(item_at(item, path)?.unwrap_or_default());
    }
    let path = path.as_str().unwrap_or_default();
    let mut value = item.clone();
    for name in path.split('.') {
        if value.is_undefined() {
            return Err(failed(format!("`{name}` of a value that is not defined")));
        }
        let key = name.parse::<i64>().map_or_else(|_| Value::from(name), Value::from);
        value = item_at(&value, &key)?.unwrap_or_default();
    }
    Ok(value)
}

fn length(value: &Value, _args: &[Value]) -> Result<Value, Error> {
    match value.as_str() {
        Some(text) => Ok(Value::from(text.chars().count())),
        None => items(value).map(|items| Value::from(items.len())),
    }
}

fn to_int(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [default, base] = bind("int", args, ["default", "base"])?;
    let base = base.map(|base| integer("int", &base)).transpose()?.unwrap_or(10);
    let found = match (Number::of(value), value.as_str()) {
        (Some(Number::Int(number)), _) => Some(number),
        (Some(Number::Float(number)), _) => whole(number),
        (None, Some(text)) => {
            let (text, base) = (text.trim_matches(is_space), u32::try_from(base).ok());
            let base = base.filter(|base| (2..=36).contains(base)).ok_or_else(|| failed("`int` with this base"))?;
            let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
            let prefix = match base {
                2 => ["0b", "0B"],
                8 => ["0o", "0O"],
                16 => ["0x", "0X"],
                _ => ["", ""],
            };
            let digits = prefix.iter().find_map(|prefix| digits.strip_prefix(prefix)).unwrap_or(digits);
            let parsed = i128::from_str_radix(&format!("{sign}{digits}"), base).ok();
            parsed.or_else(|| parse_float(text).and_then(whole))
        }
        _ => None,
    };
    Ok(found.map(int).or(default).unwrap_or_else(|| Value::from(0)))
}

fn whole(number: f64) -> Option<i128> {
    (number.is_finite() && number.abs() < 1e37).then_some(number as i128)
}

fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_space);
    text.parse().ok()
}

fn to_float(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [default] = bind("float", args, ["default"])?;
    let found = match Number::of(value) {
        Some(number) => Some(number.as_f64()),
        None => value.as_str().and_then(parse_float),
    };
    Ok(found.map(Value::from).or(default).unwrap_or_else(|| Value::from(0.0)))
}

fn round(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [precision, method] = bind("round", args, ["precision", "method"])?;
    let precision = precision.map(|precision| integer("round", &precision)).transpose()?.unwrap_or(0);
    let method = method.as_ref().map_or(Ok("common"), |method| text("round", Some(method)))?;
    let number = Number::of(value).ok_or_else(|| failed(format!("`round` of {}", described(value))))?;
    let places = usize::try_from(precision).ok().filter(|places| *places < 300);
    let places = places.ok_or_else(|| failed("`round` to this precision"))?;
    let scale = 10f64.powi(i32::try_from(places).unwrap_or(0));
    match (method, number) {
        ("common", Number::Int(number)) => Ok(int(number)),
        // The nearest decimal to the binary value, as Python's `round` finds it.
        ("common", Number::Float(number)) => Ok(Value::from(format!("{number:.places$}").parse().unwrap_or(number))),
        ("ceil", number) => Ok(Value::from((number.as_f64() * scale).ceil() / scale)),
        ("floor", number) => Ok(Value::from((number.as_f64() * scale).floor() / scale)),
        _ => Err(failed(format!("`round` has no method `{method}`"))),
    }
}

fn sum(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [attribute, start] = bind("sum", args, ["attribute", "start"])?;
    let attribute = attribute.filter(|attribute| !attribute.is_none());
    let mut total = start.unwrap_or_else(|| Value::from(0));
    for item in items(value)? {
        total = add(
            &total,
            &match &attribute {
                Some(path) => at_path(&item, path)?,
                None => item,
            },
        )?;
    }
    Ok(total)
}

fn indent(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [width, first, blank] = bind("indent", args, ["width", "first", "blank"])?;
    let truth = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let (first, blank) = (truth(first), truth(blank));
    let width = match width {
        None => " ".repeat(4),
        Some(width) => match width.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(integer("indent", &width)?.clamp(0, 1000).unsigned_abs() as usize),
        },
    };
    let text = format!("{}\n", str(value)?);
    let lines = lines(&text, false);
    if lines.len().saturating_mul(width.len()).saturating_add(text.len()) > super::LONGEST_TEXT {
        return Err(failed("`indent` makes a text that is too long"));
    }
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        out.push_str(if at > 0 { "\n" } else { "" });
        let indented = if at == 0 { first } else { blank || !line.is_empty() };
        out.push_str(if indented { &width } else { "" });
        out.push_str(line);
    }
    Ok(Value::from(out))
}

fn truncate(value: &Value, args: &[Value]) -> Result<Value, Error> {
    let [length, kill, end, leeway] = bind("truncate", args, ["length", "killwords", "end", "leeway"])?;
    let number = |value: Option<Value>, default: i64| match value.filter(|value| !value.is_none()) {
        Some(value) => integer("truncate", &value),
        None => Ok(default),
    };
    let (length, leeway) = (number(length, 255)?, number(leeway, 5)?);
    let end = end.map(|end| str(&end)).transpose()?.unwrap_or_else(|| "...".to_owned());
    let text = str(value)?;
    let size = |text: &str| i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let room = length.saturating_sub(size(&end));
    if room < 0 || leeway < 0 {
        return Err(failed("`truncate` to less than its end"));
    }
    if size(&text) <= length.saturating_add(leeway) {
        return Ok(Value::from(text));
    }
    let kept: String = text.chars().take(usize::try_from(room).unwrap_or(0)).collect();
    let kept = match kill.is_some_and(|kill| kill.is_true()) {
        true => kept.as_str(),
        false => kept.rsplit_once(' ').map_or(kept.as_str(), |(words, _)| words),
    };
    Ok(Value::from(format!("{kept}{end}")))
}

fn urlencode(value: &Value, _args: &[Value]) -> Result<Value, Error> {
    let quote = |text: &str, query: bool| {
        let mut out = String::new();
        for byte in text.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(byte.into()),
                b'/' if !query => out.push('/'),
                b' ' if query => out.push('+'),
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
        out
    };
    if !is_dict(value) {
        return Ok(Value::from(quote(&str(value)?, false)));
    }
    let mut fields = Vec::new();
    for (key, value) in pairs(value)? {
        fields.push(format!("{}={}", quote(&str(&key)?, true), quote(&str(&value)?, true)));
    }
    Ok(Value::from(fields.join("&")))
}

fn escape(value: &Value) -> Result<Value, Error> {
    let mut out = String::new();
    for c in str(value)?.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    Ok(Value::from(out))
}

/// `dict(pairs, name=value)`.
fn dict(args: &[Value]) -> Result<Value, Error> {
    let mut fields = Vec::new();
    for arg in args {
        if arg.is_kwargs() {
            let named = Kwargs::try_from(arg.clone())?;
            for name in named.args() {
                fields.push((Value::from(name), named.get::<Value>(name)?));
            }
            named.assert_all_used()?;
        } else if is_dict(arg) {
            fields.extend(pairs(arg)?);
        } else {
            for pair in items(arg)? {
                match &items(&pair)?[..] {
                    [key, value] => fields.push((key.clone(), value.clone())),
                    _ => return Err(failed("`dict` needs pairs")),
                }
            }
        }
    }
    Dict::value(fields)
}
