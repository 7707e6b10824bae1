//! Python literals, as far as NPY headers use them: strings, integers, booleans, None, tuples,
//! lists and dicts.

use crate::error::DataError;
use std::fmt;

/// Deeper nesting can't be meant, and would cost stack.
const MAX_DEPTH: usize = 32;

/// A Python value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    Text(String),
    Int(u64),
    Bool(bool),
    None,
    Tuple(Vec<Literal>),
    List(Vec<Literal>),
    Dict(Vec<(Literal, Literal)>),
}

/// Parses `text`, all of it: white space may follow, nothing else.
pub(super) fn parse(text: &str) -> Result<Literal, DataError> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.space();
    if parser.at < text.len() {
        Err(parser.expected("the end"))
    } else {
        Ok(value)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len()
            - rest
                .trim_start_matches([' ', '\t', '\n', '\r', '\x0c'])
                .len();
    }

    fn expected(&self, what: &str) -> DataError {
        let found: String = self.rest().chars().take(12).collect();
        let found = if found.is_empty() {
            "the end".to_owned()
        } else {
            format!("{found:?}")
        };
        super::corrupt(format!("found {found} at {}, expected {what}", self.at))
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Result<Literal, DataError> {
        if depth > MAX_DEPTH {
            return Err(self.expected("less nesting"));
        }
        self.space();
        match self.rest().chars().next() {
            Some('{') => self.dict(depth),
            Some('[') => {
                self.at += 1;
                Ok(Literal::List(self.items("]", depth)?.0))
            }
            Some('(') => {
                self.at += 1;
                let (mut items, comma) = self.items(")", depth)?;
                // One item in parentheses is a tuple only with a comma after it.
                match items.pop() {
                    Some(only) if items.is_empty() && !comma => Ok(only),
                    last => {
                        items.extend(last);
                        Ok(Literal::Tuple(items))
                    }
                }
            }
            Some(quote @ ('\'' | '"')) => self.string(quote),
            Some('0'..='9') => self.int(),
            _ if self.word("True") => Ok(Literal::Bool(true)),
            _ if self.word("False") => Ok(Literal::Bool(false)),
            _ if self.word("None") => Ok(Literal::None),
            _ => Err(self.expected("a value")),
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self
            .rest()
            .strip_prefix(word)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
        if found {
            self.at += word.len();
        }
        found
    }

    fn items(&mut self, end: &str, depth: usize) -> Result<(Vec<Literal>, bool), DataError> {
        let mut items = Vec::new();
        let mut comma = false;
        while !self.eat(end) {
            if !items.is_empty() && !comma {
                return Err(self.expected(&format!("a comma or {end}")));
            }
            items.push(self.value(depth + 1)?);
            comma = self.eat(",");
        }
        Ok((items, comma))
    }

    fn dict(&mut self, depth: usize) -> Result<Literal, DataError> {
        self.at += 1;
        let mut pairs = Vec::new();
        let mut comma = true;
        while !self.eat("}") {
            if !comma {
                return Err(self.expected("a comma or }"));
            }
            let key = self.value(depth + 1)?;
            if !self.eat(":") {
                return Err(self.expected("a colon"));
            }
            pairs.push((key, self.value(depth + 1)?));
            comma = self.eat(",");
        }
        Ok(Literal::Dict(pairs))
    }

    fn string(&mut self, quote: char) -> Result<Literal, DataError> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        let mut chars = self.text.get(self.at..).unwrap_or_default().char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.at += at + 1;
                    return Ok(Literal::Text(text));
                }
                '\n' => break,
                '\\' => match escape(&mut chars) {
                    Some(c) => text.push(c),
                    None => return Err(self.expected("a known escape in a string")),
                },
                c => text.push(c),
            }
        }
        self.at = start;
        Err(self.expected("a string that ends"))
    }

    fn int(&mut self) -> Result<Literal, DataError> {
        let rest = self.rest();
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let value = rest[..digits]
            .parse()
            .map_err(|_| self.expected("an integer of 64 bits"))?;
        self.at += digits;
        // Python 2 wrote long integers with an L.
        if self.rest().starts_with('L') {
            self.at += 1;
        }
        if self
            .rest()
            .starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.')
        {
            return Err(self.expected("an integer"));
        }
        Ok(Literal::Int(value))
    }
}

/// The escapes that Python's `repr` writes.
fn escape(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    let digits = match chars.next()?.1 {
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        c @ ('\\' | '\'' | '"') => return Some(c),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let mut code = 0;
    for _ in 0..digits {
        code = code << 4 | chars.next()?.1.to_digit(16)?;
    }
    char::from_u32(code)
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[Literal]| {
            for (i, item) in items.iter().enumerate() {
                write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
            }
            Ok(())
        };
        match self {
            Self::Text(text) => quote(f, text),
            Self::Int(value) => write!(f, "{value}"),
            Self::Bool(value) => f.write_str(if *value { "True" } else { "False" }),
            Self::None => f.write_str("None"),
            Self::Tuple(items) => {
                f.write_str("(")?;
                list(f, items)?;
                f.write_str(if items.len() == 1 { ",)" } else { ")" })
            }
            Self::List(items) => {
                f.write_str("[")?;
                list(f, items)?;
                f.write_str("]")
            }
            Self::Dict(pairs) => {
                f.write_str("{")?;
                for (i, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
        }
    }
}

fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("'")?;
    for c in text.chars() {
        match c {
            '\'' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\U{:08x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("'")
}
