//! Forms of Python 2 in a source: what cannot be read any more, and what is read today but means something else.

use super::tokens::{Kind, Token, tokens};

/// An old form, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OldForm {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// How many characters are meant, on the line and beyond.
    pub width: usize,
    /// What is wrong.
    pub reason: String,
    /// What to write instead.
    pub advice: String,
}

/// All old forms of a source, in their order.
pub(crate) fn old_forms(source: &str) -> Vec<OldForm> {
    let source: Vec<char> = source.chars().collect();
    let tokens = tokens(&source);
    let reader = Forms { source: &source, tokens: &tokens };
    (0..tokens.len()).filter_map(|at| reader.at(at)).collect()
}

struct Forms<'a> {
    source: &'a [char],
    tokens: &'a [Token],
}

impl Forms<'_> {
    fn token(&self, at: usize) -> &Token {
        // The last one is an end, and nothing is asked of behind it.
        &self.tokens[at.min(self.tokens.len() - 1)]
    }

    fn is(&self, at: usize, text: &str) -> bool {
        self.token(at).text == text
    }

    /// What is written from one token to before another, on one line.
    fn written(&self, from: usize, to: usize) -> String {
        if from >= to {
            return String::new();
        }
        let text: String = self.source[self.token(from).from..self.token(to - 1).to].iter().collect();
        if text.contains('\n') { "...".to_owned() } else { text }
    }

    fn form(&self, from: usize, to: usize, reason: impl Into<String>, advice: String) -> OldForm {
        let first = self.token(from);
        let width = self.token(to.max(from + 1) - 1).to.saturating_sub(first.from).max(1);
        OldForm { line: first.line, column: first.column, width, reason: reason.into(), advice }
    }

    fn begins_statement(&self, at: usize) -> bool {
        let Some(before) = at.checked_sub(1).map(|before| self.token(before)) else { return true };
        before.kind == Kind::End || (before.text == ":" && before.depth == 0)
    }

    /// The number of the end of the statement that `at` is in.
    fn end(&self, at: usize) -> usize {
        (at..self.tokens.len()).find(|at| self.token(*at).kind == Kind::End).unwrap_or(self.tokens.len() - 1)
    }

    /// The first token in a range that is this sign or name, outside brackets opened in it.
    fn find(&self, from: usize, to: usize, text: &str) -> Option<usize> {
        let depth = self.token(from).depth;
        (from..to).find(|at| self.token(*at).depth == depth && self.is(*at, text))
    }

    /// The parts of a range between commas, outside brackets opened in it.
    fn parts(&self, from: usize, to: usize) -> Vec<(usize, usize)> {
        let mut parts = Vec::new();
        let mut begin = from;
        while let Some(comma) = self.find(begin, to, ",") {
            parts.push((begin, comma));
            begin = comma + 1;
        }
        parts.push((begin, to));
        parts
    }

    /// The old form that begins here.
    fn at(&self, at: usize) -> Option<OldForm> {
        let token = self.token(at);
        match token.kind {
            Kind::Number => self.number(at),
            Kind::Text => self.text(at),
            Kind::Sign if token.text == "<>" => {
                Some(self.form(at, at + 1, "Python 3 has no <>", "write !=".to_owned()))
            }
            Kind::Sign if token.text == "`" => self.backquotes(at),
            Kind::Name if self.begins_statement(at) => match token.text.as_str() {
                "print" => self.print(at),
                "exec" => self.exec(at),
                "except" => self.except(at),
                "raise" => self.raise(at),
                "def" => self.tuple_parameter(at + 2),
                _ => self.new_keyword(at),
            },
            Kind::Name if token.text == "lambda" && self.is(at + 1, "(") => self.tuple_parameter(at),
            Kind::Name => self.new_keyword(at),
            _ => None,
        }
    }

    fn print(&self, at: usize) -> Option<OldForm> {
        let (next, end) = (self.token(at + 1), self.end(at));
        let statement = "print is a function in Python 3";
        match next.kind {
            Kind::End => return None,
            Kind::Name if matches!(next.text.as_str(), "if" | "and" | "or" | "in" | "is" | "else" | "for") => {
                return None;
            }
            Kind::Sign => match next.text.as_str() {
                ">>" => {
                    let parts = self.parts(at + 2, end);
                    let file = self.written(parts[0].0, parts[0].1);
                    let advice = match parts.get(1) {
                        Some(first) => format!("write print({}, file={file})", self.written(first.0, end)),
                        None => format!("write print(file={file})"),
                    };
                    return Some(self.form(at, end, statement, advice));
                }
                "(" => return self.print_behind_brackets(at, end),
                "[" | "{" | "-" | "+" | "~" | "`" => {}
                _ => return None,
            },
            Kind::Name | Kind::Number | Kind::Text => {}
        }
        let advice = match self.is(end - 1, ",") {
            true => format!("write print({}, end=' ')", self.written(at + 1, end - 1)),
            false => format!("write print({})", self.written(at + 1, end)),
        };
        Some(self.form(at, end, statement, advice))
    }

    /// `print (...)` with more behind the brackets, which the function does not get.
    fn print_behind_brackets(&self, at: usize, end: usize) -> Option<OldForm> {
        let depth = self.token(at + 1).depth;
        let close = (at + 2..end).find(|at| self.token(*at).depth == depth && self.is(*at, ")"))?;
        matches!(self.token(close + 1).text.as_str(), "%" | "," | "+").then(|| {
            let advice = format!("write print({})", self.written(at + 1, end));
            self.form(
                at,
                end,
                "print is a function in Python 3, and only what is between its brackets is printed",
                advice,
            )
        })
    }

    fn exec(&self, at: usize) -> Option<OldForm> {
        let (next, end) = (self.token(at + 1), self.end(at));
        let is_operator = matches!(next.text.as_str(), "if" | "and" | "or" | "in" | "is" | "else" | "for");
        if !matches!(next.kind, Kind::Name | Kind::Text) || is_operator {
            return None;
        }
        let advice = match self.find(at + 1, end, "in") {
            Some(names) => format!("write exec({}, {})", self.written(at + 1, names), self.written(names + 1, end)),
            None => format!("write exec({})", self.written(at + 1, end)),
        };
        Some(self.form(at, end, "exec is a function in Python 3", advice))
    }

    fn except(&self, at: usize) -> Option<OldForm> {
        let colon = self.find(at, self.end(at), ":")?;
        if self.find(at, colon, "as").is_some() {
            return None;
        }
        let parts = self.parts(at + 1, colon);
        let ((first_from, first_to), (second_from, second_to)) = (*parts.first()?, *parts.get(1)?);
        let (error, name) = (self.written(first_from, first_to), self.written(second_from, second_to));
        let named = format!("except {error} as {name}:");
        let both = format!("except ({}):", self.written(at + 1, colon));
        let is_name = parts.len() == 2 && second_to == second_from + 1;
        let small = name.starts_with(|c: char| c.is_lowercase() || c == '_');
        let advice = match (is_name, small) {
            (true, true) => format!("write {named}"),
            (true, false) => format!("write {named} to give it the name, or {both} to catch either"),
            (false, _) => format!("write {both}"),
        };
        let reason = match is_name {
            true => format!("this does not give the name '{name}' to the exception, as it did in Python 2"),
            false => "Python 2 read this differently: exceptions to catch stand in brackets".to_owned(),
        };
        Some(self.form(at, colon + 1, reason, advice))
    }

    fn raise(&self, at: usize) -> Option<OldForm> {
        let end = self.end(at);
        if self.token(at + 1).kind == Kind::Text {
            let advice = format!("write raise Exception({})", self.written(at + 1, end));
            return Some(self.form(at, end, "a text is no exception", advice));
        }
        let parts = self.parts(at + 1, end);
        let (error, message) = (parts[0], parts.get(1)?);
        let mut advice =
            format!("write raise {}({})", self.written(error.0, error.1), self.written(message.0, message.1));
        if let Some(trace) = parts.get(2) {
            advice.push_str(&format!(".with_traceback({})", self.written(trace.0, trace.1)));
        }
        Some(self.form(at, end, "in Python 3 the message of an exception is given to its class", advice))
    }

    /// Brackets among the parameters behind the name of a function, or right behind `lambda`.
    fn tuple_parameter(&self, at: usize) -> Option<OldForm> {
        if self.is(at + 1, ")") {
            return None;
        }
        let depth = self.token(at + 1).depth;
        let is_inner = |at: &usize| {
            let before = self.token(at - 1);
            self.is(*at, "(") && self.token(*at).depth == depth && matches!(before.text.as_str(), "(" | "," | "lambda")
        };
        let inner = (at + 1..self.end(at)).take_while(|at| self.token(*at).depth >= depth).find(is_inner)?;
        let close = (inner + 1..self.tokens.len()).find(|at| self.token(*at).depth == depth && self.is(*at, ")"))?;
        let advice = "give the parameter one name and take it apart in the function: a, b = pair".to_owned();
        Some(self.form(inner, close + 1, "Python 3 has no parameters in brackets", advice))
    }

    fn new_keyword(&self, at: usize) -> Option<OldForm> {
        let token = self.token(at);
        let is_new = matches!(token.text.as_str(), "async" | "await" | "nonlocal");
        let before_dot = at > 0 && self.is(at - 1, ".");
        (is_new && (self.is(at + 1, "=") || before_dot)).then(|| {
            let advice = format!("choose another name, such as {}_", token.text);
            self.form(at, at + 1, format!("{} is a keyword in Python 3", token.text), advice)
        })
    }

    fn number(&self, at: usize) -> Option<OldForm> {
        let text = self.token(at).text.as_str();
        let digits = text.trim_end_matches(['l', 'L']);
        let is_hex = digits.starts_with("0x") || digits.starts_with("0X");
        if digits.len() + 1 == text.len() && (is_hex || digits.bytes().all(|byte| byte.is_ascii_digit())) {
            let advice = format!("write {}", modern_octal(digits).unwrap_or_else(|| digits.to_owned()));
            return Some(self.form(at, at + 1, "Python 3 has no L behind numbers: all whole numbers are long", advice));
        }
        let modern = modern_octal(text)?;
        Some(self.form(at, at + 1, "Python 3 writes octal numbers with 0o in front", format!("write {modern}")))
    }

    fn text(&self, at: usize) -> Option<OldForm> {
        let token = self.token(at);
        if !token.text.to_lowercase().starts_with("ur") {
            return None;
        }
        let written: String = self.source[token.from..token.to].iter().skip(2).collect();
        let advice =
            if written.contains('\n') { "write r in front of it".to_owned() } else { format!("write r{written}") };
        Some(OldForm {
            width: 2,
            ..self.form(at, at + 1, "Python 3 has no ur in front of texts: all texts are Unicode", advice)
        })
    }

    fn backquotes(&self, at: usize) -> Option<OldForm> {
        // The second of a pair was told with the first.
        let line = self.token(at).line;
        let quotes = |at: &usize| self.is(*at, "`") && self.token(*at).line == line;
        if (0..at).filter(quotes).count() % 2 == 1 {
            return None;
        }
        let close = (at + 1..self.tokens.len()).find(quotes);
        let inside = close.map_or("x".to_owned(), |close| self.written(at + 1, close));
        let to = close.map_or(at + 1, |close| close + 1);
        Some(self.form(at, to, "Python 3 has no backquotes", format!("write repr({inside})")))
    }
}

