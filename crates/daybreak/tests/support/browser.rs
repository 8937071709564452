//! A real browser, driven over the WebDriver protocol (W3C Recommendation) through Debian's chromedriver.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{http, wait_for};

/// A browser window. Dropping it closes the browser.
pub struct Browser {
    driver: Child,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Opens a headless window of the given size in pixels.
    pub fn open(width: u32, height: u32, dark: bool) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver is installed by ./test");
        let base = format!("http://127.0.0.1:{port}");
        wait_for("chromedriver", Duration::from_secs(30), || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        let profile = tempfile::tempdir().unwrap();
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-quic".into(),
            "--no-first-run".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--disable-dev-shm-usage".into(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        if dark {
            arguments.push("--blink-settings=preferredColorScheme=0".into());
        }
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": {"args": arguments}}}});
        let (status, body) = http(
            "POST",
            &format!("{base}/session"),
            &[("Content-Type", "application/json")],
            wanted.to_string().as_bytes(),
        );
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let session = format!("{base}/session/{}", answer["value"]["sessionId"].as_str().unwrap());
        Self { driver, session, _profile: profile }
    }

    fn ask(&self, method: &str, path: &str, body: Value) -> Result<Value, String> {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let headers = [("Content-Type", "application/json")];
        let (status, answer) = http(method, &format!("{}{path}", self.session), &headers, body.as_bytes());
        let mut answer: Value = serde_json::from_str(&answer).map_err(|error| format!("{error}: {answer}"))?;
        if status == 200 { Ok(answer["value"].take()) } else { Err(answer["value"]["message"].to_string()) }
    }

    /// Goes to an address.
    pub fn go(&self, url: &str) {
        self.ask("POST", "/url", json!({"url": url})).unwrap();
    }

    /// The address shown.
    pub fn url(&self) -> String {
        self.ask("GET", "/url", Value::Null).unwrap().as_str().unwrap().to_owned()
    }

    /// The text a person sees on the page.
    pub fn text(&self) -> String {
        let script = json!({"script": "return document.body ? document.body.innerText : ''", "args": []});
        self.ask("POST", "/execute/sync", script)
            .map(|text| text.as_str().unwrap_or_default().to_owned())
            .unwrap_or_default()
    }

    /// Waits, without reloading, until the page shows a text.
    pub fn wait_for_text(&self, text: &str, limit: Duration) {
        wait_for(&format!("the page to show {text:?}; it shows:\n{}", self.text()), limit, || {
            self.text().contains(text).then_some(())
        });
    }

    /// Clicks the first link or button whose text contains the given one.
    pub fn click(&self, text: &str) {
        let path = format!("//*[self::a or self::button][contains(normalize-space(.), '{text}')]");
        let element = wait_for(&format!("a link {text:?} on:\n{}", self.text()), Duration::from_secs(10), || {
            self.ask("POST", "/element", json!({"using": "xpath", "value": path})).ok()
        });
        let id = element.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.ask("POST", &format!("/element/{id}/click"), json!({})).unwrap();
    }

    /// Address of the first link whose target ends so (a query aside).
    pub fn link_ending(&self, end: &str) -> String {
        let code = "return [...document.querySelectorAll('a')].map(a => a.href).find(h => h.split('?')[0].endsWith(arguments[0])) || ''";
        wait_for(&format!("a link ending in {end:?} on:\n{}", self.text()), Duration::from_secs(10), || {
            let found = self.ask("POST", "/execute/sync", json!({"script": code, "args": [end]})).ok()?;
            found.as_str().filter(|link| !link.is_empty()).map(str::to_owned)
        })
    }

    /// Whether the page needs no scrolling sideways.
    pub fn fits_its_width(&self) -> bool {
        let code = "return document.documentElement.scrollWidth <= window.innerWidth";
        self.ask("POST", "/execute/sync", json!({"script": code, "args": []})).unwrap() == true
    }

    /// What went wrong in the page's scripts and requests.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", json!({"type": "browser"})).unwrap_or_default();
        let entries = log.as_array().cloned().unwrap_or_default();
        entries.iter().filter(|entry| entry["level"] == "SEVERE").map(|entry| entry["message"].to_string()).collect()
    }

    /// Keeps a picture of the page.
    pub fn screenshot(&self, file: &Path) {
        let picture = self.ask("GET", "/screenshot", Value::Null).unwrap();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, base64_decode(picture.as_str().unwrap())).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.ask("DELETE", "", json!({}));
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn base64_decode(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}
