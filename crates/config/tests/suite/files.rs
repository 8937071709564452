//! Whole files: the tutorial's, those of other guides, and the constructs that real files are made of.

use std::fs;
use std::path::Path;

use config::{ErrorKind, Evaluation, Job, Submission};
use serde_json::{Value, json};

use crate::common::{Files, evaluate, request};

fn keys(evaluation: &Evaluation) -> Vec<String> {
    evaluation.jobs.iter().map(Job::key).collect()
}

fn evaluated(text: &str) -> Evaluation {
    evaluate(text).unwrap_or_else(|error| panic!("{}", error.render()))
}

fn only(text: &str) -> Submission {
    let evaluation = evaluated(text);
    let job = evaluation.select(None).unwrap_or_else(|error| panic!("{}", error.render()));
    job.submission("me", &config::default_tiers()).unwrap_or_else(|error| panic!("{}", error.render()))
}

/// A job file with the constructs of the tutorial's: an import, a file read and its digest, texts put together with `%`.
fn checksum_file(script: &str) -> String {
    format!(
        r#"
script = '{script}'

# A digest in the command makes the configuration change with the script.
import hashlib
with open(script, 'rb') as source:
  digest = hashlib.md5(source.read()).hexdigest()

fetch = Process(
  name = 'fetch',
  cmdline = 'cp %s . && echo %s && chmod +x clock.py' % (script, digest))

clock = Process(
  name = 'clock',
  cmdline = 'python clock.py')

both = SequentialTask(
  processes = [fetch, clock],
  resources = Resources(cpu = 1, ram = 1*MB, disk=8*MB))

jobs = [
  Service(cluster = 'devcluster',
          environment = 'devel',
          role = 'www-data',
          name = 'clock',
          task = both)
]
"#
    )
}

#[test]
fn a_file_with_a_digest_of_a_script_becomes_a_service() {
    let files = Files::new();
    let script = files.write("clock.py", "print('tick')\n");
    let evaluation =
        config::evaluate(&files.request(&checksum_file(&script))).unwrap_or_else(|e| panic!("{}", e.render()));
    assert_eq!(keys(&evaluation), ["devcluster/www-data/devel/clock"]);
    let wanted = "devcluster/www-data/devel/clock".parse().unwrap();
    let submission = evaluation.select(Some(&wanted)).unwrap().submission("me", &config::default_tiers()).unwrap();
    // The digest is that of `md5sum`.
    let processes = &submission.raw["task"]["processes"];
    let command = format!("cp {script} . && echo bb90f9a0da317961925733834298bf7f && chmod +x clock.py");
    assert_eq!(processes[0]["cmdline"], command.as_str());
    assert_eq!(submission.raw["task"]["constraints"], json!([{"order": ["fetch", "clock"]}]));
    assert_eq!(submission.raw["task"]["name"], "fetch");
    assert!(submission.job.task.is_service);
    assert_eq!(submission.job.task.resources.ram_mb, 1);
    assert_eq!(submission.job.task.resources.disk_mb, 8);
    let changed = {
        files.write("clock.py", "print('tock')\n");
        let evaluation = config::evaluate(&files.request(&checksum_file(&script))).unwrap();
        evaluation.jobs[0].submission("me", &config::default_tiers()).unwrap()
    };
    assert_ne!(changed.job.task, submission.job.task, "another script, another configuration");
}

#[test]
fn the_tutorials_own_path_works_where_it_may_be_made() {
    let path = Path::new("/vagrant/hello_world.py");
    if !nix_is_root() || path.exists() && fs::read_to_string(path).is_err() {
        eprintln!("not run: making /vagrant takes root");
        return;
    }
    let folder_was_there = Path::new("/vagrant").exists();
    let file_was_there = path.exists();
    fs::create_dir_all("/vagrant").unwrap();
    if !file_was_there {
        fs::write(path, "import time\n").unwrap();
    }
    let result = evaluate(&checksum_file("/vagrant/hello_world.py"));
    if !file_was_there {
        fs::remove_file(path).unwrap();
    }
    if !folder_was_there {
        fs::remove_dir("/vagrant").unwrap();
    }
    assert_eq!(keys(&result.unwrap_or_else(|error| panic!("{}", error.render()))), ["devcluster/www-data/devel/clock"]);
}

