//! What follows `is`, as Python computes it. Jinja calls these tests.

use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{Environment, Error};

use super::methods;
use super::operators::{compare, modulo};
use super::python::{Number, bind, equal, is_dict, items, str, type_name};

type Test = fn(&Value, &[Value]) -> Result<bool, Error>;

pub fn add_to(environment: &mut Environment) {
    environment.remove_test("startingwith");
    environment.remove_test("endingwith");
    for (name, test) in TESTS {
        environment.add_test(*name, move |value: &Value, args: Rest<Value>| test(value, &args));
    }
    for (names, operator) in COMPARISONS {
        for name in *names {
            environment.add_test(*name, move |value: &Value, other: &Value| compare(operator, value, other));
        }
    }
}

/// The names of each comparison, and its operator.
const COMPARISONS: &[(&[&str], &str)] = &[
    (&["eq", "equalto", "=="], "eq"),
    (&["ne", "!="], "ne"),
    (&["lt", "lessthan", "<"], "lt"),
    (&["le", "<="], "le"),
    (&["gt", "greaterthan", ">"], "gt"),
    (&["ge", ">="], "ge"),
    (&["in"], "in"),
];

const TESTS: &[(&str, Test)] = &[
    ("sequence", |value, _| Ok(matches!(type_name(value), "str" | "list" | "tuple" | "dict" | "Undefined"))),
    ("iterable", |value, _| Ok(items(value).is_ok())),
    ("mapping", |value, _| Ok(is_dict(value))),
    ("string", |value, _| Ok(value.kind() == ValueKind::String)),
    ("number", |value, _| Ok(Number::of(value).is_some())),
    ("integer", |value, _| Ok(type_name(value) == "int")),
    ("float", |value, _| Ok(type_name(value) == "float")),
    ("callable", |value, _| Ok(methods::is_callable(value))),
    ("lower", |value, _| Ok(is_cased(&str(value)?, |c| c.is_uppercase()))),
    ("upper", |value, _| Ok(is_cased(&str(value)?, |c| c.is_lowercase()))),
    ("odd", |value, _| equal(&modulo(value, &Value::from(2))?, &Value::from(1))),
    ("even", |value, _| equal(&modulo(value, &Value::from(2))?, &Value::from(0))),
    ("divisibleby", |value, args| {
        let [divisor] = bind("divisibleby", args, ["num"])?;
        equal(&modulo(value, &divisor.unwrap_or_default())?, &Value::from(0))
    }),
];

fn is_cased(text: &str, wrong: fn(char) -> bool) -> bool {
    text.chars().any(|c| c.is_lowercase() || c.is_uppercase()) && !text.chars().any(wrong)
}
