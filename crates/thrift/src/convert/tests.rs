//! Nothing is lost between wire and model, and what the model cannot hold is refused with its reason.

use model::container::{
    Container as ModelContainer, FetcherUri, Image as ModelImage, Volume as ModelVolume, VolumeMode,
};
use model::task::{PartitionPolicy as ModelPartitionPolicy, SlaPolicy as ModelSlaPolicy};
use model::update::{InstanceRange, UpdateAction, UpdateRequest, UpdateSettings, UpdateStatus, UpdateStrategy};
use model::{CpuMillis, TaskStatus};

use super::*;
use crate::*;

/// A configuration in which every field has a value of its own.
fn full_config() -> model::TaskConfig {
    let job = model::JobKey::new("www-data", "prod", "hello");
    let mut config = model::TaskConfig::new(job, 0.125, 64, 128, "{\"task\": \"é\\u0000\"}\n");
    config.owner = "alice".to_owned();
    config.is_service = true;
    config.priority = 3;
    config.max_task_failures = -1;
    config.production = Some(true);
    config.tier = Some("preferred".to_owned());
    config.requested_ports = ["http".to_owned(), "admin".to_owned()].into();
    config.resources.ports = 2;
    config.resources.gpus = 1;
    config.constraints = [
        model::Constraint {
            name: "zone".to_owned(),
            constraint: model::TaskConstraint::Value { negated: true, values: ["west".to_owned()].into() },
        },
        model::Constraint { name: "host".to_owned(), constraint: model::TaskConstraint::Limit { limit: 2 } },
    ]
    .into();
    config.task_links = [("http".to_owned(), "http://%host%:%port:http%".to_owned())].into();
    config.contact_email = Some("a@example.org".to_owned());
    config.metadata = [
        model::Metadata { key: "k".to_owned(), value: "1".to_owned() },
        model::Metadata { key: "k".to_owned(), value: "2".to_owned() },
    ]
    .into();
    config.container = ModelContainer::Mesos {
        image: Some(ModelImage::Docker { name: "python".to_owned(), tag: "3".to_owned() }),
        volumes: vec![ModelVolume {
            container_path: "/a".to_owned(),
            host_path: "/b".to_owned(),
            mode: VolumeMode::Ro,
        }],
    };
    config.mesos_fetcher_uris =
        [FetcherUri { value: "u".to_owned(), extract: Some(true), cache: None, output_file: Some("o".to_owned()) }]
            .into();
    config.partition_policy = Some(ModelPartitionPolicy { reschedule: true, delay_secs: Some(30) });
    config.sla_policy = Some(ModelSlaPolicy::Percentage { percentage_bits: 66.6f64.to_bits(), duration_secs: 300 });
    config
}