fn nix_is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

#[test]
fn a_service_with_a_command_of_several_lines() {
    let submission = only(
        r#"
greet = Process(
  name = 'greet',
  cmdline = """
    while true; do
      echo good day
      sleep 10
    done
  """)

task = SequentialTask(
  processes = [greet],
  resources = Resources(cpu = 1.0, ram = 128*MB, disk = 128*MB))

jobs = [Service(
  task = task, cluster = 'devcluster', role = 'www-data', environment = 'prod', name = 'greet')]
"#,
    );
    assert_eq!(submission.job.key.to_string(), "www-data/prod/greet");
    assert_eq!(submission.raw["task"]["constraints"], json!([{"order": ["greet"]}]));
    let command = submission.raw["task"]["processes"][0]["cmdline"].as_str().unwrap();
    assert_eq!(command, "\n    while true; do\n      echo good day\n      sleep 10\n    done\n  ");
}

/// The rest of a file after `jobs` are made of `task`.
const TASK: &str = "
task = Task(processes=[Process(name='p', cmdline='true')], resources=Resources(cpu=1, ram=64*MB, disk=64*MB))
base = Job(cluster='c', role='r', environment='devel', task=task)
";

#[test]
fn jobs_may_be_made_by_loops_functions_and_templates() {
    let text = format!(
        "{TASK}
jobs = [base(name='list-%s' % env, environment=env) for env in ('devel', 'test')]
jobs += [base(name='called')]
def make(name, n): return base(name=name, instances=n)
shorter = lambda name: make(name, 1)
jobs.extend([make('function', 2), shorter('lambda')])
for env, n in {{'prod': 3, 'devel': 1}}.items():
  jobs.append(base(name='table', environment=env, instances=n))
class Profile(Struct):
  n = Default(Integer, 4)
  label = Default(String, 'x{{{{n}}}}')
jobs.append(base(name='profile-{{{{profile.label}}}}', instances='{{{{profile.n}}}}').bind(profile=Profile()))
"
    );
    let evaluation = evaluated(&text);
    let expected = [
        "c/r/devel/list-devel",
        "c/r/test/list-test",
        "c/r/devel/called",
        "c/r/devel/function",
        "c/r/devel/lambda",
        "c/r/prod/table",
        "c/r/devel/table",
        "c/r/devel/profile-x4",
    ];
    assert_eq!(keys(&evaluation), expected);
    let last = evaluation.jobs.last().unwrap().submission("me", &config::default_tiers()).unwrap();
    assert_eq!(last.job.instance_count, 4);
}

#[test]
fn jobs_may_be_a_tuple_a_generator_or_a_map() {
    for jobs in
        ["(base(name='a'), base(name='b'))", "(base(name=n) for n in 'ab')", "map(lambda n: base(name=n), 'ab')"]
    {
        assert_eq!(keys(&evaluated(&format!("{TASK}\njobs = {jobs}"))), ["c/r/devel/a", "c/r/devel/b"], "{jobs}");
    }
}

#[test]
fn included_files_share_one_namespace_and_their_paths_are_relative_to_the_includer() {
    let files = Files::new();
    files.write("parts/names.aurora", "suffix = 'x'\ninclude('deeper/more.aurora')\n");
    files.write("parts/deeper/more.aurora", &format!("{TASK}\nname = 'n' + suffix\n"));
    let main = "include('parts/names.aurora')\njobs = [base(name=name)]\n";
    let evaluation = config::evaluate(&files.request(main)).unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(keys(&evaluation), ["c/r/devel/nx"]);
    assert_eq!(evaluation.loaded_files.len(), 3);
    assert!(evaluation.loaded_files[2].ends_with("parts/deeper/more.aurora"));
}

