//! The figures of spec scheduler 5.1, worked out by hand for small views. When they are computed is the host's affair.

use imbl::OrdSet;
use model::TaskId;

use super::*;

const END_MS: i64 = 1_000_000;
const WINDOW: Window = Window { start_ms: END_MS - 60_000, end_ms: END_MS };

fn config(job: &JobKey, production: bool) -> TaskConfig {
    TaskConfig {
        is_service: true,
        production: Some(production),
        ..TaskConfig::new(job.clone(), 1.0, 1025, 70_000, "{}")
    }
}

/// A view of one job: instance and events of each task, the times before the window's end.
fn view(tasks: &[(InstanceId, &[(i64, TaskStatus)])], change: impl Fn(&mut TaskConfig)) -> View {
    let job = JobKey::new("www-data", "prod", "a b");
    let mut config = config(&job, true);
    change(&mut config);
    let (config, mut view) = (Arc::new(config), View::default());
    for (number, (instance, events)) in tasks.iter().enumerate() {
        let id = TaskId::from(format!("task-{number}").as_str());
        let events: Vec<TaskEvent> = events
            .iter()
            .map(|(before_ms, status)| TaskEvent { timestamp_ms: END_MS - before_ms, status: *status, message: None })
            .collect();
        let task = Task {
            id: id.clone(),
            instance: *instance,
            config: config.clone(),
            status: events.last().unwrap().status,
            failure_count: 0,
            times_partitioned: 0,
            ancestor: None,
            events,
            agent_id: None,
            host: None,
            ports: BTreeMap::new(),
        };
        view.tasks.insert(id.clone(), Arc::new(task));
        view.tasks_by_job.entry(job.clone()).or_insert_with(OrdSet::new).insert(id);
    }
    view
}

fn figures(view: &View) -> BTreeMap<String, MetricValue> {
    metrics(view, &MetricSettings::default(), END_MS, 60_000)
}

use TaskStatus::{
    Assigned, Draining, Failed, Finished, Init, Killed, Killing, Lost, Partitioned, Pending, Preempting, Restarting,
    Running, Starting, Throttled,
};

#[test]
fn percentiles_interpolate_between_neighbours() {
    let of = |values: &[i64], percentile| percentile_of(&mut values.to_vec(), percentile);
    assert_eq!(of(&[], 50.0), 0);
    assert_eq!(of(&[7], 99.0), 7);
    assert_eq!(of(&[30, 10, 20], 50.0), 20);
    assert_eq!(of(&[10, 20], 50.0), 15);
    let hundred: Vec<i64> = (0..=100).collect();
    for (percentile, expected) in [(50.0, 50), (75.0, 25), (90.0, 10), (95.0, 5), (99.0, 1)] {
        assert_eq!(of(&hundred, percentile), expected, "as many as {percentile} % are at least that old");
    }
    assert_eq!(of(&[0, 100], 90.0), 10);
}

#[test]
fn uptimes_are_of_running_tasks_in_seconds() {
    let view = view(&[(0, &[(9000, Running)]), (1, &[(4999, Running)]), (2, &[(1, Pending)])], |_| {});
    let figures = figures(&view);
    assert_eq!(figures["sla_www-data/prod/a_b_job_uptime_50.00_sec"], MetricValue::Whole(6));
    assert_eq!(figures["sla_www-data/prod/a_b_job_uptime_99.00_sec"], MetricValue::Whole(5));
    let job = view.jobs().next().unwrap();
    assert_eq!(job_uptime_secs(&view, job, 50.0, END_MS), 6, "9000 and 4999 ms");
    assert_eq!(job_uptime_secs(&View::default(), job, 50.0, END_MS), 0);
}

#[test]
fn medians_count_from_the_last_pending_to_the_first_arrival_in_the_window() {
    let figures = figures(&view(
        &[
            (0, &[(50_000, Pending), (40_000, Assigned), (30_000, Starting), (10_000, Running)]),
            // Throttled before; assigned before the window, running within.
            (1, &[(90_000, Throttled), (80_000, Pending), (70_000, Assigned), (60_000, Starting), (20_000, Running)]),
            // Ended: not looked at.
            (2, &[(9, Pending), (8, Assigned), (7, Running), (6, Lost)]),
        ],
        |_| {},
    ));
    for group in ["cluster", "www-data/prod/a_b", "ram_medium", "disk_xxlarge"] {
        let value = |name: &str| figures[format!("sla_{group}_{name}").as_str()];
        assert_eq!(value("mtta_ms"), MetricValue::Whole(10_000), "{group}");
        assert_eq!(value("mtts_ms"), MetricValue::Whole(20_000), "the window's first ms counts, {group}");
        assert_eq!(value("mttr_ms"), MetricValue::Whole(50_000), "40000 and 60000, {group}");
    }
    assert!(figures.contains_key("sla_cpu_small_mtta_ms"));
    assert!(!figures.contains_key("sla_cpu_medium_mtta_ms"));
}

