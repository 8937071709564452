//! Credentials for registries that want some: files of Docker's client in the task's sandbox, where the fetcher may have put them, or of
//! root, where that runs this (spec executor 3.2). Programs that keep credentials are not asked.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde_json::{Value, json};

use crate::system::is_root;

/// What images without a registry in their name come from, as the files call it.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// Names of the files in a sandbox or a home.
const FILES: [&str; 2] = [".docker/config.json", ".dockercfg"];
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Content of the header that gives credentials for pulling `image`; `None` without any.
pub(super) fn header(image: &str, sandbox: &Path) -> Option<String> {
    // Those of the machine's administrator serve every task that root runs.
    let home = is_root().then_some(Path::new("/root"));
    [Some(sandbox), home].into_iter().flatten().find_map(|folder| {
        let folder =
            rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        FILES.into_iter().find_map(|name| credentials(&read(&folder, name)?, image))
    })
}

/// A file below a folder; no link is followed, because others may write there.
fn read(folder: &OwnedFd, name: &str) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = File::from(rustix::fs::openat2(folder, name, flags, Mode::empty(), resolve).ok()?);
    file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The registry in the name of an image.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => DOCKER_HUB,
    }
}

/// The header's content from the text of a file of either form.
fn credentials(text: &str, image: &str) -> Option<String> {
    let file: Value = serde_json::from_str(text).ok()?;
    let registries = file.get("auths").unwrap_or(&file).as_object()?;
    let wanted = registry(image);
    let host = |name: &str| {
        let name = name.split_once("://").map_or(name, |(_, rest)| rest);
        name.split('/').next().unwrap_or_default().to_owned()
    };
    let (_, entry) = registries.iter().find(|(name, _)| *name == wanted || host(name) == host(wanted))?;
    if let Some(token) = entry["identitytoken"].as_str() {
        return Some(URL_SAFE.encode(json!({ "identitytoken": token, "serveraddress": wanted }).to_string()));
    }
    let decoded = String::from_utf8(STANDARD.decode(entry["auth"].as_str()?).ok()?).ok()?;
    let (user, password) = decoded.trim_end_matches('\0').split_once(':')?;
    let told = json!({ "username": user, "password": password, "serveraddress": wanted });
    Some(URL_SAFE.encode(told.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, image: &str) -> Option<Value> {
        let header = credentials(text, image)?;
        Some(serde_json::from_slice(&URL_SAFE.decode(header).unwrap()).unwrap())
    }

    #[test]
    fn credentials_are_those_of_the_images_registry() {
        let new = format!(
            r#"{{"auths": {{"https://index.docker.io/v1/": {{"auth": "{}"}}, "reg.example:5000": {{"auth": "{}"}}}}}}"#,
            STANDARD.encode("hub:a:b"),
            STANDARD.encode("me:secret")
        );
        let private = told(&new, "reg.example:5000/team/app:1").unwrap();
        assert_eq!((&private["username"], &private["password"]), (&json!("me"), &json!("secret")));
        assert_eq!(told(&new, "busybox").unwrap()["password"], "a:b");
        assert_eq!(told(&new, "user/app:1").unwrap()["username"], "hub");
        assert_eq!(told(&new, "other.example/app"), None);
        let old = format!(r#"{{"https://reg.example/v1/": {{"auth": "{}", "email": "x"}}}}"#, STANDARD.encode("o:p"));
        assert_eq!(told(&old, "reg.example/app").unwrap()["username"], "o");
        for broken in ["", "{}", r#"{"auths": {"reg.example": {"auth": "!"}}}"#, r#"{"auths": {"reg.example": {}}}"#] {
            assert_eq!(told(broken, "reg.example/app"), None, "{broken}");
        }
    }

    #[test]
    fn files_are_found_in_the_sandbox_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(r#"{{"reg.test.invalid": {{"auth": "{}"}}}}"#, STANDARD.encode("u:p"));
        std::fs::write(folder.path().join("elsewhere"), &text).unwrap();
        std::os::unix::fs::symlink("elsewhere", folder.path().join(".dockercfg")).unwrap();
        assert_eq!(header("reg.test.invalid/app", folder.path()), None);
        std::fs::create_dir(folder.path().join(".docker")).unwrap();
        std::fs::write(folder.path().join(".docker/config.json"), &text).unwrap();
        assert!(header("reg.test.invalid/app", folder.path()).is_some());
    }
}
