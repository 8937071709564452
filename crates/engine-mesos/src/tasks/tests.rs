//! What a launch becomes for Mesos: descriptions of tasks, executors, containers and commands.

use model::container::{FetcherUri, Volume as ModelVolume};
use model::executor::{ThermosSettings, parse_custom, thermos};
use model::{CpuMillis, JobKey, Metadata, TaskId};

use super::*;

const CUSTOM: &str = r#"[{"executor": {"name": "compose", "command": {"value": "run.sh", "shell": "true",
    "uris": [{"value": "http://x/run.sh", "executable": "true"}]}, "resources": []}, "task_prefix": "compose-",
    "volume_mounts": [{"host_path": "/h", "container_path": "/c", "mode": "RO"}]}]"#;

fn tasks() -> Tasks {
    let settings = ThermosSettings {
        path: "/opt/executor".into(),
        overhead: Resources { cpu: CpuMillis(250), ram_mb: 128, ..Resources::ZERO },
        ..ThermosSettings::default()
    };
    let executors = [vec![thermos(&settings).unwrap()], parse_custom(CUSTOM).unwrap()].concat();
    Tasks::new(&executors, None).unwrap()
}

fn config() -> TaskConfig {
    let mut config = TaskConfig::new(JobKey::new("www", "prod", "hello"), 0.5, 64, 32, "{\"task\": 1}");
    config.tier = Some("preferred".into());
    config.metadata.insert(Metadata { key: "git".into(), value: "abc".into() });
    config.requested_ports.insert("http".into());
    config
}

fn launch(config: TaskConfig) -> Launch {
    let config = Arc::new(config);
    Launch {
        task_id: TaskId("www-prod-hello-3-uuid".into()),
        instance: 3,
        resources: config.resources + Resources { cpu: CpuMillis(250), ram_mb: 128, ..Resources::ZERO },
        config,
        revocable: false,
        ports: BTreeMap::from([("http".to_owned(), 31_000)]),
        assigned_ms: 1,
    }
}

const TARGET: Target<'static> = Target { agent_id: "S1", host: "h1" };

fn describe(tasks: &mut Tasks, config: TaskConfig) -> TaskInfo {
    tasks.describe(&launch(config), &TARGET, Cut::default()).unwrap()
}

#[test]
fn a_thermos_task_is_described_as_aurora_does() {
    let task = describe(&mut tasks(), config());
    assert_eq!((task.name.as_str(), task.task_id.value.as_str()), ("www/prod/hello", "www-prod-hello-3-uuid"));
    assert_eq!(task.agent_id.value, "S1");
    let label = |key: &str, value: &str| Label { key: key.into(), value: Some(value.into()) };
    let expected = [label("org.apache.aurora.tier", "preferred"), label("org.apache.aurora.metadata.git", "abc")];
    assert_eq!(task.labels.unwrap().labels, expected);
    assert_eq!((task.discovery, task.command, task.container), (None, None, None));
    let executor = task.executor.unwrap();
    assert_eq!(executor.executor_id.value, "thermos-www-prod-hello-3-uuid");
    assert_eq!(executor.name.as_deref(), Some("AuroraExecutor"));
    assert_eq!(executor.source.as_deref(), Some("www.prod.hello.3"));
    assert_eq!(executor.labels.unwrap().labels, [label("source", "www.prod.hello.3")]);
    assert_eq!(executor.container, None);
    let command = executor.command.unwrap();
    assert_eq!(command.value.as_deref(), Some("${MESOS_SANDBOX=.}/executor"));
    assert_eq!((command.uris[0].value.as_str(), command.uris[0].executable), ("/opt/executor", Some(true)));
}

