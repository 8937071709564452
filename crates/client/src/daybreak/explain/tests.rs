//! Stories from facts, each whole, as a person reads them: a table of tasks, jobs, cron jobs and updates.

use thrift::{
    AssignedTask, JobInstanceUpdateEvent, JobUpdate, JobUpdateAction, JobUpdateEvent, JobUpdateInstructions,
    JobUpdateKey, JobUpdateSettings, JobUpdateState, JobUpdateStatus, TaskConfig, TaskEvent,
};

use super::*;
use crate::daybreak::judgement::{
    ConstraintSeen, Cron, CronRun, HostMode, Nearest, Obstacle, Obstacles, Preemption, Shortfall, Throttled,
    UpdateProgress, Waiting,
};
use crate::paint::Paint;
use crate::testing::{FakeWorld, with_result};

/// 12:26:40 UTC.
const NOW_MS: i64 = 1_600_000_000_000;

fn facts(tasks: Vec<ScheduledTask>) -> Facts {
    Facts {
        key: "c1/r/e/n".parse().unwrap(),
        tasks,
        knowledge: Some(Knowledge { is_connected: true, flapping_threshold_ms: 300_000, ..Knowledge::default() }),
        reasons: BTreeMap::new(),
        failures: BTreeMap::new(),
        updates: Vec::new(),
        clock: Clock { now_ms: NOW_MS, zone: TimeZone::UTC },
    }
}

/// A task of instance `instance`, on m1 once it was assigned; its events began so many seconds ago.
fn task(instance: i32, events: &[(i64, ScheduleStatus, &str)]) -> ScheduledTask {
    let placed =
        events.iter().any(|(_, status, _)| *status != ScheduleStatus::Pending && *status != ScheduleStatus::Throttled);
    let event = |(ago_secs, status, message): &(i64, ScheduleStatus, &str)| TaskEvent {
        timestamp: NOW_MS - ago_secs * 1000,
        status: Some(*status),
        message: (!message.is_empty()).then(|| (*message).to_owned()),
        scheduler: None,
    };
    ScheduledTask {
        assigned_task: Some(AssignedTask {
            task_id: format!("t-{instance}-{}", events.first().map_or(0, |(ago, _, _)| *ago)),
            slave_host: placed.then(|| "m1".to_owned()),
            task: Some(TaskConfig { is_service: true, max_task_failures: 1, ..TaskConfig::default() }),
            instance_id: instance,
            ..AssignedTask::default()
        }),
        status: events.last().map(|(_, status, _)| *status),
        task_events: events.iter().map(event).collect(),
        ..ScheduledTask::default()
    }
}

/// The first task's story without its history.
fn of_first(facts: &Facts) -> String {
    let mut story = task::tell(&facts.tasks[0], facts);
    assert!(story.evidence.len() > 1, "a story has its evidence");
    story.evidence.clear();
    story.lines(Paint::new(false)).join("\n")
}

use ScheduleStatus as S;

