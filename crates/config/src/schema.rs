//! The types that every job file knows: processes, tasks, jobs and what belongs to them (spec config-dsl part 3).

use std::rc::Rc;

use crate::object::{Field, Raw, Type, TypeRef};

/// The executor that runs tasks made of processes.
pub const AURORA_EXECUTOR_NAME: &str = "AuroraExecutor";

/// A binary mebibyte, the unit of sizes sent to the scheduler.
pub const MEBIBYTE: i64 = 1024 * 1024;

/// The built-in types.
pub struct Schema {
    types: Vec<TypeRef>,
}

thread_local! {
    static SCHEMA: Rc<Schema> = Rc::new(Schema::build());
}

impl Schema {
    /// The built-in types; built once per thread.
    pub fn get() -> Rc<Self> {
        SCHEMA.with(Rc::clone)
    }

    /// All types that have a name in job files, in an order in which each comes after those it is made of.
    pub fn types(&self) -> &[TypeRef] {
        &self.types
    }

    /// The type of that name. The job is called `MesosJob`.
    pub fn named(&self, name: &str) -> &TypeRef {
        self.types.iter().find(|kind| kind.name() == name).unwrap_or_else(|| panic!("no built-in type {name}"))
    }

    /// The type of jobs.
    pub fn job(&self) -> &TypeRef {
        self.named("MesosJob")
    }

    fn build() -> Self {
        let mut building = Building {
            types: Vec::new(),
            string: Type::string(),
            integer: Type::integer(),
            float: Type::float(),
            boolean: Type::boolean(),
        };
        building.basic();
        building.thermos();
        building.updates();
        building.health();
        building.containers();
        building.policies();
        building.job();
        Self { types: building.types }
    }
}

struct Building {
    types: Vec<TypeRef>,
    string: TypeRef,
    integer: TypeRef,
    float: TypeRef,
    boolean: TypeRef,
}

/// How a field is declared.
enum Rule {
    Required,
    Optional,
    Default(Raw),
}
use Rule::{Default, Optional, Required};

fn text(text: &str) -> Rule {
    Default(Raw::text(text))
}

fn integer(value: i64) -> Rule {
    Default(Raw::integer(value))
}

fn float(value: f64) -> Rule {
    Default(Raw::Float(value))
}

fn boolean(value: bool) -> Rule {
    Default(Raw::Boolean(value))
}

fn empty_list() -> Rule {
    Default(Raw::List(Vec::new()))
}

/// The default object of a struct type: all its own defaults.
fn all_defaults() -> Rule {
    Default(Raw::Map(Vec::new()))
}

impl Building {
    fn named(&self, name: &str) -> TypeRef {
        self.types.iter().find(|kind| kind.name() == name).expect("built before").clone()
    }

    fn structure(&mut self, name: &str, fields: Vec<(&str, &TypeRef, Rule)>) {
        let fields = fields.into_iter().map(|(name, kind, rule)| {
            let (required, default) = match rule {
                Required => (true, None),
                Optional => (false, None),
                Default(raw) => (false, Some(raw)),
            };
            Field::new(name, kind, required, default).expect("built-in defaults fit their types")
        });
        self.types.push(Type::structure(name, fields.collect()));
    }

    fn enumeration(&mut self, name: &str, values: &[&str]) {
        self.types.push(Type::enumeration(name, values.iter().map(|value| (*value).to_owned()).collect()));
    }

    fn basic(&mut self) {
        self.types.extend([self.string.clone(), self.integer.clone(), self.float.clone(), self.boolean.clone()]);
    }