#[test]
fn the_data_is_an_assigned_task() {
    let mut tasks = tasks();
    let launch = launch(config());
    let task = tasks.describe(&launch, &TARGET, Cut::default()).unwrap();
    let expected = thrift::AssignedTask {
        task_id: "www-prod-hello-3-uuid".into(),
        slave_id: Some("S1".into()),
        slave_host: Some("h1".into()),
        task: Some(thrift::TaskConfig::from(&*launch.config)),
        assigned_ports: BTreeMap::from([("http".to_owned(), 31_000)]),
        instance_id: 3,
    };
    let data = task.data.unwrap();
    let read: thrift::AssignedTask =
        thrift::decode_value(thrift::Protocol::Binary, &data, thrift::Limits::REQUEST).unwrap();
    assert_eq!(read, expected);
    assert_eq!(data.len(), thrift::encode_value(thrift::Protocol::Binary, &expected).len());
}

#[test]
fn custom_executors_get_their_files_and_those_of_the_job() {
    let mut config = config();
    config.executor_config.as_mut().unwrap().name = "compose".into();
    let uri = FetcherUri {
        value: "http://x/job.tgz".into(),
        extract: Some(true),
        cache: None,
        output_file: Some("j".into()),
    };
    config.mesos_fetcher_uris.insert(uri);
    let mut tasks = tasks();
    let executor = describe(&mut tasks, config).executor.unwrap();
    let uris = executor.command.unwrap().uris;
    assert_eq!(uris.len(), 2);
    assert_eq!((uris[0].executable, uris[1].executable), (Some(true), Some(false)));
    assert_eq!((uris[1].extract, uris[1].output_file.as_deref()), (Some(true), Some("j")));
}

