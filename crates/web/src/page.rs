//! The frame around every page, and the pages that say what is not there.

use std::fmt::Write;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use engine::files::FilesError;
use model::JobKey;

use crate::state::WebState;
use crate::words::{self, Markup};
use crate::{assets, link};

/// Request header by which the script asks for the content without its frame.
pub const FRAGMENT: &str = "daybreak-fragment";

/// A step of the way to a page; no address on the page itself.
#[derive(Clone, Debug)]
pub struct Crumb {
    /// Text.
    pub text: String,
    /// Where it leads; empty for the page itself.
    pub href: String,
}

/// What the frame needs to know.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// Title of the window, without the cluster.
    pub title: String,
    /// Which entry of the navigation is lit: `jobs`, `agents`, `updates`.
    pub section: &'static str,
    /// The way here.
    pub crumbs: Vec<Crumb>,
    /// Address of the stream that says when to fetch the page again; empty when it has its own or never changes.
    pub live: String,
    /// Uses the whole width (log viewer).
    pub wide: bool,
}

impl Frame {
    /// The way to a job: cluster, role, environment, name.
    pub fn of_job(key: &JobKey) -> Vec<Crumb> {
        vec![
            Crumb { text: key.role.clone(), href: link::role(&key.role) },
            Crumb { text: key.environment.clone(), href: link::environment(&key.role, &key.environment) },
            Crumb { text: key.name.clone(), href: link::job(key) },
        ]
    }

    /// Makes the last crumb the page itself.
    pub fn here(mut crumbs: Vec<Crumb>) -> Vec<Crumb> {
        if let Some(last) = crumbs.last_mut() {
            last.href.clear();
        }
        crumbs
    }
}

#[derive(Template)]
#[template(path = "layout.html")]
struct Layout<'a> {
    frame: &'a Frame,
    cluster: &'a str,
    style: String,
    script: String,
    icon: String,
    content: Markup,
}

/// Draws a page, or only its content when the script asks for that.
pub fn show(state: &WebState, headers: &HeaderMap, frame: &Frame, content: &impl Template) -> Response {
    show_with(StatusCode::OK, state, headers, frame, content)
}

fn show_with(
    status: StatusCode,
    state: &WebState,
    headers: &HeaderMap,
    frame: &Frame,
    content: &impl Template,
) -> Response {
    let drawn = content.render().and_then(|content| {
        let away = Away::of(state).map(|away| away.render()).transpose()?.unwrap_or_default();
        let content = away + &content;
        if headers.contains_key(FRAGMENT) {
            return Ok(content);
        }
        Layout {
            frame,
            cluster: &state.cluster,
            style: assets::style(),
            script: assets::script(),
            icon: assets::icon(),
            content: Markup(content),
        }
        .render()
    });
    match drawn {
        Ok(html) => {
            let mut response = (status, Html(html)).into_response();
            response.headers_mut().insert(header::VARY, HeaderValue::from_static(FRAGMENT));
            response
        }
        Err(failure) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("This page could not be drawn: {failure}\n")).into_response()
        }
    }
}

/// A connection that is younger or shorter gone than this is no news, in ms.
const DISCONNECTION_SHOWN_MS: i64 = 3000;

/// Says that the engine is away and since when, on every page: what is shown may be old.
#[derive(Template)]
#[template(path = "away.html")]
struct Away<'a> {
    engine: &'a str,
    since: Markup,
}

impl<'a> Away<'a> {
    fn of(state: &'a WebState) -> Option<Self> {
        let long = |since_ms: &i64| state.now_ms().saturating_sub(*since_ms) >= DISCONNECTION_SHOWN_MS;
        let since_ms = (state.view)().disconnected_since_ms.filter(long)?;
        Some(Self { engine: &state.engine, since: words::moment(since_ms) })
    }
}

#[derive(Template)]
#[template(path = "missing.html")]
struct Missing<'a> {
    heading: &'a str,
    reason: &'a str,
    suggestions: &'a [Crumb],
    command: &'a str,
}

/// A page for what is not there, or what went wrong: what, why, where to go, what to type.
#[derive(Clone, Debug, Default)]
pub struct Problem {
    /// What is wrong.
    pub heading: String,
    /// Why, and what to do.
    pub reason: String,
    /// Pages that may be meant.
    pub suggestions: Vec<Crumb>,
    /// A command to paste; may be empty.
    pub command: String,
    /// The way here.
    pub crumbs: Vec<Crumb>,
    /// Set when it may come to be: the page is fetched again on changes there.
    pub live: String,
}

impl Problem {
    /// Draws it with `status`.
    pub fn answer(self, status: StatusCode, state: &WebState, headers: &HeaderMap) -> Response {
        let frame =
            Frame { title: self.heading.clone(), section: "jobs", crumbs: self.crumbs, live: self.live, wide: false };
        let content = Missing {
            heading: &self.heading,
            reason: &self.reason,
            suggestions: &self.suggestions,
            command: &self.command,
        };
        show_with(status, state, headers, &frame, &content)
    }

    /// From a failure to read files of a task.
    pub fn of_files(failure: &FilesError, crumbs: Vec<Crumb>, suggestions: Vec<Crumb>) -> (StatusCode, Self) {
        let (status, heading) = match failure {
            FilesError::NotFound(_) => (StatusCode::NOT_FOUND, "Not there"),
            FilesError::Refused(..) => (StatusCode::FORBIDDEN, "Cannot be shown"),
            FilesError::Io(..) => (StatusCode::INTERNAL_SERVER_ERROR, "Could not be read"),
        };
        let mut reason = capitalised(&failure.to_string());
        if let FilesError::Io(_, cause) = failure {
            let _ = write!(reason, "{cause}");
        }
        reason.push('.');
        (status, Self { heading: heading.into(), reason, suggestions, crumbs, ..Self::default() })
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Any address that is no page.
pub async fn unknown_path(State(state): State<WebState>, uri: Uri, headers: HeaderMap) -> Response {
    let trimmed = uri.path().trim_end_matches('/');
    // Two slashes would lead to another host.
    if trimmed.len() < uri.path().len() && trimmed.starts_with("/scheduler/") {
        return Redirect::temporary(trimmed).into_response();
    }
    Problem {
        heading: "No such page".into(),
        reason: format!("There is nothing at {}. A job's page is at /scheduler/ROLE/ENVIRONMENT/JOB.", uri.path()),
        suggestions: vec![
            Crumb { text: "All roles".into(), href: "/scheduler".into() },
            Crumb { text: "Agents".into(), href: "/agents".into() },
            Crumb { text: "Updates".into(), href: "/updates".into() },
        ],
        ..Problem::default()
    }
    .answer(StatusCode::NOT_FOUND, &state, &headers)
}
