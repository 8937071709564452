//! Files of thousands of jobs, from the start of the evaluating process to jobs that could be submitted. Budget: 5 s for 2,000 jobs.
//! `cargo bench -p config --bench large [JOBS]`.
//!
//! The share of each phase comes from files that stop early: one that ends with its first line, one that is read whole and then ends, one
//! that ends with its last line. What is left of a whole run is working out the jobs and their way back into this process.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use config::{ErrorKind, Evaluation, EvaluationRequest};

const EVALUATOR: &str = env!("CARGO_BIN_EXE_evaluate-job-file");
const JOBS: usize = 2000;
const RUNS: usize = 5;
const BUDGET_MS: f64 = 5000.0;

/// One job, as a call, for the file whose jobs are made by a loop.
const MADE: &str = "
class Profile(Struct):
  version = Default(String, 'v{{number}}')
  number = Required(Integer)
  instances = Default(Integer, 2)

def service(number):
  fetch = Process(name='fetch', cmdline='fetch {{profile.version}} %d' % number)
  run = Process(name='run', cmdline='./server --port {{thermos.ports[http]}} --version {{profile.version}} {{mesos.instance}}')
  task = SequentialTask(processes=[fetch, run], resources=Resources(cpu=0.5, ram=128*MB, disk=256*MB))
  return Service(cluster='west', role='web', environment='prod', name='service-%d' % number, task=task,
                 instances='{{profile.instances}}', constraints={'host': 'limit:1'}, announce=Announcer(),
                 update_config=UpdateConfig(batch_size=2, watch_secs=30)).bind(profile=Profile(number=number))
";

fn made_by_a_loop(jobs: usize) -> String {
    format!("{MADE}\njobs = [service(number) for number in range({jobs})]\n")
}

/// The same jobs, each written out.
fn written_out(jobs: usize) -> String {
    let mut text = "jobs = []\n".to_owned();
    for number in 0..jobs {
        writeln!(
            text,
            "jobs.append(Service(
  cluster = 'west',
  role = 'web',
  environment = 'prod',
  name = 'service-{number}',
  instances = 2,
  task = SequentialTask(
    processes = [
      Process(name = 'fetch', cmdline = 'fetch v{number} {number}'),
      Process(name = 'run', cmdline = './server --port {{{{thermos.ports[http]}}}} --version v{number} {{{{mesos.instance}}}}'),
    ],
    resources = Resources(cpu = 0.5, ram = 128*MB, disk = 256*MB)),
  constraints = {{'host': 'limit:1'}},
  announce = Announcer(),
  update_config = UpdateConfig(batch_size = 2, watch_secs = 30),
))"
        )
        .expect("a text takes all");
    }
    text
}

fn main() {
    let jobs = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(JOBS);
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in [("made by a loop", made_by_a_loop(jobs)), ("written out", written_out(jobs))] {
        let lines = text.lines().count();
        println!("{jobs} jobs {name}, {lines} lines:");
        phases(folder.path(), &text, jobs);
    }
}

fn phases(folder: &Path, text: &str, jobs: usize) {
    let stop = "raise SystemExit(0)\n";
    let request = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file can be written");
        let mut request = EvaluationRequest::new(path.to_str().expect("a plain path"));
        request.executable = Some(EVALUATOR.into());
        request
    };
    let started = fastest(|| stops(&request("start.aurora", stop)));
    let read = fastest(|| stops(&request("read.aurora", &format!("{stop}{text}"))));
    let run = fastest(|| stops(&request("run.aurora", &format!("{text}{stop}"))));
    let whole = request("whole.aurora", text);
    let mut one = whole.clone();
    one.wanted = Some(format!("west/web/prod/service-{}", jobs / 2).parse().expect("a key"));
    let of_one = fastest(|| {
        let evaluation = evaluated(&one);
        let job = evaluation.select(one.wanted.as_ref()).expect("the job is there");
        job.submission("owner", &config::default_tiers()).expect("the job is whole");
    });
    let all = fastest(|| assert_eq!(evaluated(&whole).jobs.len(), jobs));
    let evaluation = evaluated(&whole);
    let checked = fastest(|| {
        for job in &evaluation.jobs {
            job.submission("owner", &config::default_tiers()).expect("the job is whole");
        }
    });
    let total = all + checked;
    for (phase, ms) in [
        ("starting the interpreter", started),
        ("reading the file", read - started),
        ("running it", run - read),
        ("working the jobs out", all - run),
        ("checking and converting them", checked),
    ] {
        println!("  {phase:<32} {ms:9.1} ms {:5.1} %", 100.0 * ms / total);
    }
    println!("  all jobs, to be submitted        {total:9.1} ms");
    println!("  one of them, to be submitted     {of_one:9.1} ms");
    let verdict = if total <= BUDGET_MS { "kept" } else { "missed" };
    println!("  budget of {BUDGET_MS} ms for all: {verdict}");
}

fn evaluated(request: &EvaluationRequest) -> Evaluation {
    config::evaluate(request).unwrap_or_else(|error| panic!("{}", error.render()))
}

fn stops(request: &EvaluationRequest) {
    let error = config::evaluate(request).expect_err("the file stops");
    assert_eq!(error.kind, ErrorKind::Exit, "{}", error.render());
}

/// Milliseconds, of the fastest of some runs: the shares are differences, and whatever else the machine does only adds.
fn fastest(run: impl Fn()) -> f64 {
    let times = (0..RUNS).map(|_| {
        let begin = Instant::now();
        run();
        begin.elapsed().as_secs_f64() * 1e3
    });
    times.fold(f64::INFINITY, f64::min)
}
