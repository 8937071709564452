//! A real ZooKeeper on a loopback port, for tests of this crate and of its users: Debian's package `zookeeper` and a Java runtime.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use zookeeper_client as zk;

use crate::{Credential, Ensemble, Settings};

/// How long a server may take to start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The server's unit of time: sessions last between 2 and, here, 300 of them.
const TICK_MS: u32 = 200;
/// Shortest session it grants.
pub const SESSION_TIMEOUT_MIN: Duration = Duration::from_millis(2 * TICK_MS as u64);
/// Jars of the Debian package, whose manifests name the rest.
const CLASSES: &str = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-nop.jar";
/// Runs a command until standard input ends, so that it ends with the test whatever becomes of that.
const LEASH: &str = r#"exec 3<&0; "$@" </dev/null & pid=$!; cat <&3 >/dev/null; kill -9 $pid; wait $pid"#;

/// A running ZooKeeper with a directory of its own. Dropped, it is killed.
pub struct Zookeeper {
    directory: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

impl Zookeeper {
    /// Starts one on a free port.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory for ZooKeeper");
        let port = free_port();
        let configuration = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime={TICK_MS}\nmaxSessionTimeout={}\n\
             maxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=*\n",
            directory.path().display(),
            TICK_MS * 300,
        );
        std::fs::write(directory.path().join("zoo.cfg"), configuration).expect("a configuration for ZooKeeper");
        let mut server = Self { directory, port, process: None };
        server.start_again();
        server
    }

    /// Starts it after [`Self::stop`], with what it had stored.
    pub fn start_again(&mut self) {
        assert!(
            std::path::Path::new("/usr/share/java/zookeeper.jar").exists(),
            "this test needs a ZooKeeper: apt-get install zookeeper default-jre-headless"
        );
        let mut command = Command::new("sh");
        command.args(["-c", LEASH, "sh", "java", "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        // Storing is not what is tested: no wait for the disk.
        command.args(["-Dzookeeper.forceSync=no", "-Djava.net.preferIPv4Stack=true", "-cp", CLASSES]);
        command.arg("org.apache.zookeeper.server.ZooKeeperServerMain").arg(self.directory.path().join("zoo.cfg"));
        let output = std::fs::File::create(self.directory.path().join("output")).expect("a file for the output");
        let both = output.try_clone().expect("the same file");
        let process = command.stdin(Stdio::piped()).stdout(output).stderr(both).spawn().expect("sh runs");
        self.process = Some(process);
        let deadline = Instant::now() + START_LIMIT;
        while self.ask("ruok") != "imok" {
            assert!(Instant::now() < deadline, "ZooKeeper did not start: {}", self.output());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills it. What it had stored stays.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Settings to connect with, sessions as short as it grants.
    pub fn settings(&self) -> Settings {
        settings_for(&self.address())
    }

    /// A client for what a test does itself.
    pub fn client(&self) -> Client {
        Client::connect(&self.address(), &[])
    }

    /// Asks one of the server's four-letter words; empty when it does not answer.
    pub fn ask(&self, word: &str) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            let _ = stream.write_all(word.as_bytes());
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("output")).unwrap_or_default()
    }
}

impl Drop for Zookeeper {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Settings with short sessions for the ZooKeeper at an address.
pub fn settings_for(address: &str) -> Settings {
    Settings {
        session_timeout: Duration::from_secs(2),
        reconnect_delay_max: Duration::from_millis(500),
        ..Settings::new(address.parse::<Ensemble>().expect("an address"))
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A plain client, blocking; its nodes of a session are gone when it is dropped.
pub struct Client {
    runtime: Runtime,
    client: Option<zk::Client>,
}

impl Client {
    /// Connects.
    pub fn connect(address: &str, credentials: &[Credential]) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("threads");
        let mut connector = zk::Client::connector().with_session_timeout(Duration::from_secs(10));
        for credential in credentials {
            connector = connector.with_auth(&credential.scheme, credential.secret.as_bytes());
        }
        let client = runtime.block_on(connector.connect(address)).expect("a connection to ZooKeeper");
        Self { runtime, client: Some(client) }
    }

    fn zk(&self) -> &zk::Client {
        self.client.as_ref().expect("a client until it is dropped")
    }

    /// Makes a node and those above it.
    pub fn make(&self, path: &str) {
        let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
        self.runtime.block_on(self.zk().mkdir(path, &options)).expect("a node");
    }

    /// Makes a numbered node that lasts as long as this client; returns its path.
    pub fn register(&self, prefix: &str, data: &[u8]) -> String {
        let options = zk::CreateMode::EphemeralSequential.with_acls(zk::Acls::anyone_all());
        let (_, sequence) = self.runtime.block_on(self.zk().create(prefix, data, &options)).expect("a node");
        format!("{prefix}{sequence}")
    }

    /// Makes a node of that very name, that lasts as long as this client.
    pub fn register_as(&self, path: &str, data: &[u8]) {
        let options = zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());
        self.runtime.block_on(self.zk().create(path, data, &options)).expect("a node");
    }

    /// Removes a node; says whether it could.
    pub fn delete(&self, path: &str) -> bool {
        self.runtime.block_on(self.zk().delete(path, None)).is_ok()
    }

    /// Content of a node, if it is there and may be read.
    pub fn data(&self, path: &str) -> Option<Vec<u8>> {
        self.runtime.block_on(self.zk().get_data(path)).ok().map(|(data, _)| data)
    }

    /// Replaces the content of a node; says whether it could.
    pub fn set_data(&self, path: &str, data: &[u8]) -> bool {
        self.runtime.block_on(self.zk().set_data(path, data, None)).is_ok()
    }

    /// Names below a node, sorted; none where it is not there.
    pub fn children(&self, path: &str) -> Vec<String> {
        let mut children = self.runtime.block_on(self.zk().list_children(path)).unwrap_or_default();
        children.sort_unstable();
        children
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let mut states = client.state_watcher();
            drop(client);
            let closed = async { while !states.changed().await.is_terminated() {} };
            let limited = async { tokio::time::timeout(Duration::from_secs(2), closed).await };
            let _ = self.runtime.block_on(limited);
        }
    }
}

/// A wire to a ZooKeeper that can be cut.
pub struct Wire {
    port: u16,
    shared: Arc<WireState>,
}

#[derive(Default)]
struct WireState {
    is_cut: AtomicBool,
    is_over: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Wire {
    /// A wire from a free port to the server at `address`.
    pub fn to(address: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let target: SocketAddr = address.parse().expect("an address");
        let shared = Arc::new(WireState::default());
        let state = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if state.is_over.load(Ordering::Relaxed) {
                    return;
                }
                if state.is_cut.load(Ordering::Relaxed) {
                    continue;
                }
                if let Ok(upstream) = TcpStream::connect(target) {
                    state.join(stream, upstream);
                }
            }
        });
        Self { port, shared }
    }

    /// Where the wire begins.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Breaks every connection, and every one that is tried until [`Self::mend`].
    pub fn cut(&self) {
        self.shared.is_cut.store(true, Ordering::Relaxed);
        self.shared.break_all();
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.shared.is_cut.store(false, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.shared.break_all();
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl WireState {
    fn join(&self, near: TcpStream, far: TcpStream) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
        streams.extend([near, far]);
    }

    fn break_all(&self) {
        for stream in self.streams.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Waits until something holds, at most this long; says what does not when it does not.
#[track_caller]
pub fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < deadline, "within {limit:?} not seen: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
