//! Images by their digests: `{{docker.image[NAME][TAG]}}` in a job stands for what the tag means in the cluster's registry at the moment of
//! the command (spec config-dsl 2.7), so that every instance runs the same image, whatever happens to the tag afterwards. Registries speak
//! API version 2; those that want a password are refused.

use std::time::Duration;

use ureq::http::Response;
use ureq::{Agent, Body};

use crate::http::is_this_machine;

/// The registry that images are looked for in unless a cluster names another one.
pub const DEFAULT_REGISTRY: &str = "https://registry-1.docker.io";

/// How long a registry may take to answer.
const LIMIT: Duration = Duration::from_secs(30);
/// No answer of a token service is longer, bytes.
const TOKEN_BYTES_MAX: u64 = 1 << 20;
/// What a tag may mean: images for several machines before those for one.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
const DIGEST: &str = "Docker-Content-Digest";

/// Name and tag of an image that an address in a job stands for: `docker.image[NAME][TAG]`.
pub fn image_of(address: &str) -> Option<(&str, &str)> {
    let (name, tag) = address.strip_prefix("docker.image[")?.strip_suffix(']')?.split_once("][")?;
    (!name.is_empty() && !tag.is_empty()).then_some((name, tag))
}

/// The image by its digest, as Docker wants it named: `NAME@sha256:...`, with the registry before it unless that is the default one. An
/// error is a sentence for the user.
pub fn resolve(registry: &str, name: &str, tag: &str) -> Result<String, String> {
    let registry = registry.trim().trim_end_matches('/');
    let base = if registry.contains("://") { registry.to_owned() } else { format!("https://{registry}") };
    let failed = |why: String| format!("the image {name}:{tag} cannot be resolved at {base}: {why}");
    let digest = digest(&base, name, tag).map_err(failed)?;
    let host = base.split_once("://").map_or(base.as_str(), |(_, host)| host);
    Ok(if base == DEFAULT_REGISTRY { format!("{name}@{digest}") } else { format!("{host}/{name}@{digest}") })
}