    fn thermos(&mut self) {
        let (s, i, f, b) = (self.string.clone(), self.integer.clone(), self.float.clone(), self.boolean.clone());
        self.structure(
            "Resources",
            vec![("cpu", &f, Required), ("ram", &i, Required), ("disk", &i, Required), ("gpu", &i, integer(0))],
        );
        let resources = self.named("Resources");
        self.structure("Constraint", vec![("order", &Type::list(&s), Optional)]);
        self.structure("RotatePolicy", vec![("log_size", &i, integer(100 * MEBIBYTE)), ("backups", &i, integer(5))]);
        self.enumeration("LoggerDestination", &["file", "console", "both", "none"]);
        self.enumeration("LoggerMode", &["standard", "rotate"]);
        let (destination, mode) = (self.named("LoggerDestination"), self.named("LoggerMode"));
        let rotate = self.named("RotatePolicy");
        self.structure(
            "Logger",
            vec![
                ("destination", &destination, text("file")),
                ("mode", &mode, text("standard")),
                ("rotate", &rotate, Optional),
            ],
        );
        let logger = self.named("Logger");
        self.structure(
            "Process",
            vec![
                ("cmdline", &s, Required),
                ("name", &s, Required),
                ("resources", &resources, Optional),
                ("max_failures", &i, integer(1)),
                ("daemon", &b, boolean(false)),
                ("ephemeral", &b, boolean(false)),
                ("min_duration", &i, integer(5)),
                ("final", &b, boolean(false)),
                ("logger", &logger, Optional),
            ],
        );
        let (process, constraint) = (self.named("Process"), self.named("Constraint"));
        self.structure(
            "Task",
            vec![
                ("name", &s, text("{{processes[0].name}}")),
                ("processes", &Type::list(&process), Optional),
                ("constraints", &Type::list(&constraint), empty_list()),
                ("resources", &resources, Optional),
                ("max_failures", &i, integer(1)),
                ("max_concurrency", &i, integer(0)),
                ("finalization_wait", &i, integer(30)),
                ("user", &s, Optional),
            ],
        );
        self.structure(
            "ThermosContext",
            vec![("ports", &Type::map(&s, &i), Optional), ("task_id", &s, Optional), ("user", &s, Optional)],
        );
        self.structure("MesosContext", vec![("instance", &i, Required), ("hostname", &s, Required)]);
    }

    fn updates(&mut self) {
        let (i, b) = (self.integer.clone(), self.boolean.clone());
        self.structure("QueueUpdateStrategy", vec![("batch_size", &i, integer(1))]);
        self.structure(
            "BatchUpdateStrategy",
            vec![("batch_size", &i, integer(1)), ("autopause_after_batch", &b, boolean(false))],
        );
        self.structure(
            "VariableBatchUpdateStrategy",
            vec![("batch_sizes", &Type::list(&i), Required), ("autopause_after_batch", &b, boolean(false))],
        );
        let strategies = ["QueueUpdateStrategy", "BatchUpdateStrategy", "VariableBatchUpdateStrategy"];
        let strategy = Type::choice(None, strategies.map(|name| self.named(name)).to_vec());
        self.structure(
            "UpdateConfig",
            vec![
                ("batch_size", &i, integer(1)),
                ("watch_secs", &i, integer(45)),
                ("max_per_shard_failures", &i, integer(0)),
                ("max_total_failures", &i, integer(0)),
                ("rollback_on_failure", &b, boolean(true)),
                ("wait_for_batch_completion", &b, boolean(false)),
                ("pulse_interval_secs", &i, Optional),
                ("sla_aware", &b, boolean(false)),
                ("update_strategy", &strategy, Optional),
            ],
        );
    }

    fn health(&mut self) {
        let (s, i, f) = (self.string.clone(), self.integer.clone(), self.float.clone());
        self.structure(
            "HttpHealthChecker",
            vec![
                ("endpoint", &s, text("/health")),
                ("expected_response", &s, text("ok")),
                ("expected_response_code", &i, integer(0)),
            ],
        );
        self.structure("ShellHealthChecker", vec![("shell_command", &s, Required)]);
        let (http, shell) = (self.named("HttpHealthChecker"), self.named("ShellHealthChecker"));
        self.structure("HealthCheckerConfig", vec![("http", &http, Optional), ("shell", &shell, Optional)]);
        let checker = self.named("HealthCheckerConfig");
        let default_checker = Default(Raw::Map(vec![(Raw::text("http"), Raw::Map(Vec::new()))]));
        self.structure(
            "HealthCheckConfig",
            vec![
                ("health_checker", &checker, default_checker),
                ("initial_interval_secs", &f, float(15.0)),
                ("interval_secs", &f, float(10.0)),
                ("max_consecutive_failures", &i, integer(0)),
                ("min_consecutive_successes", &i, integer(1)),
                ("timeout_secs", &f, float(1.0)),
            ],
        );
        self.structure(
            "HttpLifecycleConfig",
            vec![
                ("port", &s, text("health")),
                ("graceful_shutdown_endpoint", &s, text("/quitquitquit")),
                ("shutdown_endpoint", &s, text("/abortabortabort")),
                ("graceful_shutdown_wait_secs", &i, integer(5)),
                ("shutdown_wait_secs", &i, integer(5)),
            ],
        );
        let http_lifecycle = self.named("HttpLifecycleConfig");
        self.structure("LifecycleConfig", vec![("http", &http_lifecycle, Optional)]);
        let default_ports = Default(Raw::Map(vec![(Raw::text("aurora"), Raw::text("{{primary_port}}"))]));
        self.structure(
            "Announcer",
            vec![
                ("primary_port", &s, text("http")),
                ("portmap", &Type::map(&s, &s), default_ports),
                ("zk_path", &s, Optional),
            ],
        );
    }

