//! The loader (spec config-dsl 2): include in all its forms, bindings of the command line, JSON files, and the modules that job files
//! import, each used.

use config::{ConfigError, ErrorKind, Evaluation, Job};

use crate::common::{Files, evaluate, failure, request};

const JOB: &str = "Job(cluster='c', role='r', environment='devel', task=SimpleTask('t', 'true'), ";

fn keys(evaluation: &Evaluation) -> Vec<String> {
    evaluation.jobs.iter().map(Job::key).collect()
}

/// The names of the jobs that a file among others leaves behind.
fn names(files: &Files, text: &str) -> Vec<String> {
    let evaluation = config::evaluate(&files.request(text)).unwrap_or_else(|error| panic!("{}", error.render()));
    evaluation.jobs.iter().map(|job| job.name.shown().to_owned()).collect()
}

fn told(files: &Files, error: &ConfigError) -> String {
    error.render().replace(&format!("{}/", files.folder.path().display()), "")
}

#[test]
fn an_included_file_shares_all_names_and_the_last_assignment_wins() {
    let files = Files::new();
    files.write("part.aurora", "name = 'part'\ndef named(n): return n + suffix\njobs = ['overwritten']\n");
    let text = format!("name = 'main'\nsuffix = '-x'\ninclude('part.aurora')\njobs = [{JOB}name=named(name))]");
    assert_eq!(names(&files, &text), ["part-x"]);
    files.write("jobs.aurora", &format!("jobs = [{JOB}name=name)]"));
    assert_eq!(names(&files, "name = 'theirs'\ninclude('jobs.aurora')"), ["theirs"]);
    let result = format!("assert include('part.aurora') is None\njobs = [{JOB}name='n')]");
    assert_eq!(names(&files, &result), ["n"]);
}

#[test]
fn paths_are_taken_from_the_file_that_includes() {
    let files = Files::new();
    files.write("a/one.aurora", "seen.append('a/one')\ninclude('../b/two.aurora')\ninclude('three.aurora')\n");
    files.write("a/three.aurora", "seen.append('a/three')\n");
    files.write("b/two.aurora", "seen.append('b/two')\ninclude('./deep/four.aurora')\n");
    files.write("b/deep/four.aurora", "seen.append('b/deep/four')\n");
    let absolute = files.write("elsewhere.aurora", "seen.append('elsewhere')\n");
    let text = format!(
        "seen = []\ninclude('a/one.aurora')\ninclude('{absolute}')\njobs = [{JOB}name=n.replace('/', '-')) for n in seen]"
    );
    assert_eq!(names(&files, &text), ["a-one", "b-two", "b-deep-four", "a-three", "elsewhere"]);
    // From another working directory, too.
    let mut request = files.request(&text);
    request.working_directory = Some("/".into());
    let evaluation = config::evaluate(&request).unwrap_or_else(|error| panic!("{}", error.render()));
    assert_eq!(evaluation.jobs.len(), 5);
    assert_eq!(evaluation.loaded_files.len(), 6);
}

#[test]
fn including_twice_runs_twice_and_may_depend_on_conditions() {
    let files = Files::new();
    files.write("count.aurora", "count = count + 1\n");
    let text = format!(
        "count = 0\nfor n in range(3):\n  include('count.aurora')\nif count > 5: include('absent.aurora')\n\
         def more(): include('count.aurora')\nmore()\njobs = [{JOB}name='n%d' % count)]"
    );
    assert_eq!(names(&files, &text), ["n4"]);
    // A circle that ends by itself is none.
    files.write("down.aurora", "left = left - 1\nif left: include('down.aurora')\n");
    assert_eq!(names(&files, &format!("left = 9\ninclude('down.aurora')\njobs = [{JOB}name='n%d' % left)]")), ["n0"]);
}

#[test]
fn files_that_include_one_another_without_end_are_told() {
    let files = Files::new();
    files.write("there.aurora", "include('back.aurora')\n");
    files.write("back.aurora", "include('there.aurora')\n");
    let error = config::evaluate(&files.request("include('there.aurora')\n")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Exception);
    let told = told(&files, &error);
    assert!(told.contains("is included within itself without end"), "{told}");
    assert!(told.contains("1 | include('") && told.contains("called from <module> at test.aurora:1"), "{told}");
}

