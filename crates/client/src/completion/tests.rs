//! Candidates for lines as they are typed, from a scheduler that says what the test says.

use std::sync::atomic::{AtomicUsize, Ordering};

use clap::CommandFactory;
use model::{JobConfiguration, JobKey};
use thrift::{
    Call, GetJobUpdateSummariesResult, GetJobsResult, JobUpdateKey, JobUpdateSummary, ResponseResult, RoleSummary,
    RoleSummaryResult, ScheduleStatus as S, ScheduleStatusResult,
};

use super::source::{Answer, Question};
use super::*;
use crate::aurora::arguments::Aurora;
use crate::clusters::Cluster;
use crate::scheduler::wire_key;
use crate::testing::{hello_file, task_of};

fn clusters(names: &[&str]) -> Clusters {
    let mut clusters = Clusters::default();
    names.iter().for_each(|name| clusters.add(Cluster::at(*name, format!("http://{name}.example"))));
    clusters
}

fn jobs() -> Vec<JobConfiguration> {
    let job = |environment: &str, name: &str, cron: Option<&str>| {
        let mut configuration = hello_file().job.unwrap().configuration;
        configuration.key = JobKey::new("www-data", environment, name);
        configuration.cron_schedule = cron.map(str::to_owned);
        configuration
    };
    vec![job("prod", "web", None), job("prod", "worker", None), job("devel", "nightly", Some("0 0 * * *"))]
}

fn answer(_: &Cluster, question: Question) -> Option<Answer> {
    let Question::Call(call) = question else {
        let Question::Page(path) = question else { return None };
        let body: &[u8] = match path {
            "/offers" => br#"[{"hostname": "h1", "x": []}, {"hostname": "h2"}]"#,
            "/maintenance" => br#"{"DRAINED": ["h3"], "SCHEDULED": [], "DRAINING": {"h4": ["task"]}}"#,
            _ => return None,
        };
        return Some(Answer::Page(body.to_vec()));
    };
    let summary = |role: &str| RoleSummary { role: role.into(), job_count: 1, cron_job_count: 0 };
    Some(Answer::Result(Box::new(match *call {
        Call::GetRoleSummary(_) => ResponseResult::RoleSummary(RoleSummaryResult {
            summaries: [summary("www-data"), summary("ops")].into_iter().collect(),
        }),
        Call::GetJobs(_) => ResponseResult::GetJobs(GetJobsResult { configs: jobs().iter().map(Into::into).collect() }),
        Call::GetTasksWithoutConfigs(_) => {
            let job = JobKey::new("www-data", "prod", "web");
            let tasks = (0..3).map(|id| task_of(&job, id, &format!("t{id}"), &[(1, S::Running, None)])).collect();
            ResponseResult::ScheduleStatus(ScheduleStatusResult { tasks })
        }
        Call::GetJobUpdateSummaries(_) => {
            let key = JobUpdateKey { job: Some(wire_key(&JobKey::new("www-data", "prod", "web"))), id: "u-1".into() };
            let summary = JobUpdateSummary { key: Some(key), ..JobUpdateSummary::default() };
            ResponseResult::GetJobUpdateSummaries(GetJobUpdateSummariesResult { update_summaries: vec![summary] })
        }
        _ => return None,
    })))
}

/// What fish is offered for the last word: it is the shell that gets one candidate per line and asks no variables.
fn offered(line: &str, command: Command, names: &[&str]) -> Vec<String> {
    let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    let shown = candidates(Shell::Fish, words, None, command, Source::of(clusters(names), answer, None));
    let shown = String::from_utf8(shown).unwrap();
    shown.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

fn aurora(line: &str) -> Vec<String> {
    offered(&format!("aurora {line}"), Aurora::command(), &["east", "west"])
}

#[test]
fn keys_are_offered_part_by_part() {
    assert_eq!(aurora("job status "), ["devcluster/", "east/", "west/"]);
    assert_eq!(aurora("job status ea"), ["east/ops/", "east/www-data/"], "the only cluster is gone into");
    assert_eq!(aurora("job status east/www-data/"), ["east/www-data/devel/", "east/www-data/prod/"]);
    assert_eq!(aurora("job killall east/www-data/prod/w"), ["east/www-data/prod/web", "east/www-data/prod/worker"]);
    assert_eq!(
        aurora("job killall east/www-data/d"),
        ["east/www-data/devel/nightly"],
        "what has no choice is not typed"
    );
    assert_eq!(aurora("quota get east/"), ["east/ops", "east/www-data"]);
}

#[test]
fn instances_cron_jobs_and_updates_are_known() {
    let web = "east/www-data/prod/web";
    assert_eq!(aurora("job add east/www-data/prod/web/"), [format!("{web}/0"), format!("{web}/1"), format!("{web}/2")]);
    assert_eq!(aurora("job kill east/www-data/prod/web/1"), [format!("{web}/1")]);
    assert_eq!(aurora("cron start east/www-data/"), ["east/www-data/devel/nightly"]);
    assert_eq!(aurora(&format!("update info {web} ")), ["u-1"]);
    assert_eq!(aurora(&format!("update wait {web} u")), ["u-1"]);
}

#[test]
fn hosts_and_roles_of_admin_verbs_are_known() {
    let admin = |line: &str| {
        offered(&format!("aurora_admin {line}"), crate::admin::arguments::AuroraAdmin::command(), &["east", "west"])
    };
    assert_eq!(admin("host_drain ea"), ["east"]);
    assert_eq!(admin("host_status east --hosts h"), ["h1", "h2", "h3", "h4"]);
    assert_eq!(
        admin("host_status east --hosts=h1,h"),
        ["--hosts=h1,h1", "--hosts=h1,h2", "--hosts=h1,h3", "--hosts=h1,h4"]
    );
    assert_eq!(admin("set_quota west w"), ["www-data"]);
}

#[test]
fn verbs_and_options_are_offered_too() {
    assert!(aurora("jo").contains(&"job".to_owned()));
    assert!(aurora("job creat").contains(&"create".to_owned()));
    assert!(aurora("job create --wait").contains(&"--wait-until".to_owned()));
    assert_eq!(aurora("job create --wait-until R"), ["RUNNING"]);
}

#[test]
fn who_answered_is_not_asked_again_at_once_and_who_does_not_answer_offers_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    for (is_there, expected) in [(true, 2), (true, 2), (false, 2)] {
        let counter = asked.clone();
        let ask = move |cluster: &Cluster, question: Question| {
            counter.fetch_add(1, Ordering::Relaxed);
            if is_there { answer(cluster, question) } else { None }
        };
        let source = Source::of(clusters(&["east"]), ask, Some(directory.path().join("kept")));
        assert_eq!(source.roles("east").len(), expected);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let silent = Source::of(clusters(&["east"]), |_, _| None, None);
    assert!(silent.roles("east").is_empty() && silent.hosts("nowhere").is_empty());
}

#[test]
fn every_shell_gets_a_script_that_calls_back() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        for command in ["daybreak", "aurora", "aurora_admin", "thermos"] {
            let script = String::from_utf8(script(shell, command)).unwrap();
            assert!(script.contains(VARIABLE) && script.contains(command), "{shell:?}: {script}");
        }
    }
}
