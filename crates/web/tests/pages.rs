//! The pages, drawn through the router from a hand-made cluster.

#[path = "fixture/mod.rs"]
mod fixture;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use fixture::{HOSTILE, Harness, Known, NOW_MS};
use futures::StreamExt;
use model::{JobKey, TaskStatus};
use scheduler::{Command, Reply, ReplyCode, View};
use tower::ServiceExt;

fn clock() -> i64 {
    NOW_MS
}

fn cluster() -> (Router, Harness, Known) {
    let (view, files, known) = fixture::cluster(NOW_MS);
    let harness = fixture::harness(view, files, clock);
    (web::router(harness.state.clone()), harness, known)
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 32 << 20).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&bytes).into_owned() }
}

async fn get(router: &Router, path: &str) -> Answer {
    ask(router, Request::get(path).header("host", "localhost:8081").body(Body::empty()).unwrap()).await
}

async fn page(router: &Router, path: &str) -> String {
    let answer = get(router, path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    answer.body
}

/// What a reader sees: without tags, spaces joined.
fn text(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => {
                inside = true;
                text.push(' ');
            }
            '>' => inside = false,
            _ if !inside => text.push(c),
            _ => {}
        }
    }
    let text = text.replace("&#60;", "<").replace("&#62;", ">").replace("&#38;", "&").replace("&#34;", "\"");
    let unescaped = text.replace("&#39;", "'").replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
    unescaped.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn task_path(key: &JobKey, id: &model::TaskId) -> String {
    format!("/scheduler/{key}/task/{id}")
}

#[tokio::test]
async fn the_root_leads_to_the_roles() {
    let (router, ..) = cluster();
    for path in ["/", "/index.html", "/scheduler/"] {
        let answer = get(&router, path).await;
        assert!(answer.status.is_redirection(), "{path}");
        assert_eq!(answer.headers[header::LOCATION], "/scheduler");
    }
}

#[tokio::test]
async fn roles_show_counts_per_state_and_machines_their_room() {
    let (router, ..) = cluster();
    let seen = text(&page(&router, "/scheduler").await);
    assert!(seen.contains("3 roles with 9 jobs"), "{seen}");
    assert!(
        seen.contains(
            "www-data 3 jobs, 3 active 11 RUNNING 1 STARTING 3 PENDING 1 THROTTLED 3 FAILED 30 FINISHED 4 KILLED"
        ),
        "{seen}"
    );
    assert!(seen.contains("worker-1.example cpu 1.5 of 8 memory 1.6 of 15.5 GB"), "{seen}");
}

