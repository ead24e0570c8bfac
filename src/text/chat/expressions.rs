//! The expressions of a template, with every operator written as a filter of [`super::operators`].

use minijinja::machinery::ast::{BinOpKind, CallArg, CompareOpKind, Expr, UnaryOpKind};
use minijinja::{Error, ErrorKind, Value};

use super::translate::{Writer, lacks};

/// Filters of [`super::operators`] begin with this; a template cannot use it.
pub const PREFIX: &str = "python.";

/// Filters that take something to iterate over: in Python also the characters of a string and the keys of an object.
const ITERATING: &[&str] = &[
    "batch",
    "first",
    "groupby",
    "join",
    "last",
    "list",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "select",
    "selectattr",
    "slice",
    "sort",
    "sum",
    "unique",
];

/// What Jinja2 defines and minijinja does not.
const UNAVAILABLE: &[&str] = &["cycler", "joiner", "lipsum", "self"];

impl Writer<'_> {
    /// An operand of postfix operators: a filter, a name, a literal, or anything in parentheses.
    pub fn expr(&mut self, expr: &Expr) -> Result<(), Error> {
        match expr {
            Expr::Var(name) if self.in_macro && matches!(name.id, "varargs" | "kwargs") => {
                return Err(lacks(&format!("`{}` in a macro", name.id), "name its parameters instead"));
            }
            Expr::Var(name) if UNAVAILABLE.contains(&name.id) => {
                return Err(lacks(&format!("`{}`", name.id), "tabtune has no such object"));
            }
            Expr::Var(name) => self.push(name.id),
            Expr::Const(constant) => self.constant(&constant.value),
            Expr::List(list) => {
                self.push("[");
                self.items(list.items.iter())?;
                self.push("]");
                // minijinja reads `(a, b)` as a list.
                let begin = self.source.as_bytes().get(list.span().start_offset as usize);
                self.push(if begin == Some(&b'[') { "|python.list" } else { "|python.tuple" });
            }
            Expr::Map(map) => {
                self.push("{");
                for (at, (key, value)) in map.keys.iter().zip(&map.values).enumerate() {
                    self.push(if at > 0 { ", " } else { "" });
                    self.expr(key)?;
                    self.push(": ");
                    self.expr(value)?;
                }
                self.push("}|python.dict");
            }
            Expr::UnaryOp(not) if matches!(not.op, UnaryOpKind::Not) => {
                self.push("(not ");
                self.expr(&not.expr)?;
                self.push(")");
            }
            Expr::UnaryOp(minus) => self.filtered(&minus.expr, "neg", &[])?,
            Expr::BinOp(operation) => self.operation(operation.op, &operation.left, &operation.right)?,
            Expr::Compare(compare) => {
                self.expr(&compare.expr)?;
                self.push("|python.compare(");
                for (at, operand) in compare.ops.iter().enumerate() {
                    self.push(if at > 0 { ", " } else { "" });
                    self.push(&format!("\"{}\", ", comparison(operand.op)));
                    self.expr(&operand.expr)?;
                }
                self.push(")");
            }
            Expr::IfExpr(_) => {
                self.push("(");
                self.conditional(expr)?;
                self.push(")");
            }
            Expr::Filter(filter) => {
                if let Some(value) = &filter.expr {
                    self.expr(value)?;
                }
                self.push(if ITERATING.contains(&filter.name) { "|python.iter|" } else { "|" });
                self.filter_name(filter.name)?;
                self.args(&filter.args, &[])?;
            }
            Expr::Test(test) => {
                self.push("(");
                self.expr(&test.expr)?;
                self.push(&format!(" is {}", test.name));
                if !test.args.is_empty() {
                    self.args(&test.args, &[])?;
                }
                self.push(")");
            }
            Expr::GetAttr(attribute) if is_native(&attribute.expr) => {
                self.expr(&attribute.expr)?;
                self.push(&format!(".{}", attribute.name));
            }
            Expr::GetAttr(attribute) => {
                self.expr(&attribute.expr)?;
                self.push(&format!("|python.attr(\"{}\")", attribute.name));
            }
            Expr::GetItem(item) => self.filtered(&item.expr, "item", &[&item.subscript_expr])?,
            Expr::Slice(slice) => {
                self.expr(&slice.expr)?;
                self.push("|python.slice(");
                for (at, bound) in [&slice.start, &slice.stop, &slice.step].into_iter().enumerate() {
                    self.push(if at > 0 { ", " } else { "" });
                    match bound {
                        Some(bound) => self.expr(bound)?,
                        None => self.push("none"),
                    }
                }
                self.push(")");
            }
            Expr::Call(call) => match &call.expr {
                Expr::Var(name) if name.id == "loop" => {
                    self.push("loop(");
                    for arg in &call.args {
                        match arg {
                            CallArg::Pos(value) => self.filtered(value, "iter", &[])?,
                            _ => return Err(lacks("a named argument of `loop`", "it takes one list")),
                        }
                    }
                    self.push(")");
                }
                Expr::Var(name) => {
                    self.push(name.id);
                    self.args(&call.args, &[])?;
                }
                Expr::GetAttr(method) if is_native(&method.expr) => {
                    self.expr(&method.expr)?;
                    self.push(&format!(".{}", method.name));
                    self.args(&call.args, &[])?;
                }
                Expr::GetAttr(method) => {
                    self.expr(&method.expr)?;
                    self.push("|python.method");
                    self.args(&call.args, &[method.name])?;
                }
                other => {
                    self.expr(other)?;
                    self.push("|python.call");
                    self.args(&call.args, &[])?;
                }
            },
        }
        Ok(())
    }

    pub fn filter_name(&mut self, name: &str) -> Result<(), Error> {
        if name.starts_with(PREFIX) {
            return Err(Error::new(ErrorKind::UnknownFilter, format!("filter {name} is unknown")));
        }
        self.push(name);
        Ok(())
    }

    /// `value|python.name(args)`.
    pub fn filtered(&mut self, value: &Expr, name: &str, args: &[&Expr]) -> Result<(), Error> {
        self.expr(value)?;
        self.push(&format!("|{PREFIX}{name}"));
        if !args.is_empty() {
            self.push("(");
            self.items(args.iter().copied())?;
            self.push(")");
        }
        Ok(())
    }

    fn items<'e>(&mut self, items: impl Iterator<Item = &'e Expr<'e>>) -> Result<(), Error> {
        for (at, item) in items.enumerate() {
            self.push(if at > 0 { ", " } else { "" });
            self.expr(item)?;
        }
        Ok(())
    }

    /// Arguments in parentheses, after strings that come first.
    pub fn args(&mut self, args: &[CallArg], first: &[&str]) -> Result<(), Error> {
        self.push("(");
        for (at, name) in first.iter().enumerate() {
            self.push(if at > 0 { ", " } else { "" });
            self.string(name);
        }
        for (at, arg) in args.iter().enumerate() {
            self.push(if at > 0 || !first.is_empty() { ", " } else { "" });
            let value = match arg {
                CallArg::Pos(value) => value,
                CallArg::Kwarg(name, value) => {
                    self.push(&format!("{name}="));
                    value
                }
                CallArg::PosSplat(value) => {
                    self.push("*");
                    value
                }
                CallArg::KwargSplat(value) => {
                    self.push("**");
                    value
                }
            };
            self.expr(value)?;
        }
        self.push(")");
        Ok(())
    }

    fn operation(&mut self, op: BinOpKind, left: &Expr, right: &Expr) -> Result<(), Error> {
        let word = match op {
            BinOpKind::ScAnd => "and",
            BinOpKind::ScOr => "or",
            _ => return self.filtered(left, binary(op), &[right]),
        };
        // Written flat, so that a long chain does not nest. Where both sides are constants minijinja would compute a
        // truth value, where Python keeps one of them.
        let mut operands = vec![right];
        let mut first = left;
        while let Expr::BinOp(inner) = first
            && std::mem::discriminant(&inner.op) == std::mem::discriminant(&op)
        {
            operands.push(&inner.right);
            first = &inner.left;
        }
        self.push("(");
        self.filtered(first, "same", &[])?;
        for operand in operands.into_iter().rev() {
            self.push(&format!(" {word} "));
            self.expr(operand)?;
        }
        self.push(")");
        Ok(())
    }

    /// `a if b else c if d else e`, flat.
    fn conditional(&mut self, expr: &Expr) -> Result<(), Error> {
        let mut rest = expr;
        while let Expr::IfExpr(choice) = rest {
            self.expr(&choice.true_expr)?;
            self.push(" if ");
            self.expr(&choice.test_expr)?;
            match &choice.false_expr {
                Some(other) => {
                    self.push(" else ");
                    rest = other;
                }
                None => return Ok(()),
            }
        }
        self.expr(rest)
    }

    fn constant(&mut self, value: &Value) {
        match value.as_str() {
            Some(text) => self.string(text),
            None if value.is_none() => self.push("none"),
            None => self.push(&format!("{value:?}")),
        }
    }

    pub fn string(&mut self, text: &str) {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        self.push(&format!("\"{escaped}\""));
    }
}