fn digest(base: &str, name: &str, tag: &str) -> Result<String, String> {
    let agent = agent(base)?;
    let url = format!("{base}/v2/{name}/manifests/{tag}");
    let mut answer = ask(&agent, &url, None)?;
    if answer.status() == 401 {
        let token = token(&agent, &answer)?;
        answer = ask(&agent, &url, Some(&token))?;
    }
    match answer.status().as_u16() {
        200 => {}
        401 | 403 => return Err("it is private, and this client has no password for it".into()),
        404 => return Err("there is no such image or tag".into()),
        status => return Err(format!("the registry answers HTTP {status}")),
    }
    let digest = header(&answer, DIGEST)
        .ok_or_else(|| format!("the registry does not say {DIGEST}; it does not speak version 2"))?;
    let is_digest = |text: &str| {
        text.split_once(':').is_some_and(|(kind, hash)| {
            !kind.is_empty() && hash.len() >= 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    if is_digest(digest) { Ok(digest.to_owned()) } else { Err(format!("the registry gives no digest but {digest:?}")) }
}

fn agent(base: &str) -> Result<Agent, String> {
    // A proxy has no business between this machine and itself.
    let proxy = if is_this_machine(base) { None } else { ureq::Proxy::try_from_env() };
    let config = Agent::config_builder()
        .proxy(proxy)
        .http_status_as_error(false)
        .timeout_global(Some(LIMIT))
        .tls_config(crate::tls::config(None)?)
        .user_agent(concat!("daybreak/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(config.into())
}

fn ask(agent: &Agent, url: &str, token: Option<&str>) -> Result<Response<Body>, String> {
    let mut request = agent.head(url).header("Accept", ACCEPTED);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    request.call().map_err(|error| error.to_string())
}

fn header<'a>(answer: &'a Response<Body>, name: &str) -> Option<&'a str> {
    answer.headers().get(name).and_then(|value| value.to_str().ok())
}

/// Asks the service that the registry names for a token, as nobody in particular.
fn token(agent: &Agent, refusal: &Response<Body>) -> Result<String, String> {
    let challenge = header(refusal, "WWW-Authenticate").unwrap_or_default();
    let Some(asked) = challenge.strip_prefix("Bearer ") else {
        return Err("the registry wants a password, which this client does not give".into());
    };
    let values = parameters(asked);
    let value = |wanted: &str| values.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let realm = value("realm").ok_or("the registry wants a token and does not say from where")?;
    let mut request = agent.get(realm);
    for name in ["service", "scope"] {
        if let Some(value) = value(name) {
            request = request.query(name, value);
        }
    }
    let mut answer = request.call().map_err(|error| format!("{realm}: {error}"))?;
    if answer.status() != 200 {
        return Err(format!("{realm} gives no token: HTTP {}", answer.status().as_u16()));
    }
    let text =
        answer.body_mut().with_config().limit(TOKEN_BYTES_MAX).read_to_vec().map_err(|error| error.to_string())?;
    let body: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let token = ["token", "access_token"].into_iter().find_map(|name| body.get(name)?.as_str());
    token.map(str::to_owned).ok_or_else(|| format!("{realm} gives no token"))
}

/// `name="value"` pairs, separated by commas; commas within quotes belong to the value.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        pairs.push((name, value.to_owned()));
        rest = next;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    use super::*;

    const SOME_DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// A registry on this machine: `answer` gives status line, headers and body for a request line and its headers.
    fn registry(answer: impl Fn(&str, &str, &str) -> String + Send + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let (own, base) = (Arc::clone(&heard), url.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let line = lines.next().unwrap_or_default();
                let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                own.lock().unwrap().push(line.clone());
                let text = format!("{}\r\nConnection: close\r\n", answer(&line, &headers.join("\n"), &base));
                let text = if text.contains("\r\n\r\n") {
                    text.replacen("\r\nConnection: close\r\n", "", 1)
                } else {
                    text + "Content-Length: 0\r\n\r\n"
                };
                let _ = (&stream).write_all(text.as_bytes());
            }
        });
        (url, heard)
    }

    #[test]
    fn addresses_name_images() {
        assert_eq!(image_of("docker.image[library/python][2.7-slim]"), Some(("library/python", "2.7-slim")));
        for other in ["docker.image", "docker.image[a]", "docker.image[][b]", "docker.images[a][b]", "thermos.ports[a]"]
        {
            assert_eq!(image_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_registry_says_the_digest() {
        let (url, heard) = registry(|_, headers, _| {
            assert!(headers.to_lowercase().contains("manifest.v2+json"), "{headers}");
            format!("HTTP/1.1 200 OK\r\ndocker-content-digest: {SOME_DIGEST}")
        });
        let host = url.trim_start_matches("http://");
        assert_eq!(resolve(&url, "library/python", "3"), Ok(format!("{host}/library/python@{SOME_DIGEST}")));
        assert_eq!(*heard.lock().unwrap(), ["HEAD /v2/library/python/manifests/3 HTTP/1.1"]);
    }

    #[test]
    fn a_token_is_fetched_where_one_is_wanted() {
        let (url, heard) = registry(|line, headers, base| {
            if line.starts_with("GET /token") {
                let body = r#"{"token": "s3cret"}"#;
                return format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            }
            if headers.to_lowercase().contains("authorization: bearer s3cret") {
                return format!("HTTP/1.1 200 OK\r\nDocker-Content-Digest: {SOME_DIGEST}");
            }
            format!(
                "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"{base}/token\",service=\"a b\",scope=\"repository:x:pull,push\""
            )
        });
        assert!(resolve(&url, "x", "1").unwrap().ends_with(SOME_DIGEST));
        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 3, "{heard:?}");
        let asked = &heard[1];
        assert!(asked.contains("service=a%20b") || asked.contains("service=a+b"), "{asked}");
        assert!(asked.contains("pull%2Cpush") || asked.contains("pull,push"), "{asked}");
    }

    #[test]
    fn what_cannot_be_resolved_says_why() {
        let why = |answer: &'static str| {
            let (url, _) = registry(move |_, _, _| answer.to_owned());
            resolve(&url, "x", "1").unwrap_err()
        };
        assert!(why("HTTP/1.1 404 Not Found").contains("the image x:1 cannot be resolved at http://127.0.0.1"));
        assert!(why("HTTP/1.1 404 Not Found").contains("no such image or tag"));
        assert!(why("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"").contains("wants a password"));
        assert!(
            why("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer service=\"x\"")
                .contains("does not say from where")
        );
        assert!(why("HTTP/1.1 200 OK").contains("does not speak version 2"));
        assert!(why("HTTP/1.1 200 OK\r\nDocker-Content-Digest: x").contains("no digest"));
        assert!(why("HTTP/1.1 500 Oops").contains("HTTP 500"));
        assert!(resolve("http://127.0.0.1:1", "x", "1").is_err());
    }
}