    fn containers(&mut self) {
        let s = self.string.clone();
        self.structure("Parameter", vec![("name", &s, Required), ("value", &s, Required)]);
        let parameter = self.named("Parameter");
        self.structure("Docker", vec![("image", &s, Required), ("parameters", &Type::list(&parameter), empty_list())]);
        self.structure("AppcImage", vec![("name", &s, Required), ("image_id", &s, Required)]);
        self.structure("DockerImage", vec![("name", &s, Required), ("tag", &s, Required)]);
        self.enumeration("Mode", &["RO", "RW"]);
        let mode = self.named("Mode");
        self.structure(
            "Volume",
            vec![("container_path", &s, Required), ("host_path", &s, Required), ("mode", &mode, Required)],
        );
        let image = Type::choice(None, ["AppcImage", "DockerImage"].map(|name| self.named(name)).to_vec());
        let volume = self.named("Volume");
        self.structure("Mesos", vec![("image", &image, Optional), ("volumes", &Type::list(&volume), empty_list())]);
        let docker = self.named("Docker");
        self.structure("Container", vec![("docker", &docker, Optional)]);
    }

    fn policies(&mut self) {
        let (s, i, f, b) = (self.string.clone(), self.integer.clone(), self.float.clone(), self.boolean.clone());
        self.structure("PartitionPolicy", vec![("reschedule", &b, boolean(true)), ("delay_secs", &i, integer(0))]);
        self.structure("Metadata", vec![("key", &s, Required), ("value", &s, Required)]);
        self.structure("ExecutorConfig", vec![("name", &s, text(AURORA_EXECUTOR_NAME)), ("data", &s, text(""))]);
        self.structure("PercentageSlaPolicy", vec![("percentage", &f, Required), ("duration_secs", &i, Required)]);
        self.structure("CountSlaPolicy", vec![("count", &i, Required), ("duration_secs", &i, Required)]);
        self.structure(
            "CoordinatorSlaPolicy",
            vec![("coordinator_url", &s, Required), ("status_key", &s, text("drain"))],
        );
    }

    fn job(&mut self) {
        let (s, i, b) = (self.string.clone(), self.integer.clone(), self.boolean.clone());
        let policies = ["CoordinatorSlaPolicy", "CountSlaPolicy", "PercentageSlaPolicy"];
        let sla_policy = Type::choice(None, policies.map(|name| self.named(name)).to_vec());
        let containers = ["Container", "Docker", "Mesos"].map(|name| self.named(name));
        let container = Type::choice(None, containers.to_vec());
        let (task, announcer) = (self.named("Task"), self.named("Announcer"));
        let (health, lifecycle) = (self.named("HealthCheckConfig"), self.named("LifecycleConfig"));
        let (update, partition) = (self.named("UpdateConfig"), self.named("PartitionPolicy"));
        let (executor, metadata) = (self.named("ExecutorConfig"), self.named("Metadata"));
        let text_map = Type::map(&s, &s);
        let default_lifecycle = || Default(Raw::Map(vec![(Raw::text("http"), Raw::Map(Vec::new()))]));
        self.structure(
            "MesosJob",
            vec![
                ("name", &s, text("{{task.name}}")),
                ("role", &s, Required),
                ("contact", &s, Optional),
                ("cluster", &s, Required),
                ("environment", &s, Required),
                ("instances", &i, integer(1)),
                ("task", &task, Required),
                ("announce", &announcer, Optional),
                ("tier", &s, Optional),
                ("cron_schedule", &s, Optional),
                ("cron_collision_policy", &s, text("KILL_EXISTING")),
                ("update_config", &update, all_defaults()),
                ("constraints", &text_map, Optional),
                ("metadata", &Type::list(&metadata), empty_list()),
                ("service", &b, boolean(false)),
                ("max_task_failures", &i, integer(1)),
                ("production", &b, boolean(false)),
                ("priority", &i, integer(0)),
                ("health_check_config", &health, all_defaults()),
                ("lifecycle", &lifecycle, default_lifecycle()),
                ("task_links", &text_map, Optional),
                ("executor_config", &executor, all_defaults()),
                ("enable_hooks", &b, boolean(false)),
                ("partition_policy", &partition, Optional),
                ("sla_policy", &sla_policy, Optional),
                ("container", &container, Optional),
            ],
        );
        self.structure(
            "MesosTaskInstance",
            vec![
                ("task", &task, Required),
                ("instance", &i, Required),
                ("role", &s, Required),
                ("announce", &announcer, Optional),
                ("environment", &s, Required),
                ("health_check_config", &health, all_defaults()),
                ("lifecycle", &lifecycle, Optional),
            ],
        );
    }
}
