//! `GET /api/v1`: what answers here.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::change::Nothing;
use super::problem::{Outcome, ReadingRefused};
use super::reading::Parameters;
use super::{Rest, found};

/// What answers here.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Version of Daybreak.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// Name of the cluster.
    #[schema(example = "devcluster")]
    cluster: String,
    /// Where the description of this API is.
    #[schema(example = "/api/v1/openapi.json")]
    openapi: &'static str,
    /// What becomes of idempotency keys.
    idempotency_keys: IdempotencyKeys,
}

/// A change that is sent with a key of the client's is made once, however often it is sent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdempotencyKeys {
    /// Header of the key: 1 to 255 visible ASCII characters, such as a random UUID.
    #[schema(example = "Idempotency-Key")]
    header: &'static str,
    /// For so many seconds a key is remembered.
    #[schema(example = 86_400)]
    kept_secs: u64,
    /// So many keys are remembered at most; then the oldest goes first. 0: none, and keys mean nothing.
    #[schema(example = 100_000)]
    kept_most: u64,
}

/// What answers here
#[utoipa::path(
    get,
    path = "/api/v1",
    operation_id = "about",
    tag = "about",
    responses((status = 200, description = "What answers here.", body = About), ReadingRefused)
)]
pub async fn about(State(rest): State<Rest>, Parameters(Nothing {}): Parameters<Nothing>) -> Outcome {
    let view = rest.gateway.view();
    found(&About {
        version: env!("CARGO_PKG_VERSION"),
        cluster: rest.cluster.to_string(),
        openapi: "/api/v1/openapi.json",
        idempotency_keys: IdempotencyKeys {
            header: "Idempotency-Key",
            kept_secs: view.settings.idempotency_key_retention.as_secs(),
            kept_most: view.settings.max_idempotency_keys as u64,
        },
    })
}
