//! `…/task/<id>/files`: the sandbox of a task, directory by directory; text files open in the viewer.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use engine::files::{FileEntry, FilesError, TaskFiles};
use model::TaskId;
use scheduler::Task;

use super::log::{self, Wanted};
use super::task::{TaskPath, crumbs, no_such_task};
use crate::link::{self, Source};
use crate::page::{self, Crumb, Frame, Problem};
use crate::state::WebState;
use crate::stream::FilePath;
use crate::words::{self, Markup};

/// Entries shown of one directory.
const ENTRIES_SHOWN: usize = 1_000;

struct EntryRow {
    name: String,
    href: String,
    download: String,
    kind: char,
    size: String,
    changed: Markup,
    mode: String,
    owner: String,
}

#[derive(Template)]
#[template(path = "sandbox.html")]
struct Page {
    here: String,
    way: Vec<Crumb>,
    parent: String,
    entries: Vec<EntryRow>,
    more: String,
}

/// Permission bits as `ls` shows them.
fn mode_text(kind: char, mode: u32) -> String {
    let mut text = String::from(match kind {
        'd' | 'l' => kind,
        'f' => '-',
        _ => '?',
    });
    for (bit, letter) in (0..9).rev().zip("rwxrwxrwx".chars()) {
        text.push(if mode >> bit & 1 == 1 { letter } else { '-' });
    }
    text
}

/// What a path leads to.
enum Found {
    Directory(Vec<FileEntry>),
    File,
}

/// Looks a path up: what cannot be read as a file may be a directory. Blocks on disk.
fn find(files: &dyn TaskFiles, id: &TaskId, path: &str) -> Result<Found, FilesError> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return files.list(id, "").map(Found::Directory);
    }
    match files.read(id, path, 0, 1) {
        Ok(_) => Ok(Found::File),
        Err(refused @ FilesError::Refused(..)) => match files.list(id, path) {
            Ok(entries) => Ok(Found::Directory(entries)),
            Err(failure) => Err(if is_directory(files, id, path) { failure } else { refused }),
        },
        Err(failure) => Err(failure),
    }
}

/// Whether the entry of that path in the directory above is a directory. Blocks on disk.
fn is_directory(files: &dyn TaskFiles, id: &TaskId, path: &str) -> bool {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let above = files.list(id, parent).unwrap_or_default();
    above.iter().any(|entry| entry.name == name && entry.kind == 'd')
}

/// The sandbox itself.
pub async fn show_root(State(state): State<WebState>, Path(path): Path<TaskPath>, headers: HeaderMap) -> Response {
    let (key, id) = path.split();
    let Some(task) = (state.view)().task(&id).filter(|task| task.config.job == key).cloned() else {
        return no_such_task(&state, &headers, &key, &id);
    };
    show_path(&state, &headers, &task, String::new(), Wanted::default()).await
}

/// A directory or file in it.
pub async fn show(
    State(state): State<WebState>,
    Path(path): Path<FilePath>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let (key, id, path) = path.split();
    let Some(task) = (state.view)().task(&id).filter(|task| task.config.job == key).cloned() else {
        return no_such_task(&state, &headers, &key, &id);
    };
    show_path(&state, &headers, &task, path, wanted).await
}

async fn show_path(state: &WebState, headers: &HeaderMap, task: &Task, path: String, wanted: Wanted) -> Response {
    let found = {
        let (id, path) = (task.id.clone(), path.clone());
        state.read_files(move |files| find(files, &id, &path)).await
    };
    let root = format!("{}/files", link::task(&task.config.job, &task.id));
    match found {
        Ok(Found::File) => log::show(state, headers, task, Source::File { path }, wanted).await,
        Ok(Found::Directory(entries)) => directory(state, headers, task, &root, path.trim_matches('/'), entries),
        Err(failure) => {
            let mut way = crumbs(task);
            way.push(Crumb { text: "sandbox".into(), href: String::new() });
            let suggestions = vec![
                Crumb { text: "The sandbox".into(), href: root },
                Crumb { text: "The task".into(), href: link::task(&task.config.job, &task.id) },
            ];
            let (status, problem) = Problem::of_files(&failure, way, suggestions);
            problem.answer(status, state, headers)
        }
    }
}

fn directory(
    state: &WebState,
    headers: &HeaderMap,
    task: &Task,
    root: &str,
    path: &str,
    mut entries: Vec<FileEntry>,
) -> Response {
    let now_ms = state.now_ms();
    entries.sort_by(|one, other| (one.kind != 'd', &one.name).cmp(&(other.kind != 'd', &other.name)));
    let more = entries.len().saturating_sub(ENTRIES_SHOWN);
    let (key, id) = (&task.config.job, &task.id);
    let row = |entry: &FileEntry| {
        let inner = if path.is_empty() { entry.name.clone() } else { format!("{path}/{}", entry.name) };
        let source = Source::File { path: inner };
        EntryRow {
            href: if matches!(entry.kind, 'd' | 'f' | 'l') { source.page(key, id) } else { String::new() },
            download: if entry.kind == 'f' { format!("{}?download", source.raw(key, id)) } else { String::new() },
            kind: entry.kind,
            size: if entry.kind == 'f' { words::bytes(entry.size_bytes) } else { String::new() },
            changed: words::ago(entry.modified_ms, now_ms),
            mode: mode_text(entry.kind, entry.mode),
            owner: entry.owner.clone(),
            name: entry.name.clone(),
        }
    };
    let mut way = vec![Crumb { text: "sandbox".into(), href: root.to_owned() }];
    let mut so_far = String::new();
    for piece in path.split('/').filter(|piece| !piece.is_empty()) {
        so_far.push('/');
        so_far.push_str(piece);
        way.push(Crumb { text: piece.into(), href: format!("{root}{}", link::path(&so_far)) });
    }
    let parent = if way.len() > 1 { way[way.len() - 2].href.clone() } else { String::new() };
    let mut frame_way = crumbs(task);
    frame_way.push(Crumb { text: "sandbox".into(), href: String::new() });
    let frame = Frame { title: "Sandbox".into(), section: "jobs", crumbs: frame_way, live: String::new(), wide: false };
    let page = Page {
        here: path.to_owned(),
        way: Frame::here(way),
        parent,
        entries: entries.iter().take(ENTRIES_SHOWN).map(row).collect(),
        more: if more > 0 {
            format!("{} more entries are not shown", words::grouped(more as u64))
        } else {
            String::new()
        },
    };
    page::show(state, headers, &frame, &page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_ls_prints_them() {
        assert_eq!([mode_text('d', 0o755), mode_text('f', 0o100640)], ["drwxr-xr-x", "-rw-r-----"]);
    }
}
