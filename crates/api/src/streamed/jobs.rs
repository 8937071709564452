//! Replies with jobs: each is turned into its shape on the wire only when its turn has come.

use std::sync::Arc;

use scheduler::Task;
use scheduler::cron::CronJob;
use thrift::{
    FieldSpec, GetJobsResult, JobConfiguration, JobStats, JobSummary, JobSummaryResult, TaskConfig, Write, Writer,
};

use super::Listing;

/// A job as it stands in the state; what is large is shared with it.
#[derive(Clone, Debug)]
pub struct Job {
    /// What speaks for it.
    pub voice: Voice,
    /// Its tasks, counted by what became of them.
    pub stats: JobStats,
    /// When its cron schedule fires next, in ms since the epoch.
    pub next_cron_run_ms: Option<i64>,
}

/// What a job's configuration is taken from.
#[derive(Clone, Debug)]
pub enum Voice {
    /// A cron job has its own.
    Cron(Arc<CronJob>),
    /// Any other has that of one of its tasks, of which there are so many.
    Task(Arc<Task>, usize),
}

/// Of getJobSummary.
#[derive(Clone, Copy, Debug)]
pub struct Summaries;

impl Listing for Summaries {
    const RESULT: i16 = 18;
    const FIELDS: &'static [FieldSpec] = JobSummaryResult::FIELDS;
    type Element = Job;

    fn write<W: Writer>(&mut self, job: &Job, writer: &mut W) {
        job.summary().write(writer);
    }
}

/// Of getJobs.
#[derive(Clone, Copy, Debug)]
pub struct Configurations;

impl Listing for Configurations {
    const RESULT: i16 = 4;
    const FIELDS: &'static [FieldSpec] = GetJobsResult::FIELDS;
    type Element = Job;

    fn write<W: Writer>(&mut self, job: &Job, writer: &mut W) {
        job.configuration().write(writer);
    }
}

impl Job {
    fn configuration(&self) -> JobConfiguration {
        match &self.voice {
            Voice::Cron(cron) => JobConfiguration::from(&*cron.config),
            Voice::Task(task, count) => {
                let config = TaskConfig::from(&*task.config);
                JobConfiguration {
                    cron_schedule: None,
                    cron_collision_policy: None,
                    owner: config.owner.clone(),
                    task_config: Some(config),
                    instance_count: i32::try_from(*count).unwrap_or(i32::MAX),
                    key: Some(thrift::JobKey::from(&task.config.job)),
                }
            }
        }
    }

    fn summary(&self) -> JobSummary {
        JobSummary {
            job: Some(self.configuration()),
            stats: Some(self.stats.clone()),
            next_cron_run_ms: self.next_cron_run_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{CronCollisionPolicy, TaskStatus};
    use thrift::{
        BinaryWriter, JsonWriter, Method, PlainWriter, Protocol, Response, ResponseCode, ResponseResult, ServerInfo,
        Set, encode_plain, encode_reply,
    };

    use super::super::joined;
    use super::*;
    use crate::samples::sample_task;

    /// Jobs with tasks, with owners and without, and cron jobs with and without a next run.
    fn jobs(count: u32) -> Vec<Job> {
        let of = |number: u32| {
            let key = format!("r{}/prod/j{number}", number % 3);
            let task = sample_task(&key, number, TaskStatus::Running, Some("h"));
            let stats = JobStats { active_task_count: number as i32, failed_task_count: 2, ..JobStats::default() };
            if number % 4 != 1 {
                return Job { voice: Voice::Task(task, number as usize + 1), stats, next_cron_run_ms: None };
            }
            let config = model::JobConfiguration {
                key: key.parse().expect("a key"),
                owner: Some(format!("owner {number}")),
                cron_schedule: Some("*/5 * * * *".to_owned()),
                cron_collision_policy: CronCollisionPolicy::CancelNew,
                task: (*task.config).clone(),
                instance_count: 3,
            };
            let next_run_ms = (number % 8 == 1).then_some(1_800_000_000_000 + i64::from(number));
            let cron = CronJob {
                config: Arc::new(config),
                schedule: None,
                scheduled_ms: 5,
                scheduled_after: 0,
                runs: Vec::new(),
                next_run_ms,
            };
            Job { voice: Voice::Cron(Arc::new(cron)), stats, next_cron_run_ms: next_run_ms }
        };
        (0..count).map(of).collect()
    }

    fn check<L: Listing<Element = Job> + Copy>(listing: L, method: Method, jobs: &[Job], result: ResponseResult) {
        let whole = Response {
            response_code: Some(ResponseCode::Ok),
            result: Some(result),
            server_info: Some(ServerInfo { cluster_name: "c".to_owned(), stats_url_prefix: String::new() }),
            details: Vec::new(),
        };
        let envelope = Some((method, 4));
        let (json, pieces) = joined::<JsonWriter, L>(jobs.to_vec(), listing, envelope);
        assert_eq!(pieces > 1, jobs.len() == 3000, "{pieces} pieces");
        assert!(json == encode_reply(Protocol::Json, method, 4, &whole), "{} jobs as Thrift JSON", jobs.len());
        let (binary, _) = joined::<BinaryWriter, L>(jobs.to_vec(), listing, envelope);
        assert!(binary == encode_reply(Protocol::Binary, method, 4, &whole), "{} jobs in binary", jobs.len());
        let (plain, _) = joined::<PlainWriter, L>(jobs.to_vec(), listing, None);
        assert!(plain == encode_plain(&whole), "{} jobs as plain JSON", jobs.len());
    }

    #[test]
    fn the_bytes_are_those_of_the_reply_encoded_as_a_whole_in_every_protocol() {
        for count in [0, 1, 5, 3000] {
            let jobs = jobs(count);
            let summaries = Set(jobs.iter().map(Job::summary).collect());
            let result = ResponseResult::JobSummary(JobSummaryResult { summaries });
            check(Summaries, Method::GetJobSummary, &jobs, result);
            let configs = Set(jobs.iter().map(Job::configuration).collect());
            check(Configurations, Method::GetJobs, &jobs, ResponseResult::GetJobs(GetJobsResult { configs }));
        }
    }
}