#[test]
fn containers_are_described_as_the_table_says() {
    let mut tasks = tasks();
    let mut compose = config();
    compose.executor_config.as_mut().unwrap().name = "compose".into();

    let parameters = vec![("label".to_owned(), "a=b".to_owned())];
    let docker = Container::Docker { image: "busybox:1".into(), parameters };
    let container = describe(&mut tasks, TaskConfig { container: docker.clone(), ..compose.clone() })
        .executor
        .unwrap()
        .container
        .unwrap();
    assert_eq!(container.r#type, container_info::Type::Docker as i32);
    assert_eq!(container.docker.unwrap().parameters, [v1::Parameter { key: "label".into(), value: "a=b".into() }]);
    assert_eq!(container.volumes[0].host_path.as_deref(), Some("/h"));

    let volume = ModelVolume { container_path: "/j".into(), host_path: "/k".into(), mode: VolumeMode::Rw };
    let image = Image::Docker { name: "busybox".into(), tag: "1".into() };
    let mesos = Container::Mesos { image: Some(image), volumes: vec![volume] };
    let container =
        describe(&mut tasks, TaskConfig { container: mesos, ..compose }).executor.unwrap().container.unwrap();
    assert_eq!((container.r#type, container.mesos.is_some()), (container_info::Type::Mesos as i32, true));
    let paths: Vec<(&str, i32)> =
        container.volumes.iter().map(|volume| (volume.container_path.as_str(), volume.mode)).collect();
    assert_eq!(paths, [("/c", 2), ("/j", 1), ("taskfs", 2)]);
    let image = container.volumes[2].image.clone().unwrap();
    assert_eq!(image.docker.unwrap().name, "busybox:1");

    let alone = describe(&mut tasks, TaskConfig { container: docker, executor_config: None, ..config() });
    assert_eq!((alone.executor, alone.data), (None, None));
    assert_eq!(alone.container.unwrap().volumes, []);
    let command = alone.command.unwrap();
    assert_eq!((command.shell, command.value, command.arguments), (Some(false), None, Vec::new()));
}

#[test]
fn an_executor_that_changes_to_the_user_of_the_parameters_itself_is_started_as_root() {
    let started = |tasks: &mut Tasks, keys: &[&str]| -> Vec<(String, String)> {
        let mut compose = config();
        compose.executor_config.as_mut().unwrap().name = "compose".into();
        let parameters = keys.iter().map(|key| ((*key).to_owned(), "app".to_owned())).collect();
        compose.container = Container::Docker { image: "i:1".into(), parameters };
        let container = describe(tasks, compose).executor.unwrap().container.unwrap();
        container.docker.unwrap().parameters.into_iter().map(|it| (it.key, it.value)).collect()
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut others = tasks();
    assert_eq!(started(&mut others, &["user"]), [pair("user", "app")]);
    let mut ours = tasks().with_root_in_docker(&["compose".to_owned()]);
    assert_eq!(started(&mut ours, &["user", "label", "user"]), [pair("label", "app"), pair("user", "0")]);
    assert_eq!(started(&mut ours, &["label"]), [pair("label", "app")], "the image decides");
}

#[test]
fn discovery_is_filled_in_where_it_is_wanted() {
    let mut tasks = Tasks { discovery_location: Some("devcluster".into()), ..tasks() };
    let discovery = describe(&mut tasks, config()).discovery.unwrap();
    assert_eq!(discovery.name.as_deref(), Some("hello.prod.www"));
    assert_eq!((discovery.environment.as_deref(), discovery.location.as_deref()), (Some("prod"), Some("devcluster")));
    let port = &discovery.ports.unwrap().ports[0];
    assert_eq!((port.number, port.name.as_deref(), port.protocol.as_deref()), (31_000, Some("http"), Some("TCP")));
}

#[test]
fn shares_add_up() {
    let launch = launch(config());
    assert_eq!(executor_share(&launch), Resources { cpu: CpuMillis(250), ram_mb: 128, ..Resources::ZERO });
    assert_eq!(task_share(&launch) + executor_share(&launch), launch.resources);
}

#[test]
fn what_cannot_be_started_says_why() {
    let mut tasks = tasks();
    let mut unknown = config();
    unknown.executor_config.as_mut().unwrap().name = "x".into();
    let why = tasks.describe(&launch(unknown), &TARGET, Cut::default()).unwrap_err();
    assert_eq!(why, "Configuration for executor 'x' doesn't exist.");
    let alone = TaskConfig { executor_config: None, ..config() };
    assert!(tasks.describe(&launch(alone), &TARGET, Cut::default()).is_err());
    let without_command = r#"[{"executor": {"name": "x"}, "task_prefix": "x-"}]"#;
    let error = Tasks::new(&parse_custom(without_command).unwrap(), None).unwrap_err();
    assert!(error.to_string().contains("no command"));
}

#[test]
fn configurations_are_prepared_once_and_forgotten_when_nobody_holds_them() {
    let mut tasks = tasks();
    let launch = launch(config());
    for _ in 0..3 {
        tasks.describe(&launch, &TARGET, Cut::default()).unwrap();
    }
    assert_eq!(tasks.prepared.len(), 1);
    tasks.tidy();
    assert_eq!(tasks.prepared.len(), 1);
    drop(launch);
    tasks.tidy();
    assert_eq!(tasks.prepared.len(), 0);
}

#[test]
fn a_command_is_run_by_mesos_itself() {
    let plain =
        CommandTask { name: "line".into(), command: "echo x".into(), image: None, task_name_prefix: "task-".into() };
    let contained = CommandTask { name: "boxed".into(), image: Some("centos:7".into()), ..plain.clone() };
    let mut tasks = Tasks::new(&[], None).unwrap().with_commands(&[plain, contained]);
    let mut launch = launch(config());
    let mut describe = |name: &str| {
        let mut config = (*launch.config).clone();
        config.executor_config = Some(model::ExecutorConfig { name: name.into(), data: String::new() });
        launch.config = Arc::new(config);
        tasks.describe(&launch, &Target { agent_id: "S1", host: "h" }, Cut::default())
    };
    let task = describe("line").unwrap();
    assert_eq!(task.name, format!("task-{}", task.task_id.value));
    let command = task.command.unwrap();
    assert_eq!((command.shell, command.value.as_deref()), (Some(true), Some("echo x")));
    assert!(task.executor.is_none() && task.container.is_none() && task.data.is_none());
    let container = describe("boxed").unwrap().container.unwrap();
    let docker = container.docker.unwrap();
    assert_eq!((docker.image.as_str(), docker.force_pull_image), ("centos:7", Some(true)));
    assert!(describe("unknown").is_err());
}