#[tokio::test]
async fn an_empty_cluster_says_how_to_begin() {
    let mut builder = fixture::Builder::new(NOW_MS);
    builder.agent("this-machine", fixture::machine(8.0, 15_872, 240_000), fixture::machine(8.0, 15_872, 240_000));
    let harness = fixture::harness(builder.view, builder.files, clock);
    let html = page(&web::router(harness.state), "/scheduler").await;
    let seen = text(&html);
    assert!(seen.contains("/opt/daybreak/bin/daybreak tutorial ~/hello"), "{seen}");
    assert!(seen.contains("/opt/daybreak/bin/daybreak aurora job create devcluster/www-data/devel/sample"), "{seen}");
    assert!(seen.contains("this-machine cpu 0 of 8 memory 0 of 15.5 GB"), "{seen}");
    assert!(html.contains(r#"<form method="post" action="/sample-job">"#));
}

#[tokio::test]
async fn a_role_lists_jobs_by_environment_and_finds_by_name() {
    let (router, ..) = cluster();
    let seen = text(&page(&router, "/scheduler/www-data").await);
    assert!(seen.contains("devel Job Tasks Last change hello_world service 1 THROTTLED 2 FAILED"), "{seen}");
    assert!(seen.contains("frontend service 7 RUNNING 1 STARTING 4 KILLED ROLLING_FORWARD"), "{seen}");
    let prod = text(&page(&router, "/scheduler/www-data/prod").await);
    assert!(prod.contains("thumbnails") && !prod.contains("hello_world"), "{prod}");
    let found = text(&page(&router, "/scheduler/www-data?q=THUMB").await);
    assert!(found.contains("thumbnails") && !found.contains("frontend"), "{found}");
}

#[tokio::test]
async fn jobs_are_found_across_roles_and_the_only_one_is_shown_at_once() {
    let (router, ..) = cluster();
    let several = text(&page(&router, "/scheduler?q=prod+T").await);
    assert!(
        several.contains("data/prod") && several.contains("trainer") && several.contains("thumbnails"),
        "{several}"
    );
    assert!(!several.contains("import"), "{several}");
    let only = get(&router, "/scheduler?q=Hello").await;
    assert_eq!(only.headers[header::LOCATION], "/scheduler/www-data/devel/hello_world");
    let none = text(&page(&router, "/scheduler?q=%3Cb%3E").await);
    assert!(none.contains("No job here has “<b>” in its name."), "{none}");
}

#[tokio::test]
async fn a_flapping_job_shows_exit_code_stderr_and_the_time_left() {
    let (router, _, known) = cluster();
    let html = page(&router, "/scheduler/www-data/devel/hello_world").await;
    let seen = text(&html);
    assert!(seen.contains("hello_world ended: exit 1 NameError: name 'xrang' is not defined Traceback"), "{seen}");
    assert_eq!(html.matches("class=\"failure\"").count(), 2);
    assert_eq!(html.matches(" open>").count(), 1, "only the latest failure is unfolded");
    assert!(seen.contains("NameError: name 'xrang' is not defined"), "{seen}");
    assert!(seen.contains("THROTTLED not placed flapping , 27 s left until it is tried again"), "{seen}");
    assert!(html.contains("data-left"));
    assert!(seen.contains("Configuration Kind service") && seen.contains("1 cpu, 1 MB memory, 8 MB disk"), "{seen}");
    // Clicking the host leads to the task's page, as it does in Aurora.
    let address = task_path(&fixture::hello(), &known.failed);
    assert!(html.contains(&format!(r#"<a href="{address}">worker-1.example</a>"#)));
}

#[tokio::test]
async fn the_tutorials_clicks_lead_from_the_roles_to_stderr() {
    let (router, ..) = cluster();
    let mut address = "/scheduler".to_owned();
    for label in [">www-data</a>", ">hello_world</a>", ">worker-1.example</a>", ">stderr</a>"] {
        let html = page(&router, &address).await;
        // The last stderr link of the task's page is that of the failed process.
        let at = if label == ">stderr</a>" { html.rfind(label) } else { html.find(label) };
        let before = &html[..at.unwrap_or_else(|| panic!("{label} at {address}"))];
        let start = before.rfind("href=\"").unwrap() + 6;
        address = before[start..].split('"').next().unwrap().to_owned();
    }
    assert!(address.ends_with("/log/hello_world/0/stderr"), "{address}");
    let seen = text(&page(&router, &address).await);
    assert!(seen.contains("NameError: name 'xrang' is not defined") && seen.contains("exit 1"), "{seen}");
}

#[tokio::test]
async fn pending_instances_say_why() {
    let (router, ..) = cluster();
    let seen = text(&page(&router, "/scheduler/www-data/prod/thumbnails").await);
    assert!(seen.contains("Why is it not running? Instances 35–37"), "{seen}");
    assert!(seen.contains("needs 2 cpu, the roomiest machine has 1.5 free"), "{seen}");
    assert!(seen.contains("Insufficient: CPU 3 of 3 machines"), "{seen}");
    assert!(!seen.contains("SIGKILL") && seen.contains("ended: Memory limit exceeded"), "{seen}");
}

#[tokio::test]
async fn everything_that_waits_is_on_one_page() {
    let (router, ..) = cluster();
    let seen = text(&page(&router, "/pending").await);
    assert!(seen.contains("Pending 3 tasks of 1 job"), "{seen}");
    assert!(seen.contains("www-data/prod/thumbnails 3 instances wait Instances 35–37"), "{seen}");
    assert!(seen.contains("needs 2 cpu, the roomiest machine has 1.5 free"), "{seen}");
    let roles = page(&router, "/scheduler").await;
    assert!(roles.contains(r#"<a href="/pending">why 3 tasks are pending</a>"#), "{roles}");
    let harness = fixture::harness(fixture::Builder::new(NOW_MS).view, fixture::Builder::new(NOW_MS).files, clock);
    let empty = text(&page(&web::router(harness.state), "/pending").await);
    assert!(empty.contains("No task waits for a place."), "{empty}");
}

#[tokio::test]
async fn a_role_shows_its_quota_and_what_its_production_tasks_hold() {
    let (router, harness, _) = cluster();
    let without = text(&page(&router, "/scheduler/www-data").await);
    assert!(!without.contains("Quota"), "{without}");
    let quota = model::Resources { cpu: model::CpuMillis(4_000), ram_mb: 4096, disk_mb: 8192, ports: 0, gpus: 0 };
    Arc::make_mut(&mut harness.view.lock().unwrap()).quotas.insert("www-data".into(), quota);
    let seen = text(&page(&router, "/scheduler/www-data").await);
    assert!(seen.contains("Quota cpu 0 of 4 memory 0 of 4 GB disk 0 of 8 GB"), "{seen}");
    assert!(seen.contains("daybreak admin increase_quota devcluster www-data 1.0 1GB 1GB"), "{seen}");
    let environment = text(&page(&router, "/scheduler/www-data/prod").await);
    assert!(!environment.contains("Quota"), "{environment}");
}

#[tokio::test]
async fn a_pending_instance_without_machines_says_that() {
    let mut builder = fixture::Builder::new(NOW_MS);
    let key = JobKey::new("r", "devel", "j");
    let config = Arc::new(fixture::config(&key, 1.0, 1, 1, &[]));
    builder.task(&config, 0, None, &[(5, TaskStatus::Pending, "")]);
    builder.view.registered = false;
    let harness = fixture::harness(builder.view, builder.files, clock);
    let seen = text(&page(&web::router(harness.state), "/scheduler/r/devel/j").await);
    assert!(seen.contains("The engine that runs tasks is not connected."), "{seen}");
}

#[tokio::test]
async fn every_page_says_since_when_the_engine_is_away() {
    let mut builder = fixture::Builder::new(NOW_MS);
    let key = JobKey::new("r", "devel", "j");
    let config = Arc::new(fixture::config(&key, 1.0, 1, 1, &[]));
    builder.task(&config, 0, None, &[(5, TaskStatus::Pending, "")]);
    builder.view.disconnected_since_ms = Some(NOW_MS - 300_000);
    let harness = fixture::harness(builder.view, builder.files, clock);
    let router = web::router(harness.state);
    for path in ["/scheduler", "/agents", "/updates", "/scheduler/r/devel/j"] {
        let seen = text(&page(&router, path).await);
        assert!(seen.contains("Disconnected from Mesos since 20"), "{path}: {seen}");
    }
    let (router, ..) = cluster();
    assert!(!text(&page(&router, "/agents").await).contains("Disconnected"));
}

#[tokio::test]
async fn only_one_status_can_be_listed() {
    let (router, ..) = cluster();
    let seen = text(&page(&router, "/scheduler/www-data/prod/thumbnails?status=FAILED").await);
    assert!(seen.contains("Active 0 only FAILED") && seen.contains("Completed 1"), "{seen}");
}

#[tokio::test]
async fn a_task_shows_processes_runs_use_and_history() {
    let (router, _, known) = cluster();
    let html = page(&router, &task_path(&fixture::frontend(), &known.running)).await;
    let seen = text(&html);
    assert!(seen.contains("install tar xf /srv/packages/frontend-2.41.tar.gz SUCCESS exit 0"), "{seen}");
    assert!(seen.contains("RUNNING run 1") && seen.contains("run 0 FAILED exit 98"), "{seen}");
    assert!(seen.contains("report ./report.sh --final WAITING"), "{seen}");
    assert!(seen.contains("cpu 0.23 of 0.5 memory 418 of 768 MB, peak 553 MB disk 0.2 of 1 GB"), "{seen}");
    assert!(seen.contains("Other runs of instance 0") && seen.contains("Killed for job update"), "{seen}");
    assert!(html.contains(r#"href="http://worker-1.example:31001""#), "task links are filled in");
}

#[tokio::test]
async fn an_instance_number_leads_to_its_newest_task() {
    let (router, _, known) = cluster();
    let answer = get(&router, "/scheduler/www-data/prod/frontend/0").await;
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(answer.headers[header::LOCATION], task_path(&fixture::frontend(), &known.running));
    assert_eq!(get(&router, "/scheduler/www-data/prod/frontend/99").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&router, "/scheduler/www-data/prod/frontend/-1").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn hostile_text_never_becomes_markup() {
    let (router, _, known) = cluster();
    let key = JobKey::new("data", "test", "hostile");
    let task = task_path(&key, &known.hostile);
    let process = "%3Cscript%3Ealert%28%27x%27%29%3C%2Fscript%3E";
    for path in [
        "/scheduler/data/test/hostile".to_owned(),
        task.clone(),
        format!("{task}/log/{process}/0/stderr"),
        format!("{task}/files"),
        "/agents".into(),
        format!("/scheduler/{process}"),
        format!("/scheduler/data/test/{process}"),
        format!("/scheduler/data/test/hostile/{process}"),
        format!("/scheduler/data/test/hostile/task/{process}"),
        format!("/scheduler/data/test/hostile/update/{process}"),
        format!("/agents?host={process}"),
        format!("/scheduler/data?q={process}"),
        format!("/{process}"),
    ] {
        let answer = get(&router, &path).await;
        assert_eq!(answer.body.matches("<script").count(), 1, "only our own script at {path}");
        assert!(!answer.body.contains("=\"javascript:"), "{path}");
        assert!(!answer.body.contains(HOSTILE), "{path}");
    }
    let html = page(&router, &format!("{task}/log/{process}/0/stderr")).await;
    assert!(html.contains("&lt;script&gt;") && html.contains("after"), "{html}");
    assert!(text(&page(&router, &task).await).contains("exit 127 (command not found)"));
}

#[tokio::test]
async fn a_log_is_drawn_with_colours_numbers_and_a_way_to_follow() {
    let (router, _, known) = cluster();
    let task = task_path(&fixture::frontend(), &known.running);
    let html = page(&router, &format!("{task}/log/serve/1/stdout")).await;
    assert!(html.contains(r#"<span class="f2 ab">INFO </span>"#));
    assert!(html.contains("reading &lt;body&gt; of POST"));
    assert!(html.contains(r#"data-n="400""#) && html.contains("/follow/serve/1/stdout?from="));
    // A run that has ended is not followed.
    let ended = page(&router, &format!("{task}/log/serve/0/stderr")).await;
    assert!(ended.contains(r#"data-follow="""#) && text(&ended).contains("The process has ended: exit 98."), "{ended}");
}

#[tokio::test]
async fn following_a_log_sends_what_is_appended_and_the_end() {
    let (router, harness, known) = cluster();
    let task = task_path(&fixture::frontend(), &known.running);
    let log = (known.running.clone(), "serve".to_owned(), 1, "stdout");
    harness.files.logs.lock().unwrap().insert(log.clone(), b"one\ntw".to_vec());
    let request = Request::get(format!("{task}/follow/serve/1/stdout?from=0&line=1")).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    let mut seen = String::new();
    let mut step = 0;
    while let Some(chunk) = body.next().await {
        seen.push_str(&String::from_utf8_lossy(&chunk.unwrap()));
        if step == 0 && seen.contains("event: part") {
            assert!(seen.contains("event: lines") && seen.contains(">one"), "{seen}");
            assert!(seen.contains("data: tw"), "{seen}");
            harness.files.logs.lock().unwrap().get_mut(&log).unwrap().extend_from_slice(b"o\nthree");
            step = 1;
        } else if step == 1 && seen.contains("data: three") {
            assert!(seen.contains(">two"), "{seen}");
            let mut tasks = harness.files.tasks.lock().unwrap();
            let run = &mut tasks.get_mut(&known.running).unwrap().processes[1].runs[1];
            run.state = engine::files::ProcessState::Success;
            step = 2;
        }
    }
    assert_eq!(step, 2);
    let end = &seen[seen.find("event: end").expect("the end is told")..];
    assert!(end.contains("three"), "{end}");
}

#[tokio::test(start_paused = true)]
async fn the_output_of_several_instances_is_followed_together() {
    let (router, harness, known) = cluster();
    let key = fixture::frontend();
    let other = harness.view.lock().unwrap().tasks_of(&key).find(|task| task.instance == 5).unwrap().id.clone();
    let info = harness.files.tasks.lock().unwrap()[&known.running].clone();
    harness
        .files
        .tasks
        .lock()
        .unwrap()
        .insert(other.clone(), engine::files::TaskInfo { task_id: other.clone(), ..info });
    let log = |id: &model::TaskId| (id.clone(), "serve".to_owned(), 1, "stdout");
    harness.files.logs.lock().unwrap().insert(log(&other), b"from five\n".to_vec());
    let html = page(&router, "/scheduler/www-data/prod/frontend/logs").await;
    assert!(text(&html).contains("serve stdout") && text(&html).contains("from five"), "{}", text(&html));
    assert!(html.contains(&format!(r#"href="{}/log/serve/1/stdout?at=0#o0">5 </a>"#, task_path(&key, &other))));
    let start = html.find("data-follow=\"").unwrap() + 13;
    let address = html[start..].split('"').next().unwrap().replace("&#38;", "&");
    assert!(address.contains("5:1:10"), "{address}");
    let mut body = get_stream(&router, &address).await;
    harness.files.logs.lock().unwrap().get_mut(&log(&other)).unwrap().extend_from_slice(b"more of five\n");
    let mut seen = String::new();
    while !seen.contains("more of five") {
        seen.push_str(&String::from_utf8_lossy(&body.next().await.unwrap().unwrap()));
    }
    assert!(!seen.contains("from five") && seen.contains("5:1:23"), "nothing twice, and where it stands: {seen}");
    // The process of instance 5 ends and runs again.
    {
        let mut tasks = harness.files.tasks.lock().unwrap();
        let runs = &mut tasks.get_mut(&other).unwrap().processes[1].runs;
        runs[1].state = engine::files::ProcessState::Failed;
        runs.push(engine::files::ProcessRun { run: 2, state: engine::files::ProcessState::Running, ..runs[1].clone() });
    }
    let again = (other, "serve".to_owned(), 2, "stdout");
    harness.files.logs.lock().unwrap().insert(again, b"five again\n".to_vec());
    while !seen.contains("five again") {
        seen.push_str(&String::from_utf8_lossy(&body.next().await.unwrap().unwrap()));
    }
}

#[tokio::test]
async fn a_rotated_log_is_followed_from_its_beginning() {
    let (router, harness, known) = cluster();
    let task = task_path(&fixture::frontend(), &known.running);
    *harness.files.identity.lock().unwrap() = 2;
    let log = (known.running.clone(), "serve".to_owned(), 1, "stdout");
    harness.files.logs.lock().unwrap().insert(log, b"fresh\n".to_vec());
    let request =
        Request::get(format!("{task}/follow/serve/1/stdout?from=9000&identity=1")).body(Body::empty()).unwrap();
    let mut body = router.oneshot(request).await.unwrap().into_body().into_data_stream();
    let mut seen = String::new();
    while !seen.contains(">fresh") {
        seen.push_str(&String::from_utf8_lossy(&body.next().await.unwrap().unwrap()));
    }
    assert!(seen.find("event: rotated").unwrap() < seen.find("event: lines").unwrap(), "{seen}");
}

#[tokio::test]
async fn raw_output_is_plain_text_or_a_download_and_never_a_page() {
    let (router, _, known) = cluster();
    let task = task_path(&fixture::hello(), &known.failed);
    let plain = get(&router, &format!("{task}/raw/hello_world/0/stderr")).await;
    assert!(plain.body.ends_with("NameError: name 'xrang' is not defined\n"));
    assert_eq!(plain.headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(plain.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert!(plain.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("sandbox"));
    let kept = get(&router, &format!("{task}/raw-file/hello_world.py?download")).await;
    assert_eq!(kept.headers[header::CONTENT_DISPOSITION], "attachment; filename=\"hello_world.py\"");
    assert_eq!(kept.headers[header::CONTENT_TYPE], "application/octet-stream");
}

#[tokio::test]
async fn a_large_file_is_sent_whole() {
    let (view, mut files, known) = fixture::cluster(NOW_MS);
    let large: Vec<u8> = (0..1_000_003u32).map(|byte| b'a' + (byte % 26) as u8).collect();
    files.files.insert((known.running.clone(), "large".into()), large.clone());
    let harness = fixture::harness(view, files, clock);
    let answer = get(
        &web::router(harness.state),
        &format!("{}/raw-file/large", task_path(&fixture::frontend(), &known.running)),
    )
    .await;
    assert_eq!(answer.body.as_bytes(), large);
}

#[tokio::test]
async fn the_sandbox_is_browsed_and_its_files_are_shown() {
    let (router, _, known) = cluster();
    let task = task_path(&fixture::frontend(), &known.running);
    let root = text(&page(&router, &format!("{task}/files")).await);
    assert!(root.contains(".logs/") && root.contains("conf/") && root.contains("README 14 B"), "{root}");
    let inner = page(&router, &format!("{task}/files/conf")).await;
    assert!(inner.contains("&#60;b&#62;bold.txt") || inner.contains("&lt;b&gt;bold.txt"), "{inner}");
    assert!(inner.contains("/files/conf/%3Cb%3Ebold.txt"), "{inner}");
    assert!(text(&page(&router, &format!("{task}/files/conf/server.toml")).await).contains("workers = 4"));
    assert!(text(&page(&router, &format!("{task}/files/frontend")).await).contains("This is not text."));
    let pipe = get(&router, &format!("{task}/files/pipe")).await;
    assert_eq!(pipe.status, StatusCode::FORBIDDEN);
    assert!(text(&pipe.body).contains("it is no regular file"), "{}", pipe.body);
    let gone = get(&router, &format!("{task}/files/no/such")).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert!(text(&gone.body).contains("may have been collected. The sandbox"), "{}", gone.body);
}

#[tokio::test]
async fn files_are_reached_only_through_their_own_job() {
    let (router, _, known) = cluster();
    for rest in [
        "",
        "/files",
        "/files/README",
        "/raw-file/README",
        "/log/serve/1/stdout",
        "/raw/serve/1/stdout",
        "/follow/serve/1/stdout",
    ] {
        let path = format!("/scheduler/www-data/devel/hello_world/task/{}{rest}", known.running);
        assert_eq!(get(&router, &path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn an_update_shows_instances_events_and_settings() {
    let (router, _, known) = cluster();
    let html = page(&router, &format!("/scheduler/www-data/prod/frontend/update/{}", known.update)).await;
    let seen = text(&html);
    assert!(seen.contains("ROLLING_FORWARD") && seen.contains("3 of 8 instances done"), "{seen}");
    assert!(seen.contains("What changes Setting Before After resources.ram_mb 512 768 History"), "{seen}");
    assert!(seen.contains("INSTANCE_UPDATED instance 2") && seen.contains("1 at a time"), "{seen}");
    assert!(html.contains("Instance 3: updating") && html.contains("Instance 7: waiting"), "{html}");
    let list = text(&page(&router, "/updates").await);
    assert!(list.contains("Under way 1 ROLLING_FORWARD www-data/prod/frontend"), "{list}");
    assert!(list.contains("Ended 3 ROLLED_FORWARD") && list.contains("ABORTED"), "{list}");
}

#[tokio::test]
async fn an_update_that_waits_for_room_in_the_journal_says_so() {
    for space_low in [false, true] {
        let (mut view, files, known) = fixture::cluster(NOW_MS);
        view.space_low = space_low;
        let path = format!("/scheduler/www-data/prod/frontend/update/{}", known.update);
        let seen = text(&page(&web::router(fixture::harness(view, files, clock).state), &path).await);
        assert_eq!(seen.contains("Waiting: the disk of the scheduler's journal is nearly full"), space_low, "{seen}");
    }
}

#[tokio::test]
async fn an_update_that_rests_says_what_it_waits_for() {
    use model::update::UpdateStatus::{RollForwardAwaitingPulse, RollForwardPaused, RollingForward};
    let cases = [
        (RollingForward, None, ""),
        (RollForwardPaused, None, "aurora update resume devcluster/www-data/prod/frontend"),
        (RollForwardAwaitingPulse, None, "Waiting for a pulse of its coordinator: none has come yet."),
        (RollForwardAwaitingPulse, Some(NOW_MS - 90_000), "the last one came 1 min 30 s ago."),
    ];
    for (status, pulse, expected) in cases {
        let (mut view, files, known) = fixture::cluster(NOW_MS);
        let key = model::UpdateKey { job: fixture::frontend(), id: known.update };
        let mut update = (**view.updates.get(&key).unwrap()).clone();
        update.events[0].status = status;
        update.metadata = [model::Metadata { key: "ticket".into(), value: "OPS-7".into() }].into();
        view.updates.insert(key.clone(), Arc::new(update));
        if let Some(pulse) = pulse {
            view.update_pulses.insert(key.clone(), pulse);
        }
        let path = format!("/scheduler/www-data/prod/frontend/update/{}", key.id);
        let seen = text(&page(&web::router(fixture::harness(view, files, clock).state), &path).await);
        assert!(seen.contains(expected) && seen.contains("Metadata ticket OPS-7"), "{seen}");
        assert_eq!(seen.contains("Waiting for a pulse") || seen.contains("Paused: "), !expected.is_empty(), "{seen}");
        assert!(seen.contains("Changes instances 0–7."), "{seen}");
    }
}

#[tokio::test]
async fn agents_show_their_maintenance_and_what_ends_it() {
    let (mut view, files, _) = fixture::cluster(clock());
    fixture::maintain(&mut view, clock());
    let router = web::router(fixture::harness(view, files, clock).state);
    let all = text(&page(&router, "/agents").await);
    assert!(all.contains("5 machines") && all.contains("worker-8.example"), "drained and gone is not forgotten: {all}");
    for expected in ["SCHEDULED", "DRAINING", "DRAINED"] {
        assert!(all.contains(&format!("Maintenance: {expected}")), "{expected}: {all}");
    }
    assert_eq!(all.matches("Maintenance:").count(), 3, "the third machine is in use: {all}");
    let one = text(&page(&router, "/agents?host=worker-2.example").await);
    assert!(one.contains("at least 95 % of the other instances must be up for 30 min"), "{one}");
    assert!(one.contains("7 tasks stay here for now. What is left is moved regardless in"), "{one}");
    assert!(one.contains("admin host_activate devcluster --hosts worker-2.example"), "{one}");
}

#[tokio::test]
async fn services_show_how_long_they_have_been_up() {
    let (router, ..) = cluster();
    let frontend = text(&page(&router, "/scheduler/www-data/prod/frontend").await);
    assert!(frontend.contains("Uptime 50 %") && frontend.contains("99 %"), "{frontend}");
}

#[tokio::test]
async fn agents_show_room_and_what_runs_there() {
    let (router, ..) = cluster();
    let all = text(&page(&router, "/agents").await);
    assert!(all.contains("4 machines") && all.contains("worker-9.example not connected"), "{all}");
    let one = text(&page(&router, "/agents?host=worker-2.example").await);
    assert!(one.contains("7 RUNNING") && !one.contains("worker-1.example"), "{one}");
    assert_eq!(get(&router, "/agents?host=nowhere").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&router, "/slaves").await.headers[header::LOCATION], "/agents");
}

#[tokio::test]
async fn a_configuration_can_be_had_as_a_job_file() {
    let (router, ..) = cluster();
    let html = page(&router, "/scheduler/www-data/prod/frontend").await;
    assert!(
        html.contains("href=\"/scheduler/www-data/prod/frontend/configuration.json?instance=4\" download"),
        "{html}"
    );
    let answer = get(&router, "/scheduler/www-data/prod/frontend/configuration.json?instance=4").await;
    assert_eq!(answer.headers[header::CONTENT_DISPOSITION], "attachment; filename=\"frontend.json\"");
    let job: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((job["instances"].as_u64(), job["task"]["processes"][0]["name"].as_str()), (Some(8), Some("serve")));
    assert_eq!(get(&router, "/scheduler/www-data/prod/no/configuration.json").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn pages_of_what_is_not_there_say_what_to_do() {
    let (router, ..) = cluster();
    for (path, words) in [
        ("/scheduler/nobody", "daybreak aurora job create devcluster/nobody/devel/NAME FILE.aurora"),
        ("/scheduler/www-data/test", "All jobs of www-data"),
        ("/scheduler/www-data/devel/helo", "www-data/devel/hello_world"),
        ("/scheduler/www-data/devel/hello_world/task/gone", "The history of ended tasks is removed after a while"),
        ("/scheduler/www-data/devel/hello_world/update/gone", "All updates"),
        ("/nothing/here", "A job's page is at /scheduler/ROLE/ENVIRONMENT/JOB"),
    ] {
        let answer = get(&router, path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(text(&answer.body).contains(words), "{path}: {}", text(&answer.body));
    }
}

fn post() -> Request<Body> {
    Request::post("/sample-job").header("host", "localhost").body(Body::empty()).unwrap()
}

#[tokio::test]
async fn the_sample_job_is_asked_for_and_shown() {
    let (router, harness, _) = cluster();
    let answer = ask(&router, post()).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.headers[header::LOCATION], "/scheduler/www-data/devel/sample");
    let submitted = harness.submitted.lock().unwrap();
    assert!(matches!(submitted.as_slice(), [Command::CreateJob(job)] if job.key.name == "sample"), "{submitted:?}");
}

#[tokio::test]
async fn a_sample_job_that_runs_already_is_shown_and_not_asked_for_again() {
    let (view, files, _) = fixture::cluster(NOW_MS);
    let mut builder = fixture::Builder::new(NOW_MS);
    builder.view = view;
    builder.running(&Arc::new(fixture::sample_job().task), 0, "worker-1.example", 3);
    let harness = fixture::harness(builder.view, files, clock);
    let answer = ask(&web::router(harness.state), post()).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(harness.submitted.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_refused_sample_job_shows_the_schedulers_reason() {
    let (_, harness, _) = cluster();
    let mut state = harness.state.clone();
    state.submit = Arc::new(|_, _| {
        Box::pin(async { Reply::refused(ReplyCode::ErrorTransient, "The disk is full: free some space.") })
    });
    let answer = ask(&web::router(state), post()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(&answer.body).contains("The disk is full: free some space."));
}

#[tokio::test]
async fn every_page_forbids_foreign_and_inline_code() {
    let (router, _, known) = cluster();
    let task = task_path(&fixture::frontend(), &known.running);
    for path in ["/scheduler", "/agents", "/updates", "/scheduler/www-data/prod/frontend", &task, "/nothing"] {
        let answer = get(&router, path).await;
        let policy = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(!answer.body.contains(" style=") && !answer.body.contains(" onclick"), "{path}");
        // Links of tasks to themselves are the user's own; nothing is loaded from them.
        let ours = answer.body.replace("<a href=\"http://worker-", "");
        assert!(!ours.contains("=\"http") && !ours.contains("=\"//"), "{path} names another host");
    }
}

#[tokio::test]
async fn assets_are_kept_for_good_under_the_name_of_their_content() {
    let (router, ..) = cluster();
    let html = page(&router, "/scheduler").await;
    for kind in [".css", ".js", ".svg"] {
        let end = html.find(&format!("{kind}\"")).unwrap() + kind.len();
        let start = html[..end].rfind('"').unwrap() + 1;
        let answer = get(&router, &html[start..end]).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.headers[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    }
    let old = get(&router, "/assets/daybreak.00000000.css").await;
    assert_eq!((old.status, old.headers[header::CACHE_CONTROL].to_str().unwrap()), (StatusCode::OK, "no-cache"));
    assert_eq!(get(&router, "/assets/other.css").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_fragment_is_the_page_without_its_frame() {
    let (router, ..) = cluster();
    let request = Request::get("/scheduler").header("daybreak-fragment", "1").body(Body::empty()).unwrap();
    let answer = ask(&router, request).await;
    assert!(!answer.body.contains("<html") && answer.body.contains("www-data"));
    assert_eq!(answer.headers[header::VARY], "daybreak-fragment");
}

fn transition(key: &JobKey) -> Arc<scheduler::Transition> {
    Arc::new(scheduler::Transition {
        job: key.clone(),
        instance: 0,
        task_id: model::TaskId("t".into()),
        from: None,
        to: Some(TaskStatus::Pending),
        reason: None,
        timestamp_ms: NOW_MS,
    })
}

async fn next_chunk(body: &mut (impl StreamExt<Item = Result<bytes::Bytes, axum::Error>> + Unpin)) -> Option<String> {
    let wait = std::time::Duration::from_millis(400);
    let chunk = tokio::time::timeout(wait, body.next()).await.ok()??.unwrap();
    Some(String::from_utf8_lossy(&chunk).into_owned())
}

#[tokio::test]
async fn a_slash_too_many_is_forgiven_but_leads_nowhere_else() {
    let (router, ..) = cluster();
    let answer = get(&router, "/scheduler/www-data/devel/").await;
    assert_eq!(answer.headers[header::LOCATION], "/scheduler/www-data/devel");
    assert_eq!(get(&router, "//evil.example/").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_task_without_files_says_where_they_are() {
    let (router, harness, known) = cluster();
    let path = task_path(&fixture::frontend(), &known.running);
    harness.files.tasks.lock().unwrap().clear();
    assert!(text(&page(&router, &path).await).contains("It is being started; its processes appear here in a moment."));
    let failed = task_path(&fixture::hello(), &known.failed);
    assert!(text(&page(&router, &failed).await).contains("Its files are gone"));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_is_told_though_the_task_goes_on() {
    let (router, harness, known) = cluster();
    let html = page(&router, &task_path(&fixture::frontend(), &known.running)).await;
    let start = html.find("data-live=\"").unwrap() + 11;
    let address = html[start..].split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    let mut body = get_stream(&router, &address).await;
    next_chunk(&mut body).await;
    let quiet = tokio::time::timeout(std::time::Duration::from_secs(20), body.next()).await;
    assert!(quiet.is_err() || !String::from_utf8_lossy(&quiet.unwrap().unwrap().unwrap()).contains("refresh"));
    harness.files.tasks.lock().unwrap().get_mut(&known.running).unwrap().processes[1].runs[1].return_code = Some(0);
    loop {
        let chunk = body.next().await.unwrap().unwrap();
        if String::from_utf8_lossy(&chunk).contains("event: refresh") {
            break;
        }
    }
}

async fn get_stream(
    router: &Router,
    path: &str,
) -> impl futures::Stream<Item = Result<bytes::Bytes, axum::Error>> + Unpin + use<> {
    let request = Request::get(path).body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap().into_body().into_data_stream()
}

#[tokio::test]
async fn the_live_stream_tells_of_its_scope_and_is_silent_otherwise() {
    let (router, harness, _) = cluster();
    let request =
        Request::get("/live?since=4711&role=www-data&environment=devel&job=hello_world").body(Body::empty()).unwrap();
    let mut body = router.oneshot(request).await.unwrap().into_body().into_data_stream();
    assert!(next_chunk(&mut body).await.unwrap().contains(": open"));
    harness.transitions.send(transition(&fixture::frontend())).unwrap();
    assert_eq!(next_chunk(&mut body).await, None, "another job's change is not told");
    harness.transitions.send(transition(&fixture::hello())).unwrap();
    assert!(next_chunk(&mut body).await.unwrap().contains("event: refresh"));
}

#[tokio::test]
async fn a_page_drawn_before_a_change_is_refreshed_at_once() {
    let (router, ..) = cluster();
    let request = Request::get("/live?since=4000").body(Body::empty()).unwrap();
    let mut body = router.oneshot(request).await.unwrap().into_body().into_data_stream();
    next_chunk(&mut body).await;
    assert!(next_chunk(&mut body).await.unwrap().contains("event: refresh"));
}

#[tokio::test(start_paused = true)]
async fn an_updates_end_is_told_though_no_task_changes() {
    let (router, harness, known) = cluster();
    let request =
        Request::get("/live?since=4711&role=www-data&environment=prod&job=frontend").body(Body::empty()).unwrap();
    let mut body = router.oneshot(request).await.unwrap().into_body().into_data_stream();
    next_chunk(&mut body).await;
    let mut view = View::clone(&harness.view.lock().unwrap());
    let key = model::UpdateKey { job: fixture::frontend(), id: known.update };
    let mut update = (**view.updates.get(&key).unwrap()).clone();
    let mut event = update.events[0].clone();
    event.status = model::update::UpdateStatus::RolledForward;
    update.events.push(event);
    view.updates.insert(key, Arc::new(update));
    view.position += 1;
    *harness.view.lock().unwrap() = Arc::new(view);
    let chunk = body.next().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&chunk).contains("event: refresh"));
}

#[tokio::test]
async fn a_hundred_thousand_tasks_are_paged() {
    let mut builder = fixture::Builder::new(NOW_MS);
    for job in 0..25 {
        let key = JobKey::new("big", "prod", format!("job-{job:03}"));
        let config = Arc::new(fixture::config(&key, 1.0, 128, 128, &[]));
        for instance in 0..4_000 {
            builder.running(&config, instance, "worker", 60);
        }
    }
    let harness = fixture::harness(builder.view, builder.files, clock);
    let router = web::router(harness.state);
    let seen = text(&page(&router, "/scheduler").await);
    assert!(seen.contains("25 jobs, 25 active 100,000 RUNNING"), "{seen}");
    let html = page(&router, "/scheduler/big/prod/job-003?page=3").await;
    assert_eq!(html.matches("<li id=\"task-").count(), 100);
    assert!(text(&html).contains("201–300 of 4,000"), "{}", text(&html));
    assert!(page(&router, "/agents?host=worker").await.len() < 1 << 20);
}
