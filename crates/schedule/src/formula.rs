//! Formulas of the step, as Python writes them.

use std::f64::consts::{E, PI};

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

/// Operators with how tightly they bind; between equals the left one comes first, but `**`.
const OPERATORS: [(&str, u8, Binary); 12] = [
    ("**", 5, f64::powf),
    ("//", 3, |a, b| (a / b).floor()),
    ("<=", 1, |a, b| f64::from(a <= b)),
    (">=", 1, |a, b| f64::from(a >= b)),
    ("==", 1, |a, b| f64::from(a == b)),
    ("<", 1, |a, b| f64::from(a < b)),
    (">", 1, |a, b| f64::from(a > b)),
    ("+", 2, |a, b| a + b),
    ("-", 2, |a, b| a - b),
    ("*", 3, |a, b| a * b),
    ("/", 3, |a, b| a / b),
    ("%", 3, |a, b| a - b * (a / b).floor()),
];
/// A minus before a number binds tighter than `*`, and less than `**`.
const MINUS: u8 = 4;
/// Formulas nested deeper are refused, before they exhaust the stack.
const DEEPEST: usize = 64;

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
        let mut parser = Parser { text, at: 0, depth: 0 };
        let node = parser.expression(0)?;
        if parser.rest().is_empty() { Ok(Self(node)) } else { Err(parser.wanted("an operator")) }
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

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// What is left, from the next character that is no space.
    fn rest(&mut self) -> &'a str {
        let rest = self.text[self.at..].trim_start();
        self.at = self.text.len() - rest.len();
        rest
    }

    fn wanted(&mut self, what: &str) -> String {
        match self.rest() {
            "" => format!("the formula ends where {what} is wanted"),
            rest => format!("{what} is wanted at `{rest}`"),
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let taken = self.rest().starts_with(token);
        self.at += if taken { token.len() } else { 0 };
        taken
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) { Ok(()) } else { Err(self.wanted(&format!("`{token}`"))) }
    }

    /// Operands and the operators between them that bind at least as tightly as `least`.
    fn expression(&mut self, least: u8) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("the formula is nested deeper than {DEEPEST} times"));
        }
        let mut left = self.operand()?;
        let mut compared = false;
        loop {
            let rest = self.rest();
            let found = OPERATORS.iter().find(|(token, ..)| rest.starts_with(token));
            let Some(&(token, binds, function)) = found.filter(|(_, binds, _)| *binds >= least)
            else {
                self.depth -= 1;
                return Ok(left);
            };
            if binds == 1 && compared {
                return Err(format!("write two comparisons in parentheses, at `{rest}`"));
            }
            compared |= binds == 1;
            self.at += token.len();
            // What stands right of `**` may begin with a minus, and be a power itself.
            let right = self.expression(if token == "**" { MINUS } else { binds + 1 })?;
            left = Node::Binary(function, Box::new([left, right]));
        }
    }

    fn operand(&mut self) -> Result<Node, String> {
        if self.take("-") {
            let operand = self.expression(MINUS)?;
            return Ok(Node::Unary(|x| -x, Box::new(operand)));
        }
        if self.take("+") {
            return self.expression(MINUS);
        }
        if self.take("(") {
            let inner = self.expression(0)?;
            self.expect(")")?;
            return Ok(inner);
        }
        let rest = self.rest();
        match rest.chars().next() {
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(rest),
            Some(c) if c.is_alphabetic() || c == '_' => self.name(rest),
            _ => Err(self.wanted("a number, a name or `(`")),
        }
    }

    fn number(&mut self, rest: &str) -> Result<Node, String> {
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let mut end = digits(rest);
        if rest[end..].starts_with('.') {
            end += 1 + digits(&rest[end + 1..]);
        }
        if let Some(power) = rest[end..].strip_prefix(['e', 'E']) {
            let unsigned = power.strip_prefix(['+', '-']).unwrap_or(power);
            end += 1 + power.len() - unsigned.len() + digits(unsigned);
        }
        let number = &rest[..end];
        self.at += end;
        number.parse().map(Node::Number).map_err(|_| format!("`{number}` is no number"))
    }

    fn name(&mut self, rest: &str) -> Result<Node, String> {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = &rest[..end];
        self.at += end;
        if let Some((_, node)) = VARIABLES.iter().find(|(known, _)| *known == name) {
            return Ok(node.clone());
        }
        if let Some((_, function)) = UNARY.iter().find(|(known, _)| *known == name) {
            self.expect("(")?;
            let argument = self.expression(0)?;
            self.expect(")")?;
            return Ok(Node::Unary(*function, Box::new(argument)));
        }
        if let Some((_, function)) = BINARY.iter().find(|(known, _)| *known == name) {
            self.expect("(")?;
            let left = self.expression(0)?;
            self.expect(",")?;
            let right = self.expression(0)?;
            self.expect(")")?;
            return Ok(Node::Binary(*function, Box::new([left, right])));
        }
        let known = VARIABLES.iter().map(|(name, _)| *name);
        let known = known.chain(UNARY.iter().map(|(name, _)| *name));
        let known: Vec<_> = known.chain(BINARY.iter().map(|(name, _)| *name)).collect();
        Err(format!("`{name}` is not known here (known: {})", known.join(", ")))
    }
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
            ("1e", "`1e` is no number"),
            ("1 < 2 < 3", "write two comparisons in parentheses, at `< 3`"),
            ("lambda step: 1", "`lambda` is not known here (known: step, epoch, steps, pi, e, exp"),
            ("größe", "`größe` is not known here"),
            ("1 × 2", "an operator is wanted at `× 2`"),
        ] {
            let error = Formula::parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        let deep = "(".repeat(100_000) + "1" + &")".repeat(100_000);
        assert!(Formula::parse(&deep).unwrap_err().contains("deeper than 64"));
        assert!(Formula::parse(&"-".repeat(100_000)).is_err());
    }
}
