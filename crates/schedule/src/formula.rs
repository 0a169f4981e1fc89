//! Formulas of the step, as Python writes them.
//!
//! `winnow` orders operands and operators; what they are is said here. Crates that evaluate expressions
//! have a language of their own: `exmex` reads `-2 ** 2` as 4, and others divide whole numbers to whole
//! numbers.

use std::f64::consts::{E, PI};

use winnow::Parser;
use winnow::ascii::{float, multispace0};
use winnow::combinator::Infix::{Left, Neither, Right};
use winnow::combinator::{Infix, Prefix, alt, expression, preceded};
use winnow::error::{ErrMode, ParserError};
use winnow::token::take_while;

/// What stands for numbers in a formula: the step, under both its names, and the length of the run.
const VARIABLES: [(&str, Node); 5] = [
    ("step", Node::Step),
    ("epoch", Node::Step),
    ("steps", Node::Steps),
    ("pi", Node::Number(PI)),
    ("e", Node::Number(E)),
];

type Unary = fn(f64) -> f64;
type Binary = fn(f64, f64) -> f64;

const UNARY: [(&str, Unary); 11] = [
    ("exp", f64::exp),
    ("log", f64::ln),
    ("sqrt", f64::sqrt),
    ("sin", f64::sin),
    ("cos", f64::cos),
    ("tan", f64::tan),
    ("tanh", f64::tanh),
    ("abs", f64::abs),
    ("floor", f64::floor),
    ("ceil", f64::ceil),
    ("float", |x| x),
];
const BINARY: [(&str, Binary); 3] = [("min", f64::min), ("max", f64::max), ("pow", f64::powf)];

/// How tightly a sign binds: tighter than `*`, and less than `**`.
const SIGN: i64 = 9;
/// Longer formulas are refused, before they exhaust the stack.
const LONGEST: usize = 500;

/// A function of the step.
#[derive(Debug, Clone)]
pub(crate) struct Formula(Node);

#[derive(Debug, Clone)]
enum Node {
    Number(f64),
    Step,
    Steps,
    Unary(Unary, Box<Node>),
    Binary(Binary, Box<[Node; 2]>),
}

impl Formula {
    /// Parses a formula; the error says what is wrong where.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it has {} characters, more than {LONGEST}", text.len()));
        }
        let mut rest = text;
        let parsed = formula(&mut rest).and_then(|node| {
            multispace0(&mut rest)?;
            if rest.is_empty() { Ok(Self(node)) } else { Err(wanted(rest, "an operator")) }
        });
        parsed.map_err(|error| {
            let Wrong { left, what } =
                error.into_inner().unwrap_or(Wrong { left: 0, what: String::new() });
            match (&text[text.len() - left..], what) {
                ("", what) => format!("the formula ends where {what}"),
                (rest, what) => format!("{what} at `{rest}`"),
            }
        })
    }

    /// Its value at a step of a run of `steps`.
    pub fn at(&self, step: u64, steps: u64) -> f64 {
        self.0.at(step as f64, steps as f64)
    }
}

impl Node {
    fn at(&self, step: f64, steps: f64) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Step => step,
            Self::Steps => steps,
            Self::Unary(function, argument) => function(argument.at(step, steps)),
            Self::Binary(function, arguments) => {
                function(arguments[0].at(step, steps), arguments[1].at(step, steps))
            }
        }
    }
}

/// What is wrong where: how many bytes are left there.
#[derive(Debug)]
struct Wrong {
    left: usize,
    what: String,
}

impl ParserError<&str> for Wrong {
    type Inner = Self;

    fn from_input(input: &&str) -> Self {
        Self { left: input.len(), what: "something else is wanted".to_owned() }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

type Parsed<T> = Result<T, ErrMode<Wrong>>;

/// What is to stand where `rest` begins.
fn wanted(rest: &str, what: &str) -> ErrMode<Wrong> {
    ErrMode::Cut(Wrong { left: rest.len(), what: format!("{what} is wanted") })
}

fn formula(input: &mut &str) -> Parsed<Node> {
    expression(operand)
        .prefix(preceded(multispace0, sign))
        .infix(preceded(multispace0, operator))
        .parse_next(input)
}

fn sign<'i>(input: &mut &'i str) -> Parsed<Prefix<&'i str, Node, ErrMode<Wrong>>> {
    alt((
        '-'.value(Prefix(SIGN, |_, a| Ok(Node::Unary(|x| -x, Box::new(a))))),
        '+'.value(Prefix(SIGN, |_, a| Ok(a))),
    ))
    .parse_next(input)
}

/// Operators with how tightly they bind.
fn operator<'i>(input: &mut &'i str) -> Parsed<Infix<&'i str, Node, ErrMode<Wrong>>> {
    alt((
        "**".value(Right(11, |_, a, b| binary(f64::powf, a, b))),
        "//".value(Left(7, |_, a, b| binary(|a, b| (a / b).floor(), a, b))),
        '*'.value(Left(7, |_, a, b| binary(|a, b| a * b, a, b))),
        '/'.value(Left(7, |_, a, b| binary(|a, b| a / b, a, b))),
        '%'.value(Left(7, |_, a, b| binary(|a, b| a - b * (a / b).floor(), a, b))),
        '+'.value(Left(5, |_, a, b| binary(|a, b| a + b, a, b))),
        '-'.value(Left(5, |_, a, b| binary(|a, b| a - b, a, b))),
        alt((
            "<=".value(Neither(3, |_, a, b| binary(|a, b| f64::from(a <= b), a, b))),
            ">=".value(Neither(3, |_, a, b| binary(|a, b| f64::from(a >= b), a, b))),
            "==".value(Neither(3, |_, a, b| binary(|a, b| f64::from(a == b), a, b))),
            '<'.value(Neither(3, |_, a, b| binary(|a, b| f64::from(a < b), a, b))),
            '>'.value(Neither(3, |_, a, b| binary(|a, b| f64::from(a > b), a, b))),
        )),
    ))
    .parse_next(input)
}

