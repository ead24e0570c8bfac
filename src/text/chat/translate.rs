//! From Jinja2 to minijinja's Jinja. minijinja's own operators differ from Python's (`'%s' % x`, `~` with a list, `in`,
//! attributes that are methods) and it has no hooks for them. So a template is parsed by minijinja's parser and written
//! again, with every operator as a filter of [`super::operators`]: `a ~ b` becomes `a|python.concat(b)`.
//!
//! Statements stay in the line they had, so errors name the right one. What Jinja2 has and minijinja has not, and what
//! minijinja has and Jinja2 has not, is an error here.

use minijinja::machinery::ast::{Expr, Macro, Spanned, Stmt};
use minijinja::machinery::{Span, Token, WhitespaceConfig, parse, tokenize};
use minijinja::{Error, ErrorKind};

/// The operators of an expression nest its tree, and a page has one megabyte of stack. Published templates have at most
/// about 50 in a tag.
const MOST_OPERATORS: usize = 1000;
/// Each `elif` nests in the one before it.
const MOST_ELIFS: usize = 300;

/// Returns the template in minijinja's Jinja, to be compiled without any trimming.
pub fn translate(source: &str) -> Result<String, Error> {
    // Jinja2 reads every line end as a line feed.
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let source = readable(&source)?;
    let tree = parse(&source, super::DEFAULT, Default::default(), trimming())?;
    let mut writer = Writer { source: &source, out: String::with_capacity(source.len()), line: 1, in_macro: false };
    match &tree {
        Stmt::Template(template) => writer.all(&template.children)?,
        _ => return Err(lacks("a template", "this kind of text")),
    }
    Ok(writer.out)
}

fn trimming() -> WhitespaceConfig {
    WhitespaceConfig { keep_trailing_newline: false, lstrip_blocks: true, trim_blocks: true }
}

pub fn lacks(what: &str, why: &str) -> Error {
    Error::new(ErrorKind::SyntaxError, format!("{what} is not available in chat templates: {why}"))
}

/// The source with what minijinja's parser reads otherwise replaced. `{% generation %}` marks what the assistant says:
/// transformers reads it, but it renders as nothing; `{% if true %}` has the same effect on the white space around it.
/// Some escapes of strings are unknown to minijinja. Also refuses what would nest too deeply.
fn readable(source: &str) -> Result<String, Error> {
    let mut plain = String::with_capacity(source.len());
    let (mut copied, mut operators, mut elifs) = (0, 0usize, 0usize);
    let mut begins = false;
    for token in tokenize(source, false, Default::default(), trimming()) {
        let (token, span) = token?;
        let here = source.get(span.start_offset as usize..span.end_offset as usize).unwrap_or_default();
        let replacement = match token {
            Token::Ident("generation") if begins => Some("if true".to_owned()),
            Token::Ident("endgeneration") if begins => Some("endif".to_owned()),
            Token::Str(_) | Token::String(_) if here.contains('\\') => Some(with_known_escapes(here)?),
            _ => None,
        };
        if let Some(replacement) = replacement {
            plain.push_str(source.get(copied..span.start_offset as usize).unwrap_or_default());
            plain.push_str(&replacement);
            copied = span.end_offset as usize;
        }
        elifs = elifs.saturating_add(usize::from(begins && matches!(token, Token::Ident("elif"))));
        begins = matches!(token, Token::BlockStart);
        operators = match token {
            Token::BlockStart | Token::VariableStart => 0,
            Token::Comma | Token::Colon | Token::Assign | Token::Str(_) | Token::String(_) => operators,
            Token::Int(_) | Token::Float(_) | Token::Int128(_) => operators,
            _ => operators.saturating_add(1),
        };
        if operators > MOST_OPERATORS || elifs > MOST_ELIFS {
            let message =
                format!("line {} of the template: the tag or its chain of elifs is too long", span.start_line);
            return Err(Error::new(ErrorKind::SyntaxError, message));
        }
    }
    plain.push_str(source.get(copied..).unwrap_or_default());
    Ok(plain)
}

