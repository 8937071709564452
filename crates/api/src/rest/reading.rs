//! Reading what a request says, strictly: what is not known is an error that names the nearest name that is.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use model::key::is_identifier;
use model::{JobKey, UpdateKey};
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::problem::{Outcome, Problem};

/// Typed parameters after the `?`; none is unknown.
pub struct Parameters<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Box<Problem>;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Box<Problem>> {
        parameters(&parts.uri).map(Parameters)
    }
}

/// Reads the parameters of an address.
pub fn parameters<T: DeserializeOwned>(uri: &Uri) -> Outcome<T> {
    Query::try_from_uri(uri).map(|Query(parameters)| parameters).map_err(|rejection| {
        let text = rejection.body_text();
        let why = text.split_once(": ").map_or(text.as_str(), |(_, why)| why);
        Problem::invalid(told(why, "parameter"))
    })
}

/// Reads a document in JSON.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Outcome<T> {
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        let why = text.split(" at line ").next().unwrap_or(&text);
        let mut problem = Problem::invalid(told(why, "field"));
        problem.line = Some(error.line()).filter(|line| *line > 0);
        problem.column = Some(error.column()).filter(|column| *column > 0 && error.line() > 0);
        problem
    })
}

/// What serde says about an input, in a sentence.
fn told(why: &str, what: &str) -> String {
    if let Some((_, unknown)) = why.split_once("unknown field `") {
        let mut names = unknown.split('`').step_by(2).map(str::to_owned);
        let wrong = names.next().unwrap_or_default();
        let known: Vec<String> = unknown.split('`').skip(2).step_by(2).map(str::to_owned).collect();
        return unknown_name(&wrong, known.iter().map(String::as_str), what);
    }
    format!("The {what}s cannot be read: {}.", why.trim_end_matches('.'))
}

/// Why a name is refused, and which one was meant.
pub fn unknown_name<'a>(wrong: &str, known: impl Iterator<Item = &'a str>, what: &str) -> String {
    let known: Vec<&str> = known.collect();
    let wrong: String = wrong.chars().take(80).collect();
    match nearest(&wrong, &known) {
        Some(near) => format!("There is no {what} '{wrong}': did you mean '{near}'?"),
        None if known.is_empty() => format!("There is no {what} '{wrong}': none is taken here."),
        None => format!("There is no {what} '{wrong}': it is one of {}.", known.join(", ")),
    }
}

/// The known name that differs least, if it is near enough to have been meant.
fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let distances = known.iter().map(|name| (distance(&wrong.to_lowercase(), &name.to_lowercase()), *name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + name.len() / 4).then_some(name)
}

/// How many letters must be changed, added or taken away (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, beside) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *beside);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// The parts of an address, or why they cannot be read.
async fn path<T: DeserializeOwned + Send, S: Send + Sync>(parts: &mut Parts, state: &S) -> Outcome<T> {
    let read: Result<Path<T>, PathRejection> = Path::from_request_parts(parts, state).await;
    read.map(|Path(read)| read).map_err(|rejection| Problem::invalid(format!("{}.", rejection.body_text())))
}

fn key_of(role: String, environment: String, name: String) -> Outcome<JobKey> {
    let key = JobKey { role, environment, name };
    for (what, part) in [("role", &key.role), ("environment", &key.environment), ("name", &key.name)] {
        check_identifier(what, part)?;
    }
    Ok(key)
}

/// Refuses what cannot be a role, an environment or a name.
pub fn check_identifier(what: &str, text: &str) -> Outcome<()> {
    if is_identifier(text) {
        return Ok(());
    }
    let shown: String = text.chars().take(80).collect();
    Err(Problem::invalid(format!("'{shown}' is no {what}: use 1 to 255 letters, digits, '_', '-' and '.'.")))
}

/// The parts of a job's address, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "tells the document what is read")]
pub struct JobAddress {
    /// Role of the job.
    #[param(example = "www-data")]
    role: String,
    /// Environment of the job.
    #[param(example = "prod")]
    environment: String,
    /// Name of the job.
    #[param(example = "hello")]
    name: String,
}

/// The parts of an update's address, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "tells the document what is read")]
pub struct UpdateAddress {
    /// Role of the job.
    #[param(example = "www-data")]
    role: String,
    /// Environment of the job.
    #[param(example = "prod")]
    environment: String,
    /// Name of the job.
    #[param(example = "hello")]
    name: String,
    /// Id of the update.
    id: String,
}

/// `{role}/{environment}/{name}` of an address.
pub struct JobPath(pub JobKey);

impl<S: Send + Sync> FromRequestParts<S> for JobPath {
    type Rejection = Box<Problem>;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Box<Problem>> {
        let (role, environment, name) = path(parts, state).await?;
        key_of(role, environment, name).map(JobPath)
    }
}

/// `{role}/{environment}/{name}/updates/{id}` of an address.
pub struct UpdatePath(pub UpdateKey);

impl<S: Send + Sync> FromRequestParts<S> for UpdatePath {
    type Rejection = Box<Problem>;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Box<Problem>> {
        let (role, environment, name, id) = path(parts, state).await?;
        Ok(UpdatePath(UpdateKey { job: key_of(role, environment, name)?, id }))
    }
}

/// The only part of an address: a role, a host, an id.
pub struct Named(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Box<Problem>;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Box<Problem>> {
        path(parts, state).await.map(Named)
    }
}

/// Words with commas between, each read by `of_name`.
pub fn words<T>(text: Option<&str>, what: &str, known: &[&str], of_name: fn(&str) -> Option<T>) -> Outcome<Vec<T>> {
    text.into_iter()
        .flat_map(|text| text.split(','))
        .map(|word| of_name(word).ok_or_else(|| Problem::invalid(unknown_name(word, known.iter().copied(), what))))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its names are looked at")]
    struct Some2 {
        #[serde(default)]
        role: Option<String>,
        #[serde(default)]
        limit: Option<u32>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    #[test]
    fn unknown_names_are_told_with_the_nearest() {
        let told = |query: &str| parameters::<Some2>(&format!("/x?{query}").parse().unwrap()).unwrap_err().error;
        assert_eq!(told("rol=x"), "There is no parameter 'rol': did you mean 'role'?");
        assert_eq!(told("colour=x"), "There is no parameter 'colour': it is one of role, limit.");
        assert!(told("limit=x").contains("limit: invalid digit"), "{}", told("limit=x"));
        assert!(told("role=a&role=b").contains("duplicate field `role`"), "{}", told("role=a&role=b"));
        let none = parameters::<Nothing>(&"/x?a=1".parse().unwrap()).unwrap_err().error;
        assert_eq!(none, "There is no parameter 'a': none is taken here.");
        let field = json::<Some2>(b"{\n  \"limt\": 3}").unwrap_err();
        assert_eq!(field.error, "There is no field 'limt': did you mean 'limit'?");
        assert_eq!(field.line, Some(2));
        assert!(json::<Some2>(b"{").unwrap_err().error.starts_with("The fields cannot be read: EOF"));
    }

    #[test]
    fn distances_are_counted_in_letters() {
        for (one, other, expected) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0), ("ä", "a", 1)] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
