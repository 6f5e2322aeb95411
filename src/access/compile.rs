//! From text to nodes: parses with the `cel` crate and refuses what cannot be evaluated within
//! bounds, or names what is not there. Macros are not expanded by the parser but become loops.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, SourceInfo, operators};

use crate::node::{Binary, Function, Literal, Loop, LoopKind, Node, Root, Uses};
use crate::pattern::Pattern;
use crate::{COMPREHENSIONS_MAX, DEPTH_MAX, NODES_MAX, PATTERNS_BYTES_MAX, bounds, names};
use domain::path::Path;

/// Stack for the parser, which recurses as deep as a text of the largest size may chain signs.
/// Only what is used of it takes memory.
const STACK_BYTES: usize = 64 << 20;

/// Characters of a message at most: the parser's lists all that it would have taken.
const MESSAGE_CHARS_MAX: usize = 200;

/// A rule, ready to be evaluated.
#[derive(Debug)]
pub(crate) struct Expression {
    pub(crate) node: Node,
    pub(crate) ast: IdedExpr,
    pub(crate) uses: Uses,
    /// What the patterns in it take in memory at most.
    pub(crate) patterns_bytes: usize,
}

/// What is wrong, and the byte of the text where.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Problem {
    /// A problem at a byte of `text`.
    fn at(text: &str, at: usize, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        message.truncate(message.floor_char_boundary(MESSAGE_CHARS_MAX));
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        Self { message, line: small(line), column: small(column) }
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Runs `compile`, which calls [`expression`], where there is stack enough for any text; a panic
/// of the parser ends there. `None` when it panicked or no thread could be had.
pub(crate) fn with_stack<T: Send>(compile: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("rules".to_owned()).stack_size(STACK_BYTES);
        builder.spawn_scoped(scope, compile).ok()?.join().ok()
    })
}

/// Compiles one expression. To be called within [`with_stack`].
pub(crate) fn expression(text: &str) -> Result<Expression, Problem> {
    bounds::check(text).map_err(|error| Problem::at(text, error.at, error.message))?;
    // Without macros, as these would be expanded into trees that are harder to bound and to read.
    let parser = cel::Env::default().with_optional_support(false).parser();
    let parser = parser.max_recursion_depth(2 * small_depth()).error_recovery_limit(3);
    let (ast, info) = parser.parse_with_source_info(text).map_err(|errors| {
        let Some(first) = errors.errors.first() else {
            return Problem::at(text, 0, "is no expression");
        };
        if first.msg.contains("Recursion limit") {
            return Problem::at(text, 0, format!("is nested deeper than {DEPTH_MAX}"));
        }
        let place = |at: isize| u32::try_from(at).unwrap_or(1).max(1);
        let message = first.msg.trim_start_matches("Syntax error: ");
        let message = message.chars().take(MESSAGE_CHARS_MAX).collect();
        Problem { message, line: place(first.pos.0), column: place(first.pos.1) }
    })?;
    let mut compiler = Compiler {
        text,
        info,
        scopes: Vec::new(),
        uses: Uses::default(),
        nodes: 0,
        patterns_bytes: 0,
    };
    let node = compiler.node(&ast, 1)?;
    let Compiler { uses, patterns_bytes, .. } = compiler;
    Ok(Expression { node, ast, uses, patterns_bytes })
}

fn small_depth() -> u16 {
    u16::try_from(DEPTH_MAX).unwrap_or(u16::MAX / 2)
}

struct Compiler<'a> {
    text: &'a str,
    info: SourceInfo,
    /// The variables of the loops that stand around.
    scopes: Vec<String>,
    uses: Uses,
    nodes: usize,
    patterns_bytes: usize,
}