/// `0755` as it is written today.
fn modern_octal(text: &str) -> Option<String> {
    let digits = text.trim_start_matches('0');
    let is_old =
        digits.len() < text.len() && !digits.is_empty() && digits.bytes().all(|byte| (b'0'..b'8').contains(&byte));
    is_old.then(|| format!("0o{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_are_written_so_today_are_none() {
        for source in [
            "print('x')\nprint()\nprint\nprint ('x')",
            "print(a, b) if c else None",
            "x = {'print': 1}['print']",
            "print_it = 1; printer(1)",
            "log = print\nprint = log",
            "exec('x')\nexec = 1",
            "try:\n  x\nexcept:\n  pass\nexcept A:\n  pass\nexcept (A, B):\n  pass\nexcept (A, B) as e:\n  pass\nexcept f(A, b):\n  pass",
            "raise\nraise E\nraise E('a', 1)\nraise E(a) from b",
            "x = [0, 00, 0.5, 1e5, 0x1F, 0o7, 0b1, 1_000, 09.5, 1j]",
            "f = lambda x: (x, 1)\ng = lambda a, b=(1, 2): a\nh = lambda: (1, 2)",
            "def f(a, b=(1, 2), *c): return (a, b)",
            "s = '''print x\nexcept A, e:\n0755 `x` <> '''  # print 'x'",
            "u'x' r'x' b'x' rb'x' Rb'x' f'x'",
            "async def f(): await x\nx = f(a = 1)",
            "cmd = 'a' \\\n  'print x'",
            "d = {True: print, 1: 2}",
            "x: int = 1",
        ] {
            assert_eq!(old_forms(source), [], "{source}");
        }
    }

    #[test]
    fn several_forms_are_found_each_at_its_place() {
        let found = old_forms("if a <> `b`: print 0755, ur'x'\nx = 10L\n");
        let places: Vec<_> = found.iter().map(|form| (form.line, form.column, form.advice.as_str())).collect();
        assert_eq!(
            places,
            [
                (1, 6, "write !="),
                (1, 9, "write repr(b)"),
                (1, 14, "write print(0755, ur'x')"),
                (1, 20, "write 0o755"),
                (1, 26, "write r'x'"),
                (2, 5, "write 10"),
            ]
        );
    }
}
