//! Selecting tasks (spec thrift-api 2.3, TaskQuery): terms are joined by "and", members of a set by "or", an empty set restricts nothing.
//! The narrowest index that a query names is walked; the other terms filter.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{JobKey, TaskId, TaskStatus};
use scheduler::{Task, View};
use thrift::{Set, TaskQuery};

/// The terms of a query in the model's words. `None` restricts nothing.
struct Terms<'a> {
    role: Option<&'a str>,
    environment: Option<&'a str>,
    job_name: Option<&'a str>,
    jobs: Option<BTreeSet<JobKey>>,
    task_ids: Option<BTreeSet<&'a str>>,
    statuses: Option<BTreeSet<TaskStatus>>,
    instances: Option<BTreeSet<i64>>,
    hosts: Option<BTreeSet<&'a str>>,
}

/// The members of a set that is given and not empty.
fn members<T>(set: Option<&Set<T>>) -> Option<&[T]> {
    set.map(|set| &set[..]).filter(|members| !members.is_empty())
}

impl<'a> Terms<'a> {
    fn new(query: &'a TaskQuery) -> Self {
        let texts = |set: Option<&'a Set<String>>| members(set).map(|set| set.iter().map(String::as_str).collect());
        Terms {
            // A blank role restricts nothing; an empty environment or name does.
            role: query.role.as_deref().filter(|role| !role.trim().is_empty()),
            environment: query.environment.as_deref(),
            job_name: query.job_name.as_deref(),
            jobs: members(query.job_keys.as_ref()).map(|keys| keys.iter().cloned().map(JobKey::from).collect()),
            task_ids: texts(query.task_ids.as_ref()),
            statuses: members(query.statuses.as_ref())
                .map(|statuses| statuses.iter().map(|status| TaskStatus::from(*status)).collect()),
            instances: members(query.instance_ids.as_ref())
                .map(|instances| instances.iter().map(|instance| i64::from(*instance)).collect()),
            hosts: texts(query.slave_hosts.as_ref()),
        }
    }

    /// Whether a job of that key can have matching tasks.
    fn admits_job(&self, job: &JobKey) -> bool {
        self.role.is_none_or(|role| job.role == role)
            && self.environment.is_none_or(|environment| job.environment == environment)
            && self.job_name.is_none_or(|name| job.name == name)
            && self.jobs.as_ref().is_none_or(|jobs| jobs.contains(job))
    }

    /// Whether the task matches in everything but its job.
    fn admits_within_job(&self, task: &Task) -> bool {
        self.statuses.as_ref().is_none_or(|statuses| statuses.contains(&task.status))
            && self.instances.as_ref().is_none_or(|instances| instances.contains(&i64::from(task.instance)))
            && self.task_ids.as_ref().is_none_or(|ids| ids.contains(task.id.as_str()))
            && self
                .hosts
                .as_ref()
                .is_none_or(|hosts| task.host.as_deref().is_some_and(|host| hosts.contains(host.as_str())))
    }
}

/// Every matching task, by job and id.
pub fn select(view: &View, query: &TaskQuery) -> Vec<Arc<Task>> {
    let terms = Terms::new(query);
    if let Some(ids) = &terms.task_ids {
        let named = ids.iter().filter_map(|id| view.task(&TaskId::from(*id)));
        return named
            .filter(|task| terms.admits_job(&task.config.job) && terms.admits_within_job(task))
            .cloned()
            .collect();
    }
    let mut selected = Vec::new();
    let mut take = |job: &JobKey| {
        selected.extend(view.tasks_of(job).filter(|task| terms.admits_within_job(task)).cloned());
    };
    match (&terms.jobs, terms.role, terms.environment, terms.job_name) {
        (Some(jobs), ..) => jobs.iter().filter(|job| terms.admits_job(job)).for_each(take),
        (None, Some(role), Some(environment), Some(name)) => take(&JobKey::new(role, environment, name)),
        (None, Some(role), ..) => {
            let jobs = view.tasks_by_job.range(JobKey::new(role, "", "")..).map(|(job, _)| job);
            jobs.take_while(|job| job.role == role).filter(|job| terms.admits_job(job)).for_each(take);
        }
        (None, None, ..) => view.jobs().filter(|job| terms.admits_job(job)).for_each(take),
    }
    selected
}

/// The page of a selection: `offset` and `limit` count when positive.
pub fn page(query: &TaskQuery, mut selected: Vec<Arc<Task>>) -> Vec<Arc<Task>> {
    let positive = |number: Option<i32>| number.and_then(|number| usize::try_from(number).ok()).filter(|n| *n > 0);
    if let Some(offset) = positive(query.offset) {
        selected.drain(..offset.min(selected.len()));
    }
    if let Some(limit) = positive(query.limit) {
        selected.truncate(limit);
    }
    selected
}