/// The literal with Python's escapes that minijinja does not know written in others.
fn with_known_escapes(literal: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(literal.len());
    let mut rest = literal;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = after.chars();
        match chars.next() {
            Some('a') => out.push_str("\\u0007"),
            Some('v') => out.push_str("\\u000b"),
            Some('\n') => {}
            Some('N') => return Err(lacks("the escape `\\N`", "write the character itself")),
            Some('U') => {
                let code = chars.as_str().get(..8).and_then(|code| u32::from_str_radix(code, 16).ok());
                let c =
                    code.and_then(char::from_u32).ok_or_else(|| lacks("this escape `\\U`", "it is no character"))?;
                out.push(c);
                chars = chars.as_str().get(8..).unwrap_or_default().chars();
            }
            Some(c) => out.extend(['\\', c]),
            None => out.push('\\'),
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    Ok(out)
}

pub struct Writer<'a> {
    pub source: &'a str,
    out: String,
    /// The line in which `out` ends.
    line: u16,
    pub in_macro: bool,
}

impl Writer<'_> {
    fn all(&mut self, statements: &[Stmt]) -> Result<(), Error> {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    pub fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Begins a tag in its line.
    fn tag(&mut self, span: Span) {
        self.push("{%");
        self.advance_to(span);
    }

    fn advance_to(&mut self, span: Span) {
        let behind = span.start_line.saturating_sub(self.line);
        self.push(&"\n".repeat(behind.into()));
        self.push(" ");
        self.line = self.line.saturating_add(behind);
    }

    fn raw(&mut self, text: &str) {
        if text.contains('{') {
            self.push("{{ ");
            self.string(text);
            self.push(" }}");
        } else {
            self.push(text);
            let lines = text.bytes().filter(|byte| *byte == b'\n').count();
            self.line = self.line.saturating_add(lines.try_into().unwrap_or(u16::MAX));
        }
    }

    fn statement(&mut self, statement: &Stmt) -> Result<(), Error> {
        match statement {
            Stmt::Template(template) => self.all(&template.children)?,
            Stmt::EmitRaw(raw) => self.raw(raw.raw),
            Stmt::EmitExpr(emit) => {
                self.push("{{");
                self.advance_to(emit.span());
                self.expr(&emit.expr)?;
                self.push(" }}");
            }
            Stmt::ForLoop(each) => {
                self.tag(each.span());
                self.push("for ");
                self.target(&each.target)?;
                self.push(" in ");
                let several = matches!(each.target, Expr::List(_));
                self.filtered(&each.iter, if several { "unpacked" } else { "iter" }, &[])?;
                if let Some(condition) = &each.filter_expr {
                    self.push(" if ");
                    self.expr(condition)?;
                }
                self.push(if each.recursive { " recursive %}" } else { " %}" });
                self.all(&each.body)?;
                if !each.else_body.is_empty() {
                    self.push("{% else %}");
                    self.all(&each.else_body)?;
                }
                self.push("{% endfor %}");
            }
            Stmt::IfCond(condition) => {
                self.tag(condition.span());
                self.push("if ");
                self.expr(&condition.expr)?;
                self.push(" %}");
                self.all(&condition.true_body)?;
                let mut rest = &condition.false_body;
                while let [Stmt::IfCond(next)] = &rest[..] {
                    self.tag(next.span());
                    self.push("elif ");
                    self.expr(&next.expr)?;
                    self.push(" %}");
                    self.all(&next.true_body)?;
                    rest = &next.false_body;
                }
                if !rest.is_empty() {
                    self.push("{% else %}");
                    self.all(rest)?;
                }
                self.push("{% endif %}");
            }
            Stmt::WithBlock(with) => {
                self.tag(with.span());
                self.push("with ");
                for (at, (target, value)) in with.assignments.iter().enumerate() {
                    self.push(if at > 0 { ", " } else { "" });
                    let several = matches!(target, Expr::List(_));
                    self.push(if several { "(" } else { "" });
                    self.target(target)?;
                    self.push(if several { ") = " } else { " = " });
                    self.assigned(target, value)?;
                }
                self.push(" %}");
                self.all(&with.body)?;
                self.push("{% endwith %}");
            }
            Stmt::Set(set) => {
                self.tag(set.span());
                self.push("set ");
                self.target(&set.target)?;
                self.push(" = ");
                self.assigned(&set.target, &set.expr)?;
                self.push(" %}");
            }
            Stmt::SetBlock(set) => {
                self.tag(set.span());
                self.push("set ");
                self.target(&set.target)?;
                if let Some(filter) = &set.filter {
                    self.push(" | ");
                    self.chain(filter)?;
                }
                self.push(" %}");
                self.all(&set.body)?;
                self.push("{% endset %}");
            }
            Stmt::FilterBlock(block) => {
                self.tag(block.span());
                self.push("filter ");
                self.chain(&block.filter)?;
                self.push(" %}");
                self.all(&block.body)?;
                self.push("{% endfilter %}");
            }
            Stmt::Block(block) => {
                self.tag(block.span());
                self.push(&format!("block {}{} %}}", block.name, if block.required { " required" } else { "" }));
                self.all(&block.body)?;
                self.push("{% endblock %}");
            }
            Stmt::Macro(declared) => {
                self.tag(declared.span());
                self.push(&format!("macro {}", declared.name));
                self.declaration(declared)?;
                self.push("{% endmacro %}");
            }
            Stmt::CallBlock(block) => {
                self.tag(block.span());
                let (parameters, call) = (&block.macro_decl, &block.call);
                self.push("call");
                self.parameters(parameters)?;
                self.push(" ");
                let (callee, args) = (&call.expr, &call.args);
                match callee {
                    Expr::Var(name) => self.push(name.id),
                    _ => return Err(lacks("`{% call %}` of anything but a macro", "the macro has to be named")),
                }
                self.args(args, &[])?;
                self.push(" %}");
                self.inside_macro(&parameters.body)?;
                self.push("{% endcall %}");
            }
            Stmt::Continue(tag) => {
                self.tag(tag.span());
                self.push("continue %}");
            }
            Stmt::Break(tag) => {
                self.tag(tag.span());
                self.push("break %}");
            }
            Stmt::AutoEscape(_) => return Err(lacks("`autoescape`", "they are no HTML")),
            Stmt::Do(_) => return Err(lacks("`do`", "transformers does not know it")),
            Stmt::Import(_) | Stmt::FromImport(_) | Stmt::Extends(_) | Stmt::Include(_) => {
                return Err(lacks("a tag that reads another template", "a model has only one"));
            }
        }
        Ok(())
    }

    fn inside_macro(&mut self, body: &[Stmt]) -> Result<(), Error> {
        let outer = std::mem::replace(&mut self.in_macro, true);
        self.all(body)?;
        self.in_macro = outer;
        Ok(())
    }

    fn declaration(&mut self, declared: &Spanned<Macro>) -> Result<(), Error> {
        self.parameters(declared)?;
        self.push(" %}");
        self.inside_macro(&declared.body)
    }

    fn parameters(&mut self, declared: &Macro) -> Result<(), Error> {
        self.push("(");
        let without_default = declared.args.len().saturating_sub(declared.defaults.len());
        for (at, name) in declared.args.iter().enumerate() {
            self.push(if at > 0 { ", " } else { "" });
            self.target(name)?;
            if let Some(default) = at.checked_sub(without_default).and_then(|at| declared.defaults.get(at)) {
                self.push("=");
                self.expr(default)?;
            }
        }
        self.push(")");
        Ok(())
    }

    /// What is assigned to: names, also in parentheses, and attributes of a namespace.
    fn target(&mut self, target: &Expr) -> Result<(), Error> {
        match target {
            Expr::Var(name) => self.push(name.id),
            Expr::GetAttr(attribute) => {
                self.target(&attribute.expr)?;
                self.push(&format!(".{}", attribute.name));
            }
            Expr::List(list) => {
                for (at, item) in list.items.iter().enumerate() {
                    self.push(if at > 0 { ", " } else { "" });
                    let several = matches!(item, Expr::List(_));
                    self.push(if several { "(" } else { "" });
                    self.target(item)?;
                    self.push(if several { ")" } else { "" });
                }
                self.push(if list.items.len() == 1 { "," } else { "" });
            }
            other => return Err(lacks("an assignment", &format!("to a {}", other.description()))),
        }
        Ok(())
    }

    fn assigned(&mut self, target: &Expr, value: &Expr) -> Result<(), Error> {
        match target {
            Expr::List(_) => self.filtered(value, "iter", &[]),
            Expr::GetAttr(_) => self.filtered(value, "stored", &[]),
            _ => self.expr(value),
        }
    }

    /// The filters of `{% filter %}`, which apply to no expression.
    fn chain(&mut self, filter: &Expr) -> Result<(), Error> {
        let Expr::Filter(filter) = filter else { return Err(lacks("a filter", "of this kind")) };
        if let Some(before) = &filter.expr {
            self.chain(before)?;
            self.push(" | ");
        }
        self.filter_name(filter.name)?;
        self.args(&filter.args, &[])
    }
}
