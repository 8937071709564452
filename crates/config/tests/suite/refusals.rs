//! Everything that is refused (spec config-dsl 5), each as its author sees it: what is told is kept in `golden`, with the place underlined.

use std::fmt::Write;

use crate::common::{Files, failure};
use crate::golden;

/// The text that every job below starts from.
const BASE: &str = "\
p = Process(name = 'p', cmdline = 'run')
r = Resources(cpu = 0.5, ram = 64*MB, disk = 128*MB)
task = Task(processes = [p], resources = r)
base = Service(cluster = 'c', role = 'r', environment = 'devel',
               name = 'n', task = task)
";

/// What a file's job is refused with, at submission or for an update.
fn refusal(text: &str) -> String {
    let files = Files::new();
    let evaluation = match config::evaluate(&files.request(text)) {
        Ok(evaluation) => evaluation,
        Err(error) => panic!("{text}\n{}", error.render()),
    };
    let job = evaluation.select(None).unwrap_or_else(|error| panic!("{text}\n{}", error.render()));
    let submitted = job.submission("me", &config::default_tiers()).and_then(|_| job.update_settings(&[]));
    let error = submitted.map(|_| ()).expect_err(text);
    error.render().replace(&format!("{}/", files.folder.path().display()), "")
}

/// Jobs that cannot be submitted or updated. Each is put behind [`BASE`].
const JOBS: &[&str] = &[
    // What is missing.
    "jobs = [Job(role = 'r', environment = 'devel', task = task)]",
    "jobs = [Job(cluster = 'c', environment = 'devel', task = task)]",
    "jobs = [Job(cluster = 'c', role = 'r', task = task)]",
    "jobs = [Job(cluster = 'c', role = 'r', environment = 'devel', name = 'n')]",
    "jobs = [base(task = Task(name = 't', resources = r))]",
    "jobs = [base(task = Task(name = 't', processes = [], resources = r))]",
    "jobs = [base(task = task(processes = [p, Process(name = 'q')]))]",
    "jobs = [base(task = task(processes = [p, Process(cmdline = 'q')]))]",
    "jobs = [base(task = Task(processes = [p]))]",
    "jobs = [base(task = task(resources = Resources(cpu = 1, ram = 1*GB)))]",
    "jobs = [base(container = Docker())]",
    "jobs = [base(container = Mesos(image = DockerImage(name = 'i')))]",
    "jobs = [base(metadata = [Metadata(key = 'k')])]",
    "jobs = [base(sla_policy = CountSlaPolicy(count = 3))]",
    "jobs = [base(health_check_config = HealthCheckConfig(\n  health_checker = HealthCheckerConfig(shell = ShellHealthChecker())))]",
    // What does not fit its type.
    "jobs = [base(instances = 'many')]",
    "jobs = [base(instances = None)]",
    "jobs = [base(service = 'perhaps')]",
    "jobs = [base(\n  priority = '1.5',\n  instances = 2)]",
    "jobs = [base(task = task(resources = Resources(cpu = 'x', ram = 1*GB, disk = 1*GB)))]",
    "jobs = [base(task = task(resources = r(ram = '64*MB')))]",
    "jobs = [base(container = 3)]",
    "jobs = [base(container = Mesos(volumes = [\n  Volume(container_path = 'a', host_path = 'b', mode = '{{m}}')])).bind(m = 'rx')]",
    "jobs = [base(contact = ['a'])]",
    "jobs = [base(name = '{{name}}')]",
    "jobs = [base(contact = '{{ who }}')]",
    // References.
    "jobs = [base(task = task(processes = [Process(name = 'q', cmdline = 'run {{nowhere}}')]))]",
    "jobs = [base(contact = '{{profile.who}} {{mesos.foo}}')]",
    "jobs = [base(instances = '{{how_many}}')]",
    "jobs = [base(task = SimpleTask('q', 'run {{thermos.ports.http}}'))]",
    // Names and numbers.
    "jobs = [base(role = 'a b')]",
    "jobs = [base(\n  name = 'a/b')]",
    "jobs = [base(environment = '')]",
    "jobs = [base(instances = 0)]",
    "jobs = [base(instances = -1)]",
    "jobs = [base(instances = 10**10)]",
    "jobs = [base(instances = 2, update_config = UpdateConfig(max_total_failures = 2))]",
    "jobs = [base(instances = 100, constraints = {'dedicated': 'r/x'})]",
    "jobs = [base(update_config = UpdateConfig(watch_secs = -1))]",
    "jobs = [base(health_check_config = HealthCheckConfig(max_consecutive_failures = -1))]",
    "jobs = [base(health_check_config = HealthCheckConfig(min_consecutive_successes = -1))]",
    "jobs = [base(health_check_config = HealthCheckConfig(initial_interval_secs = -1))]",
    "jobs = [base(health_check_config = HealthCheckConfig(\n  timeout_secs = 1,\n  interval_secs = -0.5))]",
    "jobs = [base(task = task(resources = r(cpu = 0)))]",
    "jobs = [base(task = task(resources = r(cpu = 'nan')))]",
    "jobs = [base(task = task(resources = r(ram = 64)))]",
    "jobs = [base(task = task(resources = Resources(cpu = 1,\n  ram = 1*GB,\n  disk = 0)))]",
    "jobs = [base(task = task(resources = r(gpu = -1)))]",
    // Constraints, cron, containers, ports.
    "jobs = [base(constraints = {'rack': 'limit:x'})]",
    "jobs = [base(cron_schedule = '* * * * *', cron_collision_policy = 'WAIT')]",
    "jobs = [base(container = Container())]",
    "jobs = [base(announce = Announcer(portmap = {'http': 80}))]",
    "jobs = [base(announce = Announcer(primary_port = 'a', portmap = {'a': 'b', 'b': 'a'}))]",
    // The plan of the task.
    "jobs = [base(task = task(processes = [Process(name = '.a', cmdline = 'x')]))]",
    "jobs = [base(task = task(processes = [Process(name = 'a/b', cmdline = 'x')]))]",
    "jobs = [base(task = task(processes = [Process(name = '', cmdline = 'x')]))]",
    "q = Process(name = 'q', cmdline = 'x')\njobs = [base(task = task(processes = [p, q], constraints = order(p, q) + order(q, p)))]",
    "jobs = [base(task = task(constraints = order('p', 'unknown')))]",
    "q = Process(name = 'q', cmdline = 'x', final = True)\njobs = [base(task = task(processes = [p, q], constraints = order(p, q)))]",
    "q = Process(name = 'q', cmdline = 'x', daemon = True)\njobs = [base(task = task(processes = [p, q], constraints = order(q, p)))]",
    "q = Process(name = 'q', cmdline = 'x', ephemeral = True)\njobs = [base(task = task(processes = [p, q], constraints = order(q, p)))]",
    // Updates.
    "jobs = [base(update_config = UpdateConfig(batch_size = 0))]",
    "jobs = [base(update_config = UpdateConfig(pulse_interval_secs = 30))]",
    "jobs = [base(update_config = UpdateConfig(\n  wait_for_batch_completion = True,\n  update_strategy = QueueUpdateStrategy(batch_size = 2)))]",
    "jobs = [base(update_config = UpdateConfig(batch_size = 2, update_strategy = BatchUpdateStrategy()))]",
    "jobs = [base(update_config = UpdateConfig(update_strategy = VariableBatchUpdateStrategy(batch_sizes = [])))]",
    "jobs = [base(update_config = UpdateConfig(update_strategy = VariableBatchUpdateStrategy(batch_sizes = [1, 0])))]",
    "jobs = [base(update_config = UpdateConfig(watch_secs = 10**9))]",
];

