//! Converting between the formats: what is written is for people, and comes to the same jobs.

use config::{Evaluation, Format, convert};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::common::{Files, request};
use crate::pairs::{assert_same, submissions};
use crate::schema::{seen, validator};

const FORMATS: [(Format, &str); 4] =
    [(Format::Yaml, "yaml"), (Format::Json, "json"), (Format::Toml, "toml"), (Format::Python, "aurora")];

fn evaluated(name: &str, text: &str) -> Evaluation {
    let files = Files::new();
    config::evaluate(&request(&files.write(name, text))).unwrap_or_else(|error| panic!("{}\n{text}", error.render()))
}

fn converted(evaluation: &Evaluation, to: Format) -> String {
    convert(evaluation, to).unwrap_or_else(|error| panic!("{}", error.render())).text
}

/// A job with something of everything.
const RICH: &str = r#"
web = Process(
  name = 'web',
  cmdline = '''
    echo "starting on {{thermos.ports[http]}}"
    exec ./server --port {{thermos.ports[http]}} --stage {{environment}}
  ''',
  max_failures = 0)
clean = Process(name = 'clean', cmdline = "echo 'done: 100%' # bye", ephemeral = True)
jobs = [
  Service(
    cluster = 'east', role = 'www-data', environment = 'prod', name = 'web', instances = 4, tier = 'preferred',
    contact = 'no',
    task = SequentialTask(name = 'web', processes = [web, clean], resources = Resources(cpu = 1.5, ram = 512*MB, disk = 3*GB),
                          finalization_wait = 20),
    announce = Announcer(portmap = {'admin': 'http', 'alias': 'admin'}),
    constraints = {'rack': 'limit:1', 'zone': 'a,b'},
    metadata = [Metadata(key = 'team', value = '007'), Metadata(key = 'on', value = '')],
    update_config = UpdateConfig(watch_secs = 10, update_strategy = BatchUpdateStrategy(batch_size = 2)),
    health_check_config = HealthCheckConfig(health_checker = HealthCheckerConfig(
      shell = ShellHealthChecker(shell_command = 'test -f ok')), interval_secs = 5),
    lifecycle = DisableLifecycle,
    sla_policy = PercentageSlaPolicy(percentage = 90, duration_secs = 1800),
    partition_policy = PartitionPolicy(reschedule = False),
    container = Mesos(image = DockerImage(name = 'python', tag = '3.12'),
                      volumes = [Volume(container_path = '/a', host_path = '/b', mode = 'RO')])),
  Job(cluster = 'east', role = 'www-data', environment = 'prod', name = 'nightly', cron_schedule = '*/5 * * * *',
      cron_collision_policy = 'CANCEL_NEW',
      task = Task(processes = [Process(name = 'p', cmdline = 'true')], resources = Resources(cpu = 1, ram = 1*MB, disk = 2000001))),
]
"#;

#[test]
fn what_is_written_is_for_people() {
    let rich = evaluated("rich.aurora", RICH);
    for (format, extension) in FORMATS {
        let path = format!("{}/tests/data/rich.{extension}.txt", env!("CARGO_MANIFEST_DIR"));
        let now = converted(&rich, format).replace("test.aurora", "rich.aurora");
        if std::fs::read_to_string(&path).unwrap_or_default() != now {
            let written = std::env::temp_dir().join(format!("rich.{extension}.txt"));
            std::fs::write(&written, &now).unwrap();
            panic!("{path} is not what is written now; that is in {}", written.display());
        }
    }
}

#[test]
fn every_way_between_formats_comes_to_the_same_jobs() {
    let rich = evaluated("rich.aurora", RICH);
    let sent = submissions(&rich);
    for (format, extension) in FORMATS {
        let there = evaluated(&format!("rich.{extension}"), &converted(&rich, format));
        assert_same(&sent, &submissions(&there), extension);
        for (format, extension) in FORMATS {
            let back = evaluated(&format!("rich.{extension}"), &converted(&there, format));
            assert_same(&sent, &submissions(&back), extension);
            assert_eq!(rich.differences(&back), [""; 0], "{extension}");
        }
    }
}

