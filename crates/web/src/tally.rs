//! Counting tasks by state, in single passes over a view.

use std::collections::{BTreeMap, BTreeSet};

use model::{JobKey, TaskStatus};
use scheduler::View;

use crate::words::{self, Look, Markup};

/// How many tasks are in each status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<TaskStatus, u64>,
}

/// Order in which counts are shown: what needs attention stands beside what runs, history comes last.
const ORDER: [TaskStatus; 15] = [
    TaskStatus::Running,
    TaskStatus::Starting,
    TaskStatus::Assigned,
    TaskStatus::Pending,
    TaskStatus::Throttled,
    TaskStatus::Restarting,
    TaskStatus::Preempting,
    TaskStatus::Draining,
    TaskStatus::Killing,
    TaskStatus::Partitioned,
    TaskStatus::Failed,
    TaskStatus::Lost,
    TaskStatus::Finished,
    TaskStatus::Killed,
    TaskStatus::Init,
];

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, status: TaskStatus) {
        *self.counts.entry(status).or_default() += 1;
    }

    /// Adds another tally.
    pub fn merge(&mut self, other: &Self) {
        for (status, count) in &other.counts {
            *self.counts.entry(*status).or_default() += count;
        }
    }

    /// Of one status.
    pub fn of(&self, status: TaskStatus) -> u64 {
        self.counts.get(&status).copied().unwrap_or(0)
    }

    /// Of all statuses that satisfy `test`.
    pub fn sum(&self, test: impl Fn(TaskStatus) -> bool) -> u64 {
        self.counts.iter().filter(|(status, _)| test(**status)).map(|(_, count)| count).sum()
    }

    /// Statuses that occur, in the order of showing.
    pub fn entries(&self) -> impl Iterator<Item = (TaskStatus, u64)> {
        ORDER.into_iter().map(|status| (status, self.of(status))).filter(|(_, count)| *count > 0)
    }

    /// One badge with a count per status that occurs.
    pub fn badges(&self) -> Vec<Markup> {
        self.entries().map(|(status, count)| words::task_look(status).count(count)).collect()
    }

    /// All statuses as one bar.
    pub fn bar(&self) -> Markup {
        let looks: Vec<(Look, u64)> = self.entries().map(|(status, count)| (words::task_look(status), count)).collect();
        words::spread(&looks)
    }
}

/// A job and its counts.
#[derive(Clone, Debug)]
pub struct JobTally {
    /// Job.
    pub key: JobKey,
    /// Its tasks.
    pub tally: Tally,
    /// Whether its newest configuration is a service.
    pub is_service: bool,
    /// Latest event of any of its tasks, in ms since the epoch.
    pub changed_ms: i64,
}

/// Counts the tasks of a job.
pub fn of_job(view: &View, key: &JobKey) -> JobTally {
    let mut job = JobTally { key: key.clone(), tally: Tally::default(), is_service: false, changed_ms: 0 };
    for task in view.tasks_of(key) {
        job.tally.add(task.status);
        let changed = task.last_event_ms();
        if changed >= job.changed_ms {
            job.changed_ms = changed;
            job.is_service = task.config.is_service;
        }
    }
    // One that has not run yet has changed when it was scheduled.
    if let Some(cron) = view.cron_jobs.get(key) {
        job.changed_ms = job.changed_ms.max(cron.scheduled_ms);
    }
    job
}

/// Keys of a role's jobs, or of one of its environments, in order.
pub fn jobs_of<'a>(view: &'a View, role: &'a str, environment: Option<&'a str>) -> impl Iterator<Item = &'a JobKey> {
    let first = JobKey::new(role, environment.unwrap_or_default(), "");
    let belongs =
        move |key: &&JobKey| key.role == role && environment.is_none_or(|environment| key.environment == environment);
    let with_tasks = view.tasks_by_job.range(first.clone()..).map(|(key, _)| key).take_while(belongs);
    let with_schedule = view.cron_jobs.range(first..).map(|(key, _)| key).take_while(belongs);
    with_tasks.chain(with_schedule).collect::<BTreeSet<_>>().into_iter()
}

