//! How Python fills values into a text: `'%s' % value` and `'{}'.format(value)`.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::operators::attribute;
use super::python::{self, Number, Text, described, failed, items, lookup, repr, str, type_name};

/// The maximum width and precision.
const WIDEST: usize = 10_000;

/// One placeholder: `%-5.2f` or `{:<5.2f}`.
#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    group: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

type Chars<'t> = std::iter::Peekable<std::str::Chars<'t>>;

fn take_if(chars: &mut Chars, wanted: &str) -> Option<char> {
    chars.next_if(|c| wanted.contains(*c))
}

fn take_number(chars: &mut Chars) -> Result<Option<usize>, Error> {
    let mut digits = String::new();
    while let Some(digit) = take_if(chars, "0123456789") {
        digits.push(digit);
    }
    match digits.parse() {
        Ok(number) if number <= WIDEST => Ok(Some(number)),
        _ if digits.is_empty() => Ok(None),
        _ => Err(failed(format!("a placeholder is {digits} characters wide; the limit is {WIDEST}"))),
    }
}

/// `format % args`.
pub fn percent(format: &str, args: &Value) -> Result<String, Error> {
    let values = if type_name(args) == "tuple" { items(args)? } else { vec![args.clone()] };
    let mut values = values.into_iter();
    let mut text = Text::default();
    let mut chars = format.chars().peekable();
    let mut named = false;
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c.encode_utf8(&mut [0; 4]))?;
            continue;
        }
        if take_if(&mut chars, "%").is_some() {
            text.push("%")?;
            continue;
        }
        let name = take_if(&mut chars, "(").map(|_| chars.by_ref().take_while(|c| *c != ')').collect::<String>());
        let mut spec = Spec { align: Some('>'), ..Spec::default() };
        while let Some(flag) = take_if(&mut chars, "-+ #0") {
            match flag {
                '-' => spec.align = Some('<'),
                '#' => spec.alternate = true,
                '0' => spec.zero = true,
                sign => spec.sign = if spec.sign == Some('+') { spec.sign } else { Some(sign) },
            }
        }
        spec.width = take_number(&mut chars)?.unwrap_or(0);
        if take_if(&mut chars, ".").is_some() {
            spec.precision = Some(take_number(&mut chars)?.unwrap_or(0));
        }
        spec.zero &= spec.align == Some('>');
        let kind = chars.next().ok_or_else(|| failed("a `%` at the end of a format has no kind"))?;
        let value = match &name {
            Some(name) => {
                named = true;
                lookup(args, &Value::from(name.as_str()))
                    .ok_or_else(|| failed(format!("`%({name}){kind}` has no value to fill in")))?
            }
            None => values.next().ok_or_else(|| failed(format!("`%{kind}` has no value to fill in")))?,
        };
        text.push(&spec.percent(kind, &value)?)?;
    }
    let may_be_left = named || matches!(args.kind(), ValueKind::Map | ValueKind::Seq) && type_name(args) != "tuple";
    match values.next() {
        Some(_) if !may_be_left => Err(failed("`%` has more values than the format has placeholders")),
        _ => Ok(text.finish()),
    }
}

/// `format.format(*positional, **named)`.
pub fn braces(format: &str, positional: &[Value], named: Option<&Value>) -> Result<String, Error> {
    let mut text = Text::default();
    let mut chars = format.chars().peekable();
    let mut next = 0usize;
    while let Some(c) = chars.next() {
        if !matches!(c, '{' | '}') || take_if(&mut chars, c.encode_utf8(&mut [0; 4])).is_some() {
            text.push(c.encode_utf8(&mut [0; 4]))?;
            continue;
        }
        let mut field = String::new();
        loop {
            match chars.next() {
                Some('}') if c == '{' => break,
                Some(inner) if inner != '{' && c == '{' => field.push(inner),
                _ => return Err(failed("`format` needs `{…}` with nothing in it that is in braces itself")),
            }
        }
        let (field, spec) = field.split_once(':').unwrap_or((&field, ""));
        let (path, conversion) = field.split_once('!').map_or((field, None), |(path, c)| (path, Some(c)));
        let end = path.find(['.', '[']).unwrap_or(path.len());
        let (name, rest) = path.split_at_checked(end).unwrap_or((path, ""));
        let missing = || failed(format!("`format` has no value for `{{{path}}}`"));
        let value = if name.is_empty() {
            next = next.saturating_add(1);
            positional.get(next.saturating_sub(1)).cloned()
        } else if let Ok(at) = name.parse::<usize>() {
            positional.get(at).cloned()
        } else {
            named.and_then(|named| lookup(named, &Value::from(name)))
        };
        let value = inner(value.ok_or_else(missing)?, rest)?.ok_or_else(missing)?;
        let value = match conversion {
            None => value,
            Some("s") => Value::from(str(&value)?),
            Some("r") => Value::from(repr(&value)?),
            Some(other) => return Err(failed(format!("`format` has no conversion `!{other}`"))),
        };
        text.push(&Spec::parse(spec)?.format(&value)?)?;
    }
    Ok(text.finish())
}

