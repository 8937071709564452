//! Advice for errors that Python tells in few words, above all for habits of Python 2: what they look like, what to write instead.
//!
//! Files of ten years ago were written for Python 2. What differs and can be given (names such as `xrange`) is given when a file
//! runs; the rest gets advice here. Nothing is rewritten.

use crate::error::{ConfigError, ErrorKind, Place};

/// Advice for a syntax error in a line, from the line and what the parser said.
pub(crate) fn syntax_help(source: &str, line_number: usize) -> Option<String> {
    let masked = mask(source);
    let line = masked.lines().nth(line_number.checked_sub(1)?)?.trim();
    // The parser may stop after the place that is to blame; the first sign in the line counts.
    let statement = line.rsplit(';').next().unwrap_or(line).trim();
    for (word, advice) in [
        ("print", "in Python 3 print is a function: print(...)"),
        ("exec", "in Python 3 exec is a function: exec(...)"),
    ] {
        let after = |text: &str| text.strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', '\'', '"', '>']));
        if after(statement) || line.split(':').any(|part| after(part.trim())) {
            return Some(format!("{advice}; this is the form of Python 2"));
        }
    }
    if except_comma(line).is_some() {
        return Some(EXCEPT_ADVICE.to_owned());
    }
    if line.starts_with("raise ") && line.contains(',') {
        return Some("in Python 3 write raise Error('message') instead of raise Error, 'message'".to_owned());
    }
    if let Some(number) = words(line).find(|word| is_old_octal(word)) {
        return Some(format!(
            "in Python 3 octal numbers are written 0o{} instead of {number}",
            number.trim_start_matches('0')
        ));
    }
    if let Some(number) = words(line).find(|word| is_long(word)) {
        return Some(format!(
            "in Python 3 all integers are long: write {} instead of {number}",
            number.trim_end_matches(['l', 'L'])
        ));
    }
    if line.contains('`') {
        return Some("in Python 3 write repr(x) instead of `x`".to_owned());
    }
    if line.contains("<>") {
        return Some("in Python 3 write != instead of <>".to_owned());
    }
    None
}

/// Advice when a bracket is open where a line begins that cannot be understood.
pub(crate) fn open_bracket_help(source: &str, line_number: usize) -> Option<String> {
    let masked = mask(source);
    let mut open: Vec<(char, usize)> = Vec::new();
    for (index, line) in masked.lines().enumerate().take(line_number.saturating_sub(1)) {
        for c in line.chars() {
            match c {
                '(' | '[' | '{' => open.push((c, index + 1)),
                ')' | ']' | '}' => drop(open.pop()),
                _ => {}
            }
        }
    }
    let (bracket, line) = open.pop()?;
    Some(format!("the '{bracket}' of line {line} is still open here: close it, or put a comma before this"))
}

const EXCEPT_ADVICE: &str = "in Python 3 write except Error as e: instead of except Error, e:";

/// Forms that are legal today but mean something else than in Python 2.
pub(crate) fn changed_meaning(file: &str, source: &str) -> Option<ConfigError> {
    if !source.contains("except") {
        return None;
    }
    mask(source).lines().enumerate().find_map(|(index, line)| {
        let name = except_comma(line.trim())?;
        let text = source.lines().nth(index).unwrap_or_default().to_owned();
        let column = line.chars().take_while(|c| c.is_whitespace()).count() + 1;
        let place = Place {
            file: file.to_owned(),
            line: Some(index + 1),
            column: Some(column),
            width: text.trim().chars().count(),
            source: Some(text),
        };
        let reason = format!("this does not give the name '{name}' to the exception");
        Some(ConfigError::new(ErrorKind::Syntax, reason).at(place).help(EXCEPT_ADVICE))
    })
}

/// The name in `except Error, name:`.
fn except_comma(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("except")?.strip_prefix([' ', '\t'])?;
    let (clause, _) = rest.split_once(':')?;
    let (error, name) = clause.rsplit_once(',')?;
    let (error, name) = (error.trim(), name.trim());
    let simple = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    let tuple = error.starts_with('(') && error.ends_with(')');
    // A capital letter at the front is another exception class, not a name for this one.
    let is_name = simple(name) && name.starts_with(|c: char| c.is_lowercase() || c == '_');
    (is_name && (tuple || simple(error))).then_some(name)
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).filter(|word| !word.is_empty())
}

fn is_old_octal(word: &str) -> bool {
    word.len() > 1
        && word.starts_with('0')
        && word.bytes().all(|byte| byte.is_ascii_digit())
        && !word.trim_matches('0').is_empty()
}

fn is_long(word: &str) -> bool {
    let digits = word.trim_end_matches(['l', 'L']);
    digits.len() + 1 == word.len() && digits.starts_with(|c: char| c.is_ascii_digit())
}