#[test]
fn jobs_that_cannot_be_submitted_are_underlined() {
    let mut told = String::new();
    for job in JOBS {
        writeln!(told, "{job}\n{}\n{}", "-".repeat(40), refusal(&format!("{BASE}{job}\n"))).expect("a text takes all");
    }
    golden::check("refusals.txt", &told);
}

/// Files that cannot be run to their end, or leave no jobs behind.
const FILES: &[&str] = &[
    // Syntax.
    "x = 1\ny = = 2\n",
    "task = Task(name = 'a'\njobs = []\n",
    "p = Process(\n  name = 'a'\n  cmdline = 'b')\n",
    "x = 'open\n",
    "x = '''open\n",
    "def f():\nreturn 1\n",
    "if True\n  x = 1\n",
    "x = (1, 2]\n",
    "größe = 'ä'; x = = 1\n",
    // Names and fields.
    "jobs = [Jbo(name = 'x')]\n",
    "größe = 'ä' + undefined\n",
    "p = Process(nmae = 'x')\n",
    "p = Process(\n  name = 'x',\n  cmdlin = 'y',\n)\n",
    "p = Process(name = 'x')\nq = p(max_failure = 3)\n",
    "p = Process({'name': 'x', 'comand': 'y'})\n",
    "j = Job(task = {'proceses': []})\n",
    "x = Process(name = 'x').nmae()\n",
    "x = Process(name = 'x').has_nmae()\n",
    "class P(Struct):\n  colour = Default(String, 'red')\nx = P(color = 'blue')\n",
    "j = Job(daemon = True)\n",
    "j = Job(health_check_config = HealthCheckConfig(endpoint = '/h'))\n",
    // Values of the wrong kind.
    "p = Process('a')\n",
    "t = Task(resources = 3)\n",
    "t = Task(processes = [Process(name = 'a'), 1])\n",
    "t = Task(processes = 'ab')\n",
    "t = Task(processes = {'a': 1})\n",
    "v = Volume(container_path = 'a',\n  host_path = 'b',\n  mode = 'ro')\n",
    "m = Mode('rx')\n",
    "t = Task(processes = Process(name = 'a'))\n",
    "j = Job(constraints = ['a'])\n",
    "j = Service({'name': 'q'})\n",
    "p = Process(name = 'a')({'name': 'b'})\n",
    "t = SequentialTask(processes = [Process(name = 'a')], constraints = order('a', 'b'))\n",
    "c = order('a', 3)\n",
    "x = List(3)\n",
    "x = Map(String)\n",
    "class X(Struct):\n  a = Required(3)\n",
    "class X(Struct):\n  a = Default(Integer, None)\n  b = Default(Process, 'x')\n",
    "x = len(List(Integer)([1]))\n",
    "x = List(Integer)([1]) + [2]\n",
    "x = Map(String, Integer)({'a': 1})['b']\n",
    "x = List(Integer)([1])[7]\n",
    "x = java_options(3)\n",
    // Bindings and references.
    "x = String('x').bind(a = None)\n",
    "x = String('x').bind(a = [1])\n",
    "x = String('x').bind({'a b': 1})\n",
    "x = String('x').bind({1: 2})\n",
    "x = String('{{ a }}').check()\n",
    "x = str(String('{{a}}').bind(a = '{{b}}', b = '{{a}}'))\n",
    "x = str(Integer('x'))\n",
    "x = Ref.from_address('a..b')\n",
    // Files.
    "include('absent.aurora')\n",
    "include(3)\n",
    "x = open('/nonexistent/file')\n",
    "include('test.aurora')\n",
    // Exceptions of the file itself, in functions and beyond them.
    "def make(n):\n  return {}[n]\njobs = [make(n) for n in ['x']]\n",
    "assert 1 == 2, 'one is not two'\n",
    "assert False\n",
    "class Oh(Exception): pass\nraise Oh('no')\n",
    "raise Exception\n",
    "x = 1 + 'a'\n",
    "x = int('seven')\n",
    "x = [1][3] if True else 0\n",
    "x = '%d and %d' % (1,)\n",
    "x = ('%s' % \\\n     undefined)\n",
    "import os\nx = os.environ['NOT_SET_ANYWHERE']\n",
    "1/0\n",
    "export(3)\n",
    // What is left behind.
    "x = 1\n",
    "jobs = []\n",
    "jobs = 1234\n",
    "jobs = None\n",
    "jobs = Job(name = 'x')\n",
    "jobs = ['x']\n",
    "jobs = [{'name': 'x'}]\n",
    "jobs = [Job(name = 'x'),\n        Process(name = 'x')]\n",
];

#[test]
fn files_that_cannot_be_used_are_underlined() {
    let mut told = String::new();
    for file in FILES {
        writeln!(told, "{file}{}\n{}", "-".repeat(40), failure(file)).expect("a text takes all");
    }
    golden::check("failures.txt", &told);
}
