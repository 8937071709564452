//! The same job as a file in Python and as data gives the same words to the scheduler, the executor's data to the byte.

use config::{Format, Submission};

use crate::common::request;
use crate::read;

pub fn submissions(evaluation: &config::Evaluation) -> Vec<Submission> {
    let ready = |job: &config::Job| {
        job.submission("me", &config::default_tiers()).unwrap_or_else(|error| panic!("{}", error.render()))
    };
    evaluation.jobs.iter().map(ready).collect()
}

/// That two lists of jobs are the same, to the byte.
pub fn assert_same(a: &[Submission], b: &[Submission], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a.cluster, b.cluster, "{what}");
        assert_eq!(a.raw, b.raw, "{what}");
        assert_eq!(a.job, b.job, "{what}");
    }
}

#[test]
fn every_example_has_its_equal() {
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let of = |name: &str| {
        let path = examples.join(name);
        submissions(
            &config::evaluate(&request(path.to_str().unwrap())).unwrap_or_else(|error| panic!("{}", error.render())),
        )
    };
    for name in ["hello.yaml", "hello.json", "hello.toml"] {
        assert_same(&of("hello.aurora"), &of(name), name);
    }
    for (name, yaml) in EXAMPLES {
        let evaluation = read::evaluated("example.yaml", yaml);
        assert_same(&of(name), &submissions(&evaluation), name);
    }
}

/// What the command line binds for a file of the usage patterns.
const BINDINGS: [(&str, &str, &str); 9] = [
    (BOUND, "CLUSTER", "c"),
    (BOUND, "ROLE", "r"),
    (BOUND, "ENVIRON", "prod"),
    (BOUND, "NAME", "bound"),
    (BOUND, "profile.instances", "3"),
    (BOUND, "version", "9"),
    (BOUND, "missing", "m"),
    ("21_containers", "docker.image[library/python][2.7-slim]", "library/python@sha256:1"),
    ("29_one_of_each_guide", "docker.image[library/python][3-slim]", "library/python@sha256:2"),
];
const BOUND: &str = "14_bound_by_the_command_line";

/// Each pattern of real files has its equal in every format of data.
#[test]
fn every_usage_pattern_has_its_equal() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/beside/files");
    let mut wrong = Vec::new();
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "aurora"));
    assert!(names.len() >= 25);
    for path in names {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut request = request(path.to_str().unwrap());
        for (_, binding, value) in BINDINGS.iter().filter(|(of, ..)| *of == name) {
            request = request.bind(*binding, *value);
        }
        let program = config::evaluate(&request).unwrap_or_else(|error| panic!("{name}: {}", error.render()));
        for (format, extension) in [(Format::Yaml, "yaml"), (Format::Json, "json"), (Format::Toml, "toml")] {
            let written =
                config::convert(&program, format).unwrap_or_else(|error| panic!("{name}: {}", error.render()));
            let data = read::evaluated(&format!("{name}.{extension}"), &written.text);
            wrong.extend(program.differences(&data).into_iter().map(|what| format!("{name}.{extension}: {what}")));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

/// The other examples as data.
const EXAMPLES: [(&str, &str); 4] = [
    (
        "parallel.aurora",
        r#"
cluster: devcluster
role: '{{daybreak.user}}'
environment: devel
name: parallel
instances: 100
task:
  name: parallel
  resources: {cpu: 0.1, ram: 8 MB, disk: 8 MB}
  processes:
  - name: add_up
    cmdline: "\n    first=$(( {{mesos.instance}} * 1000 + 1 ))\n    last=$(( first + 1000 - 1 ))\n    sum=0\n    for number in\
      \ $(seq $first $last); do\n      sum=$(( sum + number ))\n    done\n    echo \"$first..$last: $sum\"\n  "
"#,
    ),
    (
        "ports.aurora",
        r#"
cluster: devcluster
role: '{{daybreak.user}}'
environment: devel
name: ports
instances: 2
task:
  name: ports
  resources: {cpu: 0.1, ram: 16 MB, disk: 16 MB}
  processes:
  - name: show
    cmdline: 'echo "instance {{mesos.instance}}: http is port {{thermos.ports[http]}}, admin is port {{thermos.ports[admin]}}"'
  - name: check
    cmdline: '[ {{thermos.ports[http]}} -ne {{thermos.ports[admin]}} ] && echo "instance {{mesos.instance}}: two different ports"'
  constraints:
  - order: [show, check]
"#,
    ),
    (
        "retry.aurora",
        r#"
cluster: devcluster
role: '{{daybreak.user}}'
environment: devel
name: retry
task:
  name: retry
  resources: {cpu: 0.1, ram: 16 MB, disk: 16 MB}
  processes:
  - name: flaky
    cmdline: "\n    tries=$(( $(cat tries 2>/dev/null || echo 0) + 1 ))\n    echo $tries > tries\n    if [ $tries -lt 3 ]; then\n\
      \      echo \"try $tries: not this time\" >&2\n      exit 1\n    fi\n    echo \"try $tries: it worked\"\n  "
    max_failures: 5
    min_duration: 1
  - {name: report, cmdline: echo "It took $(cat tries) tries"}
  constraints: [{order: [flaky, report]}]
"#,
    ),
    (
        "service.aurora",
        r#"
cluster: devcluster
role: '{{daybreak.user}}'
environment: devel
name: service
instances: 2
service: true
task:
  name: service
  resources: {cpu: 0.1, ram: 16 MB, disk: 16 MB}
  processes:
  - name: ticker
    cmdline: "\n    for round in 1 2 3 4 5; do\n      echo \"instance {{mesos.instance}} on {{mesos.hostname}}: round $round\"\n\
      \      sleep 1\n    done\n  "
"#,
    ),
];
