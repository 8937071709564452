//! `sla get-job-uptime` and `sla get-task-up-count` (spec client-cli 2.18).

use std::time::Duration;

use serde_json::json;
use thrift::TaskQuery;

use super::Context;
use super::sla_arguments::{JobUptimeArguments, SlaVerb, TaskUpCountArguments};
use super::uptimes::Uptimes;
use crate::exit::{Exit, Failure, Outcome};
use crate::scheduler::query_of;
use crate::syntax::ClusterJob;

/// Runs a verb of `sla`.
pub fn run(verb: &SlaVerb, context: &mut Context<'_>) -> Outcome {
    match verb {
        SlaVerb::GetJobUptime(arguments) => job_uptime(arguments, context),
        SlaVerb::GetTaskUpCount(arguments) => task_up_count(arguments, context),
    }
}

fn uptimes(key: &ClusterJob, context: &mut Context<'_>) -> Outcome<Uptimes> {
    let mut scheduler = context.scheduler(&key.cluster)?;
    let live = TaskQuery { statuses: Some(thrift::LIVE_STATES.iter().copied().collect()), ..query_of(&key.job) };
    let tasks = scheduler.tasks(live, &mut context.console)?;
    if tasks.is_empty() {
        return Err(Failure::new(Exit::InvalidParameter, format!("No live tasks of job {key} found.")));
    }
    Ok(Uptimes::of(tasks.iter(), context.world.wall_clock_ms()))
}

fn job_uptime(arguments: &JobUptimeArguments, context: &mut Context<'_>) -> Outcome {
    let uptimes = uptimes(&arguments.key, context)?;
    let mut percentiles = arguments.percentiles.clone();
    percentiles.sort_by(|a, b| b.total_cmp(a));
    percentiles.dedup();
    if context.console.is_json() {
        let row =
            |percentile: f64| json!({ "percentile": percentile, "uptime_seconds": uptimes.at_percentile(percentile) });
        context.console.out_json(&percentiles.into_iter().map(row).collect());
        return Ok(());
    }
    for percentile in percentiles {
        context.console.out(format!("{percentile:?} percentile\t- {} seconds", uptimes.at_percentile(percentile)));
    }
    Ok(())
}

fn task_up_count(arguments: &TaskUpCountArguments, context: &mut Context<'_>) -> Outcome {
    let uptimes = uptimes(&arguments.key, context)?;
    let mut durations = arguments.durations.clone();
    durations.sort_unstable();
    durations.dedup();
    if context.console.is_json() {
        let row = |duration: Duration| {
            let percentage = uptimes.up_percent(duration, uptimes.count());
            json!({ "duration_seconds": duration.as_secs(), "percentage": percentage })
        };
        context.console.out_json(&durations.into_iter().map(row).collect());
        return Ok(());
    }
    for duration in durations {
        let percent = uptimes.up_percent(duration, uptimes.count());
        context.console.out(format!("{}\t- {percent:.2} %", amount(duration)));
    }
    Ok(())
}

/// A duration in its largest whole unit.
fn amount(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "days"), (3600, "hrs"), (60, "mins")];
    match units.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None => format!("{seconds} secs"),
    }
}

#[cfg(test)]
mod tests {
    use thrift::ScheduleStatus;

    use super::*;
    use crate::testing::{FakeWorld, NOW_MS, task, with_tasks};

    fn world(uptimes_secs: &[i64]) -> FakeWorld {
        let uptimes_secs = uptimes_secs.to_vec();
        FakeWorld::new(move |_| {
            let tasks = uptimes_secs.iter().enumerate().map(|(instance, seconds)| {
                let since_ms = NOW_MS - seconds * 1000;
                task(
                    instance as i32,
                    "t",
                    &[(since_ms - 5, ScheduleStatus::Pending, None), (since_ms, ScheduleStatus::Running, None)],
                )
            });
            Some(with_tasks(tasks.collect()))
        })
    }

    #[test]
    fn uptimes_are_shown_highest_percentile_first() {
        let ran =
            world(&[915, 1000, 2000, 40_000]).aurora("sla get-job-uptime c1/www-data/devel/hello --percentiles 50,99");
        ran.expect(Exit::Ok, "99.0 percentile\t- 915 seconds\n50.0 percentile\t- 2000 seconds\n", "");
        let ran = world(&[915]).aurora("sla get-job-uptime c1/www-data/devel/hello");
        assert_eq!(ran.out.lines().count(), 9, "{}", ran.out);
        assert!(ran.out.starts_with("99.0 percentile\t- 915 seconds\n95.0 percentile"));
    }

    #[test]
    fn counts_are_shown_shortest_duration_first() {
        let ran = world(&[59, 61, 4000, 700]).aurora("sla get-task-up-count c1/www-data/devel/hello");
        let expected = "1 mins\t- 75.00 %\n10 mins\t- 50.00 %\n1 hrs\t- 25.00 %\n12 hrs\t- 0.00 %\n7 days\t- 0.00 %\n";
        ran.expect(Exit::Ok, expected, "");
        let ran = world(&[59]).aurora("sla get-task-up-count c1/www-data/devel/hello --durations 90s,30s");
        ran.expect(Exit::Ok, "30 secs\t- 100.00 %\n90 secs\t- 0.00 %\n", "");
    }

    #[test]
    fn what_is_not_there_or_makes_no_sense_is_said() {
        let ran = world(&[]).aurora("sla get-job-uptime c1/www-data/devel/hello");
        assert_eq!(ran.exit, Exit::InvalidParameter);
        assert!(ran.err.contains("No live tasks of job c1/www-data/devel/hello"), "{}", ran.err);
        for bad in ["--percentiles 0", "--percentiles 100", "--percentiles x"] {
            let ran = world(&[1]).aurora(&format!("sla get-job-uptime c1/www-data/devel/hello {bad}"));
            assert_eq!(ran.exit, Exit::Usage, "{bad}");
        }
        let ran = world(&[1]).aurora("sla get-task-up-count c1/www-data/devel/hello --durations 5");
        assert_eq!(ran.exit, Exit::Usage);
    }
}