#[test]
fn bindings_of_the_command_line_win_over_the_files_own() {
    let text = format!(
        "{TASK}
class P(Struct):
  n = Default(Integer, 1)
jobs = [base(name='{{{{who}}}}', instances='{{{{profile.n}}}}').bind(who='file', profile=P())]
"
    );
    let files = Files::new();
    let request = files.request(&text).bind("who", "line").bind("profile.n", "3");
    let evaluation = config::evaluate(&request).unwrap();
    assert_eq!(keys(&evaluation), ["c/r/devel/line"]);
    assert_eq!(evaluation.jobs[0].submission("me", &config::default_tiers()).unwrap().job.instance_count, 3);
    let bad = config::evaluate(&files.request(&text).bind("a b", "1")).unwrap_err();
    assert_eq!(bad.kind, ErrorKind::Binding);
    assert!(bad.reason.contains("'a b'"), "{bad}");
}

#[test]
fn names_of_python_2_and_modules_of_old_schemas_are_there() {
    let text = format!(
        "
from pystachio import String, Struct, Integer
from pystachio.naming import Ref
from apache.aurora.config.schema.base import *
from apache.thermos.config.schema import Process as P2
import apache.thermos.config.schema_helpers
import apache.aurora.config.schema.base as schema
from twitter.common import log
log.info('%s is there', 'the log')
assert P2 is Process and schema.Job is Job
assert isinstance('x', basestring) and unicode('x') == 'x' and long(3) == 3
assert list(xrange(3)) == [0, 1, 2] and reduce(lambda a, b: a + b, [1, 2]) == 3
assert sys.version_info[0] == 3
try:
  __file__
  assert False
except NameError:
  pass
assert __name__ != '__main__'
{TASK}
jobs = [base(name='n')]
"
    );
    assert_eq!(keys(&evaluated(&text)), ["c/r/devel/n"]);
}

#[test]
fn the_standard_library_that_job_files_use_is_there() {
    let modules = "os getpass hashlib json sys re itertools functools time datetime copy collections string textwrap \
                   subprocess socket random urllib.request urllib.parse base64 glob math io tempfile shutil uuid operator \
                   configparser csv fnmatch pprint types enum dataclasses typing decimal";
    let imports: Vec<_> = modules.split_whitespace().map(|module| format!("import {module}")).collect();
    let text = format!(
        "{}
assert os.getenv('HOME') == os.environ.get('HOME') and os.path.join('a', 'b') == 'a/b'
assert json.loads(json.dumps({{'a': [1, 2.5, None]}})) == {{'a': [1, 2.5, None]}}
assert re.sub('[0-9]+', '#', 'a12b3') == 'a#b#'
assert hashlib.sha1(b'abc').hexdigest() == 'a9993e364706816aba3e25717850c26c9cd0d89d'
assert hashlib.md5(b'').hexdigest() == 'd41d8cd98f00b204e9800998ecf8427e'
assert base64.b64encode(b'abc') == b'YWJj'
assert datetime.date(2024, 2, 29).isoformat() == '2024-02-29'
assert subprocess.check_output(['echo', 'hi']).strip() == b'hi'
assert textwrap.dedent('  a') == 'a' and list(itertools.chain('a', 'b')) == ['a', 'b']
assert collections.OrderedDict(a=1)['a'] == 1
assert len(getpass.getuser()) > 0
{TASK}
jobs = [base(name='n')]
",
        imports.join("\n")
    );
    assert_eq!(keys(&evaluated(&text)), ["c/r/devel/n"]);
}

#[test]
fn what_a_file_prints_does_not_mix_with_the_answer() {
    let text = format!(
        "print('hello from the file')\nimport os\nos.system('echo and from a command')\n{TASK}\njobs = [base(name='n')]"
    );
    assert_eq!(keys(&evaluated(&text)), ["c/r/devel/n"]);
}

#[test]
fn letters_beyond_ascii_work_whatever_the_locale_is() {
    let files = Files::new();
    let words = files.write("words.txt", "größe");
    let text = format!(
        "print('größe')
assert open('{words}').read() == 'größe'
assert str(String('ö{{{{x}}}}').bind(x='ß')) == 'öß'
{TASK}
jobs = [base(name='n', contact='jörg')]
"
    );
    // The tests may run in any locale; the plainest one is the hardest.
    let evaluation = config::evaluate(&files.request(&text)).unwrap_or_else(|error| panic!("{}", error.render()));
    let submission = evaluation.jobs[0].submission("me", &config::default_tiers()).unwrap();
    assert_eq!(submission.job.task.contact_email.as_deref(), Some("jörg"));
}

