//! Every field of every record comes back as it was written.

use std::sync::Arc;

use model::constraint::{Constraint, TaskConstraint};
use model::container::{Container, FetcherUri, Image, Volume, VolumeMode};
use model::task::{ExecutorConfig, Metadata, PartitionPolicy, SlaPolicy};
use model::update::*;
use model::{CpuMillis, JobKey, Resources, TaskConfig, TaskId, TaskStatus, UpdateKey};

use super::*;
use crate::idempotency::{AnswerKey, KeptOutcome};
use crate::store::{Store, records};
use crate::task::{Task, TaskEvent};
use crate::updates::progress::{InstanceProgress, InstanceStage};
use crate::view::{HostRecord, View};

fn job() -> JobKey {
    JobKey::new("role", "env", "name")
}

/// A configuration in which no field has its default.
fn full_config() -> TaskConfig {
    let value = |negated| TaskConstraint::Value { negated, values: ["r1".to_owned(), "r2".to_owned()].into() };
    TaskConfig {
        job: job(),
        owner: "jane".into(),
        is_service: true,
        priority: -7,
        max_task_failures: -1,
        production: Some(false),
        tier: Some("preferred".into()),
        resources: Resources { cpu: CpuMillis(1501), ram_mb: 2, disk_mb: 3, ports: 2, gpus: 5 },
        requested_ports: ["http".to_owned(), "admin".to_owned()].into(),
        constraints: [
            Constraint { name: "rack".into(), constraint: value(false) },
            Constraint { name: "zone".into(), constraint: value(true) },
            Constraint { name: "host".into(), constraint: TaskConstraint::Limit { limit: 0 } },
        ]
        .into(),
        task_links: [("http".to_owned(), "http://x".to_owned())].into(),
        contact_email: Some(String::new()),
        executor_config: Some(ExecutorConfig { name: "AuroraExecutor".into(), data: "{\"a\":\"\u{fc}\"}".into() }),
        metadata: [("k", "1"), ("k", "2")].map(|(key, value)| Metadata { key: key.into(), value: value.into() }).into(),
        container: Container::Mesos {
            image: Some(Image::Docker { name: "debian".into(), tag: "13".into() }),
            volumes: vec![
                Volume { container_path: "/in".into(), host_path: "/out".into(), mode: VolumeMode::Ro },
                Volume { container_path: "/a".into(), host_path: "/b".into(), mode: VolumeMode::Rw },
            ],
        },
        mesos_fetcher_uris: [FetcherUri {
            value: "http://u".into(),
            extract: Some(false),
            cache: Some(true),
            output_file: Some("f".into()),
        }]
        .into(),
        partition_policy: Some(PartitionPolicy { reschedule: false, delay_secs: Some(-1) }),
        sla_policy: Some(SlaPolicy::Percentage { percentage_bits: 95.5f64.to_bits(), duration_secs: 1800 }),
    }
}

fn variants() -> Vec<TaskConfig> {
    let with = |change: &dyn Fn(&mut TaskConfig)| {
        let mut config = full_config();
        change(&mut config);
        config
    };
    vec![
        full_config(),
        TaskConfig::new(job(), 0.0, 0, 0, ""),
        with(&|config| config.executor_config = None),
        with(&|config| config.production = None),
        with(&|config| config.contact_email = None),
        with(&|config| config.partition_policy = Some(PartitionPolicy { reschedule: true, delay_secs: None })),
        with(&|config| config.sla_policy = Some(SlaPolicy::Count { count: 0, duration_secs: 0 })),
        with(&|config| {
            let (coordinator_url, status_key) = ("http://c".into(), "drain".into());
            config.sla_policy = Some(SlaPolicy::Coordinator { coordinator_url, status_key });
        }),
        with(&|config| {
            let image = Some(Image::Appc { name: "n".into(), image_id: "i".into() });
            config.container = Container::Mesos { image, volumes: vec![] };
        }),
        with(&|config| {
            let parameters = vec![("label".into(), "b".into()), ("label".into(), "a".into())];
            config.container = Container::Docker { image: "i".into(), parameters };
        }),
        with(&|config| {
            let uri = FetcherUri { value: "u".into(), extract: None, cache: None, output_file: None };
            config.mesos_fetcher_uris = [uri].into();
        }),
    ]
}

#[test]
fn configurations_come_back_whole() {
    for config in variants() {
        assert_eq!(convert::config_of(convert::config_message(&config)), Ok(config));
    }
}