impl Compiler<'_> {
    fn problem<T>(&self, expr: &IdedExpr, message: impl Into<String>) -> Result<T, Problem> {
        let at = self.info.offset_for(expr.id).map_or(0, |(start, _)| start as usize);
        Err(Problem::at(self.text, at, message))
    }

    fn node(&mut self, expr: &IdedExpr, depth: usize) -> Result<Node, Problem> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return self.problem(expr, format!("has more than {NODES_MAX} parts"));
        }
        if depth > DEPTH_MAX {
            return self.problem(expr, format!("is nested deeper than {DEPTH_MAX}"));
        }
        match &expr.expr {
            Expr::Literal(value) => Ok(Node::Literal(literal(value))),
            Expr::Ident(name) => self.variable(expr, name),
            Expr::Select(select) => {
                let operand = self.operand(&select.operand, &select.field, depth)?;
                Ok(Node::Select(operand, select.field.as_str().into()))
            }
            Expr::Call(call) => self.call(expr, call, depth),
            Expr::List(list) if list.optional_indices.is_empty() => {
                Ok(Node::List(self.all(&list.elements, depth)?))
            }
            Expr::Map(map) => {
                let mut entries = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else {
                        return self.problem(expr, "is no map");
                    };
                    let key = self.node(&entry.key, depth + 1)?;
                    entries.push((key, self.node(&entry.value, depth + 1)?));
                }
                Ok(Node::Map(entries.into()))
            }
            Expr::Struct(_) => self.problem(expr, "messages cannot be made in rules"),
            Expr::List(_) | Expr::Comprehension(_) | Expr::Unspecified => {
                self.problem(expr, "is not supported in rules")
            }
        }
    }

    fn all(&mut self, exprs: &[IdedExpr], depth: usize) -> Result<Box<[Node]>, Problem> {
        exprs.iter().map(|expr| self.node(expr, depth + 1)).collect()
    }

    fn variable(&mut self, expr: &IdedExpr, name: &str) -> Result<Node, Problem> {
        if let Some(local) = self.scopes.iter().rposition(|scope| scope == name) {
            return Ok(Node::Local(local));
        }
        let Some(root) = names::root(name) else {
            return self.problem(expr, format!("there is no variable {name:?}"));
        };
        match root {
            Root::Auth => self.uses.auth = true,
            Root::Resource => self.uses.before = true,
            Root::Request => self.uses.after = true,
            Root::Meta => (self.uses.before, self.uses.after) = (true, true),
            Root::Now => self.uses.now = true,
        }
        Ok(Node::Root(root))
    }

    /// What a field is taken of. That the field may be there is checked where it is known.
    fn operand(
        &mut self,
        operand: &IdedExpr,
        field: &str,
        depth: usize,
    ) -> Result<Box<Node>, Problem> {
        let before = self.uses;
        let node = self.node(operand, depth + 1)?;
        if let Node::Root(root) = node {
            if names::fields(root).is_some_and(|fields| !fields.contains(&field)) {
                let Expr::Ident(name) = &operand.expr else { return Ok(Box::new(node)) };
                return self.problem(operand, format!("{name} has no field {field:?}"));
            }
            if root == Root::Request && field != "resource" {
                self.uses = before;
            }
        }
        Ok(Box::new(node))
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr, depth: usize) -> Result<Node, Problem> {
        if let Some(node) = self.operator(call, depth)? {
            return Ok(node);
        }
        let name = call.func_name.as_str();
        if name == "has" && call.target.is_none() {
            return self.has(expr, call, depth);
        }
        if let Some(target) = &call.target
            && let Some(kind) = names::comprehension(name, call.args.len())
        {
            return self.comprehension(kind, target, &call.args, depth);
        }
        let is_receiver = call.target.is_some();
        let arguments = call.target.iter().map(|target| &**target).chain(&call.args);
        let arguments: Vec<&IdedExpr> = arguments.collect();
        let function = match names::function(name, is_receiver, arguments.len()) {
            Ok(function) => function,
            Err(names::Unknown::Name) if !names::is_macro(name) => {
                return self.problem(expr, format!("there is no function {name:?}"));
            }
            Err(_) => return self.problem(expr, format!("{name:?} is not called so")),
        };
        match function {
            Function::Get | Function::Exists => self.uses.lookup = true,
            Function::HasRole => self.uses.auth = true,
            Function::Changed | Function::ChangedFields => {
                (self.uses.before, self.uses.after) = (true, true);
            }
            _ => {}
        }
        if let Some(node) = self.with_literal(function, &arguments, depth)? {
            return Ok(node);
        }
        let arguments: Result<Box<[Node]>, Problem> =
            arguments.into_iter().map(|argument| self.node(argument, depth + 1)).collect();
        Ok(Node::Call(function, arguments?))
    }

    /// Calls whose last argument is better looked at now than at each question.
    fn with_literal(
        &mut self,
        function: Function,
        arguments: &[&IdedExpr],
        depth: usize,
    ) -> Result<Option<Node>, Problem> {
        let Some((last, before)) = arguments.split_last() else { return Ok(None) };
        let Expr::Literal(LiteralValue::String(text)) = &last.expr else { return Ok(None) };
        match (function, before) {
            (Function::Matches, [subject]) => {
                let subject = Box::new(self.node(subject, depth + 1)?);
                match Pattern::literal(text.inner()) {
                    Ok(pattern) => {
                        self.patterns_bytes += pattern.bytes_max();
                        if self.patterns_bytes > PATTERNS_BYTES_MAX {
                            return self.problem(last, "the patterns take too much memory");
                        }
                        Ok(Some(Node::Matches(subject, Box::new(pattern))))
                    }
                    Err(why) => self.problem(last, format!("the pattern cannot be used: {why}")),
                }
            }
            (Function::Changed, []) => match Path::parse(text.inner()) {
                Ok(path) => Ok(Some(Node::Changed(Box::new(path)))),
                Err(why) => self.problem(last, why.to_string()),
            },
            _ => Ok(None),
        }
    }

    fn has(&mut self, expr: &IdedExpr, call: &CallExpr, depth: usize) -> Result<Node, Problem> {
        let [IdedExpr { expr: Expr::Select(select), .. }] = call.args.as_slice() else {
            return self.problem(expr, "has() takes one field, as in has(resource.owner)");
        };
        let operand = self.operand(&select.operand, &select.field, depth)?;
        Ok(Node::Has(operand, select.field.as_str().into()))
    }

    fn comprehension(
        &mut self,
        kind: LoopKind,
        range: &IdedExpr,
        arguments: &[IdedExpr],
        depth: usize,
    ) -> Result<Node, Problem> {
        let Some((variable, bodies)) = arguments.split_first() else {
            return self.problem(range, "a variable is missing");
        };
        let Expr::Ident(name) = &variable.expr else {
            return self.problem(variable, "the first argument must be a variable's name");
        };
        if name.starts_with('.') || names::root(name).is_some() || self.scopes.contains(name) {
            return self.problem(variable, format!("{name:?} already has a meaning"));
        }
        let range = self.node(range, depth + 1)?;
        if self.scopes.len() >= COMPREHENSIONS_MAX {
            let message = format!("loops are nested deeper than {COMPREHENSIONS_MAX}");
            return self.problem(variable, message);
        }
        self.scopes.push(name.clone());
        let bodies: Result<Vec<Node>, Problem> =
            bodies.iter().map(|body| self.node(body, depth + 1)).collect();
        self.scopes.pop();
        let mut bodies = bodies?;
        let make = if kind == LoopKind::Map { bodies.pop() } else { None };
        Ok(Node::Loop(Box::new(Loop { kind, range, test: bodies.pop(), make })))
    }

    fn operator(&mut self, call: &CallExpr, depth: usize) -> Result<Option<Node>, Problem> {
        if call.target.is_some() {
            return Ok(None);
        }
        let name = call.func_name.as_str();
        let node = match call.args.as_slice() {
            [one] if matches!(name, operators::LOGICAL_NOT | operators::NEGATE) => {
                let one = Box::new(self.node(one, depth + 1)?);
                if name == operators::NEGATE { Node::Negate(one) } else { Node::Not(one) }
            }
            [one, other] => {
                let Some(make) = binary(name) else { return Ok(None) };
                let one = self.node(one, depth + 1)?;
                make(Box::new([one, self.node(other, depth + 1)?]))
            }
            [test, yes, no] if name == operators::CONDITIONAL => {
                let test = self.node(test, depth + 1)?;
                let yes = self.node(yes, depth + 1)?;
                Node::Conditional(Box::new([test, yes, self.node(no, depth + 1)?]))
            }
            _ => return Ok(None),
        };
        Ok(Some(node))
    }
}