#[test]
fn references_and_escapes_stay() {
    let text = "\
cluster: c
role: r
environment: devel
name: n
instances: '{{count}}'
contact: '{{&&&&&late}} {{unknown}}'
task:
  processes: [{name: p, cmdline: 'echo {{mesos.instance}} {{contact}} {{role}}'}]
";
    let read = evaluated("a.yaml", text);
    for (format, extension) in FORMATS {
        let written = converted(&read, format);
        assert!(written.contains("{{count}}") && written.contains("{{&&&&&late}} {{unknown}}"), "{written}");
        let back = evaluated(&format!("a.{extension}"), &written);
        assert_eq!(read.differences(&back), [""; 0], "{written}");
    }
}

#[test]
fn the_user_stays_whoever_it_is() {
    let hello = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/hello.yaml");
    let mut request = request(hello.to_str().unwrap());
    request.keep_user = true;
    let kept = config::evaluate(&request).unwrap();
    for format in [Format::Yaml, Format::Json, Format::Toml] {
        assert!(converted(&kept, format).contains("{{daybreak.user}}"));
    }
    let python = converted(&kept, Format::Python);
    assert!(python.contains("role = getpass.getuser()"), "{python}");
    request.keep_user = false;
    let normal = config::evaluate(&request).unwrap();
    assert_eq!(normal.differences(&evaluated("hello.aurora", &python)), [""; 0]);
}

#[test]
fn what_cannot_be_said_is_told() {
    let read = evaluated(
        "a.yaml",
        "{cluster: c, role: r, environment: e, name: n, metadata: null, task: {processes: [{name: p, cmdline: x}]}}",
    );
    let error = convert(&read, Format::Toml).unwrap_err();
    assert!(
        error.reason.contains("'metadata' is unset") && error.help[0].contains("YAML or JSON"),
        "{}",
        error.render()
    );
    for format in [Format::Yaml, Format::Json, Format::Python] {
        let back = evaluated(if format == Format::Python { "a.aurora" } else { "a.yaml" }, &converted(&read, format));
        assert_eq!(read.differences(&back), [""; 0]);
    }
    let broken = evaluated("a.yaml", "{cluster: c, role: r, environment: e, name: n}");
    assert!(convert(&broken, Format::Yaml).unwrap_err().reason.contains("MesosJob[task] is required"));
    let hooked = evaluated(
        "a.aurora",
        "class Watch(object):\n  def pre_create_job(self, *a): pass\nhooks = [Watch()]\n\
        jobs = [Job(cluster='c', role='r', environment='e', name='n', task=Task(processes=[Process(name='p', cmdline='x')]))]",
    );
    assert_eq!(convert(&hooked, Format::Yaml).unwrap().notes, ["hooks are code, and lost: Watch"]);
}

/// Makes a value of a definition of the published schema from a list of decisions.
struct Maker<'a> {
    schema: &'a Value,
    decisions: std::slice::Iter<'a, u32>,
}

const TEXTS: [&str; 26] = [
    "a",
    "no",
    "1.10",
    "0755",
    "",
    " ",
    "null",
    "~",
    "a: b",
    "a #b",
    "'",
    "\"",
    "it's \"so\"",
    "\\n \\",
    "line\nline\n",
    "\n  in\n    deep\n  ",
    "tab\there",
    "trail  \n\n",
    "\n",
    "größe 漢",
    "{{mesos.instance}}",
    "{{thermos.ports[http]}}/{{role}}",
    "{{&&&&&x}}",
    "- a",
    "'''\n\"\"\"",
    "a\r\nb",
];