#[test]
fn sizes_have_inclusive_bounds() {
    let job = JobKey::new("r", "e", "j");
    let of = |cpu, ram_mb, disk_mb| {
        let sizes = sizes_of(&TaskConfig::new(job.clone(), cpu, ram_mb, disk_mb, ""));
        sizes.map(|name| name.trim_end_matches('_').rsplit('_').next().unwrap().to_owned())
    };
    assert_eq!(of(1.0, 1024, 4096), ["small"; 3]);
    assert_eq!(of(1.001, 1025, 4097), ["medium"; 3]);
    assert_eq!(of(4.0, 8192, 16_384), ["medium"; 3]);
    assert_eq!(of(8.0, 16_384, 32_768), ["large"; 3]);
    assert_eq!(of(16.0, 32_768, 65_536), ["xlarge"; 3]);
    assert_eq!(of(16.001, 32_769, 65_537), ["xxlarge"; 3]);
}

/// The table of what follows what, in full.
#[test]
fn intervals_follow_events_as_the_reference_says() {
    use Interval::{Down, Removed, Up};
    let expected = [
        (&[Lost, Draining, Preempting][..], [Down, Down, Down]),
        (&[Pending, Assigned, Starting], [Removed, Down, Removed]),
        (&[Throttled, Finished, Restarting, Failed, Killing], [Removed, Removed, Removed]),
        (&[Running, Partitioned], [Up, Up, Up]),
        (&[Killed], [Down, Down, Removed]),
        (&[Init], [Up, Down, Removed]),
    ];
    let mut seen = 0;
    for (events, row) in expected {
        for event in events {
            seen += 1;
            assert_eq!([Up, Down, Removed].map(|present| next_interval(present, *event)), row, "{event}");
        }
    }
    assert_eq!(seen, TaskStatus::ALL.len());
}

#[test]
fn only_outages_of_the_platform_count() {
    let percent = |tasks: &[(InstanceId, &[(i64, TaskStatus)])]| {
        let found = figures(&view(tasks, |_| {}));
        let MetricValue::Percent(percent) = found["sla_www-data/prod/a_b_platform_uptime_percent"] else {
            panic!("a percentage")
        };
        assert_eq!(found["sla_cluster_platform_uptime_percent"], MetricValue::Percent(percent));
        percent
    };
    assert_eq!(percent(&[(0, &[(600_000, Running)])]), 100.0);
    assert_eq!(percent(&[(0, &[(600_000, Running), (15_000, Lost)])]), 75.0, "15 of 60 s");
    // The replacement's way up is downtime too, until it runs.
    let lost: &[(i64, TaskStatus)] = &[(600_000, Running), (45_000, Lost)];
    let replacement: &[(i64, TaskStatus)] = &[(45_000, Pending), (44_000, Assigned), (15_000, Running)];
    assert_eq!(percent(&[(0, lost), (0, replacement)]), 50.0);
    // As two instances: 15 s up and 45 s down, and 15 s up after a start that was nobody's outage.
    assert_eq!(percent(&[(1, replacement), (0, lost)]), 30.0 * 100.0 / 75.0);
    // A user's restart, a failure of its own: nobody's fault but the job's.
    assert_eq!(percent(&[(0, &[(600_000, Running), (30_000, Restarting), (20_000, Killed)])]), 100.0);
    assert_eq!(percent(&[(0, &[(600_000, Running), (30_000, Failed)])]), 100.0);
    // Killed out of the blue.
    assert_eq!(percent(&[(0, &[(600_000, Running), (30_000, Killed)])]), 50.0);
    assert_eq!(percent(&[(0, &[(10, Pending)])]), 100.0, "never there");
    assert_eq!(platform_of(vec![(END_MS - 5, Running)], WINDOW), (5, 5));
}

#[test]
fn others_than_production_services_are_looked_at_when_asked_for_and_batch_tasks_never() {
    let tasks: [(InstanceId, &[(i64, TaskStatus)]); 1] = [(0, &[(9000, Running)])];
    let besteffort = view(&tasks, |config| config.production = Some(false));
    assert!(figures(&besteffort).keys().all(|name| name.starts_with("sla_cluster_")));
    let settings = MetricSettings { production: BTreeSet::new(), non_production: [MetricCategory::JobUptimes].into() };
    let found = metrics(&besteffort, &settings, END_MS, 60_000);
    assert_eq!(found.len(), UPTIME_PERCENTILES.len());
    assert_eq!(found["sla_www-data/prod/a_b_job_uptime_95.00_sec_nonprod"], MetricValue::Whole(9));
    let batch = view(&tasks, |config| config.is_service = false);
    assert!(figures(&batch).keys().all(|name| name.starts_with("sla_cluster_")));
}

#[test]
fn categories_have_the_names_of_the_flags() {
    for category in MetricCategory::ALL {
        assert_eq!(MetricCategory::from_name(category.name()), Some(category));
    }
    assert_eq!(MetricCategory::from_name("medians"), None);
}
