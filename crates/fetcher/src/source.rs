//! Where files come from: a path of this machine, HTTP, or whatever a Hadoop client can reach.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::FetchError;

/// A connection on which nothing arrives for this long is given up (`--fetcher_stall_timeout`).
pub const STALL_LIMIT: Duration = Duration::from_secs(60);
/// Until an answer begins.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// Where a file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of this machine.
    File(PathBuf),
    /// `http` or `https`.
    Http(String),
    /// Another scheme: left to `hadoop fs`, as Mesos does.
    Hadoop(String),
}

impl Source {
    /// From an address.
    pub fn parse(address: &str) -> Result<Self, FetchError> {
        let refuse = |why| FetchError::Address(address.to_owned(), why);
        let Some((scheme, rest)) = address.split_once("://") else {
            return match address {
                "" => Err(refuse("the address is empty")),
                path => Ok(Self::File(path.into())),
            };
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => {
                let path = rest.strip_prefix("localhost").unwrap_or(rest);
                if path.starts_with('/') {
                    Ok(Self::File(path.into()))
                } else {
                    Err(refuse("a file is named by an absolute path: file:///..."))
                }
            }
            "http" | "https" => Ok(Self::Http(address.to_owned())),
            "ftp" | "ftps" => Err(refuse("FTP is not spoken here; offer the file over HTTP")),
            "" => Err(refuse("it has no scheme")),
            _ => Ok(Self::Hadoop(address.to_owned())),
        }
    }

    /// Stores it at `path`, in the place of what was there.
    pub fn copy_to(&self, path: &Path) -> Result<(), FetchError> {
        match self {
            Self::File(from) => {
                let failed = |error: io::Error| FetchError::Source(from.display().to_string(), error.to_string());
                let mut file = File::open(from).map_err(failed)?;
                if !file.metadata().map_err(failed)?.is_file() {
                    return Err(failed(io::Error::other("it is no regular file")));
                }
                store(&mut file, path).map_err(failed)
            }
            Self::Http(address) => download(address, path),
            Self::Hadoop(address) => hadoop(address, path),
        }
    }
}

fn store(from: &mut dyn Read, path: &Path) -> io::Result<()> {
    // A link that was left there is replaced, not followed.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(path)?;
    io::copy(from, &mut file).map(drop)
}

fn download(address: &str, path: &Path) -> Result<(), FetchError> {
    static PROVIDER: Once = Once::new();
    // Another one may be there already in a program with more than this in it.
    PROVIDER.call_once(|| drop(rustls::crypto::aws_lc_rs::default_provider().install_default()));
    let failed = |why: String| FetchError::Source(address.to_owned(), why);
    let tls = ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_connect(Some(CONNECT_LIMIT))
        .timeout_recv_response(Some(STALL_LIMIT))
        .http_status_as_error(false)
        .proxy(ureq::Proxy::try_from_env())
        .build()
        .into();
    let response = agent.get(address).call().map_err(|error| failed(error.to_string()))?;
    if response.status() != 200 {
        return Err(failed(format!("the server answered {}", response.status())));
    }
    let expected =
        response.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let is_plain = !response.headers().contains_key("content-encoding");
    let mut body = response.into_body().into_reader();
    let mut counted = Counted { inner: &mut body, bytes: 0 };
    store(&mut counted, path).map_err(|error| failed(error.to_string()))?;
    match expected {
        Some(expected) if is_plain && counted.bytes != expected => {
            Err(failed(format!("it ended after {} of {expected} bytes", counted.bytes)))
        }
        _ => Ok(()),
    }
}

/// Bytes that arrived in this process so far; what tells a stalled download from a slow one.
pub(crate) static ARRIVED_BYTES: AtomicU64 = AtomicU64::new(0);

struct Counted<'a> {
    inner: &'a mut dyn Read,
    bytes: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        ARRIVED_BYTES.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

fn hadoop(address: &str, path: &Path) -> Result<(), FetchError> {
    let failed = |why: String| FetchError::Source(address.to_owned(), why);
    let program = std::env::var_os("HADOOP_HOME").map(|home| Path::new(&home).join("bin/hadoop"));
    let program = program.unwrap_or_else(|| PathBuf::from("hadoop"));
    let ended = Command::new(&program)
        .args(["fs", "-copyToLocal", address])
        .arg(path)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| {
            failed(format!("only a Hadoop client knows this scheme, and {} does not start: {error}", program.display()))
        })?;
    if ended.success() { Ok(()) } else { Err(failed(format!("the Hadoop client ended with {ended}"))) }
}