/// What `.name` and `[key]` after the name of a field lead to.
fn inner(mut value: Value, mut path: &str) -> Result<Option<Value>, Error> {
    while !path.is_empty() {
        let found;
        if let Some(rest) = path.strip_prefix('.') {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            (found, path) = (attribute(&value, &Value::from(name))?, after);
        } else {
            let (key, after) = path.strip_prefix('[').and_then(|rest| rest.split_once(']')).unwrap_or_default();
            let at = key.parse::<usize>().ok();
            found = match at {
                Some(at) if python::is_list(&value) => items(&value)?.get(at).cloned(),
                _ => lookup(&value, &Value::from(key)),
            };
            path = after;
        }
        match found {
            Some(found) => value = found,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

impl Spec {
    /// `[[fill]align][sign][#][0][width][,][.precision][kind]`.
    fn parse(spec: &str) -> Result<Spec, Error> {
        let mut parsed = Spec::default();
        let mut chars = spec.chars().peekable();
        let mut ahead = spec.chars();
        if let (Some(fill), Some('<' | '>' | '^' | '=')) = (ahead.next(), ahead.next()) {
            parsed.fill = Some(fill);
            chars.next();
        }
        parsed.align = take_if(&mut chars, "<>^=");
        parsed.sign = take_if(&mut chars, "+- ");
        parsed.alternate = take_if(&mut chars, "#").is_some();
        parsed.zero = take_if(&mut chars, "0").is_some();
        parsed.width = take_number(&mut chars)?.unwrap_or(0);
        parsed.group = take_if(&mut chars, ",_");
        if take_if(&mut chars, ".").is_some() {
            parsed.precision = Some(take_number(&mut chars)?.ok_or_else(|| failed("a `.` without a precision"))?);
        }
        parsed.kind = chars.next();
        match chars.next() {
            None => Ok(parsed),
            Some(_) => Err(failed(format!("`format` does not know the format `{spec}`"))),
        }
    }

    /// The value as `%kind` writes it.
    fn percent(&self, kind: char, value: &Value) -> Result<String, Error> {
        let cut = |text: String| match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text,
        };
        let unsuited = || failed(format!("`%{kind}` of {}", described(value)));
        match kind {
            's' => Ok(self.pad("", &cut(str(value)?), '<')),
            'r' => Ok(self.pad("", &cut(repr(value)?), '<')),
            'c' => match (value.as_str(), Number::of(value)) {
                (Some(text), _) if text.chars().count() == 1 => Ok(self.pad("", text, '<')),
                (_, Some(Number::Int(code))) => {
                    let c = u32::try_from(code).ok().and_then(char::from_u32).ok_or_else(unsuited)?;
                    Ok(self.pad("", &c.to_string(), '<'))
                }
                _ => Err(unsuited()),
            },
            'd' | 'i' | 'u' => match Number::of(value).ok_or_else(unsuited)? {
                Number::Float(float) if float.is_finite() && float.abs() < 1e30 => {
                    self.number('d', Number::Int(float as i128))
                }
                Number::Float(_) => Err(unsuited()),
                int => self.number('d', int),
            },
            'x' | 'X' | 'o' => match Number::of(value) {
                Some(int @ Number::Int(_)) => self.number(kind, int),
                _ => Err(unsuited()),
            },
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
                self.number(kind, Number::Float(Number::of(value).ok_or_else(unsuited)?.as_f64()))
            }
            _ => Err(failed(format!("`%{kind}` is no format"))),
        }
    }

    /// The value as `{:spec}` writes it.
    fn format(&self, value: &Value) -> Result<String, Error> {
        let is_plain = self.width == 0 && self.kind.is_none() && self.precision.is_none() && self.sign.is_none();
        let unsuited = || {
            let kind = self.kind.map_or(String::new(), |kind| format!(" `{kind}`"));
            failed(format!("`format` of {} with the format{kind}", described(value)))
        };
        match (value.as_str(), Number::of(value)) {
            (Some(text), _) if matches!(self.kind, None | Some('s')) && self.sign.is_none() && self.group.is_none() => {
                let text: String = text.chars().take(self.precision.unwrap_or(usize::MAX)).collect();
                Ok(self.pad("", &text, '<'))
            }
            (None, Some(_)) if value.kind() == ValueKind::Bool && is_plain => str(value),
            (None, Some(number)) => match (number, self.kind) {
                (Number::Int(_), None) if self.precision.is_none() => self.number('d', number),
                (Number::Int(_), Some('d' | 'x' | 'X' | 'o' | 'b')) if self.precision.is_none() => {
                    self.number(self.kind.unwrap_or('d'), number)
                }
                (Number::Float(_), None) => self.number('r', number),
                (_, Some(kind @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%'))) => {
                    self.number(kind, Number::Float(number.as_f64()))
                }
                _ => Err(unsuited()),
            },
            (None, None) if is_plain && self.fill.is_none() && self.align.is_none() => str(value),
            _ => Err(unsuited()),
        }
    }

    fn number(&self, kind: char, number: Number) -> Result<String, Error> {
        let (negative, mut digits) = match number {
            Number::Int(value) => {
                let size = value.unsigned_abs();
                let digits = match kind {
                    'x' => format!("{size:x}"),
                    'X' => format!("{size:X}"),
                    'o' => format!("{size:o}"),
                    'b' => format!("{size:b}"),
                    _ => format!("{size:0width$}", width = self.precision.unwrap_or(0)),
                };
                let prefix = match kind {
                    'x' | 'X' | 'o' | 'b' if self.alternate => format!("0{kind}"),
                    _ => String::new(),
                };
                (value < 0, prefix + &digits)
            }
            Number::Float(value) => {
                (value.is_sign_negative() && !value.is_nan(), float(kind, value.abs(), self.precision, self.alternate))
            }
        };
        if let Some(group) = self.group {
            let (whole, rest) =
                digits.split_at_checked(digits.find(['.', 'e', '%']).unwrap_or(digits.len())).unwrap_or((&digits, ""));
            let mut grouped = Vec::new();
            for (at, digit) in whole.chars().rev().enumerate() {
                grouped.extend((at > 0 && at % 3 == 0).then_some(group));
                grouped.push(digit);
            }
            digits = grouped.into_iter().rev().chain(rest.chars()).collect();
            if self.zero || matches!(kind, 'x' | 'X' | 'o' | 'b') {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    "`format` groups decimal digits without zeros only",
                ));
            }
        }
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            _ => "",
        };
        Ok(self.pad(sign, &digits, '>'))
    }

    fn pad(&self, sign: &str, body: &str, usual: char) -> String {
        let missing = self.width.saturating_sub(sign.len().saturating_add(body.chars().count()));
        let zero = self.zero && usual == '>';
        let fill = self.fill.unwrap_or(if zero { '0' } else { ' ' });
        let fills = |count: usize| fill.to_string().repeat(count);
        match self.align.filter(|_| !zero || self.align != Some('>')).unwrap_or(if zero { '=' } else { usual }) {
            '<' => format!("{sign}{body}{}", fills(missing)),
            '^' => {
                let before = missing.checked_div(2).unwrap_or(0);
                format!("{}{sign}{body}{}", fills(before), fills(missing.saturating_sub(before)))
            }
            '=' => format!("{sign}{}{body}", fills(missing)),
            _ => format!("{}{sign}{body}", fills(missing)),
        }
    }
}

