//! Turns a log's bytes, which are hostile text, into lines of markup: escaped, colours as classes, other controls taken out.
//!
//! A terminal is not emulated: of the escape sequences only colours and weights (SGR) are kept, and a carriage return shows what
//! was written last. Colours beyond the sixteen are shown as the nearest of them.

use std::fmt::Write;

/// Longest part of a line that is shown, in bytes.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// Colours and weights in force; carries over from line to line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// 0 to 15.
    foreground: Option<u8>,
    /// 0 to 15.
    background: Option<u8>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
}

impl Style {
    fn open(&self, html: &mut String) -> bool {
        if *self == Self::default() {
            return false;
        }
        html.push_str("<span class=\"");
        let mut gap = "";
        if let Some(colour) = self.foreground {
            let _ = write!(html, "f{colour}");
            gap = " ";
        }
        if let Some(colour) = self.background {
            let _ = write!(html, "{gap}k{colour}");
            gap = " ";
        }
        for (on, class) in [(self.bold, "ab"), (self.dim, "ad"), (self.italic, "ai"), (self.underline, "au")] {
            if on {
                let _ = write!(html, "{gap}{class}");
                gap = " ";
            }
        }
        html.push_str("\">");
        true
    }

    /// Applies the parameters of an SGR sequence (ECMA-48 8.3.117).
    fn apply(&mut self, parameters: &str) {
        let mut codes = parameters.split([';', ':']).map(|code| code.parse::<u16>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                30..=37 => self.foreground = Some((code - 30) as u8),
                38 => self.foreground = extended(&mut codes).or(self.foreground),
                39 => self.foreground = None,
                40..=47 => self.background = Some((code - 40) as u8),
                48 => self.background = extended(&mut codes).or(self.background),
                49 => self.background = None,
                90..=97 => self.foreground = Some((code - 90 + 8) as u8),
                100..=107 => self.background = Some((code - 100 + 8) as u8),
                _ => {}
            }
        }
    }
}

/// Reads the rest of a 256-colour or true-colour choice and gives the nearest of the sixteen.
fn extended(codes: &mut impl Iterator<Item = u16>) -> Option<u8> {
    let (red, green, blue) = match codes.next()? {
        2 => (codes.next()?.min(255), codes.next()?.min(255), codes.next()?.min(255)),
        5 => match codes.next()? {
            basic @ 0..16 => return Some(basic as u8),
            cube @ 16..232 => {
                let level = |part: u16| if part == 0 { 0 } else { part * 40 + 55 };
                let index = cube - 16;
                (level(index / 36), level(index / 6 % 6), level(index % 6))
            }
            grey => {
                let level = grey.min(255) * 10 - 2312;
                (level, level, level)
            }
        },
        _ => return None,
    };
    let brightest = red.max(green).max(blue);
    let darkest = red.min(green).min(blue);
    if brightest - darkest < 32 {
        return Some(match brightest {
            0..48 => 0,
            48..150 => 8,
            150..220 => 7,
            _ => 15,
        });
    }
    let half = (brightest + darkest) / 2;
    let basic = u8::from(red > half) | u8::from(green > half) << 1 | u8::from(blue > half) << 2;
    Some(if brightest > 200 { basic + 8 } else { basic })
}

/// One line (without its line feed) as escaped markup; `style` is left as the line leaves it.
pub fn line(bytes: &[u8], style: &mut Style) -> String {
    let shown = &bytes[..bytes.len().min(MAX_LINE_BYTES)];
    let text = String::from_utf8_lossy(shown);
    let text = text.trim_end_matches('\r');
    // What stands after the last carriage return has overwritten the rest.
    let text = text.rsplit('\r').next().unwrap_or_default();
    let mut html = String::with_capacity(text.len() + 16);
    let mut open = style.open(&mut html);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => {
                let before = style.clone();
                skip_escape(&mut rest, style);
                if *style != before {
                    if open {
                        html.push_str("</span>");
                    }
                    open = style.open(&mut html);
                }
            }
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\t' => html.push('\t'),
            '\x07' => {}
            // Control pictures: visible, harmless.
            '\0'..='\x1f' => html.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('?')),
            // Directional overrides could make a line read as another.
            '\x7f'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => html.push('\u{fffd}'),
            _ => html.push(c),
        }
    }
    if open {
        html.push_str("</span>");
    }
    if bytes.len() > shown.len() {
        let _ = write!(html, "<i class=\"cut\">… {} more bytes in this line</i>", bytes.len() - shown.len());
    }
    html
}

/// Takes the rest of an escape sequence; colours are applied, everything else is dropped.
fn skip_escape(rest: &mut std::str::Chars<'_>, style: &mut Style) {
    match rest.next() {
        Some('[') => {
            let text = rest.as_str();
            let Some(end) = text.find(|c: char| ('\x40'..='\x7e').contains(&c) || c < ' ') else {
                *rest = "".chars();
                return;
            };
            if text[end..].starts_with('m') {
                style.apply(&text[..end]);
            }
            *rest = text[end..].chars();
            rest.next();
        }
        // Operating system commands (titles, links) run to BEL or ESC \.
        Some(']') => {
            while let Some(c) = rest.next() {
                if c == '\x07' {
                    break;
                }
                if c == '\x1b' {
                    rest.next();
                    break;
                }
            }
        }
        Some('(' | ')') => {
            rest.next();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        line(text.as_bytes(), &mut Style::default())
    }

    #[test]
    fn markup_in_a_log_stays_text() {
        assert_eq!(plain("<script>alert(\"1\")&"), "&lt;script&gt;alert(&quot;1&quot;)&amp;");
        assert_eq!(plain("\x1b[31m<b>\x1b[0m"), "<span class=\"f1\">&lt;b&gt;</span>");
    }

    #[test]
    fn colours_carry_over_and_end() {
        let mut style = Style::default();
        assert_eq!(line(b"\x1b[1;32mok", &mut style), "<span class=\"f2 ab\">ok</span>");
        assert_eq!(line(b"still\x1b[m gone", &mut style), "<span class=\"f2 ab\">still</span> gone");
        assert_eq!(style, Style::default());
    }

    #[test]
    fn wide_colours_fall_on_the_nearest_of_sixteen() {
        assert_eq!(plain("\x1b[38;5;196mx"), "<span class=\"f9\">x</span>");
        assert_eq!(plain("\x1b[38;2;0;0;120mx"), "<span class=\"f4\">x</span>");
        assert_eq!(plain("\x1b[48;5;240mx"), "<span class=\"k8\">x</span>");
        assert_eq!(plain("\x1b[38;5;65535mx"), "<span class=\"f15\">x</span>");
    }

    #[test]
    fn other_controls_vanish_or_are_shown() {
        assert_eq!(plain("\x1b]0;title\x07a\x1b[2Kb\x1b(Bc\0"), "abc\u{2400}");
        assert_eq!(plain("10%\r50%\r100%\r"), "100%");
        assert_eq!(plain("\x1b[31"), "");
        assert_eq!(plain("a\u{202e}b"), "a\u{fffd}b");
        assert_eq!(line(b"\xff\xfe", &mut Style::default()), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn an_endless_line_is_cut() {
        let html = line(&vec![b'x'; MAX_LINE_BYTES + 5], &mut Style::default());
        assert!(html.ends_with("… 5 more bytes in this line</i>"));
        assert!(html.len() < MAX_LINE_BYTES + 100);
    }
}