type Make = fn(Box<[Node; 2]>) -> Node;

fn binary(name: &str) -> Option<Make> {
    Some(match name {
        operators::LOGICAL_AND => Node::And,
        operators::LOGICAL_OR => Node::Or,
        operators::INDEX => Node::Index,
        operators::EQUALS => |both| Node::Binary(Binary::Equal, both),
        operators::NOT_EQUALS => |both| Node::Binary(Binary::NotEqual, both),
        operators::LESS => |both| Node::Binary(Binary::Less, both),
        operators::LESS_EQUALS => |both| Node::Binary(Binary::LessEqual, both),
        operators::GREATER => |both| Node::Binary(Binary::Greater, both),
        operators::GREATER_EQUALS => |both| Node::Binary(Binary::GreaterEqual, both),
        operators::ADD => |both| Node::Binary(Binary::Add, both),
        operators::SUBSTRACT => |both| Node::Binary(Binary::Subtract, both),
        operators::MULTIPLY => |both| Node::Binary(Binary::Multiply, both),
        operators::DIVIDE => |both| Node::Binary(Binary::Divide, both),
        operators::MODULO => |both| Node::Binary(Binary::Remainder, both),
        operators::IN => |both| Node::Binary(Binary::In, both),
        _ => return None,
    })
}

fn literal(value: &LiteralValue) -> Literal {
    match value {
        LiteralValue::Null => Literal::Null,
        LiteralValue::Boolean(value) => Literal::Bool(*value.inner()),
        LiteralValue::Int(value) => Literal::Int(*value.inner()),
        LiteralValue::UInt(value) => Literal::UInt(*value.inner()),
        LiteralValue::Double(value) => Literal::Double(*value.inner()),
        LiteralValue::String(value) => Literal::Text(value.inner().into()),
        LiteralValue::Bytes(value) => Literal::Bytes(value.inner().into()),
    }
}
