//! The grammar of `daybreak explain`, and what it can be asked about.

use std::str::FromStr;

use clap::Args;
use model::{InstanceId, JobKey};

use crate::command::JsonOutput;
use crate::syntax::ClusterJob;

/// `daybreak explain`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  daybreak explain devcluster/www-data/devel/hello\n  daybreak explain devcluster/www-data/devel/hello/0\n  \
                  daybreak explain www-data-devel-hello-0-1f2e3d4c-...   a task by its id\n  \
                  daybreak explain devcluster/www-data/devel/hello/1f2e3d4c-5b6a-...   an update by its id\n\n\
                  Exit codes: 0 it was explained; 6 there is no such job, task or update; 9 no scheduler answers.\n\
                  A scheduler of Aurora's own knows less; then the story is shorter."
)]
pub struct ExplainArguments {
    /// A job (CLUSTER/ROLE/ENV/NAME), one of its instances (…/0), an update (…/ID), or the id of a task or an update
    #[arg(value_name = "CLUSTER/ROLE/ENV/NAME[/INSTANCE]|ID")]
    pub target: Target,
    /// Cluster of a task or update that is given by its id only [default: the only one that is defined, or devcluster]
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Colours: on a terminal, always, or never
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = clap::ColorChoice::Auto)]
    pub color: clap::ColorChoice,
    /// How the result is printed
    #[command(flatten)]
    pub output: JsonOutput,
}

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A job as a whole.
    Job(ClusterJob),
    /// One of its instances.
    Instance(ClusterJob, InstanceId),
    /// One of its updates.
    Update(ClusterJob, String),
    /// A task or an update by its id.
    Id(String),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [id] if !id.is_empty() => Ok(Self::Id((*id).to_owned())),
            [_, _, _, _] => Ok(Self::Job(text.parse()?)),
            [key @ .., last] if key.len() == 4 => {
                let key: ClusterJob = key.join("/").parse()?;
                match last.parse() {
                    Ok(instance) => Ok(Self::Instance(key, instance)),
                    Err(_) if last.len() > 8 => Ok(Self::Update(key, (*last).to_owned())),
                    Err(_) => Err(format!("'{last}' in '{text}' is neither an instance nor the id of an update")),
                }
            }
            _ => Err(format!(
                "'{text}' is nothing that can be explained: write CLUSTER/ROLE/ENV/NAME, CLUSTER/ROLE/ENV/NAME/INSTANCE or the id of a task"
            )),
        }
    }
}

/// Whether an id is one of an update: those are UUIDs, those of tasks begin with their role.
pub(super) fn is_uuid(id: &str) -> bool {
    let parts: Vec<&str> = id.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// `role/environment/name` for the query of a document.
pub(super) fn query_of(job: &JobKey) -> String {
    format!(
        "job={}%2F{}%2F{}",
        crate::files::encode(&job.role),
        crate::files::encode(&job.environment),
        crate::files::encode(&job.name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_told_apart() {
        let key: ClusterJob = "c/r/e/n".parse().unwrap();
        let uuid = "1f2e3d4c-5b6a-4789-8abc-def012345678";
        for (text, expected) in [
            ("c/r/e/n", Target::Job(key.clone())),
            ("c/r/e/n/3", Target::Instance(key.clone(), 3)),
            (&format!("c/r/e/n/{uuid}"), Target::Update(key, uuid.to_owned())),
            (uuid, Target::Id(uuid.to_owned())),
            ("r-e-n-0-1f2e3d4c", Target::Id("r-e-n-0-1f2e3d4c".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in ["", "c/r/e", "c/r/e/n/x", "c/r/e/n/0/1", "/r/e/n"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
        assert!(is_uuid(uuid) && !is_uuid("r-e-n-0-1f2e3d4c-5b6a-4789-8abc-def012345678"));
    }
}