#[allow(clippy::unnecessary_wraps)] // What folds operands may fail.
fn binary(function: Binary, a: Node, b: Node) -> Parsed<Node> {
    Ok(Node::Binary(function, Box::new([a, b])))
}

fn operand(input: &mut &str) -> Parsed<Node> {
    multispace0(input)?;
    match input.chars().next() {
        Some('(') => bracketed(input),
        Some('-' | '+') => Err(ErrMode::Backtrack(Wrong::from_input(input))),
        Some(c) if c.is_ascii_digit() || c == '.' => {
            let rest = *input;
            float(input).map(Node::Number).map_err(|_: ErrMode<Wrong>| wanted(rest, "a number"))
        }
        Some(c) if c.is_alphabetic() || c == '_' => name(input),
        _ => Err(wanted(input, "a number, a name or `(`")),
    }
}

fn name(input: &mut &str) -> Parsed<Node> {
    let whole = *input;
    let name = take_while(1.., |c: char| c.is_alphanumeric() || c == '_').parse_next(input)?;
    if let Some((_, node)) = VARIABLES.iter().find(|(known, _)| *known == name) {
        return Ok(node.clone());
    }
    if let Some((_, function)) = UNARY.iter().find(|(known, _)| *known == name) {
        return Ok(Node::Unary(*function, Box::new(bracketed(input)?)));
    }
    if let Some((_, function)) = BINARY.iter().find(|(known, _)| *known == name) {
        expect(input, "(")?;
        let left = formula(input)?;
        expect(input, ",")?;
        let right = formula(input)?;
        expect(input, ")")?;
        return binary(*function, left, right);
    }
    let known = VARIABLES.iter().map(|(name, _)| *name);
    let known = known.chain(UNARY.iter().map(|(name, _)| *name));
    let known: Vec<_> = known.chain(BINARY.iter().map(|(name, _)| *name)).collect();
    let what = format!("`{name}` is not known here (known: {})", known.join(", "));
    Err(ErrMode::Cut(Wrong { left: whole.len(), what }))
}

/// A formula in parentheses.
fn bracketed(input: &mut &str) -> Parsed<Node> {
    expect(input, "(")?;
    let inner = formula(input)?;
    expect(input, ")")?;
    Ok(inner)
}

fn expect(input: &mut &str, token: &str) -> Parsed<()> {
    multispace0(input)?;
    let Some(rest) = input.strip_prefix(token) else {
        return Err(wanted(input, &format!("`{token}`")));
    };
    *input = rest;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> f64 {
        Formula::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).at(10, 100)
    }

    /// Expected values are Python's.
    #[test]
    fn formulas_read_as_in_python() {
        for (text, expected) in [
            ("1 + 2 * 3", 7.0),
            ("8 - 3 - 2", 3.0),
            ("16 / 4 / 2", 2.0),
            ("2 ** 3 ** 2", 512.0),
            ("-2 ** 2", -4.0),
            ("2 ** -1", 0.5),
            ("2 ** -1 ** 2", 0.5),
            ("2 * -3 ** 2", -18.0),
            ("-3 * 2 + 7", 1.0),
            ("(-2) ** 2", 4.0),
            ("--1 - -1", 2.0),
            ("1e-3 * 5.E2 + .5", 1.0),
            ("-7 // 2", -4.0),
            ("-7 % 3", 2.0),
            ("7 % -3", -2.0),
            ("max(0.1, min(step / steps, 1 - 0.8))", 0.1),
            ("step*(step<5)+3 * (step >= 5)", 3.0),
            ("exp(-(step / 10) ** 2)", (-1_f64).exp()),
            ("pow(2, 3) + abs(-1) + floor(1.5) + ceil(1.5)", 12.0),
            ("cos(pi) + log(e) + sqrt(4) + float(1)", 3.0),
            ("0.5 ** (epoch // 5)", 0.25),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_formula_says_where() {
        for (text, expected) in [
            ("", "the formula ends where a number, a name or `(` is wanted"),
            ("1 +", "the formula ends where a number, a name or `(` is wanted"),
            ("(1 + 2", "the formula ends where `)` is wanted"),
            ("1 2", "an operator is wanted at `2`"),
            ("2 * ) 3", "a number, a name or `(` is wanted at `) 3`"),
            ("max(1)", "`,` is wanted at `)`"),
            ("exp 3", "`(` is wanted at `3`"),
            ("1.2.3", "an operator is wanted at `.3`"),
            ("1e", "a number is wanted at `1e`"),
            ("1 < 2 < 3", "an operator is wanted at `< 3`"),
            ("lambda step: 1", "`lambda` is not known here (known: step, epoch, steps, pi, e, exp"),
            ("größe", "`größe` is not known here"),
            ("1 × 2", "an operator is wanted at `× 2`"),
        ] {
            let error = Formula::parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        let deep = "(".repeat(100_000) + "1" + &")".repeat(100_000);
        assert_eq!(Formula::parse(&deep).unwrap_err(), "it has 200001 characters, more than 500");
        // What is let through is parsed within any stack.
        assert!(Formula::parse(&("(".repeat(249) + "1" + &")".repeat(249))).is_ok());
        assert!(Formula::parse(&("exp(".repeat(99) + "1" + &")".repeat(99))).is_ok());
        assert!(Formula::parse(&("-".repeat(499) + "1")).is_ok());
        assert!(Formula::parse(&("1**".repeat(166) + "1")).is_ok());
    }
}