#[cfg(test)]
mod tests {
    use thrift::ScheduleStatus;

    use super::*;
    use crate::samples::{sample_task, view_of};

    fn names(query: TaskQuery) -> Vec<String> {
        let view = view_of([
            sample_task("a/prod/x", 0, TaskStatus::Running, Some("h1")),
            sample_task("a/prod/x", 1, TaskStatus::Failed, Some("h2")),
            sample_task("a/prod/y", 0, TaskStatus::Pending, None),
            sample_task("a/devel/x", 0, TaskStatus::Running, Some("h2")),
            sample_task("ab/prod/x", 0, TaskStatus::Finished, Some("h1")),
        ]);
        let selected = page(&query, select(&view, &query));
        selected.iter().map(|task| format!("{}/{}", task.config.job, task.instance)).collect()
    }

    fn text(value: &str) -> Option<String> {
        Some(value.to_owned())
    }

    #[test]
    fn terms_restrict_and_empty_terms_do_not() {
        let all = ["a/devel/x/0", "a/prod/x/0", "a/prod/x/1", "a/prod/y/0", "ab/prod/x/0"];
        assert_eq!(names(TaskQuery::default()), all);
        let blank = TaskQuery {
            role: text(" "),
            task_ids: Some(Set::default()),
            statuses: Some(Set::default()),
            instance_ids: Some(Set::default()),
            slave_hosts: Some(Set::default()),
            job_keys: Some(Set::default()),
            offset: Some(0),
            limit: Some(-1),
            ..TaskQuery::default()
        };
        assert_eq!(names(blank), all);
        let role = || TaskQuery { role: text("a"), ..TaskQuery::default() };
        assert_eq!(names(role()), all[..4]);
        assert_eq!(names(TaskQuery { environment: text("prod"), ..role() }), all[1..4]);
        assert_eq!(names(TaskQuery { environment: text(""), ..role() }), [""; 0]);
        let exact = TaskQuery { environment: text("prod"), job_name: text("x"), ..role() };
        assert_eq!(names(exact), all[1..3]);
        assert_eq!(names(TaskQuery { job_name: text("x"), ..TaskQuery::default() }), [all[0], all[1], all[2], all[4]]);
    }

    #[test]
    fn sets_are_alternatives_and_terms_are_joined() {
        let statuses = Some(Set(vec![ScheduleStatus::Pending, ScheduleStatus::Failed]));
        let query = TaskQuery { statuses: statuses.clone(), ..TaskQuery::default() };
        assert_eq!(names(query), ["a/prod/x/1", "a/prod/y/0"]);
        let hosts = Some(Set(vec!["h2".to_owned()]));
        assert_eq!(names(TaskQuery { slave_hosts: hosts, statuses, ..TaskQuery::default() }), ["a/prod/x/1"]);
        let keys =
            ["a/prod/x", "ab/prod/x", "no/prod/x"].map(|key| thrift::JobKey::from(&key.parse::<JobKey>().unwrap()));
        let by_key = || TaskQuery { job_keys: Some(Set(keys.to_vec())), ..TaskQuery::default() };
        assert_eq!(names(by_key()), ["a/prod/x/0", "a/prod/x/1", "ab/prod/x/0"]);
        assert_eq!(names(TaskQuery { role: text("ab"), ..by_key() }), ["ab/prod/x/0"]);
        let instances = Some(Set(vec![1, -1]));
        assert_eq!(names(TaskQuery { instance_ids: instances, ..TaskQuery::default() }), ["a/prod/x/1"]);
        let ids = Some(Set(vec!["a-prod-y-0".to_owned(), "missing".to_owned()]));
        assert_eq!(names(TaskQuery { task_ids: ids.clone(), ..TaskQuery::default() }), ["a/prod/y/0"]);
        assert_eq!(names(TaskQuery { task_ids: ids, role: text("ab"), ..TaskQuery::default() }), [""; 0]);
    }

    #[test]
    fn pages_skip_and_limit() {
        let paged =
            |offset, limit| names(TaskQuery { offset: Some(offset), limit: Some(limit), ..TaskQuery::default() });
        assert_eq!(paged(1, 2), ["a/prod/x/0", "a/prod/x/1"]);
        assert_eq!(paged(4, 9), ["ab/prod/x/0"]);
        assert_eq!(paged(9, 9), [""; 0]);
    }
}