fn full_update(strategy: UpdateStrategy) -> Update {
    let event = |status, timestamp_ms| UpdateEvent {
        status,
        timestamp_ms,
        user: Some("jane".into()),
        message: Some(String::new()),
    };
    let instance_event =
        |action| InstanceUpdateEvent { instance: 3, timestamp_ms: 5, action, message: Some("m".into()) };
    Update {
        key: UpdateKey { job: job(), id: "u-1".into() },
        user: "john".into(),
        settings: UpdateSettings {
            strategy,
            max_per_instance_failures: 1,
            max_failed_instances: 2,
            min_wait_in_running_ms: 3,
            rollback_on_failure: false,
            only_these_instances: vec![InstanceRange { first: 1, last: 4 }],
            block_if_no_pulses_after_ms: Some(6),
            sla_aware: true,
        },
        metadata: [Metadata { key: "k".into(), value: "v".into() }].into(),
        initial: vec![InstanceConfig { task: full_config(), instances: vec![InstanceRange { first: 0, last: 9 }] }],
        desired: Some(InstanceConfig {
            task: variants().remove(1),
            instances: vec![InstanceRange { first: 7, last: 7 }],
        }),
        events: UpdateStatus::ALL.iter().enumerate().map(|(at, status)| event(*status, at as i64)).collect(),
        instance_events: UpdateAction::ALL.into_iter().map(instance_event).collect(),
    }
}

/// Tables with every kind of content.
fn full_store() -> Store {
    let mut store = Store::default();
    store.begin_epoch(3);
    store.set_framework_id("framework".into());
    let events = TaskStatus::ALL.into_iter().enumerate().map(|(at, status)| TaskEvent {
        timestamp_ms: at as i64 - 4,
        status,
        message: (at % 2 == 0).then(|| "why".into()),
    });
    for (number, config) in variants().into_iter().enumerate() {
        let config = store.intern(config);
        let task = Task {
            id: TaskId(format!("task-{number}").into()),
            instance: number as u32,
            config,
            status: TaskStatus::ALL[number],
            failure_count: 4,
            times_partitioned: 5,
            ancestor: (number > 0).then(|| "ancestor".into()),
            events: events.clone().collect(),
            agent_id: (number > 1).then(|| "agent".into()),
            host: (number > 1).then(|| Arc::new("host".to_owned())),
            ports: [("http".to_owned(), u16::MAX)].into(),
        };
        store.put_task(task);
    }
    store.put_update(full_update(UpdateStrategy::VariableBatch {
        group_sizes: vec![1, 5],
        autopause_after_batch: true,
    }));
    let key = UpdateKey { job: job(), id: "u-1".into() };
    for (at, stage) in InstanceStage::ALL.into_iter().enumerate() {
        store.put_progress(&key, at as u32, InstanceProgress { stage, failures: 2, begun: at % 2 == 0 });
    }
    store.put_pulse(&key, -6);
    let attributes = [("rack".to_owned(), vec!["b".to_owned(), "a".to_owned()]), ("empty".to_owned(), vec![])].into();
    store.put_host(
        &"host".to_owned(),
        HostRecord { agent_id: "agent".into(), attributes, mode: model::MaintenanceMode::Draining },
    );
    store.put_quota(&"role".to_owned(), Resources { cpu: CpuMillis(1), ram_mb: 2, disk_mb: 3, ports: 0, gpus: 0 });
    let modes = model::MaintenanceMode::ALL.map(|mode| (format!("{mode:?}"), mode)).to_vec();
    let outcomes = [
        KeptOutcome::None,
        KeptOutcome::Tasks(0),
        KeptOutcome::Tasks(u32::MAX),
        KeptOutcome::Hosts(Vec::new()),
        KeptOutcome::Hosts(modes),
        KeptOutcome::Update(Box::new(key)),
        KeptOutcome::Pulse { active: false },
        KeptOutcome::Pulse { active: true },
    ];
    for (at, outcome) in outcomes.into_iter().enumerate() {
        let key =
            AnswerKey { principal: ["", "jane\0doe"][at % 2].into(), key: format!("key-{}", at / 2).parse().unwrap() };
        store.keep_answer(key, [at as u8; 16], -7, vec!["said".into(); at % 3], outcome);
    }
    store
}

