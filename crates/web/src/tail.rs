//! Reading what is appended to a stream or file: complete lines as markup, again and again. Not how it is sent.

use std::fmt::Write;
use std::time::Duration;

use engine::files::{FileRange, FilesError, TaskFiles};
use model::{InstanceId, TaskId};

use crate::ansi::{self, Style};
use crate::link::Source;
use crate::state::WebState;

/// Bytes read at a time.
const FOLLOW_BYTES: usize = 64 * 1024;
/// After so many fruitless reads it is asked whether the writer has ended.
const READS_PER_CHECK: u32 = 3;
/// Wait after something was read, and the longest wait.
const SOON: Duration = Duration::from_millis(150);
const LATE: Duration = Duration::from_millis(1000);

/// At most `limit` bytes of a source; a negative offset counts from the end. Blocks on disk.
pub fn read(
    files: &dyn TaskFiles,
    id: &TaskId,
    source: &Source,
    offset: i64,
    limit: usize,
) -> Result<FileRange, FilesError> {
    match source {
        Source::Log { process, run, stream } => files.log(id, process, *run, *stream, offset, limit),
        Source::File { path } => files.read(id, path, offset, limit),
    }
}

/// Whether nothing will be appended to a source any more. Blocks on disk.
pub fn is_ended(files: &dyn TaskFiles, id: &TaskId, source: &Source, task_is_over: bool) -> bool {
    if task_is_over {
        return true;
    }
    let Source::Log { process, run, .. } = source else { return false };
    files.task(id).ok().is_some_and(|info| {
        let found = info.processes.iter().find(|info| info.name == *process);
        found.and_then(|info| info.runs.iter().find(|info| info.run == *run)).is_some_and(|run| run.state.is_terminal())
    })
}

/// Lines as markup: each with its offset as anchor, and its number where the beginning of the file is known.
pub struct Lines {
    /// Offset of the next byte.
    pub offset: u64,
    /// Number of the next line, from 1, if known.
    pub number: Option<u64>,
    /// Colours in force.
    pub style: Style,
    /// Whose lines they are, where those of several tasks stand together.
    pub owner: Option<Owner>,
}

/// A task whose lines stand among those of others.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Shown before each line, and choosing its colour.
    pub instance: InstanceId,
    /// Page of the stream by itself.
    pub page: String,
}

impl Lines {
    /// From an offset on; `number` is that of the line there, if known.
    pub fn new(offset: u64, number: Option<u64>) -> Self {
        Self { offset, number, style: Style::default(), owner: None }
    }

    /// Draws one line, given without its line feed; `length` is what it takes in the file.
    pub fn draw(&mut self, html: &mut String, line: &[u8], length: usize) {
        let offset = self.offset;
        if let Some(Owner { instance, page }) = &self.owner {
            let tone = instance % 6 + 1;
            let _ = write!(
                html,
                r##"<span class="l"><a class="n f{tone}" tabindex="-1" href="{page}?at={offset}#o{offset}">{instance} </a>"##
            );
        } else {
            let _ = write!(
                html,
                r##"<span class="l" id="o{offset}"><a class="n" tabindex="-1" href="?at={offset}#o{offset}""##
            );
            if let Some(number) = self.number {
                let _ = write!(html, r#" data-n="{number}""#);
            }
            html.push_str("></a>");
        }
        self.number = self.number.map(|number| number + 1);
        let _ = writeln!(html, r#"<span class="t">{}"#, ansi::line(line, &mut self.style));
        html.push_str("</span></span>");
        self.offset += length as u64;
    }

    /// Draws the complete lines of `data` and returns what follows the last of them.
    pub fn draw_complete<'a>(&mut self, html: &mut String, data: &'a [u8]) -> &'a [u8] {
        let mut rest = data;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.draw(html, &rest[..end], end + 1);
            rest = &rest[end + 1..];
        }
        rest
    }
}

/// What a look at a followed file brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Complete lines, as markup.
    Lines(String),
    /// The unfinished last line so far, as markup.
    Part(String),
    /// The name means another file now; what follows is from its beginning.
    Rotated,
    /// Nothing will follow. What was unfinished, or why it cannot be read, as markup; may be empty.
    End(String),
}