impl Maker<'_> {
    fn next(&mut self, below: usize) -> usize {
        self.decisions.next().copied().unwrap_or_default() as usize % below.max(1)
    }

    fn definition(&mut self, name: &str) -> Value {
        let definition = &self.schema["$defs"][name];
        let required: Vec<&str> =
            definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut made = Map::new();
        for (field, property) in definition["properties"].as_object().unwrap() {
            let is_beside = ["$schema", "bind"].contains(&field.as_str());
            let wanted = required.contains(&field.as_str())
                || (name == "Task" && ["processes", "resources"].contains(&field.as_str()));
            if is_beside || !(wanted || self.next(3) == 0) {
                continue;
            }
            let value = match (name, field.as_str()) {
                ("Job", "role" | "environment" | "name" | "cluster") => json!(["devel", "a-b.c_d", "x1"][self.next(3)]),
                ("Job", "instances") => json!(1 + self.next(9)),
                ("Job", "enable_hooks") => json!(false),
                ("Task", "processes") => (0..1 + self.next(2))
                    .map(|number| {
                        let mut process = self.definition("Process");
                        process["name"] = json!(format!("p{number}"));
                        process
                    })
                    .collect(),
                ("Task", "constraints") => json!([{"order": ["p0", "p1"]}]),
                ("Resources", "ram" | "disk") => {
                    json!([json!("16 MB"), json!(1 << 30), json!(1_234_567)][self.next(3)])
                }
                _ => self.value(property),
            };
            made.insert(field.clone(), value);
        }
        Value::Object(made)
    }

    fn value(&mut self, property: &Value) -> Value {
        if let Some(reference) = property["$ref"].as_str() {
            return self.definition(reference.rsplit('/').next().unwrap());
        }
        if let Some(alternatives) = property["anyOf"].as_array() {
            let usable: Vec<&Value> =
                alternatives.iter().filter(|one| one["type"] != "null" && one["pattern"].is_null()).collect();
            let choice = usable[self.next(usable.len())];
            return self.value(choice);
        }
        if let Some(values) = property["enum"].as_array() {
            return values[self.next(values.len())].clone();
        }
        let kind = property["type"].as_str().or_else(|| property["type"][0].as_str()).unwrap();
        match kind {
            "string" => json!(TEXTS[self.next(TEXTS.len())]),
            "integer" => json!(self.next(10)),
            "number" => [json!(1), json!(2.5), json!(0), json!(1e-7), json!(3e20)][self.next(3)].clone(),
            "boolean" => json!(self.next(2) == 0),
            "array" => (0..self.next(3)).map(|_| self.value(&property["items"])).collect(),
            "object" => (0..self.next(4))
                .map(|number| {
                    let name = format!("{}{number}", ["key", "a b", "K-", "no.", "größe", "rack\"'"][self.next(6)]);
                    (name, self.value(&property["additionalProperties"]))
                })
                .collect(),
            other => panic!("{other}"),
        }
    }
}

/// A file of some jobs, as JSON.
fn made(decisions: &[u32], jobs: usize) -> Value {
    let schema = config::json_schema();
    let mut maker = Maker { schema: &schema, decisions: decisions.iter() };
    let jobs: Vec<Value> = (0..jobs).map(|_| maker.definition("Job")).collect();
    json!({ "jobs": jobs })
}

/// Where the jobs of two files begin to differ: what is shown of them, or what is sent.
fn first_difference(a: &Evaluation, b: &Evaluation) -> Option<(String, String)> {
    let texts = |job: &config::Job| {
        let raw = job.content.as_ref().map(|content| content.raw.to_string()).unwrap_or_default();
        let sent = job.submission("", &config::default_tiers()).map(|sent| format!("{:?}", sent.job));
        [raw, sent.unwrap_or_default()]
    };
    let pairs = a.jobs.iter().zip(&b.jobs).flat_map(|(a, b)| texts(a).into_iter().zip(texts(b)));
    let (a, b) = pairs.into_iter().find(|(a, b)| a != b)?;
    let common = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| text.chars().skip(common.saturating_sub(60)).take(160).collect();
    Some((around(&a), around(&b)))
}

fn check_formats(decisions: &[u32], jobs: usize, formats: &[(Format, &str)]) {
    let document = made(decisions, jobs);
    let validator = validator();
    let errors: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
    assert_eq!(errors, [""; 0], "{document:#}");
    let read = evaluated("made.json", &document.to_string());
    for (format, extension) in formats {
        let written = match convert(&read, *format) {
            Ok(written) => written.text,
            Err(error) => panic!("{}\n{document:#}", error.render()),
        };
        if *format != Format::Python {
            let seen = seen(&format!("made.{extension}"), &written);
            let errors: Vec<String> = validator.iter_errors(&seen).map(|error| error.to_string()).collect();
            assert_eq!(errors, [""; 0], "{written}");
        }
        let back = evaluated(&format!("made.{extension}"), &written);
        let different: Vec<String> = read.differences(&back);
        assert_eq!(different, [""; 0], "{:?}\n{written}", first_difference(&read, &back));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn jobs_made_by_chance_survive_the_formats_of_data(decisions in prop::collection::vec(any::<u32>(), 0..400)) {
        check_formats(&decisions, 2, &FORMATS[..3]);
    }
}

proptest! {
    // Each case starts the interpreter once, for a file of many jobs.
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() })]

    #[test]
    fn jobs_made_by_chance_survive_python(decisions in prop::collection::vec(any::<u32>(), 1500..2000)) {
        check_formats(&decisions, 15, &FORMATS[3..]);
    }
}
