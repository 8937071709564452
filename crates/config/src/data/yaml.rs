//! Files in YAML 1.2: aliases and merge keys (`<<`) are filled in, several documents are read one after the other.
//!
//! Words without quotes are not turned into numbers or truth values here: what they are follows from the field they are given to.
//! So `no` is a text where a text is due, and nobody's country code becomes false.

use std::collections::BTreeMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::node::{DEPTH_MAX, Entry, NODES_MAX, Node, Source, Value};
use crate::error::ConfigError;

/// The values of the file's documents.
pub(super) fn read(source: &Source<'_>) -> Result<Vec<Node>, ConfigError> {
    let offsets = if source.text.is_ascii() {
        None
    } else {
        Some(source.text.char_indices().map(|(at, _)| at).chain([source.text.len()]).collect())
    };
    let mut reader =
        Reader { source, offsets, events: Parser::new_from_str(source.text), anchors: BTreeMap::new(), nodes: 0 };
    let mut documents = Vec::new();
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            other => documents.push(reader.node(other, span, 0)?),
        }
    }
}

struct Reader<'a, 's> {
    source: &'s Source<'a>,
    /// The byte of each letter, where they differ in number.
    offsets: Option<Vec<usize>>,
    events: Parser<'s, StrInput<'s>>,
    /// What anchors stand for, with the number of values in it.
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
}

impl<'s> Reader<'_, 's> {
    fn next(&mut self) -> Result<(Event<'s>, Range<usize>), ConfigError> {
        match self.events.next() {
            Some(Ok((event, span))) => {
                let span = self.bytes(&span);
                Ok((event, span))
            }
            Some(Err(error)) => {
                let at = self.byte(error.marker().index());
                let mut told = self.source.malformed(format!("this is not YAML: {}", error.info()), &(at..at + 1));
                let line = told.place.as_ref().and_then(|place| place.source.clone()).unwrap_or_default();
                if line.contains('\t') && line.trim_start_matches(' ').starts_with('\t') {
                    told = told.help("indent with blanks; YAML has no tabs there");
                } else if has_bare_reference(&line) {
                    told = told.help(super::QUOTE_REFERENCES);
                }
                Err(told)
            }
            None => Ok((Event::StreamEnd, self.source.text.len()..self.source.text.len())),
        }
    }

    fn byte(&self, letter: usize) -> usize {
        match &self.offsets {
            None => letter.min(self.source.text.len()),
            Some(offsets) => offsets[letter.min(offsets.len() - 1)],
        }
    }

    fn bytes(&self, span: &Span) -> Range<usize> {
        self.byte(span.start.index())..self.byte(span.end.index())
    }

    fn node(&mut self, event: Event<'s>, span: Range<usize>, depth: usize) -> Result<Node, ConfigError> {
        self.nodes += 1;
        self.check_size(&span)?;
        if depth > DEPTH_MAX {
            return Err(self.source.too_deep(&span));
        }
        let nodes_before = self.nodes;
        let (anchor, value) = match event {
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor) else {
                    return Err(self.source.malformed("this alias stands within what it is to repeat", &span));
                };
                self.nodes += size;
                let node = node.clone();
                self.check_size(&span)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, self.scalar(text.into_owned(), style, tag.as_deref(), &span)?)
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "seq", &span)?;
                (anchor, Value::List(self.items(depth)?))
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), "map", &span)?;
                (anchor, Value::Map(self.entries(depth)?))
            }
            _ => return Err(self.source.malformed("this is not YAML: a value is missing", &span)),
        };
        let node = Node::new(span, value);
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - nodes_before + 1));
        }
        Ok(node)
    }

    fn check_size(&self, span: &Range<usize>) -> Result<(), ConfigError> {
        if self.nodes <= NODES_MAX {
            return Ok(());
        }
        Err(self
            .source
            .malformed(format!("the file holds more than {NODES_MAX} values"), span)
            .help("an alias stands for all that its anchor marks; aliases of aliases grow fast"))
    }

    fn items(&mut self, depth: usize) -> Result<Vec<Node>, ConfigError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, ConfigError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged: Vec<Entry> = Vec::new();
        let mut seen: BTreeMap<String, Range<usize>> = BTreeMap::new();
        loop {
            let (event, at) = self.next()?;
            let (name, is_merge) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, 0, None) => {
                    let is_merge = text == "<<" && style == ScalarStyle::Plain;
                    (text.into_owned(), is_merge)
                }
                Event::MappingStart(..) => {
                    let told = self.source.malformed("a map cannot be a name", &at);
                    return Err(told.help(super::QUOTE_REFERENCES));
                }
                _ => return Err(self.source.malformed("only a plain text can be a name", &at)),
            };
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            if is_merge {
                self.merge(node, &at, &mut merged)?;
                continue;
            }
            if let Some(first) = seen.insert(name.clone(), at.clone()) {
                return Err(self.source.duplicate(&name, &at, &first));
            }
            entries.push(Entry { name, at, node });
        }
        if merged.is_empty() {
            return Ok(entries);
        }
        // What is merged in stands first, and what the map itself says wins.
        for entry in entries {
            match merged.iter_mut().find(|other| other.name == entry.name) {
                Some(other) => *other = entry,
                None => merged.push(entry),
            }
        }
        Ok(merged)
    }

    /// Takes in the entries of a map, or of each map of a list; the earlier win.
    fn merge(&self, node: Node, at: &Range<usize>, merged: &mut Vec<Entry>) -> Result<(), ConfigError> {
        let maps = match node.value {
            Value::Map(entries) => vec![entries],
            Value::List(items) if items.iter().all(|item| matches!(item.value, Value::Map(_))) => {
                items.into_iter().map(|item| item.entries().to_vec()).collect()
            }
            _ => return Err(self.source.malformed("'<<' takes a map or a list of maps, as in <<: *defaults", at)),
        };
        for entry in maps.into_iter().flatten() {
            if !merged.iter().any(|other| other.name == entry.name) {
                merged.push(entry);
            }
        }
        Ok(())
    }

    fn scalar(
        &self,
        text: String,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: &Range<usize>,
    ) -> Result<Value, ConfigError> {
        let is_plain = match tag {
            None => style == ScalarStyle::Plain,
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => false,
            Some(tag) if tag.is_yaml_core_schema() && ["int", "float", "bool", "null"].contains(&&*tag.suffix) => true,
            // `!` alone says that it is a text.
            Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => false,
            Some(tag) => return Err(self.unknown_tag(tag, span)),
        };
        Ok(match text.as_str() {
            _ if !is_plain => Value::Text(text),
            "" => Value::Missing,
            "null" | "Null" | "NULL" | "~" => Value::Null,
            _ => Value::Bare(text),
        })
    }

    fn check_tag(&self, tag: Option<&Tag>, fitting: &str, span: &Range<usize>) -> Result<(), ConfigError> {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == fitting) => Err(self.unknown_tag(tag, span)),
            _ => Ok(()),
        }
    }

    fn unknown_tag(&self, tag: &Tag, span: &Range<usize>) -> ConfigError {
        let shown = if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
        self.source.malformed(format!("the tag {shown} means nothing here"), span).help("leave it out")
    }
}

/// Does a value of the line begin with a reference without quotes? YAML takes its braces for a map's.
fn has_bare_reference(line: &str) -> bool {
    let after = |mark: &str| line.split(mark).skip(1).any(|rest| rest.trim_start().starts_with("{{"));
    after(": ") || after("- ")
}