#[test]
fn a_file_that_cannot_be_included_is_told_where_it_was_asked_for() {
    let files = Files::new();
    files.write("part.aurora", "\ninclude('deeper/absent.aurora')\n");
    let error = config::evaluate(&files.request("include('part.aurora')\n")).unwrap_err();
    assert_eq!(
        told(&files, &error),
        "error: there is no file deeper/absent.aurora to include
 --> part.aurora:2:1
  |
2 | include('deeper/absent.aurora')
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = called from <module> at test.aurora:1
"
    );
    std::fs::create_dir(files.folder.path().join("folder")).unwrap();
    assert!(failure("include('/tmp')\n").contains("Is a directory"));
    // The file may go on without it.
    let text = format!("try:\n  include('absent.aurora')\nexcept IOError:\n  found = 'no'\njobs = [{JOB}name=found)]");
    assert_eq!(names(&files, &text), ["no"]);
}

#[test]
fn every_kind_of_binding_of_the_command_line() {
    let files = Files::new();
    let text = format!(
        "class P(Struct):
  n = Default(Integer, 1)
  m = Default(String, 'm{{{{n}}}}')
jobs = [{JOB}name='n', contact='{{{{x}}}} {{{{p.m}}}} {{{{t[k]}}}} {{{{t[a/b.c-d]}}}} {{{{role}}}} {{{{n}}}} {{{{who}}}}').bind(p=P(), who='file')]"
    );
    let bound = |bindings: &[(&str, &str)]| {
        let mut request = files.request(&text);
        for (name, value) in bindings {
            request = request.bind(*name, *value);
        }
        let evaluation = config::evaluate(&request).unwrap_or_else(|error| panic!("{}", error.render()));
        evaluation.jobs[0].content.as_ref().unwrap().raw["contact"].as_str().unwrap().to_owned()
    };
    assert_eq!(bound(&[]), "{{x}} m1 {{t[k]}} {{t[a/b.c-d]}} r {{n}} file");
    assert_eq!(bound(&[("x", "1")]), "1 m1 {{t[k]}} {{t[a/b.c-d]}} r {{n}} file");
    // Values hold anything, other references too; later ones win.
    assert_eq!(bound(&[("x", "a=b c"), ("n", "")]), "a=b c m1 {{t[k]}} {{t[a/b.c-d]}} r  file");
    assert_eq!(bound(&[("x", "1"), ("x", "{{name}}")]), "n m1 {{t[k]}} {{t[a/b.c-d]}} r {{n}} file");
    // Indexes, and one field of a struct that the file binds.
    assert_eq!(bound(&[("t[k]", "K"), ("t[a/b.c-d]", "I")]), "{{x}} m1 K I r {{n}} file");
    assert_eq!(bound(&[("p.m", "M")]), "{{x}} M {{t[k]}} {{t[a/b.c-d]}} r {{n}} file");
    // What the file binds is overridden; a field that is set is not; what nobody asks for does no harm.
    assert_eq!(
        bound(&[("who", "line"), ("role", "other"), ("unused", "x")]),
        "{{x}} m1 {{t[k]}} {{t[a/b.c-d]}} r {{n}} line"
    );
    for name in ["a b", "", "a..b", "4", "a[", "a-b"] {
        let error = config::evaluate(&files.request(&text).bind(name, "1")).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Binding, "{name}");
        assert!(error.reason.contains(&format!("'{name}' is not a name that can be bound")), "{}", error.reason);
    }
}

fn read_json(text: &str) -> Result<Evaluation, ConfigError> {
    let files = Files::new();
    let mut request = request(&files.write("job.json", text));
    request.read_json = true;
    config::evaluate(&request)
}