#[test]
fn objects_work_where_other_python_values_do() {
    let text = format!(
        "
import copy
class Box(Struct):
  a = Default(String, 'q')
x = Box(a='1')
assert copy.copy(x) == x and copy.deepcopy(x) == x
assert {{x: 1}}[Box(a='1')] == 1 and '%s' % x.a() == '1'
assert isinstance(x, Struct) and isinstance(x, Box) and not isinstance(x, Process) and issubclass(Box, Struct)
config = 3  # shadows a module's name, which is allowed
both = list(Task(processes=[Process(name='a')]).processes()) + [Process(name='b')]
assert [p.name().get() for p in Task(processes=both).processes()] == ['a', 'b']
assert Resources(cpu=1, ram=5*MB, disk=1)(cpu=2).cpu().get() == 2.0
assert Service(name='n').service().get() is True
{TASK}
jobs = [base(name='n')]
"
    );
    assert_eq!(keys(&evaluated(&text)), ["c/r/devel/n"]);
}

#[test]
fn mixed_tabs_and_spaces_windows_line_ends_and_a_byte_order_mark_are_read() {
    let text = format!(
        "\u{feff}if True:\r\n\tx = 1\r\n        y = 2\r\nassert y == 2\r\n{TASK}\r\njobs = [base(name='n')]\r\n"
    );
    assert_eq!(keys(&evaluated(&text)), ["c/r/devel/n"]);
}

#[test]
fn a_written_job_reads_back_as_json() {
    let first = only(&format!(
        "{TASK}
jobs = [base(name='n', container=Mesos(image=DockerImage(name='i', tag='t')), instances=2, constraints={{'rack': 'limit:1'}},
             sla_policy=PercentageSlaPolicy(percentage=95.0, duration_secs=60))]"
    ));
    let files = Files::new();
    for document in [first.raw.clone(), json!({ "jobs": [first.raw] })] {
        let mut request = request(&files.write("job.json", &document.to_string()));
        request.read_json = true;
        let evaluation = config::evaluate(&request).unwrap_or_else(|error| panic!("{}", error.render()));
        let second = evaluation.select(None).unwrap().submission("me", &config::default_tiers()).unwrap();
        // What is read from JSON was made from dictionaries, and its executor data stands in another order, as in Aurora.
        let mut turned = second.job.clone();
        let data = |job: &model::JobConfiguration| job.task.executor_config.clone().unwrap().data;
        let value = |job: &model::JobConfiguration| serde_json::from_str::<Value>(&data(job)).unwrap();
        assert_eq!(value(&second.job), value(&first.job));
        turned.task.executor_config.as_mut().unwrap().data = data(&first.job);
        assert_eq!(turned, first.job);
        assert_eq!(second.raw, first.raw);
    }
}

#[test]
fn evaluating_twice_gives_the_same_bytes() {
    let text = format!(
        "{TASK}
jobs = [base(name='n', constraints={{'rack': 'limit:1', 'host': 'limit:1', 'a': 'b'}}, metadata=[Metadata(key='k', value='v')])]"
    );
    let data = |submission: Submission| submission.job.task.executor_config.unwrap().data;
    let first = data(only(&text));
    assert_eq!(first, data(only(&text)));
    // The order in which a dictionary is written does not matter.
    let turned = text.replace("'rack': 'limit:1', 'host': 'limit:1'", "'host': 'limit:1', 'rack': 'limit:1'");
    assert_eq!(first, data(only(&turned)));
}

#[test]
fn a_broken_job_does_not_spoil_its_neighbours() {
    let text = format!("{TASK}\njobs = [base(name='good'), base(name='bad', task=Task(name='{{{{ no }}}}'))]");
    let evaluation = evaluated(&text);
    let good = "c/r/devel/good".parse().unwrap();
    assert!(evaluation.select(Some(&good)).unwrap().submission("me", &config::default_tiers()).is_ok());
    let bad = "c/r/devel/bad".parse().unwrap();
    let error = evaluation.select(Some(&bad)).unwrap().submission("me", &config::default_tiers()).unwrap_err();
    assert!(error.reason.contains("' no '"), "{error}");
}
