//! Pages for people: server-rendered, live without reload, readable without scripts.
//!
//! What it is: the routes under `/scheduler`, `/agents`, `/updates`, `/cron-jobs` and their assets, drawn from the frozen
//! [`scheduler::View`] and from what tasks leave on their agents ([`engine::files::TaskFiles`]). What it is not: a wire format
//! for programs, or a place where anything is decided; the one change it can ask for (a sample job) goes through the gateway
//! like every other command. An authenticated caller arrives as a request extension of type [`scheduler::Principal`].
//!
//! Live updates: a page names its scope, one event stream per visible tab says that something in it changed, and the page
//! fetches itself again as a fragment. See [`live`] and `assets/daybreak.js`.

mod ansi;
mod assets;
mod failure;
mod headers;
mod link;
mod live;
mod merged;
mod page;
mod pages;
mod state;
mod stream;
mod tail;
mod tally;
mod words;

pub use state::{WebState, wall_clock_ms};

use axum::Router;
use axum::middleware::from_fn;
use axum::response::Redirect;
use axum::routing::{get, post};

/// All pages. The router holds nothing but `state`; it can be merged with the routes for programs. It asks nobody who they are: Host
/// and Origin are checked around all routes alike, by the server.
pub fn router(state: WebState) -> Router {
    let job = "/scheduler/{role}/{environment}/{job}";
    let task = format!("{job}/task/{{task}}");
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/scheduler") }))
        .route("/index.html", get(|| async { Redirect::temporary("/scheduler") }))
        .route("/scheduler", get(pages::scheduler::show))
        .route("/scheduler/", get(|| async { Redirect::temporary("/scheduler") }))
        .route("/scheduler/{role}", get(pages::role::show_role))
        .route("/scheduler/{role}/{environment}", get(pages::role::show_environment))
        .route(job, get(pages::job::show))
        .route(&format!("{job}/logs"), get(pages::logs::show))
        .route(&format!("{job}/follow-logs"), get(merged::follow))
        .route(&format!("{job}/configuration.json"), get(pages::job::configuration_file))
        .route(&format!("{job}/{{instance}}"), get(pages::task::newest_of_instance))
        .route(&format!("{job}/update/{{update}}"), get(pages::update::show))
        .route(&task, get(pages::task::show))
        .route(&format!("{task}/log/{{process}}/{{run}}/{{stream}}"), get(pages::log::show_log))
        .route(&format!("{task}/follow/{{process}}/{{run}}/{{stream}}"), get(stream::follow_log))
        .route(&format!("{task}/raw/{{process}}/{{run}}/{{stream}}"), get(stream::raw_log))
        .route(&format!("{task}/files"), get(pages::sandbox::show_root))
        .route(&format!("{task}/files/{{*path}}"), get(pages::sandbox::show))
        .route(&format!("{task}/follow-file/{{*path}}"), get(stream::follow_file))
        .route(&format!("{task}/raw-file/{{*path}}"), get(stream::raw_file))
        .route("/agents", get(pages::agents::show))
        .route("/slaves", get(|| async { Redirect::permanent("/agents") }))
        .route("/agent-offers", get(pages::offers::list))
        .route("/updates", get(pages::update::list))
        .route("/pending", get(pages::waiting::list))
        .route("/cron-jobs", get(pages::cron::list))
        .route("/live", get(live::stream))
        .route("/sample-job", post(pages::scheduler::run_sample))
        .route("/assets/{file}", get(assets::serve))
        .route("/favicon.ico", get(assets::favicon))
        .fallback(page::unknown_path)
        .with_state(state)
        .layer(from_fn(headers::add_security_headers))
}