/// Advice for an exception, from its class and words.
pub(crate) fn exception_help(class: &str, message: &str) -> Option<String> {
    let quoted = || message.split('\'').nth(1).unwrap_or_default();
    let text = match class {
        "AttributeError" => match message.rsplit('\'').nth(1).unwrap_or_default() {
            "has_key" => "in Python 3 write key in d instead of d.has_key(key)",
            "iteritems" => "in Python 3 write d.items() instead of d.iteritems()",
            "iterkeys" => "in Python 3 write d.keys() instead of d.iterkeys()",
            "itervalues" => "in Python 3 write d.values() instead of d.itervalues()",
            _ => return None,
        },
        "ModuleNotFoundError" | "ImportError" => match quoted() {
            "urllib2" => "in Python 3 urllib2 is urllib.request",
            "ConfigParser" => "in Python 3 the module is called configparser",
            "StringIO" | "cStringIO" => "in Python 3 write from io import StringIO",
            "commands" => "in Python 3 use subprocess.getoutput instead of the module commands",
            "cPickle" => "in Python 3 the module is called pickle",
            "Queue" => "in Python 3 the module is called queue",
            _ => "job files find the standard library of Python 3 only, not packages installed on this machine",
        },
        "NameError" => match quoted() {
            "execfile" => "use include('other.aurora') instead of execfile",
            "cmp" => "Python 3 has no cmp; compare with < and >",
            "file" => "in Python 3 write open(...) instead of file(...)",
            "__file__" => {
                "job files have no __file__; open() takes paths from the working directory, include() from the file"
            }
            _ => return None,
        },
        "TypeError" if message.contains("bytes-like object is required") || message.contains("before hashing") => {
            "in Python 3 text is not bytes: write 'text'.encode() or open(path, 'rb'), as in hashlib.md5('text'.encode())"
        }
        "TypeError" if message.contains("for >>") && message.contains("function") => {
            "in Python 3 write print(text, file=sys.stderr) instead of print >>sys.stderr, text"
        }
        "TypeError" if ["'map'", "'filter'", "'zip'"].iter().any(|kind| message.contains(kind)) => {
            "in Python 3 map() and filter() give no lists: write list(map(...))"
        }
        "TypeError" if message.contains("'dict_") => {
            "in Python 3 keys() and items() give no lists: write list(d.keys())"
        }
        "InvalidValueError" if message.contains("(map)") || message.contains("(filter)") => {
            "in Python 3 map() and filter() give no lists: write list(map(...))"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// The source with the insides of texts and comments blanked, lines and columns kept.
fn mask(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut masked = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if c == '#' {
            while at < chars.len() && chars[at] != '\n' {
                masked.push(' ');
                at += 1;
            }
        } else if c == '\'' || c == '"' {
            at = mask_text(&chars, at, &mut masked);
        } else {
            masked.push(c);
            at += 1;
        }
    }
    masked
}

fn mask_text(chars: &[char], from: usize, masked: &mut String) -> usize {
    let quote = chars[from];
    let triple = chars[from..].starts_with(&[quote, quote, quote]);
    let length = if triple { 3 } else { 1 };
    let mut at = from + length;
    masked.extend(std::iter::repeat_n(quote, length));
    while at < chars.len() {
        if chars[at] == '\\' && at + 1 < chars.len() {
            masked.push(' ');
            masked.push(if chars[at + 1] == '\n' { '\n' } else { ' ' });
            at += 2;
        } else if chars[at..].starts_with(&vec![quote; length]) {
            masked.extend(std::iter::repeat_n(quote, length));
            return at + length;
        } else if chars[at] == '\n' {
            masked.push('\n');
            at += 1;
            if !triple {
                return at;
            }
        } else {
            masked.push(' ');
            at += 1;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_forms_are_recognised() {
        for (line, part) in [
            ("print 'x'", "print(...)"),
            ("if a: print a", "print(...)"),
            ("exec code", "exec(...)"),
            ("except ValueError, e:", "as e"),
            ("except (A, B), error:", "as e"),
            ("raise ValueError, 'no'", "raise Error('message')"),
            ("mode = 0755", "0o755"),
            ("n = 10L", "write 10 instead"),
            ("s = `n`", "repr"),
            ("if a <> b:", "!="),
        ] {
            let help = syntax_help(line, 1).unwrap_or_else(|| panic!("no advice for {line}"));
            assert!(help.contains(part), "{line}: {help}");
        }
        for line in ["x = 1", "print('x')", "x = 0", "x = 0.5", "except (A, B):", "f(0, 00)", "label = 'print x'"] {
            assert_eq!(syntax_help(line, 1), None, "{line}");
        }
    }

    #[test]
    fn text_inside_quotes_is_not_code() {
        let source = "cmd = '''\ntry:\n  x\nexcept E, e:\n'''\n# except E, e:\ntry:\n  x\nexcept A, B:\n  pass\n";
        assert_eq!(changed_meaning("f", source), None);
        let found = changed_meaning("f", "try:\n  x\nexcept KeyError, e:\n  pass\n").expect("found");
        assert_eq!(found.place.and_then(|place| place.line), Some(3));
    }
}