fn assert_same(one: &View, other: &View) {
    assert_eq!(one.tasks, other.tasks);
    assert_eq!(one.tasks_by_job, other.tasks_by_job);
    assert_eq!(one.updates, other.updates);
    assert_eq!((&one.update_progress, &one.update_pulses), (&other.update_progress, &other.update_pulses));
    assert_eq!(one.hosts, other.hosts);
    assert_eq!(one.quotas, other.quotas);
    assert_eq!(one.configs, other.configs);
    assert_eq!(one.answers, other.answers);
    assert_eq!((&one.framework_id, one.epoch), (&other.framework_id, other.epoch));
}

#[test]
fn everything_comes_back_from_records_written_step_by_step_and_from_those_of_a_view_in_another_thread() {
    let mut store = full_store();
    let written = store.take_records();
    let mut replayed = Store::default();
    written.iter().for_each(|record| replayed.apply(record).unwrap());
    assert_same(&replayed.view, &store.view);
    let view = store.view.clone();
    let mut dumped = std::thread::spawn(move || records(&view).collect::<Vec<_>>()).join().unwrap();
    let mut loaded = Store::default();
    dumped.iter().for_each(|record| loaded.apply(record).unwrap());
    assert_same(&loaded.view, &store.view);
    // Replay is idempotent, and does not mind an order in which references come first.
    dumped.iter().for_each(|record| loaded.apply(record).unwrap());
    assert_same(&loaded.view, &store.view);
    dumped.reverse();
    let mut backwards = Store::default();
    dumped.iter().for_each(|record| backwards.apply(record).unwrap());
    assert_same(&backwards.view, &store.view);
    assert!(backwards.dangling().is_empty());
}

#[test]
fn every_strategy_comes_back() {
    let strategies = [
        UpdateStrategy::Queue { group_size: 3 },
        UpdateStrategy::Batch { group_size: 4, autopause_after_batch: true },
        UpdateStrategy::VariableBatch { group_sizes: vec![], autopause_after_batch: false },
    ];
    for strategy in strategies {
        let update = full_update(strategy);
        let bare = convert::update_of(update.key.clone(), convert::update_message(&update)).unwrap();
        assert_eq!((bare.settings, bare.metadata), (update.settings, update.metadata));
    }
}

#[test]
fn deleting_everything_leaves_nothing() {
    let mut store = full_store();
    let mut replayed = Store::default();
    store.take_records().iter().for_each(|record| replayed.apply(record).unwrap());
    let ids: Vec<TaskId> = store.view.tasks.keys().cloned().collect();
    ids.iter().for_each(|id| drop(store.remove_task(id)));
    let key = UpdateKey { job: job(), id: "u-1".into() };
    store.remove_update(&key);
    (0..store.kept_answers()).for_each(|_| store.forget_oldest_answer());
    store.take_records().iter().for_each(|record| replayed.apply(record).unwrap());
    assert_same(&replayed.view, &store.view);
    assert!(store.view.tasks.is_empty() && store.view.configs.is_empty() && store.view.updates.is_empty());
    assert!(store.view.answers.is_empty());
    assert!(store.view.update_progress.is_empty() && store.view.update_pulses.is_empty());
    assert!(replayed.dangling().is_empty(), "{:?}", replayed.dangling());
}

#[test]
fn unknown_fields_of_known_tables_are_passed_over() {
    let mut value =
        prost::Message::encode_to_vec(&convert::resources_message(&Resources { ram_mb: 7, ..Resources::ZERO }));
    value.extend_from_slice(&[0xf8, 0x07, 0x01]); // field 127, a number
    let mut store = Store::default();
    store.apply(&Record { table: TABLE_QUOTAS, key: b"role".to_vec(), value: Some(value) }).unwrap();
    assert_eq!(store.view.quotas["role"].ram_mb, 7);
}

#[test]
fn keys_of_updates_come_back_and_none_begins_another() {
    let key = UpdateKey { job: job(), id: "u".into() };
    assert_eq!(convert::update_key_of(&convert::update_key_bytes(&key)), Some(key.clone()));
    let event = convert::event_key_bytes(&key, 0x0102_0304);
    assert_eq!(convert::event_key_of(&event), Some((key, 0x0102_0304)));
    for bad in [&b""[..], b"a", b"a\0b\0c\0", b"a\0b\0c\0d\0e\0", b"a\0b\0c\0d"] {
        assert_eq!(convert::update_key_of(bad), None);
    }
    for table in [1, 2, 3, 4, 5, 6, 7, 8] {
        assert!(table_name(table).is_some());
    }
}
