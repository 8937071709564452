//! `/agent-offers`: the offers that are held now, and since when.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::Resources;
use scheduler::view::{AgentShare, AgentView, OfferView};
use serde::Deserialize;

use crate::link;
use crate::live::Scope;
use crate::page::{self, Crumb, Frame};
use crate::state::WebState;
use crate::tally::Paging;
use crate::words::{self, Markup};

/// Offers on one page.
const OFFERS_PER_PAGE: usize = 150;

struct OfferRow {
    id: String,
    host: String,
    href: String,
    role: String,
    since: Markup,
    room: String,
    /// What else is to be known of it, one sentence each.
    notes: Vec<String>,
}

#[derive(Template)]
#[template(path = "offers.html")]
struct Page {
    count: usize,
    summary: String,
    has_roles: bool,
    has_agents: bool,
    rows: Vec<OfferRow>,
    paging: Paging,
}

/// Which part of the list.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Wanted {
    /// From 1.
    #[serde(default)]
    pub page: usize,
}

fn row(agent: &AgentView, share: &AgentShare, offer: &OfferView, now_ms: i64) -> OfferRow {
    let mut notes = Vec::new();
    if !offer.port_ranges.ranges().is_empty() {
        let range =
            |(first, last): &(u16, u16)| if first == last { format!("{first}") } else { format!("{first}–{last}") };
        let ranges: Vec<String> = offer.port_ranges.ranges().iter().map(range).collect();
        notes.push(format!("ports {}", ranges.join(", ")));
    }
    if offer.revocable_cpu.0 > 0 {
        notes.push(format!("{} more cpu that may be taken back", offer.revocable_cpu));
    }
    if share.is_reserved {
        notes.push("kept for tasks that had others evicted there".into());
    }
    if let Some(from_ms) = share.unavailable_from_ms {
        notes.push(match from_ms - now_ms {
            left_ms if left_ms > 0 => format!("goes away for maintenance in {}", words::rough(left_ms)),
            _ => "is in maintenance by its operator's plan".into(),
        });
    }
    OfferRow {
        id: offer.id.clone(),
        host: agent.host.clone(),
        href: format!("/agents?host={}", link::part(&agent.host)),
        role: share.role.clone().unwrap_or_default(),
        since: words::ago(offer.held_since_ms, now_ms),
        // The ports are named below.
        room: words::resources(&Resources { ports: 0, ..offer.resources }),
        notes,
    }
}

/// `/agent-offers`. The same for programs is `/offers`.
pub async fn list(State(state): State<WebState>, Query(wanted): Query<Wanted>, headers: HeaderMap) -> Response {
    let view = (state.view)();
    let now_ms = state.now_ms();
    let mut held: Vec<(&AgentView, &AgentShare, &Arc<OfferView>)> = Vec::new();
    for agent in view.agents.values() {
        for share in &agent.shares {
            held.extend(share.offers.iter().map(|offer| (&**agent, share, offer)));
        }
    }
    held.sort_by(|one, other| (&one.0.host, &one.1.role, &one.2.id).cmp(&(&other.0.host, &other.1.role, &other.2.id)));
    let paging = Paging::new(held.len(), OFFERS_PER_PAGE, wanted.page, |page| format!("/agent-offers?page={page}"));
    let agents = held.iter().map(|(agent, ..)| &agent.host).collect::<std::collections::BTreeSet<_>>().len();
    let shown = &held[paging.first..paging.end];
    let page = Page {
        count: held.len(),
        summary: format!(
            "{} held, of {}",
            words::plural(held.len() as u64, "offer", "offers"),
            words::plural(agents as u64, "machine", "machines")
        ),
        has_roles: held.iter().any(|(_, share, _)| share.role.is_some()),
        has_agents: !view.agents.is_empty(),
        rows: shown.iter().map(|(agent, share, offer)| row(agent, share, offer, now_ms)).collect(),
        paging,
    };
    let crumbs = vec![
        Crumb { text: "agents".into(), href: "/agents".into() },
        Crumb { text: "offers".into(), href: String::new() },
    ];
    let live = Scope::all().address(&view);
    let frame = Frame { title: "Offers".into(), section: "agents", crumbs, live, wide: false };
    page::show(&state, &headers, &frame, &page)
}
