//! Compose files as people write them, and what becomes of them.

use super::*;

const TASK: &str = "vagrant-prod-app-0-2d3c";

fn rewritten(text: &str, ports: &[u16]) -> Result<Value, RewriteError> {
    let marks = Marks { task_id: TASK, labels: vec![("taskId".into(), TASK.into())], limits: Limits::None };
    let text = rewrite(text, &marks, &mut Ports::new(ports))?;
    Ok(yaml_serde::from_str(&text).unwrap())
}

fn service<'a>(file: &'a Value, name: &str) -> &'a Value {
    &file["services"][format!("{name}-{TASK}").as_str()]
}

#[test]
fn names_ports_and_labels_are_made_the_task_s_own() {
    let file = rewritten(
        r#"
version: "2"
services:
  web:
    image: shop/web
    container_name: front
    ports: ["5000:5000", "127.0.0.1:8080:80/udp", 9000]
    links: [redis, "db:database"]
    depends_on: [redis]
    network_mode: bridge
  redis:
    image: redis
    volumes_from: ["web:ro", "container:other", web]
    labels: ["a=b", "plain"]
  db:
    depends_on: {redis: {condition: service_started}}
    network_mode: service:web
    labels: {x: y}
volumes: {data: {}}
"#,
        &[31227, 31228, 31229],
    )
    .unwrap();
    let web = service(&file, "web");
    assert_eq!(web["container_name"], Value::from(format!("front-{TASK}")));
    let texts =
        |value: &Value| -> Vec<String> { value.as_sequence().unwrap().iter().map(|v| scalar(v).unwrap()).collect() };
    assert_eq!(texts(&web["ports"]), ["31227:5000", "31228:80/udp", "31229:9000"]);
    assert_eq!(texts(&web["links"]), [format!("redis-{TASK}:redis"), format!("db-{TASK}:database")]);
    assert_eq!(texts(&web["depends_on"]), [format!("redis-{TASK}")]);
    assert_eq!(web["labels"]["taskId"], Value::from(TASK));
    assert_eq!(web["network_mode"], Value::from("bridge"));
    let redis = service(&file, "redis");
    assert_eq!(
        texts(&redis["volumes_from"]),
        [format!("web-{TASK}:ro"), "container:other".into(), format!("web-{TASK}")]
    );
    assert_eq!((&redis["labels"]["a"], &redis["labels"]["plain"]), (&Value::from("b"), &Value::from("")));
    let db = service(&file, "db");
    assert_eq!(db["depends_on"][format!("redis-{TASK}").as_str()]["condition"], Value::from("service_started"));
    assert_eq!(db["network_mode"], Value::from(format!("service:web-{TASK}")));
    assert_eq!(db["labels"]["x"], Value::from("y"));
    assert!(file["volumes"].get("data").is_some(), "only services are touched");
}

#[test]
fn services_still_find_each_other_by_their_own_names() {
    let file = rewritten("services: {web: {image: x}, db: {image: y, networks: [back]}}", &[]).unwrap();
    assert_eq!(service(&file, "web")["networks"]["default"]["aliases"][0], Value::from("web"));
    assert_eq!(service(&file, "db")["networks"]["back"]["aliases"][0], Value::from("db"));
}

#[test]
fn ports_go_on_over_several_files_and_must_suffice() {
    let marks = Marks { task_id: TASK, ..Marks::default() };
    let mut ports = Ports::new(&[1, 2]);
    let one = "services: {web: {ports: ['80:80']}}";
    assert!(rewrite(one, &marks, &mut ports).unwrap().contains("1:80"));
    assert!(rewrite(one, &marks, &mut ports).unwrap().contains("2:80"));
    let error = rewrite(one, &marks, &mut ports).unwrap_err();
    assert_eq!(error, RewriteError::Ports { service: "web".into(), allocated: 2 });
    let long = rewritten("services: {web: {ports: [{target: 80, published: 1, host_ip: 127.0.0.1}]}}", &[7]).unwrap();
    let port = &service(&long, "web")["ports"][0];
    assert_eq!((&port["published"], &port["target"], port.get("host_ip")), (&Value::from(7), &Value::from(80), None));
    // Unquoted, and with numbers below sixty: a trap of YAML 1.1.
    assert_eq!(
        service(&rewritten("services: {a: {ports: [22:22]}}", &[9]).unwrap(), "a")["ports"][0],
        Value::from("9:22")
    );
}

#[test]
fn long_names_are_cut_but_stay_apart() {
    let one = "vagrant-prod-a-very-long-name-of-a-job-0-3f2b8c9e-0000-4000-8000-000000000001";
    let other = "vagrant-prod-a-very-long-name-of-a-job-1-3f2b8c9e-0000-4000-8000-000000000002";
    let (first, second) = (unique("web", one), unique("web", other));
    assert!(first.len() <= 63 && second.len() <= 63);
    assert_ne!(first, second);
    assert!(first.starts_with("web-") && first.ends_with("3f2b8c9e-0000-4000-8000-000000000001"), "{first}");
    assert_ne!(unique("a-service-name-that-is-long-one", one), unique("a-service-name-that-is-long-two", one));
    assert_eq!(unique("web", "short"), "web-short");
}

#[test]
fn limits_are_put_where_they_hold() {
    let limited = |limits| {
        let marks = Marks { task_id: TASK, labels: Vec::new(), limits };
        let text = rewrite("services: {a: {mem_limit: 5}, b: {}}", &marks, &mut Ports::new(&[])).unwrap();
        yaml_serde::from_str::<Value>(&text).unwrap()
    };
    let file = limited(Limits::Parent("/mesos/c1".into()));
    assert_eq!(service(&file, "a")["cgroup_parent"], Value::from("/mesos/c1"));
    let file = limited(Limits::Each { memory_bytes: 1024, cpu_millis: 500 });
    assert_eq!(
        (&service(&file, "a")["mem_limit"], &service(&file, "b")["mem_limit"]),
        (&Value::from(5), &Value::from(1024))
    );
    assert_eq!(service(&file, "b")["cpus"], Value::from(0.5));
}

#[test]
fn what_is_no_compose_file_is_refused_with_the_reason() {
    for (text, part) in [
        ("services: [", "no YAML"),
        ("version: '2'", "no services"),
        ("services: {}", "no services"),
        ("services: {web: [1]}", "'web': it is no mapping"),
        ("services: {web: {ports: '80'}}", "ports is no list"),
        ("services: {web: {ports: ['80:80-90']}}", "one entry for each port"),
        ("services: {web: {links: {a: b}, depends_on: 3}}", "depends_on is neither"),
        ("services: {web: {labels: 3}}", "labels is neither"),
        ("services: {web: {networks: 3}}", "networks is neither"),
        ("services: {web: {links: [[1]]}}", "links holds something"),
    ] {
        let error = rewritten(text, &[1]).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn dollars_in_labels_are_not_filled_in_by_compose() {
    let marks = Marks { task_id: TASK, labels: vec![("price".into(), "$5".into())], limits: Limits::None };
    let text = rewrite("services: {a: {}}", &marks, &mut Ports::new(&[])).unwrap();
    assert!(text.contains("$$5"), "{text}");
}