/// Keys of all jobs, in order: those with a task, and cron jobs.
pub fn all_jobs(view: &View) -> impl Iterator<Item = &JobKey> {
    let mut scheduled = view.cron_jobs.keys().filter(|key| !view.tasks_by_job.contains_key(*key)).peekable();
    let mut with_tasks = view.jobs().peekable();
    std::iter::from_fn(move || match (with_tasks.peek(), scheduled.peek()) {
        (Some(one), Some(other)) if other < one => scheduled.next(),
        (Some(_), _) => with_tasks.next(),
        (None, _) => scheduled.next(),
    })
}

/// What a role has.
#[derive(Clone, Debug, Default)]
pub struct RoleTally {
    /// Number of jobs.
    pub jobs: u64,
    /// Jobs with an active task.
    pub active_jobs: u64,
    /// Tasks.
    pub tally: Tally,
    /// Latest event, in ms since the epoch.
    pub changed_ms: i64,
}

/// All roles, in order, in one pass over the tasks.
pub fn roles(view: &View) -> BTreeMap<String, RoleTally> {
    let mut roles: BTreeMap<String, RoleTally> = BTreeMap::new();
    let mut current: Option<(&str, RoleTally)> = None;
    for key in all_jobs(view) {
        if current.as_ref().is_none_or(|(role, _)| *role != key.role)
            && let Some((role, done)) = current.replace((&key.role, RoleTally::default()))
        {
            roles.insert(role.to_owned(), done);
        }
        if let Some((_, role)) = &mut current {
            let job = of_job(view, key);
            role.jobs += 1;
            role.active_jobs += u64::from(job.tally.sum(TaskStatus::is_active) > 0);
            role.tally.merge(&job.tally);
            role.changed_ms = role.changed_ms.max(job.changed_ms);
        }
    }
    if let Some((role, done)) = current {
        roles.insert(role.to_owned(), done);
    }
    roles
}

/// A page of a long list: which part is shown and where the others are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging {
    /// From 1.
    pub page: usize,
    /// At least 1.
    pub pages: usize,
    /// Entries in all.
    pub total: usize,
    /// Index of the first one shown.
    pub first: usize,
    /// Index after the last one shown.
    pub end: usize,
    /// Address of the page before; empty at the first.
    pub previous: String,
    /// Address of the page after; empty at the last.
    pub next: String,
}

impl Paging {
    /// `wanted` counts from 1 and is moved into range; `address` gives the address of a page.
    pub fn new(total: usize, size: usize, wanted: usize, address: impl Fn(usize) -> String) -> Self {
        let pages = total.div_ceil(size).max(1);
        let page = wanted.clamp(1, pages);
        Self {
            page,
            pages,
            total,
            first: (page - 1) * size,
            end: (page * size).min(total),
            previous: if page > 1 { address(page - 1) } else { String::new() },
            next: if page < pages { address(page + 1) } else { String::new() },
        }
    }

    /// `1–100 of 4,000`; empty when everything fits on one page.
    pub fn words(&self) -> String {
        if self.pages == 1 {
            return String::new();
        }
        let number = |number: usize| words::grouped(number as u64);
        format!("{}–{} of {}", number(self.first + 1), number(self.end), number(self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_place() {
        assert!(TaskStatus::ALL.into_iter().all(|status| ORDER.contains(&status)));
    }

    #[test]
    fn paging_stays_in_range() {
        let paging = |total, wanted| Paging::new(total, 10, wanted, |page| format!("?page={page}"));
        assert_eq!((paging(0, 1).first, paging(0, 7).end, paging(0, 0).pages), (0, 0, 1));
        let last = paging(25, 99);
        assert_eq!(
            (last.page, last.first, last.end, last.previous.as_str(), last.next.as_str()),
            (3, 20, 25, "?page=2", "")
        );
        assert_eq!(last.words(), "21–25 of 25");
        assert_eq!(paging(10, 1).words(), "");
    }
}