/// An object of minijinja's own.
fn is_native(expr: &Expr) -> bool {
    matches!(expr, Expr::Var(name) if name.id == "loop")
}

fn binary(op: BinOpKind) -> &'static str {
    match op {
        BinOpKind::Eq => "eq",
        BinOpKind::Ne => "ne",
        BinOpKind::Lt => "lt",
        BinOpKind::Lte => "le",
        BinOpKind::Gt => "gt",
        BinOpKind::Gte => "ge",
        BinOpKind::Add => "add",
        BinOpKind::Sub => "sub",
        BinOpKind::Mul => "mul",
        BinOpKind::Div => "div",
        BinOpKind::FloorDiv => "floordiv",
        BinOpKind::Rem => "mod",
        BinOpKind::Pow => "pow",
        BinOpKind::Concat => "concat",
        BinOpKind::In => "in",
        BinOpKind::ScAnd | BinOpKind::ScOr => "same",
    }
}

fn comparison(op: CompareOpKind) -> &'static str {
    match op {
        CompareOpKind::Eq => "eq",
        CompareOpKind::Ne => "ne",
        CompareOpKind::Lt => "lt",
        CompareOpKind::Lte => "le",
        CompareOpKind::Gt => "gt",
        CompareOpKind::Gte => "ge",
        CompareOpKind::In => "in",
        CompareOpKind::NotIn => "not in",
    }
}