/// Seconds ago, status and message of each event.
type History<'a> = &'a [(i64, S, &'a str)];

#[test]
fn a_pending_task_is_told_with_everything_the_scheduler_knows() {
    let mut facts = facts(vec![task(0, &[(90, S::Pending, "")])]);
    let waiting = Waiting {
        tasks: vec!["t-0-90".to_owned()],
        sentence: Some("needs 3 cpu, the most that is free on a machine is 2.5 cpu".to_owned()),
        next_try_ms: Some(NOW_MS + 20_000),
        penalty_ms: 32_000,
        other_groups: 2,
        fitting_hosts: 0,
        obstacles: Obstacles {
            agents: 9,
            sentence: "needs 3 cpu, the most that is free on a machine is 2.5 cpu".to_owned(),
            reasons: vec![
                Obstacle {
                    reasons: vec!["Insufficient: CPU".to_owned()],
                    agents: 7,
                    hosts: vec!["m1".to_owned(), "m2".to_owned()],
                },
                Obstacle {
                    reasons: vec!["Constraint not satisfied: rack".to_owned()],
                    agents: 2,
                    hosts: vec!["m8".to_owned(), "m9".to_owned()],
                },
            ],
            nearest: Some(Nearest {
                host: "m2".to_owned(),
                lacks: vec![Shortfall { kind: "cpus".to_owned(), needed: 3.0, free: 2.5, missing: 0.5 }],
            }),
            constraints: vec![ConstraintSeen {
                name: "rack".to_owned(),
                wanted: "r1".to_owned(),
                seen: BTreeMap::from([("r1".to_owned(), 7), ("r2".to_owned(), 1)]),
                without: 1,
            }],
            preemption: Preemption {
                enabled: true,
                looked_at: true,
                delay_ms: 180_000,
                host: Some("m1".to_owned()),
                victims: vec!["x".to_owned()],
            },
            ..Obstacles::default()
        },
    };
    facts.knowledge.as_mut().unwrap().pending = vec![waiting];
    assert_eq!(
        of_first(&facts),
        "Instance 0 of c1/r/e/n waits for a machine since 12:25:10 (90 s).\n\
         \x20 Why: needs 3 cpu, the most that is free on a machine is 2.5 cpu.\n\
         \x20 7 machines (m1, m2 and 5 more): not enough cpu free\n\
         \x20 2 machines (m8, m9): does not satisfy the constraint rack\n\
         \x20 Nearest fit: m2 lacks 0.5 cpu (needs 3, has 2.5 free)\n\
         \x20 Constraint rack asks for r1; machines have: r1 (7), r2 (1), none (1)\n\
         \x20 Preemption could help: after 3 min of waiting it may end 1 task on m1 to make room\n\
         \x20 It is tried whenever a machine offers room, and in 20 s at the latest (it waits 32 s between two tries).\n\
         \x20 2 other groups of tasks wait for room as well.\n\
         \n\
         What you can do\n\
         \x20 - Ask for less (resources in the job file, then aurora update start), or add or empty machines.\n\
         \x20 - Check the job's constraints against the attributes of the machines (pages /agents and /maintenance of the scheduler)."
    );
    facts.knowledge.as_mut().unwrap().pending[0].fitting_hosts = 3;
    assert!(of_first(&facts).contains("3 machines would take it at this moment"), "{}", of_first(&facts));
    let home = "goes back to m1, where it ran before its update, as soon as that offers its room".to_owned();
    facts.knowledge.as_mut().unwrap().pending[0].sentence = Some(home);
    let text = of_first(&facts);
    assert!(text.contains("It goes back to m1, where it ran") && !text.contains("would take it"), "{text}");
    facts.knowledge.as_mut().unwrap().is_connected = false;
    assert!(of_first(&facts).contains("no connection to its machines"), "{}", of_first(&facts));
}

#[test]
fn a_pending_task_of_auroras_is_told_with_its_reason() {
    let mut facts = facts(vec![task(0, &[(90, S::Pending, "")])]);
    facts.knowledge = None;
    facts.reasons.insert("t-0-90".to_owned(), "Insufficient: RAM,Limit not satisfied: host".to_owned());
    let text = of_first(&facts);
    let reason = "On the machine that is nearest to fitting: not enough memory free; already has as many of the job's tasks as the limit on host allows.";
    assert!(text.contains(reason), "{text}");
    assert!(text.contains("Raise the limit") && text.contains("Ask for less"), "{text}");
    facts.reasons.clear();
    assert!(of_first(&facts).contains("has not said why"));
}

#[test]
fn a_throttled_task_is_told_with_its_flaps_and_the_last_words_of_the_run_before() {
    let failed = task(
        0,
        &[
            (60, S::Pending, ""),
            (50, S::Running, ""),
            (40, S::Failed, "Task failed: process web exited with status 3."),
        ],
    );
    let mut held = task(0, &[(40, S::Throttled, "Rescheduled, penalized for 60000 ms for flapping")]);
    held.ancestor_id = Some(id_of(&failed).to_owned());
    let mut facts = facts(vec![held, failed]);
    let known = Throttled { until_ms: NOW_MS + 20_000, flaps: 3 };
    facts.knowledge.as_mut().unwrap().throttled.insert("t-0-40".to_owned(), known);
    let failure =
        FailedProcess { process: "web".into(), ending: "exited with 3".into(), stderr: vec!["no database".into()] };
    facts.failures.insert("t-0-60".to_owned(), failure);
    assert_eq!(
        of_first(&facts),
        "Instance 0 of c1/r/e/n is held back until 12:27:00 (in 20 s), because the runs before ended too soon.\n\
         \x20 3 runs in a row lasted less than 5 min; each such run makes the wait longer, one that lasts ends that.\n\
         \x20 It replaces a run that failed: process web exited with status 3 at 12:26:00.\n\
         \x20 Process 'web' exited with 3. The end of its stderr:\n\
         \x20   | no database\n\
         \n\
         What you can do\n\
         \x20 - Find out why it ends (see its output), correct it and start an update with the corrected file."
    );
    // Aurora tells the penalty only.
    facts.knowledge = None;
    assert!(of_first(&facts).starts_with("Instance 0 of c1/r/e/n is held back until 12:27:00 (in 20 s)"));
}

/// Each row: the history of a task, and what its story must begin with and hold.
#[test]
fn every_way_to_end_is_told() {
    let rows: [(History<'_>, &str, &str); 14] = [
        (
            &[
                (9, S::Running, ""),
                (6, S::Killing, "Killed by jane.\nwrong rack"),
                (5, S::Killed, "Instructed to kill task."),
            ],
            "Instance 0 of c1/r/e/n was killed by jane, who says: wrong rack. That was at 12:26:35 on m1 (5 s ago).",
            "Nothing took its place.",
        ),
        (
            &[(9, S::Killing, "Killed by cronScheduler"), (5, S::Killed, "")],
            "was killed because the next run of its cron job began",
            "",
        ),
        (&[(9, S::Restarting, "Restarted by bob"), (5, S::Killed, "")], "was restarted by bob", ""),
        (
            &[(9, S::Killing, "Killed for job update u-1"), (5, S::Killed, "")],
            "was replaced or removed by update u-1",
            "daybreak explain c1/r/e/n/u-1",
        ),
        (
            &[(9, S::Preempting, "Preempting in favor of x-9"), (5, S::Killed, "")],
            "was preempted: it had to make room for x-9",
            "tier = 'preferred'",
        ),
        (
            &[(9, S::Draining, "Draining machine for maintenance."), (5, S::Killed, "")],
            "had to leave its machine, which was drained for maintenance",
            "",
        ),
        (&[(9, S::Running, ""), (5, S::Lost, "Transition forced by op")], "was lost (was set to this state by op)", ""),
        (
            &[(9, S::Running, ""), (5, S::Failed, "Failed health check! refused")],
            "was unhealthy: Failed health check! refused",
            "initial_interval_secs",
        ),
        (
            &[(9, S::Running, ""), (5, S::Failed, "Memory limit exceeded: Requested 1 MB, Used 2 MB.")],
            "used too much memory: Memory limit exceeded: Requested 1 MB, Used 2 MB.",
            "more memory",
        ),
        (
            &[(9, S::Running, ""), (5, S::Failed, "Disk limit exceeded.  Reserved 1 bytes vs used 2 bytes.")],
            "used too much disk",
            "more disk",
        ),
        (
            &[(9, S::Running, ""), (5, S::Failed, "Task failed: process web was killed by signal 9.")],
            "failed: process web was killed by signal 9",
            "Correct what its output tells",
        ),
        (&[(9, S::Running, ""), (5, S::Finished, "Task finished.")], "Instance 0 of c1/r/e/n finished.", ""),
        (
            &[(9, S::Assigned, ""), (5, S::Lost, "Task timed out")],
            "was lost (did not get on within the time it had)",
            "machine it was on",
        ),
        (
            &[(9, S::Partitioned, ""), (5, S::Lost, "Task partitioned for too long.")],
            "was lost (was out of reach for too long)",
            "",
        ),
    ];
    for (events, begins, holds) in rows {
        let text = of_first(&facts(vec![task(0, events)]));
        assert!(text.lines().next().unwrap().contains(begins), "'{begins}' is missing in:\n{text}");
        assert!(text.contains(holds), "'{holds}' is missing in:\n{text}");
    }
}

#[test]
fn tasks_on_their_way_are_told() {
    let rows: [(History<'_>, &[&str]); 6] = [
        (&[(5, S::Assigned, "")], &["was given to m1 at 12:26:35 (5 s ago) and is being launched."]),
        (&[(300, S::Assigned, "")], &["That takes long", "given up as LOST"]),
        (
            &[(300, S::Starting, "")],
            &["starts on m1 since 12:21:40 (5 min).", "becomes RUNNING when", "never succeeds"],
        ),
        (&[(5, S::Killing, "Killed by jane")], &["is being ended on m1 since", "Why: it was killed by jane."]),
        (
            &[(300, S::Draining, "")],
            &["which was drained for maintenance", "That takes long", "finalization_wait_secs"],
        ),
        (
            &[(300, S::Partitioned, "")],
            &["is out of reach since", "m1 does not answer", "It is replaced unless it comes back."],
        ),
    ];
    for (events, parts) in rows {
        let text = of_first(&facts(vec![task(0, events)]));
        for part in parts {
            assert!(text.contains(part), "'{part}' is missing in:\n{text}");
        }
    }
    let mut facts = facts(vec![task(0, &[(300, S::Running, "")])]);
    let mode = HostMode { mode: "DRAINING".to_owned(), forced_from_ms: Some(NOW_MS + 60_000) };
    facts.knowledge.as_mut().unwrap().hosts.insert("m1".to_owned(), mode);
    let text = of_first(&facts);
    assert!(text.contains("m1 is being drained") && text.contains("At 12:27:40 it is moved whatever"), "{text}");
}

#[test]
fn what_took_the_place_of_a_task_is_told() {
    let ended = task(0, &[(60, S::Running, ""), (40, S::Failed, "Task failed.")]);
    let next = task(0, &[(40, S::Pending, "Rescheduled"), (30, S::Running, "")]);
    assert!(of_first(&facts(vec![ended.clone(), next])).contains("Another task took its place: t-0-40 is RUNNING."));
    let mut batch = ended;
    batch.assigned_task.as_mut().unwrap().task.as_mut().unwrap().is_service = false;
    batch.failure_count = 1;
    assert!(of_first(&facts(vec![batch])).contains("It is not run again: 1 of 1 allowed failures."));
}

#[test]
fn a_job_is_summed_up_and_what_is_alike_is_told_once() {
    let well = facts(vec![task(0, &[(60, S::Running, "")]), task(1, &[(60, S::Running, "")])]);
    assert_eq!(job::tell(&well).lines(Paint::new(false)), ["c1/r/e/n is well: 2 RUNNING."]);
    let mixed = facts(vec![
        task(0, &[(60, S::Running, "")]),
        task(1, &[(50, S::Pending, "")]),
        task(2, &[(50, S::Pending, "")]),
        task(3, &[(50, S::Running, ""), (5, S::Failed, "Task failed.")]),
    ]);
    let story = job::tell(&mixed);
    assert_eq!(story.headline, "c1/r/e/n: 1 of 4 instances run (1 FAILED, 2 PENDING, 1 RUNNING).");
    let parts: Vec<&str> = story.parts.iter().map(|part| part.state.as_str()).collect();
    assert_eq!(parts, ["FAILED", "PENDING"], "the worst first, those alike once");
    assert!(story.parts[1].sentences.iter().any(|line| line == "The same goes for instances 2."));
    let gone = facts(vec![task(0, &[(60, S::Killing, "Killed by jane"), (5, S::Killed, "")])]);
    assert_eq!(job::tell(&gone).headline, "c1/r/e/n has no active instance; its last: 1 KILLED.");
}

#[test]
fn a_cron_job_is_told_with_its_runs() {
    let run = |outcome: &str, sentence: &str, user: Option<&str>| CronRun {
        nominal_ms: Some(NOW_MS - 3_600_000),
        recorded_ms: NOW_MS - 3_600_000,
        user: user.map(str::to_owned),
        outcome: outcome.to_owned(),
        sentence: sentence.to_owned(),
    };
    let mut cron = Cron {
        schedule: "0 * * * *".to_owned(),
        is_readable: true,
        timezone: "GMT".to_owned(),
        collision_policy: "CANCEL_NEW".to_owned(),
        scheduled_ms: NOW_MS - 86_400_000,
        next_run_ms: Some(NOW_MS + 2_000_000),
        instances: 2,
        runs: Vec::new(),
    };
    let told = |cron: &Cron| {
        let mut facts = facts(Vec::new());
        facts.knowledge.as_mut().unwrap().cron = Some(cron.clone());
        job::tell(&facts).lines(Paint::new(false)).join("\n")
    };
    assert_eq!(
        told(&cron),
        "c1/r/e/n runs by '0 * * * *' (GMT); the next run is at 13:00:00 (in 33 min 20 s).\n\
         \x20 Each run has 2 tasks; when the run before is still active, a new run is not started (CANCEL_NEW).\n\
         \x20 It has not run since it was scheduled at 2020-09-12 12:26:40.\n\
         \x20 No task of it is active."
    );
    cron.runs = vec![
        run("CANCELLED", "not started, because the run before was still active", None),
        run("STARTED", "tasks were created", Some("jane")),
    ];
    let text = told(&cron);
    assert!(text.contains("The last 1 run did not start:"), "{text}");
    assert!(text.contains("2020-09-13 11:26:40: not started, because the run before was still active"), "{text}");
    assert!(text.contains("asked for by jane: tasks were created"), "{text}");
    assert!(text.contains("choose the other cron_collision_policy"), "{text}");
    cron.runs = vec![run("MISSED", "missed, because no scheduler was there", None)];
    assert!(told(&cron).contains("aurora cron start c1/r/e/n"));
    (cron.next_run_ms, cron.is_readable) = (None, false);
    assert!(told(&cron).contains("never runs: its schedule '0 * * * *' (GMT) cannot be read."));
}

fn details(events: &[(JobUpdateStatus, &str, &str)], instances: &[(i32, JobUpdateAction, &str)]) -> JobUpdateDetails {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let at = |number: usize| NOW_MS - 60_000 + number as i64 * 1000;
    JobUpdateDetails {
        update: Some(JobUpdate {
            summary: Some(JobUpdateSummary {
                key: Some(JobUpdateKey { job: None, id: "u-1".to_owned() }),
                state: Some(JobUpdateState { status: events.last().map(|event| event.0), ..JobUpdateState::default() }),
                ..JobUpdateSummary::default()
            }),
            instructions: Some(JobUpdateInstructions {
                settings: Some(JobUpdateSettings {
                    min_wait_in_instance_running_ms: 45_000,
                    block_if_no_pulses_after_ms: Some(30_000),
                    ..JobUpdateSettings::default()
                }),
                ..JobUpdateInstructions::default()
            }),
        }),
        update_events: events
            .iter()
            .enumerate()
            .map(|(number, (status, user, message))| JobUpdateEvent {
                status: Some(*status),
                timestamp_ms: at(number),
                user: some(user),
                message: some(message),
            })
            .collect(),
        instance_events: instances
            .iter()
            .enumerate()
            .map(|(number, (instance, action, message))| JobInstanceUpdateEvent {
                instance_id: *instance,
                timestamp_ms: at(number),
                action: Some(*action),
                message: some(message),
            })
            .collect(),
    }
}

#[test]
fn every_state_of_an_update_is_told() {
    use JobUpdateAction as A;
    use JobUpdateStatus as U;
    type Row<'a> = (&'a [(U, &'a str, &'a str)], &'a [(i32, A, &'a str)], &'a [&'a str]);
    let rows: [Row<'_>; 9] = [
        (
            &[(U::RollingForward, "jane", "")],
            &[(0, A::InstanceUpdated, ""), (1, A::InstanceUpdating, "")],
            &[
                "goes forward since 12:25:40 (60 s).",
                "Done: instances 0.",
                "Being changed: instances 1.",
                "It is watched until 12:27:20 (in 40 s).",
            ],
        ),
        (
            &[(U::RollingForward, "jane", "")],
            &[(1, A::InstanceUpdating, "checking SLA")],
            &[
                "The kill of instance 1 waits for the job's SLA policy since 12:25:40 (60 s)",
                "loosen the job's sla_policy",
            ],
        ),
        (
            &[(U::RollingForward, "jane", ""), (U::RollForwardPaused, "bob", "lunch")],
            &[],
            &["was paused by bob at 12:25:41 (59 s ago).", "The note: lunch", "aurora update resume c1/r/e/n"],
        ),
        (&[(U::RollForwardPaused, "", "Update auto paused")], &[], &["paused by itself at 12:25:40"]),
        (
            &[(U::RollForwardAwaitingPulse, "", "Pulses from the coordinator have stopped.")],
            &[],
            &[
                "waits for a pulse of its coordinator since",
                "The last one came at 12:25:50 (50 s ago); it needs one every 30 s.",
                "pulseJobUpdate",
            ],
        ),
        (&[(U::RolledForward, "", "")], &[], &["succeeded at 12:25:40 (60 s ago)."]),
        (
            &[(U::Aborted, "jane", "never mind")],
            &[],
            &["was aborted by jane at", "The note: never mind", "start another update"],
        ),
        (
            &[(U::RollingForward, "jane", ""), (U::RollingBack, "", ""), (U::RolledBack, "", "")],
            &[(2, A::InstanceUpdateFailed, "")],
            &[
                "was rolled back; that was done at",
                "1 instance failed: 2.",
                "Instance 2 of c1/r/e/n failed: process web exited with status 1",
                "daybreak plan FILE",
            ],
        ),
        (
            &[(U::Error, "", "Internal scheduler error")],
            &[],
            &["ended with an error of the scheduler", "The scheduler says: Internal scheduler error"],
        ),
    ];
    for (events, instances, parts) in rows {
        let mut facts = facts(vec![
            task(1, &[(20, S::Pending, ""), (5, S::Running, "")]),
            task(2, &[(50, S::Running, ""), (40, S::Failed, "Task failed: process web exited with status 1.")]),
        ]);
        let progress =
            UpdateProgress { id: "u-1".to_owned(), last_pulse_ms: Some(NOW_MS - 50_000), ..UpdateProgress::default() };
        facts.knowledge.as_mut().unwrap().update = Some(progress);
        let text = update::tell(&details(events, instances), &facts).lines(Paint::new(false)).join("\n");
        assert!(text.starts_with("Update u-1 of c1/r/e/n "), "{text}");
        for part in parts {
            assert!(text.contains(part), "'{part}' is missing in:\n{text}");
        }
    }
}