#[test]
fn json_files_hold_one_job_or_several() {
    let job = |name: &str| {
        format!(
            r#"{{"cluster": "c", "role": "r", "environment": "devel", "name": "{name}", "task": {{"processes":
               [{{"name": "p", "cmdline": "run {{{{role}}}}"}}], "resources": {{"cpu": 1, "ram": 1048576, "disk": "1048576"}}}}}}"#
        )
    };
    assert_eq!(keys(&read_json(&job("one")).unwrap()), ["c/r/devel/one"]);
    let two = format!(r#"{{"jobs": [{}, {}], "ignored": 1}}"#, job("one"), job("{{task.name}}-two"));
    let evaluation = read_json(&two).unwrap();
    assert_eq!(keys(&evaluation), ["c/r/devel/one", "c/r/devel/p-two"]);
    let submission = evaluation.jobs[0].submission("me", &config::default_tiers()).unwrap();
    assert_eq!(submission.raw["task"]["processes"][0]["cmdline"], "run r");
    assert_eq!((submission.job.task.resources.disk_mb, submission.job.instance_count), (1, 1));
    let container = job("one").replace(r#""name": "one""#, r#""name": "one", "container": {"docker": {"image": "i"}}"#);
    let container = read_json(&container).unwrap().jobs[0].submission("me", &config::default_tiers()).unwrap();
    assert!(matches!(container.job.task.container, model::container::Container::Docker { .. }));
    for (text, reason) in [
        ("{}", "required"),
        (r#"{"jobs": []}"#, "defines no jobs"),
        (r#"{"jobs": 3}"#, "expected a dictionary"),
        ("[]", "expected a dictionary"),
        ("", "this is not JSON"),
        (r#"{"nam": "x"}"#, "did you mean 'name'?"),
        (r#"{"task": {"processes": [{"comandline": "x"}]}}"#, "Process has no field 'comandline'"),
        (r#"{"name": "x", "name": }"#, "this is not JSON: expected value"),
    ] {
        let told = match read_json(text) {
            Ok(evaluation) => {
                evaluation.jobs[0].submission("me", &config::default_tiers()).map(|_| ()).unwrap_err().render()
            }
            Err(error) => error.render(),
        };
        assert!(told.contains(reason), "{text}\n{told}");
        assert!(told.contains("job.json"), "{text}\n{told}");
    }
}

#[test]
fn several_jobs_are_told_apart_by_their_whole_keys() {
    let text = format!(
        "jobs = [{JOB}name='a'), {JOB}name='b')(role='s'), {JOB}name='a')(environment='prod'), {JOB}name='a')(cluster='d'),
        {JOB}name='{{{{x}}}}')]"
    );
    let evaluation = evaluate(&text).unwrap_or_else(|error| panic!("{}", error.render()));
    for key in ["c/r/devel/a", "c/s/devel/b", "c/r/prod/a", "d/r/devel/a", "c/r/devel/{{x}}"] {
        assert_eq!(evaluation.select(Some(&key.parse().unwrap())).unwrap().key(), key);
    }
    // A key is no pattern.
    let error = evaluation.select(Some(&"c/r/devel/*".parse().unwrap())).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoSuchJob);
}

/// Modules that job files import, and a use of each as job files make it.
const MODULES: &[(&str, &str)] = &[
    (
        "os",
        "os.path.basename(os.getcwd()) is not None and os.getenv('PATH') == os.environ['PATH'] and os.environ.get('NOT_SET', 'x') == 'x'",
    ),
    (
        "os.path",
        "os.path.exists('/proc') and os.path.join('a', 'b') == 'a/b' and os.path.splitext('a.tgz') == ('a', '.tgz') and os.path.isabs('/a')",
    ),
    (
        "sys",
        "isinstance(sys.argv, list) and sys.platform == 'linux' and sys.version_info >= (3, 0) and sys.stderr.write('') == 0",
    ),
    ("json", "json.loads(json.dumps({'a': [1, 2.5, None, True]}, sort_keys=True)) == {'a': [1, 2.5, None, True]}"),
    (
        "hashlib",
        "hashlib.sha256(b'abc').hexdigest()[:8] == 'ba7816bf' and hashlib.sha1(b'').hexdigest()[:4] == 'da39' and hashlib.sha512(b'').digest_size == 64",
    ),
    ("getpass", "len(getpass.getuser()) > 0"),
    ("socket", "len(socket.gethostname()) > 0 and socket.inet_aton('127.0.0.1') == b'\\x7f\\x00\\x00\\x01'"),
    (
        "datetime",
        "datetime.date(2024, 2, 28) + datetime.timedelta(days=1) == datetime.date(2024, 2, 29) and datetime.datetime(2020, 1, 2, 3).strftime('%Y%m%d-%H') == '20200102-03'",
    ),
    (
        "re",
        "re.sub('[0-9]+', '#', 'a12b3') == 'a#b#' and re.match(r'(?P<n>\\w+)-(\\d+)$', 'web-7').group('n') == 'web' and re.compile('x').search('axb') is not None",
    ),
    (
        "itertools",
        "list(itertools.product('ab', [1])) == [('a', 1), ('b', 1)] and list(itertools.chain([1], [2])) == [1, 2] and list(itertools.islice(itertools.count(), 2)) == [0, 1]",
    ),
    (
        "functools",
        "functools.partial(lambda a, b: a - b, b=1)(3) == 2 and functools.reduce(lambda a, b: a + b, [1, 2]) == 3",
    ),
    (
        "collections",
        "collections.OrderedDict([('a', 1)])['a'] == 1 and collections.defaultdict(list)['x'] == [] and collections.namedtuple('N', 'a b')(1, 2).b == 2 and collections.Counter('aab')['a'] == 2",
    ),
    ("textwrap", "textwrap.dedent('  a\\n    b') == 'a\\n  b' and textwrap.fill('a b', 1) == 'a\\nb'"),
    (
        "subprocess",
        "subprocess.check_output(['echo', 'hi']).strip() == b'hi' and subprocess.call('exit 3', shell=True) == 3 and subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE).communicate(b'x')[0] == b'x'",
    ),
    (
        "copy",
        "copy.deepcopy({'a': [1]}) == {'a': [1]} and copy.copy(Process(name='p')) == Process(name='p') and copy.deepcopy([Process(name='p')])[0].name() == String('p')",
    ),
    ("math", "math.ceil(1.2) == 2 and math.floor(1.8) == 1 and math.pi > 3"),
    ("random", "random.Random(1).randint(1, 1) == 1 and random.choice([7]) == 7"),
    (
        "string",
        "string.Template('$a-${b}').substitute(a=1, b=2) == '1-2' and string.ascii_lowercase[0] == 'a' and string.Formatter().format('{0}', 1) == '1'",
    ),
    ("time", "time.time() > 0 and time.strftime('%Y', time.gmtime(0)) == '1970'"),
    ("urllib.parse", "urllib.parse.quote('a b') == 'a%20b' and urllib.parse.urlparse('http://h:1/p').port == 1"),
    ("urllib.request", "urllib.request.Request('http://h/').host == 'h'"),
    ("base64", "base64.b64encode(b'abc') == b'YWJj' and base64.b64decode('YWJj') == b'abc'"),
    ("glob", "glob.glob('/proc/self/stat') == ['/proc/self/stat']"),
    ("fnmatch", "fnmatch.fnmatch('web-1', 'web-*')"),
    ("operator", "operator.itemgetter(1)([7, 8]) == 8 and operator.attrgetter('a')(type('X', (), {'a': 1})) == 1"),
    ("logging", "logging.getLogger('x').isEnabledFor(logging.ERROR) and logging.basicConfig() is None"),
    ("pprint", "pprint.pformat({'a': 1}) == \"{'a': 1}\""),
    ("platform", "len(platform.node()) > 0 and platform.system() == 'Linux'"),
    ("uuid", "str(uuid.UUID(int=1)).endswith('01') and len(str(uuid.uuid4())) == 36"),
    ("tempfile", "tempfile.gettempdir().startswith('/')"),
    ("shutil", "shutil.which('sh') is not None"),
    ("csv", "list(csv.reader(['a,b'])) == [['a', 'b']]"),
    ("io", "io.StringIO('a').read() == 'a' and io.BytesIO(b'a').read() == b'a'"),
    ("configparser", "configparser.ConfigParser().sections() == []"),
    ("contextlib", "contextlib.closing is not None"),
    ("decimal", "decimal.Decimal('0.1') * 3 == decimal.Decimal('0.3')"),
    ("fractions", "fractions.Fraction(1, 3) * 3 == 1"),
    ("enum", "enum.Enum('E', 'a b').a.value == 1"),
    ("dataclasses", "dataclasses.make_dataclass('D', ['a'])(1).a == 1"),
    ("typing", "typing.Optional[int] is not None"),
    ("types", "isinstance(lambda: 1, types.FunctionType) and types.SimpleNamespace(a=1).a == 1"),
    ("abc", "abc.ABC is not None"),
    ("argparse", "argparse.ArgumentParser(prog='x').prog == 'x'"),
    ("optparse", "optparse.OptionParser().parse_args([])[1] == []"),
    ("pathlib", "pathlib.Path('/a') / 'b' == pathlib.Path('/a/b')"),
    ("posixpath", "posixpath.join('a', 'b') == 'a/b'"),
    ("pwd", "pwd.getpwuid(0).pw_name == 'root'"),
    ("struct", "struct.pack('>H', 1) == b'\\x00\\x01'"),
    ("binascii", "binascii.hexlify(b'a') == b'61' and binascii.crc32(b'a') > 0"),
    ("zlib", "zlib.decompress(zlib.compress(b'a')) == b'a'"),
    ("calendar", "calendar.isleap(2024)"),
    ("locale", "locale.getlocale() is not None"),
    ("traceback", "'None' in traceback.format_exc()"),
    ("inspect", "inspect.isfunction(lambda: 1)"),
    ("warnings", "warnings.filterwarnings('ignore') is None"),
    ("shlex", "shlex.split(\"a 'b c'\") == ['a', 'b c'] and shlex.quote('a b') == \"'a b'\""),
    ("errno", "errno.ENOENT == 2"),
    ("stat", "stat.S_IRUSR == 0o400"),
    ("signal", "signal.SIGTERM == 15"),
    ("threading", "threading.current_thread().name == 'MainThread'"),
    ("heapq", "heapq.nsmallest(1, [2, 1]) == [1]"),
    ("bisect", "bisect.bisect([1, 3], 2) == 1"),
    ("codecs", "codecs.encode('a', 'rot13') == 'n'"),
    ("unicodedata", "unicodedata.name('a') == 'LATIN SMALL LETTER A'"),
    ("zipfile", "zipfile.ZIP_STORED == 0"),
    ("tarfile", "tarfile.is_tarfile('/proc/self/stat') is False"),
    ("ast", "ast.literal_eval('[1]') == [1]"),
    ("pickle", "pickle.loads(pickle.dumps({'a': 1})) == {'a': 1}"),
];

#[test]
fn the_modules_that_job_files_import_are_there_and_work() {
    // All in one file, each for itself, so that all that fail are told at once.
    let mut text = "failed = []\ndef use(name, expression):\n  try:\n    names = dict(globals())\n    exec('import ' + name, names)\n    \
                    assert eval(expression, names), 'not true'\n  except BaseException as error:\n    \
                    failed.append('%s: %s: %s' % (name, type(error).__name__, error))\n"
        .to_owned();
    for (module, expression) in MODULES {
        text.push_str(&format!("use({module:?}, {})\n", config::object::text_literal(expression)));
    }
    text.push_str(&format!("assert not failed, '\\n'.join(failed)\njobs = [{JOB}name='n')]\n"));
    match evaluate(&text) {
        Ok(evaluation) => assert_eq!(keys(&evaluation), ["c/r/devel/n"]),
        Err(error) => panic!("{}", error.render()),
    }
}

#[test]
fn modules_of_the_clients_own_packages_stand_for_the_names_that_are_there() {
    let text = format!(
        "import pystachio
from pystachio import Struct as S, Default, Integer, String
from pystachio.basic import String as S2
from pystachio.composite import Required
from pystachio.config import *
from apache.aurora.config.schema.base import Job as J, MesosJob, Service as V
from apache.aurora.config.schema import base
from apache.thermos.config.schema import Process as P, Task, SequentialTask, order
from apache.thermos.config.schema_base import MB as M
from apache.thermos.config import schema_helpers
import apache.aurora.config.schema.base as schema
from twitter.common import log
class X(S):
  a = Default(Integer, 1)
assert isinstance(X(), Struct) and S2 is String is pystachio.String and M == MB
assert J is MesosJob is Job is schema.Job is base.Job and P is Process and V is Service and schema_helpers.order is order
jobs = [{JOB}name='n')]"
    );
    assert_eq!(keys(&evaluate(&text).unwrap_or_else(|error| panic!("{}", error.render()))), ["c/r/devel/n"]);
}
