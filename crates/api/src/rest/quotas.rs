//! Quotas of roles, and what their jobs hold.

use axum::extract::State;
use model::CpuMillis;
use scheduler::{Command, View};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::change::{Change, Nothing};
use super::problem::{ChangeRefused, LookingRefused, Outcome, Problem, ReadingRefused};
use super::reading::{Named, Parameters, check_identifier};
use super::shapes::Resources;
use super::{Rest, found};
use crate::read::quota;

/// What quotas are about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuotaAmounts {
    /// Processors, in cores; exact to a thousandth.
    #[schema(example = 16.0, minimum = 0, maximum = 9e12)]
    cpus: f64,
    /// Memory, in MB.
    #[schema(example = 32_768, minimum = 0)]
    ram_mb: i64,
    /// Disk, in MB.
    #[schema(example = 102_400, minimum = 0)]
    disk_mb: i64,
}

/// More cores than there will ever be, and thousandths of them can still be counted.
const MAX_CORES: f64 = 9e12;

impl From<&model::Resources> for QuotaAmounts {
    fn from(amounts: &model::Resources) -> Self {
        Self { cpus: amounts.cpu.cores(), ram_mb: amounts.ram_mb, disk_mb: amounts.disk_mb }
    }
}

/// What the jobs of a role hold, by what it counts as. Only `productionShared` counts against the quota.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Consumption {
    /// Production jobs on shared hosts.
    production_shared: Resources,
    /// Other jobs on shared hosts.
    non_production_shared: Resources,
    /// Production jobs on hosts of their own.
    production_dedicated: Resources,
    /// Other jobs on hosts of their own.
    non_production_dedicated: Resources,
}

/// The quota of a role, and what its jobs hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoleQuota {
    /// The role.
    #[schema(example = "www-data")]
    role: String,
    /// What its production jobs may hold; zeros where none was set.
    quota: QuotaAmounts,
    /// What its jobs hold.
    consumption: Consumption,
}

/// The quota of a role.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuotaOfRole {
    /// The role.
    #[schema(example = "www-data")]
    role: String,
    /// What its production jobs may hold.
    quota: QuotaAmounts,
}

/// Quotas.
#[derive(Debug, Serialize, ToSchema)]
pub struct Quotas {
    /// Of the roles that have one, in their order.
    quotas: Vec<QuotaOfRole>,
}

/// Lists quotas
#[utoipa::path(
    get,
    path = "/api/v1/quotas",
    operation_id = "listQuotas",
    tag = "quotas",
    responses((status = 200, description = "The quotas.", body = Quotas), ReadingRefused)
)]
pub async fn list_quotas(State(rest): State<Rest>, Parameters(Nothing {}): Parameters<Nothing>) -> Outcome {
    let view = rest.gateway.view();
    let quotas = view.quotas.iter().map(|(role, quota)| QuotaOfRole { role: role.clone(), quota: quota.into() });
    found(&Quotas { quotas: quotas.collect() })
}

/// Tells the quota of a role
///
/// And what its jobs hold. A role that is not known has a quota of zero and holds nothing.
#[utoipa::path(
    get,
    path = "/api/v1/quotas/{role}",
    operation_id = "getQuota",
    tag = "quotas",
    params(("role" = String, Path, description = "The role.", example = "www-data")),
    responses((status = 200, description = "Quota and consumption.", body = RoleQuota), LookingRefused)
)]
pub async fn get_quota(
    State(rest): State<Rest>,
    Named(role): Named,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Outcome {
    check_identifier("role", &role)?;
    let look = move |view: &View| {
        let [shared, production, dedicated, production_dedicated] = quota::consumption_by_class(view, &role);
        found(&RoleQuota {
            quota: (&view.quotas.get(&role).copied().unwrap_or_default()).into(),
            consumption: Consumption {
                production_shared: (&production).into(),
                non_production_shared: (&shared).into(),
                production_dedicated: (&production_dedicated).into(),
                non_production_dedicated: (&dedicated).into(),
            },
            role,
        })
    };
    rest.read(look).await
}

/// Sets the quota of a role
///
/// For operators. It cannot be less than what production jobs of the role hold now.
#[utoipa::path(
    put,
    path = "/api/v1/quotas/{role}",
    operation_id = "setQuota",
    tag = "quotas",
    params(("role" = String, Path, description = "The role.", example = "www-data")),
    request_body(content = QuotaAmounts, description = "What its production jobs may hold."),
    responses((status = 200, description = "The quota is set.", body = QuotaOfRole), ChangeRefused)
)]
pub async fn set_quota(State(rest): State<Rest>, Named(role): Named, change: Change) -> Outcome {
    check_identifier("role", &role)?;
    let amounts: QuotaAmounts = change.json()?;
    let is_sensible = (0.0..=MAX_CORES).contains(&amounts.cpus) && amounts.ram_mb >= 0 && amounts.disk_mb >= 0;
    if !is_sensible {
        return Err(Problem::invalid("The amounts of a quota are not negative, and of cores there are 9e12 at most."));
    }
    let quota = model::Resources {
        cpu: CpuMillis::from_cores(amounts.cpus),
        ram_mb: amounts.ram_mb,
        disk_mb: amounts.disk_mb,
        ..model::Resources::ZERO
    };
    change.submit(&rest, Command::SetQuota { role: role.clone(), quota }, |_| None).await?;
    found(&QuotaOfRole { role, quota: (&quota).into() })
}