#[test]
fn nothing_that_is_known_is_an_error_with_a_code_of_its_own() {
    let world = FakeWorld::new(|call| match call {
        thrift::Call::GetTasksWithoutConfigs(_) => {
            Some(with_result(ResponseResult::ScheduleStatus(Default::default())))
        }
        thrift::Call::GetJobUpdateDetails(_) => {
            Some(with_result(ResponseResult::GetJobUpdateDetails(Default::default())))
        }
        _ => None,
    });
    let mut clusters = crate::clusters::Clusters::default();
    clusters.add(crate::clusters::Cluster::at("c1", "http://scheduler.example:8081"));
    let console = crate::console::Console::to(Box::new(std::io::sink()), Box::new(std::io::sink()));
    let mut context = Context { console, clusters, world: &world };
    for target in ["c1/r/e/n", "c1/r/e/n/0", "r-e-n-0-12345678"] {
        let arguments = ExplainArguments {
            target: target.parse().unwrap(),
            cluster: None,
            color: clap::ColorChoice::Auto,
            output: Default::default(),
        };
        let failure = explain(&arguments, &mut context).unwrap_err();
        assert_eq!(failure.exit, Exit::InvalidParameter, "{target}: {}", failure.text);
    }
    assert!(world.changes().is_empty());
}