/// The digits of a number that is not negative.
fn float(kind: char, value: f64, precision: Option<usize>, alternate: bool) -> String {
    let text = if value.is_nan() {
        "nan".to_owned()
    } else if value.is_infinite() {
        "inf".to_owned()
    } else {
        let places = precision.unwrap_or(6);
        match kind.to_ascii_lowercase() {
            'e' => scientific(value, places),
            'f' => format!("{value:.places$}"),
            '%' => format!("{:.places$}%", value * 100.0),
            'r' if precision.is_none() => python::float(value),
            other => {
                let places = places.max(1);
                let rounded = scientific(value, places.saturating_sub(1));
                let power: i64 = rounded.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
                let limit = i64::try_from(places).unwrap_or(i64::MAX);
                let fixed = power >= -4 && power < limit.saturating_sub(i64::from(other == 'r'));
                let decimals = limit.saturating_sub(1).saturating_sub(power).max(0).unsigned_abs() as usize;
                let text = if fixed { format!("{value:.decimals$}") } else { rounded };
                let text = if alternate { text } else { without_zeros(&text) };
                if other == 'r' && fixed && !text.contains('.') { format!("{text}.0") } else { text }
            }
        }
    };
    if kind.is_ascii_uppercase() { text.to_uppercase() } else { text }
}

/// `1.5e+02`.
fn scientific(value: f64, places: usize) -> String {
    let text = format!("{value:.places$e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, power) = power.strip_prefix('-').map_or(('+', power), |power| ('-', power));
    format!("{digits}e{sign}{power:0>2}")
}

fn without_zeros(text: &str) -> String {
    let (digits, power) = match text.split_once('e') {
        Some((digits, power)) => (digits, format!("e{power}")),
        None => (text, String::new()),
    };
    match digits.contains('.') {
        true => format!("{}{power}", digits.trim_end_matches('0').trim_end_matches('.')),
        false => text.to_owned(),
    }
}
