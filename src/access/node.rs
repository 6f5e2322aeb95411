//! An expression as it is evaluated: names are resolved, macros are loops, literal patterns are
//! compiled. Made from the parser's tree, which stays beside it for those who want to rewrite it.

use crate::pattern::Pattern;
use domain::path::Path;

/// One node of an expression. A call's receiver is its first argument.
#[derive(Debug)]
pub(crate) enum Node {
    Literal(Literal),
    Root(Root),
    /// A variable of a loop, by how many loops stand around it.
    Local(usize),
    Select(Box<Node>, Box<str>),
    /// `has(x.name)`.
    Has(Box<Node>, Box<str>),
    Index(Box<[Node; 2]>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Conditional(Box<[Node; 3]>),
    Binary(Binary, Box<[Node; 2]>),
    List(Box<[Node]>),
    Map(Box<[(Node, Node)]>),
    Loop(Box<Loop>),
    Call(Function, Box<[Node]>),
    /// `x.matches('…')` with a literal pattern.
    Matches(Box<Node>, Box<Pattern>),
    /// `changed('…')` with a literal path.
    Changed(Box<Path>),
}

#[derive(Debug)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
}

/// A variable that is always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    Auth,
    Resource,
    Request,
    Meta,
    Now,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    In,
}

/// A macro over a list, or over the keys of a map.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) kind: LoopKind,
    pub(crate) range: Node,
    /// The test of each element; for `map` with two arguments none.
    pub(crate) test: Option<Node>,
    /// What `map` makes of each element.
    pub(crate) make: Option<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Matches,
    Get,
    Exists,
    HasRole,
    Changed,
    ChangedFields,
    ToBool,
    ToBytes,
    ToDouble,
    ToInt,
    ToString,
    ToUInt,
    ToTimestamp,
    ToDuration,
    ToDyn,
    Date(Part),
}

/// A part of a timestamp in UTC, or of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// What an expression looks at: who calls may leave out, or share, the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Uses {
    /// `auth`, or `hasRole`.
    pub auth: bool,
    /// The document before: `resource`, `meta`, or `changed`.
    pub before: bool,
    /// The document after: `request.resource`, `meta`, or `changed`.
    pub after: bool,
    /// The time: `now`.
    pub now: bool,
    /// Other documents: `get` or `exists`.
    pub lookup: bool,
}

impl Uses {
    /// What either uses.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            auth: self.auth || other.auth,
            before: self.before || other.before,
            after: self.after || other.after,
            now: self.now || other.now,
            lookup: self.lookup || other.lookup,
        }
    }
}