fn variants() -> Vec<model::TaskConfig> {
    let full = full_config();
    let with = |change: fn(&mut model::TaskConfig)| {
        let mut config = full_config();
        change(&mut config);
        config
    };
    vec![
        with(|config| config.sla_policy = None),
        with(|config| config.sla_policy = Some(ModelSlaPolicy::Count { count: 3, duration_secs: 4 })),
        with(|config| {
            config.sla_policy = Some(ModelSlaPolicy::Coordinator {
                coordinator_url: "http://c".to_owned(),
                status_key: "drain".to_owned(),
            });
        }),
        with(|config| config.container = ModelContainer::default()),
        with(|config| {
            config.container = ModelContainer::Docker {
                image: "i".to_owned(),
                parameters: vec![("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())],
            };
            config.executor_config = None;
        }),
        with(|config| {
            config.container = ModelContainer::Mesos {
                image: Some(ModelImage::Appc { name: "n".to_owned(), image_id: "i".to_owned() }),
                volumes: vec![],
            };
        }),
        with(|config| {
            config.metadata.clear();
            config.constraints.clear();
            config.task_links.clear();
            config.mesos_fetcher_uris.clear();
            config.partition_policy = None;
            config.tier = None;
            config.production = None;
        }),
        full,
    ]
}

/// Over the wire in every protocol and back.
fn travel<T: Read>(value: &T) -> Vec<T> {
    vec![
        decode_value(Protocol::Json, &encode_value(Protocol::Json, value), Limits::REQUEST).unwrap(),
        decode_value(Protocol::Binary, &encode_value(Protocol::Binary, value), Limits::REQUEST).unwrap(),
    ]
}

#[test]
fn task_configurations_survive_the_way_there_and_back() {
    for config in variants() {
        for travelled in travel(&TaskConfig::from(&config)) {
            assert_eq!(model::TaskConfig::try_from(travelled).unwrap(), config);
        }
    }
}

#[test]
fn jobs_survive_the_way_there_and_back() {
    for (owner, cron) in [(None, None), (Some("bob"), Some("* * * * *")), (Some(""), Some(""))] {
        let job = model::JobConfiguration {
            key: model::JobKey::new("www-data", "prod", "hello"),
            owner: owner.map(str::to_owned),
            cron_schedule: cron.map(str::to_owned),
            cron_collision_policy: model::CronCollisionPolicy::CancelNew,
            task: full_config(),
            instance_count: 7,
        };
        for travelled in travel(&JobConfiguration::from(&job)) {
            assert_eq!(model::JobConfiguration::try_from(travelled).unwrap(), job);
        }
    }
}

#[test]
fn update_requests_survive_the_way_there_and_back() {
    let strategies = [
        UpdateStrategy::Queue { group_size: 2 },
        UpdateStrategy::Batch { group_size: 3, autopause_after_batch: true },
        UpdateStrategy::VariableBatch { group_sizes: vec![1, 2, 3], autopause_after_batch: false },
    ];
    for strategy in strategies {
        let request = UpdateRequest {
            task: full_config(),
            instance_count: 4,
            settings: UpdateSettings {
                strategy,
                max_per_instance_failures: 1,
                max_failed_instances: 2,
                min_wait_in_running_ms: 3,
                rollback_on_failure: false,
                only_these_instances: vec![InstanceRange { first: 0, last: 0 }, InstanceRange { first: 5, last: 9 }],
                block_if_no_pulses_after_ms: Some(30),
                sla_aware: true,
            },
            metadata: full_config().metadata,
        };
        for travelled in travel(&JobUpdateRequest::from(&request)) {
            assert_eq!(UpdateRequest::try_from(travelled).unwrap(), request);
        }
    }
}

#[test]
fn enums_keep_their_numbers() {
    for status in TaskStatus::ALL {
        assert_eq!(ScheduleStatus::from(status) as i32, status as i32);
        assert_eq!(ScheduleStatus::from(status).name(), status.name());
        assert_eq!(TaskStatus::from(ScheduleStatus::from(status)), status);
    }
    for status in UpdateStatus::ALL {
        assert_eq!(JobUpdateStatus::from(status) as i32, status as i32);
        assert_eq!(JobUpdateStatus::from(status).name(), status.name());
    }
    for action in UpdateAction::ALL {
        assert_eq!(JobUpdateAction::from(action) as i32, action as i32);
        assert_eq!(JobUpdateAction::from(action).name(), action.name());
    }
    assert_eq!(ScheduleStatus::ALL.len(), TaskStatus::ALL.len());
}

#[test]
fn the_deprecated_fields_choose_a_strategy_only_when_none_is_given() {
    let convert = |settings: JobUpdateSettings| UpdateSettings::try_from(settings).unwrap().strategy;
    let legacy = JobUpdateSettings { update_group_size: 4, ..JobUpdateSettings::default() };
    assert_eq!(convert(legacy.clone()), UpdateStrategy::Queue { group_size: 4 });
    let batch = JobUpdateSettings { wait_for_batch_completion: true, ..legacy };
    assert_eq!(convert(batch.clone()), UpdateStrategy::Batch { group_size: 4, autopause_after_batch: false });
    let strategy = JobUpdateStrategy::Queue(QueueJobUpdateStrategy { group_size: 9 });
    let chosen = JobUpdateSettings { update_strategy: Some(strategy), ..batch };
    assert_eq!(convert(chosen), UpdateStrategy::Queue { group_size: 9 });
}

#[test]
fn what_other_clients_leave_out_is_filled() {
    let config = TaskConfig { job: Some(JobKey::default()), ..TaskConfig::default() };
    let config = model::TaskConfig::try_from(config).unwrap();
    assert_eq!(config.owner, "");
    assert_eq!(config.container, ModelContainer::default());
    assert_eq!(config.executor_config, None);
    assert_eq!(config.resources, model::Resources::ZERO);
}

#[test]
fn what_the_model_cannot_hold_is_refused() {
    let refusal = |change: fn(&mut TaskConfig)| {
        let mut config = TaskConfig::from(&full_config());
        change(&mut config);
        model::TaskConfig::try_from(config).unwrap_err().0
    };
    assert!(refusal(|config| config.job = None).contains("job key"));
    assert!(refusal(|config| config.resources.0.push(Resource::RamMb(1))).contains("ramMb is given more than once"));
    assert!(refusal(|config| config.resources.0[0] = Resource::NumCpus(f64::NAN)).contains("numCpus"));
    assert!(refusal(|config| config.resources.0[0] = Resource::NumCpus(f64::INFINITY)).contains("numCpus"));
    assert!(refusal(|config| config.constraints.0[0].constraint = None).contains("host"));
    assert!(
        refusal(|config| {
            let volume = Volume { container_path: "/data".to_owned(), ..Volume::default() };
            config.container = Some(Container::Mesos(MesosContainer { image: None, volumes: Some(vec![volume]) }));
        })
        .contains("/data")
    );
    assert!(
        model::JobConfiguration::try_from(JobConfiguration::default()).unwrap_err().0.contains("task configuration")
    );
    assert!(instance_from_wire(-1).unwrap_err().0.contains("-1"));

    let ranges = |ranges: &[(i32, i32)]| {
        let ranges = ranges.iter().map(|(first, last)| Range { first: *first, last: *last }).collect();
        let settings = JobUpdateSettings { update_only_these_instances: ranges, ..JobUpdateSettings::default() };
        UpdateSettings::try_from(settings)
    };
    assert!(ranges(&[(0, 999_999)]).is_ok());
    for bad in [&[(3, 2)][..], &[(-1, 2)], &[(0, i32::MAX)], &[(0, 999_998), (0, 1)]] {
        assert!(ranges(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn resources_of_a_quota_are_always_three() {
    let aggregate =
        ResourceAggregate::from(&model::Resources { cpu: CpuMillis(3500), ports: 9, ..model::Resources::ZERO });
    assert_eq!(aggregate.resources.0, [Resource::NumCpus(3.5), Resource::RamMb(0), Resource::DiskMb(0)]);
}

#[test]
fn a_quota_names_cpu_ram_and_disk_each_once() {
    let quota =
        |resources: &[Resource]| model::Resources::try_from(ResourceAggregate { resources: Set(resources.to_vec()) });
    let [cpu, ram, disk] = [Resource::NumCpus(3.5), Resource::RamMb(20), Resource::DiskMb(-1)];
    let read = quota(&[disk.clone(), cpu.clone(), ram.clone()]).unwrap();
    assert_eq!((read.cpu, read.ram_mb, read.disk_mb), (CpuMillis(3500), 20, -1));
    for bad in [
        vec![],
        vec![cpu.clone(), ram.clone()],
        vec![cpu.clone(), ram.clone(), ram.clone()],
        vec![cpu.clone(), ram.clone(), disk.clone(), disk.clone()],
        vec![cpu.clone(), ram.clone(), Resource::NumGpus(1)],
        vec![cpu, ram, disk, Resource::NamedPort("http".to_owned())],
    ] {
        assert!(quota(&bad).is_err(), "{bad:?}");
    }
}
