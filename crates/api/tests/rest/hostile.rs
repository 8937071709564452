//! Input that is meant to harm: it is refused in words, soon, and changes nothing.

use std::time::{Duration, Instant};

use crate::house::{House, job_file};

const PATIENCE: Duration = Duration::from_secs(30);

async fn refused(house: &House, media_type: &str, text: String, status: u16) {
    let before = house.stored();
    let started = Instant::now();
    let answered = house.send("POST", "/api/v1/jobs", &[("content-type", media_type)], text.clone()).await;
    let shown: String = text.chars().take(60).collect();
    assert!(started.elapsed() < PATIENCE, "{shown} took {:?}", started.elapsed());
    let body = answered.expect(status);
    assert!(body["error"].as_str().is_some_and(|error| error.len() < 4000), "{shown}: {body}");
    assert_eq!(house.stored(), before, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_grow_without_measure_are_refused() {
    let house = House::new();
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..12 {
        let before = level - 1;
        let aliases = vec![format!("*a{before}"); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    refused(&house, "application/yaml", laughs, 400).await;

    let mut mustache = job_file("hello");
    let mut bind = serde_json::Map::new();
    bind.insert("b0".to_owned(), "lolololololololol".into());
    for level in 1..40 {
        let before = format!("{{{{b{}}}}}", level - 1);
        bind.insert(format!("b{level}"), before.repeat(9).into());
    }
    mustache["bind"] = bind.into();
    mustache["task"]["processes"][0]["cmdline"] = "{{b39}}".into();
    refused(&house, "application/json", mustache.to_string(), 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_deep_long_or_no_text_are_refused() {
    let house = House::new();
    for (media_type, open, close) in
        [("application/json", "[", "]"), ("application/yaml", "[", "]"), ("application/toml", "a=[", "]")]
    {
        for depth in [60, 200] {
            refused(&house, media_type, format!("{}{}", open.repeat(depth), close.repeat(depth)), 400).await;
        }
    }
    refused(&house, "application/json", format!("{{\"x\": \"{}\"}}", "y".repeat(1 << 20)), 413).await;
    refused(&house, "application/json", "\0\0\0\0".to_owned(), 400).await;
    refused(&house, "application/yaml", "a: &a [*a]".to_owned(), 400).await;
    refused(&house, "application/yaml", "!!python/object/apply:os.system ['true']".to_owned(), 400).await;
}

#[tokio::test]
async fn fields_of_any_size_are_answered_in_words() {
    let house = House::new();
    house.change("POST", "/jobs", &job_file("hello")).await.expect(201);
    let before = house.stored();
    let json = [("content-type", "application/json")];
    for body in [
        r#"{"instances": "0-4294967295"}"#,
        r#"{"instances": [99999999999999999999]}"#,
        r#"{"instances": [-1]}"#,
        r#"{"instances": {"a": 1}}"#,
        r#"{"instances": []}"#,
        r#"{"instances": null, "instances": null}"#,
    ] {
        house.send("POST", "/api/v1/jobs/www-data/prod/hello/restart", &json, body).await.expect(400);
    }
    for body in [
        r#"{"count": 2147483647, "template": 0}"#,
        r#"{"count": -5, "template": 0}"#,
        r#"{"count": 1e9, "template": 0}"#,
    ] {
        house.send("POST", "/api/v1/jobs/www-data/prod/hello/instances", &json, body).await.expect(400);
    }
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    house.send("POST", "/api/v1/jobs/www-data/prod/hello/restart", &json, deep).await.expect(400);
    house.send("POST", "/api/v1/agents/maintenance", &json, vec![b' '; (1 << 20) + 1]).await.expect(413);
    let long = "x".repeat(5000);
    house.get(&format!("/jobs/{long}/a/b")).await.expect(400);
    house.get(&format!("/tasks/{long}")).await.expect(404);
    house.get(&format!("/tasks?{long}=1")).await.expect(400);
    assert_eq!(house.stored(), before);
}
