//! The words of a Python source, as far as they are needed to recognise old forms: names, numbers, texts, signs and ends of statements,
//! each with its place. Comments and blanks are left out. It reads what the parser of Python 3 refuses to.

/// A word of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    /// As it is written; of a text only what stands before the quote and the quote.
    pub text: String,
    /// The line, from 1.
    pub line: usize,
    /// The column of its first character, from 1.
    pub column: usize,
    /// Where it begins and ends, in characters of the source.
    pub from: usize,
    pub to: usize,
    /// How many brackets are open around it; of a bracket itself, around it.
    pub depth: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Name,
    Number,
    Text,
    /// A sign or several that belong together, such as `<>`.
    Sign,
    /// The end of a line outside brackets, or a semicolon: a statement may begin behind it.
    End,
}

/// Signs of several characters.
const LONG_SIGNS: [&str; 18] =
    ["<>", ">>=", "<<=", "**=", "//=", ">>", "<<", "**", "//", "==", "!=", "<=", ">=", "->", ":=", "+=", "-=", "/="];

/// The words of a source.
pub(super) fn tokens(source: &[char]) -> Vec<Token> {
    let mut reader = Reader { source, at: 0, line: 1, line_from: 0, depth: 0, tokens: Vec::new() };
    while reader.at < source.len() {
        reader.step();
    }
    reader.push(Kind::End, reader.at);
    reader.tokens
}

struct Reader<'a> {
    source: &'a [char],
    at: usize,
    line: usize,
    line_from: usize,
    depth: usize,
    tokens: Vec<Token>,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.source.get(self.at + ahead).copied().unwrap_or('\0')
    }

    /// Reads from `at` to `to` as one word.
    fn push(&mut self, kind: Kind, to: usize) {
        self.tokens.push(Token {
            kind,
            text: self.source[self.at..to].iter().collect(),
            line: self.line,
            column: self.at - self.line_from + 1,
            from: self.at,
            to,
            depth: self.depth,
        });
        self.at = to;
    }

    fn next_line(&mut self) {
        self.at += 1;
        self.line += 1;
        self.line_from = self.at;
    }

    fn step(&mut self) {
        match self.peek(0) {
            '\n' => {
                if self.depth == 0 {
                    self.push(Kind::End, self.at);
                }
                self.next_line();
            }
            '\\' if self.peek(1) == '\n' => {
                self.at += 1;
                self.next_line();
            }
            '\\' if self.peek(1) == '\r' && self.peek(2) == '\n' => {
                self.at += 2;
                self.next_line();
            }
            ';' => self.push(Kind::End, self.at + 1),
            '#' => {
                while !matches!(self.peek(0), '\n' | '\0') {
                    self.at += 1;
                }
            }
            c if c.is_whitespace() || c == '\u{feff}' || c == '\0' => self.at += 1,
            '\'' | '"' => self.text(0),
            c if c.is_alphabetic() || c == '_' => self.word(),
            c if c.is_ascii_digit() || (c == '.' && self.peek(1).is_ascii_digit()) => {
                let is_part = |at: usize| match self.source.get(at) {
                    Some('+' | '-') => {
                        matches!(self.source[at - 1], 'e' | 'E')
                            && !matches!(self.source.get(self.at + 1), Some('x' | 'X'))
                    }
                    Some(c) => c.is_alphanumeric() || *c == '_' || *c == '.',
                    None => false,
                };
                let to = (self.at + 1..).find(|at| !is_part(*at)).unwrap_or(self.source.len());
                self.push(Kind::Number, to);
            }
            _ => self.sign(),
        }
    }

    fn word(&mut self) {
        let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
        let length = self.source[self.at..].iter().take_while(|c| is_part(c)).count();
        let prefix = &self.source[self.at..self.at + length];
        let is_prefix = length <= 2 && prefix.iter().all(|c| "rbufRBUF".contains(*c));
        if is_prefix && matches!(self.peek(length), '\'' | '"') {
            return self.text(length);
        }
        self.push(Kind::Name, self.at + length);
    }

    fn sign(&mut self) {
        let c = self.peek(0);
        let is_next = |sign: &&&str| sign.chars().enumerate().all(|(ahead, c)| self.peek(ahead) == c);
        let length = LONG_SIGNS.iter().find(is_next).map_or(1, |sign| sign.len());
        if matches!(c, ')' | ']' | '}') {
            self.depth = self.depth.saturating_sub(1);
        }
        self.push(Kind::Sign, self.at + length);
        if matches!(c, '(' | '[' | '{') {
            self.depth += 1;
        }
    }

    /// A text whose quote stands `prefix` characters ahead.
    fn text(&mut self, prefix: usize) {
        let quote = self.peek(prefix);
        let triple = self.peek(prefix + 1) == quote && self.peek(prefix + 2) == quote;
        let begin = self.at;
        let quotes = if triple { 3 } else { 1 };
        self.push(Kind::Text, self.at + prefix + quotes);
        while self.at < self.source.len() {
            match self.peek(0) {
                '\\' => {
                    self.at += 1;
                    if self.peek(0) == '\n' {
                        self.next_line();
                    } else {
                        self.at += 1;
                    }
                }
                // A text that is not ended ends with its line.
                '\n' if !triple => break,
                '\n' => self.next_line(),
                c if c == quote && (!triple || (self.peek(1) == quote && self.peek(2) == quote)) => {
                    self.at += quotes;
                    break;
                }
                _ => self.at += 1,
            }
        }
        self.at = self.at.min(self.source.len());
        let end = self.at;
        if let Some(text) = self.tokens.last_mut() {
            (text.from, text.to) = (begin, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str) -> Vec<String> {
        let source: Vec<char> = source.chars().collect();
        tokens(&source).iter().map(|token| format!("{}:{} {}", token.line, token.column, token.text)).collect()
    }

    #[test]
    fn words_have_their_places() {
        assert_eq!(
            shown("a = f(1.5e-3,\n  ur'x\\'y') # b\nc<>0xFFL"),
            [
                "1:1 a",
                "1:3 =",
                "1:5 f",
                "1:6 (",
                "1:7 1.5e-3",
                "1:13 ,",
                "2:3 ur'",
                "2:11 )",
                "2:16 ",
                "3:1 c",
                "3:2 <>",
                "3:4 0xFFL",
                "3:9 "
            ]
        );
    }

    #[test]
    fn texts_are_one_word_whatever_is_in_them() {
        assert_eq!(shown("x = '''a\n'b' # \"\n''' + y"), ["1:1 x", "1:3 =", "1:5 '''", "3:5 +", "3:7 y", "3:8 "]);
        assert_eq!(shown("'open\nx"), ["1:1 '", "1:6 ", "2:1 x", "2:2 "]);
        assert_eq!(shown("a \\\n b"), ["1:1 a", "2:2 b", "2:3 "]);
        assert_eq!(shown("'a\\"), ["1:1 '", "1:4 "]);
    }
}
