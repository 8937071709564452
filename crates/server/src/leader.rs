//! Sends callers to the scheduler that leads, when ZooKeeper names another one than this (spec thrift-api 1.5). Not who leads: whoever is
//! announced alone does. A ZooKeeper that does not answer takes nobody's leadership.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use discovery::server_set::{ServerSet, ServerSetWatch};
use discovery::{Endpoint, Settings};

use crate::zookeeper::AnnounceOptions;

/// Whoever sends it wants this very scheduler.
const BYPASS: HeaderName = HeaderName::from_static("bypass-leader-redirect");
/// Answered by the leader only: everything whose path begins so.
const OF_THE_LEADER: [&str; 15] = [
    "/agents",
    "/api",
    "/assets/scheduler",
    "/cron",
    "/maintenance",
    "/mname",
    "/offers",
    "/pendingtasks",
    "/quotas",
    "/scheduler",
    "/slaves",
    "/state",
    "/tiers",
    "/updates",
    "/utilization",
];
const HEALTH: &str = "/leaderhealth";

/// Who leads, seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// This scheduler.
    Leads,
    /// Another one.
    Another(Endpoint),
    /// Several say that they do.
    Several(Vec<Endpoint>),
}

/// Follows who is announced.
#[derive(Clone)]
pub(crate) struct Leadership {
    watch: Arc<ServerSetWatch>,
    own: Endpoint,
}

impl Leadership {
    /// Starts to follow; nothing where nobody is announced.
    pub(crate) fn start(options: Option<&AnnounceOptions>, host: &str, port: u16) -> io::Result<Option<Self>> {
        let Some(options) = options else { return Ok(None) };
        let settings = Settings {
            session_timeout: options.session_timeout,
            credentials: options.credential.iter().cloned().collect(),
            ..Settings::new(options.ensemble.clone())
        };
        let watch = Arc::new(ServerSetWatch::start(settings, &options.path)?);
        Ok(Some(Self { watch, own: Endpoint::new(host.trim_matches(['[', ']']), port) }))
    }

    fn standing(&self) -> Standing {
        standing(&self.watch.set(), &self.own)
    }
}

fn standing(set: &ServerSet, own: &Endpoint) -> Standing {
    if set.unknown_since.is_some() {
        return Standing::Leads;
    }
    let announced: BTreeSet<(&str, u16)> = set
        .members
        .values()
        .map(|member| (member.service_endpoint.host.as_str(), member.service_endpoint.port))
        .collect();
    let endpoint = |(host, port): (&str, u16)| Endpoint::new(host, port);
    match announced.len() {
        // Ours is not there yet, or not any more.
        0 => Standing::Leads,
        1 if announced.contains(&(own.host.as_str(), own.port)) => Standing::Leads,
        1 => announced.into_iter().next().map_or(Standing::Leads, |other| Standing::Another(endpoint(other))),
        _ => Standing::Several(announced.into_iter().map(endpoint).collect()),
    }
}

/// Host and port as an address has them.
fn authority(endpoint: &Endpoint) -> String {
    if endpoint.host.contains(':') {
        format!("[{}]:{}", endpoint.host, endpoint.port)
    } else {
        format!("{}:{}", endpoint.host, endpoint.port)
    }
}

/// Middleware: passes on what this scheduler answers, and sends the rest to where it is answered.
pub(crate) async fn redirect(State(leadership): State<Leadership>, request: Request, next: Next) -> Response {
    match answer(&leadership.standing(), &request) {
        Some(answer) => answer,
        None => next.run(request).await,
    }
}

fn answer(standing: &Standing, request: &Request) -> Option<Response> {
    let path = request.uri().path();
    if path == HEALTH {
        return match standing {
            Standing::Leads => None,
            Standing::Another(leader) => {
                Some((StatusCode::SERVICE_UNAVAILABLE, format!("{} leads.\n", authority(leader))).into_response())
            }
            Standing::Several(_) => Some((StatusCode::BAD_GATEWAY, "Nobody leads.\n").into_response()),
        };
    }
    if request.headers().contains_key(BYPASS) || !OF_THE_LEADER.iter().any(|prefix| path.starts_with(prefix)) {
        return None;
    }
    match standing {
        Standing::Leads => None,
        Standing::Another(leader) => {
            let rest = request.uri().path_and_query().map_or(path, |rest| rest.as_str());
            let location = format!("http://{}{rest}", authority(leader));
            Some((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response())
        }
        Standing::Several(announced) => {
            let names: Vec<String> = announced.iter().map(authority).collect();
            let page = format!(
                "<!DOCTYPE html><title>No leader</title><h1>No scheduler leads</h1><p>Several are announced in ZooKeeper: {}. One that \
                 was stopped is shown there until its session is over, some seconds; if two are meant to run, give each a path of its \
                 own (--serverset-path).</p>\n",
                names.join(", ").replace('<', "&lt;")
            );
            let html = [(CONTENT_TYPE, "text/html; charset=utf-8")];
            Some((StatusCode::SERVICE_UNAVAILABLE, html, page).into_response())
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use discovery::Member;

    use super::*;

    fn set(hosts: &[&str]) -> ServerSet {
        let member = |host: &str| Member::alive(Endpoint::new(host, 8081), Default::default());
        let members = hosts.iter().enumerate().map(|(number, host)| (format!("member_{number:010}"), member(host)));
        ServerSet { members: members.collect(), ..ServerSet::default() }
    }

    fn ask(hosts: &[&str], path: &str, header: Option<&str>) -> (u16, String) {
        let mut request = axum::http::Request::builder().method("POST").uri(path);
        if let Some(name) = header {
            request = request.header(name, "false");
        }
        let standing = standing(&set(hosts), &Endpoint::new("one", 8081));
        match answer(&standing, &request.body(Body::empty()).unwrap()) {
            Some(answer) => {
                let location = answer.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
                (answer.status().as_u16(), location.unwrap_or_default())
            }
            None => (200, String::new()),
        }
    }

    #[test]
    fn callers_are_sent_to_the_leader_with_what_they_asked() {
        for path in ["/api", "/apibeta/killTasks", "/scheduler/www/prod?a=b&c", "/offers", "/slaves"] {
            assert_eq!(ask(&["two"], path, None), (307, format!("http://two:8081{path}")));
            assert_eq!(ask(&["two"], path, Some("Bypass-Leader-Redirect")).0, 200, "{path}");
            for ours in [&["one"][..], &["one", "one"], &[]] {
                assert_eq!(ask(ours, path, None).0, 200, "{path} {ours:?}");
            }
            assert_eq!(ask(&["one", "two"], path, None).0, 503, "{path}");
            assert_eq!(ask(&["2001:db8::1"], path, None).1, format!("http://[2001:db8::1]:8081{path}"));
        }
        for path in ["/", "/vars", "/health", "/files/t"] {
            assert_eq!(ask(&["two"], path, None).0, 200, "{path}");
        }
    }

    #[test]
    fn whether_this_one_leads_is_told_by_a_status() {
        assert_eq!(ask(&["one"], HEALTH, None).0, 200);
        assert_eq!(ask(&["two"], HEALTH, Some("Bypass-Leader-Redirect")).0, 503);
        assert_eq!(ask(&["one", "two"], HEALTH, None).0, 502);
    }

    #[test]
    fn losing_zookeeper_takes_nobodys_leadership() {
        let lost = ServerSet { unknown_since: Some(std::time::Instant::now()), ..set(&["two"]) };
        assert_eq!(standing(&lost, &Endpoint::new("one", 8081)), Standing::Leads);
    }
}
