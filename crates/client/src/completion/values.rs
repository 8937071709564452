//! What can stand where something of a scheduler is to be named, given what has been typed of it.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use clap_complete::CompletionCandidate;
use model::JobKey;

use super::source::Source;
use crate::syntax::ClusterJob;

/// What an argument names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A cluster.
    Cluster,
    /// `CLUSTER/ROLE`.
    ClusterRole,
    /// `CLUSTER/ROLE/ENV/NAME`.
    Job,
    /// The same of a cron job.
    CronJob,
    /// `CLUSTER/ROLE/ENV/NAME/INSTANCE`, where the instance may be left out or not.
    Instance,
    /// A role, whose cluster is another argument.
    Role,
    /// A host.
    Host,
    /// An update of the job that is another argument.
    Update,
}

impl Kind {
    /// What an argument names, by its name in the help, its identity, its command and the command above.
    pub fn of(shown: &str, id: &str, command: &str, parent: &str) -> Option<Self> {
        match shown {
            "CLUSTER/ROLE" => Some(Self::ClusterRole),
            "CLUSTER/ROLE/ENV/NAME" if parent == "cron" && command != "schedule" => Some(Self::CronJob),
            "CLUSTER/ROLE/ENV/NAME" | "CLUSTER[/ROLE[/ENV[/NAME]]]" | "CLUSTER[/ROLE[/ENV[/JOB]]]" => Some(Self::Job),
            _ if shown.starts_with("CLUSTER/ROLE/ENV/NAME") || shown.ends_with("/INSTANCE") => Some(Self::Instance),
            _ if shown.starts_with("JOB|JOB/INSTANCE") => Some(Self::Instance),
            "HOST,HOST" => Some(Self::Host),
            "ID" if parent == "update" => Some(Self::Update),
            "CLUSTER" => Some(Self::Cluster),
            "ROLE" if id == "role" => Some(Self::Role),
            _ => None,
        }
    }
}

/// Candidates, while a line is being typed.
pub struct Values {
    /// Where names come from.
    pub source: Source,
    /// The words of the line.
    pub typed: Vec<String>,
}

impl Values {
    /// What may stand here, given what has been typed.
    pub fn candidates(&self, kind: Kind, typed: &OsStr) -> Vec<CompletionCandidate> {
        let Some(typed) = typed.to_str() else { return Vec::new() };
        let mut found: Vec<String> = match kind {
            Kind::Cluster => self.source.clusters(),
            Kind::ClusterRole | Kind::Job | Kind::CronJob | Kind::Instance => self.steps(kind, typed),
            Kind::Role => self.cluster().map(|cluster| self.source.roles(&cluster)).unwrap_or_default(),
            Kind::Host => self.cluster().map(|cluster| self.source.hosts(&cluster)).unwrap_or_default(),
            Kind::Update => self.job().map(|job| self.source.updates(&job)).unwrap_or_default(),
        };
        found.retain(|candidate| candidate.starts_with(typed));
        found.sort();
        found.dedup();
        found.into_iter().map(CompletionCandidate::new).collect()
    }

    /// The next part of a key. Where only one way leads on it is gone to its end, so that nobody types what has no choice.
    fn steps(&self, kind: Kind, typed: &str) -> Vec<String> {
        let mut known = typed.rsplit_once('/').map_or("", |(known, _)| known).to_owned();
        let mut last = typed.to_owned();
        loop {
            let found: Vec<String> =
                self.below(kind, &known).into_iter().filter(|candidate| candidate.starts_with(&last)).collect();
            match found.as_slice() {
                [only] if only.ends_with('/') => {
                    known = only.trim_end_matches('/').to_owned();
                    last.clone_from(only);
                    // The end of the way is where nothing is known below.
                    if self.below(kind, &known).is_empty() {
                        return found;
                    }
                }
                _ => return found,
            }
        }
    }

    /// Everything one part below `known`; what goes on ends with a slash.
    fn below(&self, kind: Kind, known: &str) -> Vec<String> {
        let parts: Vec<&str> = known.split('/').filter(|part| !part.is_empty()).collect();
        match (parts.as_slice(), kind) {
            ([], _) => self.source.clusters().into_iter().map(|cluster| format!("{cluster}/")).collect(),
            ([cluster], Kind::ClusterRole) => {
                self.source.roles(cluster).into_iter().map(|role| format!("{cluster}/{role}")).collect()
            }
            ([cluster], _) => self.source.roles(cluster).into_iter().map(|role| format!("{cluster}/{role}/")).collect(),
            ([cluster, role], _) => {
                let of = |job: JobKey| format!("{cluster}/{role}/{}/", job.environment);
                self.jobs(kind, cluster, role).map(of).collect::<BTreeSet<String>>().into_iter().collect()
            }
            ([cluster, role, environment], _) => self
                .jobs(kind, cluster, role)
                .filter(|job| job.environment == *environment)
                .map(|job| format!("{cluster}/{job}"))
                .collect(),
            ([cluster, role, environment, name], Kind::Instance) => {
                let job = ClusterJob { cluster: (*cluster).into(), job: JobKey::new(*role, *environment, *name) };
                self.source.instances(&job).into_iter().map(|instance| format!("{job}/{instance}")).collect()
            }
            _ => Vec::new(),
        }
    }

    fn jobs(&self, kind: Kind, cluster: &str, role: &str) -> impl Iterator<Item = JobKey> + use<> {
        let jobs = self.source.jobs(cluster, role);
        jobs.into_iter().filter(move |job| kind != Kind::CronJob || job.is_cron).map(|job| job.key)
    }

    /// The cluster that the line names, or the only one there is.
    fn cluster(&self) -> Option<String> {
        let mut known = self.source.clusters();
        let named = self.typed.iter().find(|word| known.contains(word)).cloned();
        named.or_else(|| if known.len() == 1 { known.pop() } else { None })
    }

    /// The job that the line names.
    fn job(&self) -> Option<ClusterJob> {
        self.typed.iter().find_map(|word| word.parse().ok())
    }
}