/// A stream or file that is followed.
pub struct Tail {
    state: WebState,
    id: TaskId,
    source: Source,
    /// Where it stands.
    pub lines: Lines,
    /// Of the file read so far.
    pub identity: Option<u64>,
    /// Length of the unfinished line already told.
    told_part: usize,
    fruitless: u32,
    has_ended: bool,
}

impl Tail {
    /// Follows from where `lines` stands.
    pub fn new(state: WebState, id: TaskId, source: Source, lines: Lines, identity: Option<u64>) -> Self {
        Self { state, id, source, lines, identity, told_part: 0, fruitless: 0, has_ended: false }
    }

    /// Which task.
    pub fn task(&self) -> &TaskId {
        &self.id
    }

    /// What of it.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether [`News::End`] was told.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// How long to wait before the next look.
    pub fn pause(&self) -> Duration {
        (SOON * (self.fruitless + 1)).min(LATE)
    }

    /// Reads once; news if there are any.
    pub async fn look(&mut self) -> Option<News> {
        let (id, source, offset) = (self.id.clone(), self.source.clone(), self.lines.offset);
        let read = self.state.read_files(move |files| read(files, &id, &source, offset as i64, FOLLOW_BYTES)).await;
        let range = match read {
            Ok(range) => range,
            // Not written yet, or collected: both are found out by the check for the end.
            Err(FilesError::NotFound(_)) => return self.check_end(&[]).await,
            Err(failure) => {
                self.has_ended = true;
                let words = ansi::line(failure.to_string().as_bytes(), &mut Style::default());
                return Some(News::End(format!("{words}\n")));
            }
        };
        if self.identity.is_some_and(|identity| identity != range.identity) || range.size_bytes < self.lines.offset {
            self.identity = Some(range.identity);
            self.lines = Lines { owner: self.lines.owner.take(), ..Lines::new(0, Some(1)) };
            self.told_part = 0;
            return Some(News::Rotated);
        }
        self.identity = Some(range.identity);
        let mut html = String::new();
        let rest = self.lines.draw_complete(&mut html, &range.data);
        if html.is_empty() && rest.len() >= FOLLOW_BYTES {
            self.lines.draw(&mut html, rest, rest.len());
        }
        if !html.is_empty() {
            self.told_part = 0;
            self.fruitless = 0;
            return Some(News::Lines(html));
        }
        if rest.len() > self.told_part {
            self.told_part = rest.len();
            self.fruitless = 0;
            let mut style = self.lines.style.clone();
            return Some(News::Part(ansi::line(rest, &mut style)));
        }
        let rest = rest.to_vec();
        self.check_end(&rest).await
    }

    /// Now and then asks whether the writer has ended; if so the unfinished line is its last.
    async fn check_end(&mut self, rest: &[u8]) -> Option<News> {
        self.fruitless += 1;
        if !self.fruitless.is_multiple_of(READS_PER_CHECK) {
            return None;
        }
        let over = (self.state.view)().task(&self.id).is_none_or(|task| task.status.is_terminal());
        let (id, source) = (self.id.clone(), self.source.clone());
        let ended = self.state.read_files(move |files| Ok(is_ended(files, &id, &source, over))).await.unwrap_or(over);
        // What was written between the last read and the end must still be read: the end counts when seen twice.
        if !ended || self.fruitless < 2 * READS_PER_CHECK {
            return None;
        }
        self.has_ended = true;
        let mut html = String::new();
        if !rest.is_empty() {
            self.lines.draw(&mut html, rest, rest.len());
        }
        Some(News::End(html))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_carry_offset_and_number() {
        let mut lines = Lines::new(10, Some(4));
        let mut html = String::new();
        let rest = lines.draw_complete(&mut html, b"a\n<b>\npart");
        assert_eq!(rest, b"part");
        assert_eq!((lines.offset, lines.number), (16, Some(6)));
        assert!(html.contains(r#"id="o10""#) && html.contains(r#"id="o12""#) && html.contains(r#"data-n="5""#));
        assert!(html.contains("&lt;b&gt;") && !html.contains("<b>"));
    }

    #[test]
    fn lines_among_others_name_their_instance_and_lead_to_their_own_page() {
        let owner = Some(Owner { instance: 7, page: "/p".into() });
        let mut lines = Lines { owner, ..Lines::new(3, None) };
        let mut html = String::new();
        lines.draw(&mut html, b"x", 2);
        assert!(html.contains(r##"href="/p?at=3#o3">7 </a>"##) && !html.contains("id="), "{html}");
    }
}
