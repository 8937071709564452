//! A task that announces itself in ZooKeeper (spec executor 2.10): when it is announced, where, as what, and what follows when that
//! cannot be done in time. The announcing itself is done by a helper process, [`crate::announcer`].

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use checkpoint::protocol::{Announcing, Launch};
use model::process::Payload;
use model::process::health::Opinion;
use model::process::schema::{Announcer, HealthCheckConfig};
use rustix::pipe::{PipeFlags, pipe_with};

use super::{Facts, Source, Tools};
use crate::announcer::{ARGUMENT, News, Order};
use crate::launcher::log;
use crate::system::spawn::{Spawn, spawn};
use crate::system::wait::{self, Exit};

const TIMED_OUT: &str = "Creating Announcer Serverset timed out.";
/// This very program, also after its file was replaced.
const PROGRAM: &CStr = c"/proc/self/exe";
/// Pauses before a helper that ended by itself is started again, milliseconds.
const RESTART_MS_MIN: u64 = 1_000;
const RESTART_MS_MAX: u64 = 60_000;
/// Most bytes of a line that are kept.
const LINE_BYTES_MAX: usize = 4 << 10;

/// The announcer as a watcher.
pub(super) struct AnnouncedSource {
    task_id: String,
    order: Order,
    /// Time for the first connection, milliseconds.
    patience_ms: u64,
    deadline_ms: Option<u64>,
    helper: Option<Helper>,
    /// When a helper is to be started, monotonic milliseconds.
    start_ms: u64,
    restart_pause_ms: u64,
    was_connected: bool,
    failed: Option<String>,
    account: Account,
    stopping: bool,
}

/// The helper's process and the pipes to it.
struct Helper {
    pid: i32,
    /// While this is open it announces.
    input: Option<OwnedFd>,
    output: OwnedFd,
    is_drained: bool,
    line: Vec<u8>,
}

/// The number that the original calls `announcer.disconnected_time`, and what led to it.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    joins: u64,
    missing_since_ms: Option<u64>,
    missing_ms: u64,
}

impl Account {
    fn missing(&mut self, now_ms: u64) {
        self.missing_since_ms.get_or_insert(now_ms);
    }

    fn joined(&mut self, now_ms: u64) {
        self.joins += 1;
        self.missing_ms += self.missing_since_ms.take().map_or(0, |since| now_ms.saturating_sub(since));
    }
}

impl AnnouncedSource {
    /// The announcer of this task; `None` when it does not announce itself, or nothing is announced here.
    pub(super) fn of(facts: &Facts<'_>) -> Result<Option<Self>, String> {
        let (Some(announcing), Some(announce)) = (&facts.launch.announcing, &facts.payload.announce) else {
            return Ok(None);
        };
        let order = order(announcing, announce, facts.launch, facts.ports)?;
        Ok(Some(Self {
            task_id: facts.launch.task_id.clone(),
            order,
            patience_ms: patience_ms(facts.payload),
            deadline_ms: None,
            helper: None,
            start_ms: 0,
            restart_pause_ms: RESTART_MS_MIN,
            was_connected: false,
            failed: None,
            account: Account::default(),
            stopping: false,
        }))
    }

    fn start(&mut self, tools: &Tools<'_>, now_ms: u64) {
        match Helper::start(&self.task_id, &self.order, tools) {
            Ok(helper) => self.helper = Some(helper),
            Err(error) => {
                log(&format!("{}: its announcer cannot be started: {error}", self.task_id));
                self.start_later(now_ms);
            }
        }
    }

    fn start_later(&mut self, now_ms: u64) {
        self.start_ms = now_ms + self.restart_pause_ms;
        self.restart_pause_ms = (self.restart_pause_ms * 2).min(RESTART_MS_MAX);
    }

    fn listen(&mut self, now_ms: u64) {
        let Some(helper) = &mut self.helper else { return };
        for news in helper.listen() {
            match news {
                News::Connected => self.was_connected = true,
                News::Joined(node) => {
                    log(&format!("{}: announced as {node}", self.task_id));
                    self.account.joined(now_ms);
                    self.restart_pause_ms = RESTART_MS_MIN;
                }
                News::Missing => self.account.missing(now_ms),
                News::Problem(why) => log(&format!("{}: announcing: {why}", self.task_id)),
                News::Fatal(why) => self.failed = Some(why),
            }
        }
    }
}

/// What the helper is told.
fn order(
    announcing: &Announcing,
    announce: &Announcer,
    launch: &Launch,
    ports: &BTreeMap<String, u32>,
) -> Result<Order, String> {
    let path = match &announce.zk_path {
        Some(_) if !announcing.allow_custom_path => {
            return Err("The job sets announce.zk_path, which is not allowed here: take it out, or have \
                        --announcer-allow-custom-serverset-path set where tasks are run."
                .into());
        }
        Some(path) => path.clone(),
        None => announcing.path.clone(),
    };
    discovery::check_path(&path).map_err(|error| format!("The task cannot be announced: {error}"))?;
    let ports: BTreeMap<String, u16> =
        ports.iter().filter_map(|(name, port)| Some((name.clone(), u16::try_from(*port).ok()?))).collect();
    let host = if announcing.hostname.is_empty() { &launch.hostname } else { &announcing.hostname };
    Ok(Order {
        ensemble: announcing.ensemble.clone(),
        path,
        host: host.clone(),
        port: ports.get(&announce.primary_port).copied().unwrap_or(0),
        ports,
        instance: launch.instance,
        auth_file: Some(announcing.auth_file.clone()).filter(|path| !path.is_empty()),
        session_timeout_ms: announcing.session_timeout_ms,
    })
}

/// How long the first connection may take: as long as a task may be unhealthy from its start.
fn patience_ms(payload: &Payload) -> u64 {
    let HealthCheckConfig { initial_interval_secs, interval_secs, max_consecutive_failures, .. } =
        &payload.health_check_config;
    let secs = initial_interval_secs + *max_consecutive_failures as f64 * interval_secs;
    // A negative or senseless number becomes 0, an absurd one the largest there is.
    (secs * 1000.0).round() as u64
}

impl Source for AnnouncedSource {
    fn opinion(&self) -> Option<Opinion> {
        self.failed.clone().map(Opinion::Failed)
    }

    fn work(&mut self, tools: &Tools<'_>, now_ms: u64) {
        if self.stopping || self.failed.is_some() {
            return;
        }
        let deadline_ms = *self.deadline_ms.get_or_insert(now_ms.saturating_add(self.patience_ms));
        self.account.missing_since_ms = self.account.missing_since_ms.or((self.account.joins == 0).then_some(now_ms));
        if self.helper.is_none() && now_ms >= self.start_ms {
            self.start(tools, now_ms);
        }
        self.listen(now_ms);
        if !self.was_connected && now_ms >= deadline_ms {
            self.failed.get_or_insert_with(|| TIMED_OUT.to_owned());
        }
    }

    fn next_wake_ms(&self) -> Option<u64> {
        let deadline_ms = self.deadline_ms.filter(|_| !self.was_connected && self.failed.is_none());
        let start_ms = self.helper.is_none().then_some(self.start_ms);
        deadline_ms.into_iter().chain(start_ms).min()
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.helper.iter().filter(|helper| !helper.is_drained).map(|helper| helper.output.as_fd()).collect()
    }

    fn on_exit(&mut self, exit: &Exit, now_ms: u64) -> bool {
        if self.helper.as_ref().is_none_or(|helper| helper.pid != exit.pid) {
            return false;
        }
        self.listen(now_ms);
        self.helper = None;
        wait::reap(exit.pid);
        if !self.stopping {
            self.account.missing(now_ms);
            if self.failed.is_none() {
                log(&format!("{}: its announcer has ended ({}); another is started", self.task_id, exit.return_code));
            }
            self.start_later(now_ms);
        }
        true
    }

    fn stop(&mut self) {
        self.stopping = true;
        if let Some(helper) = &mut self.helper {
            helper.input = None;
        }
    }

    fn is_stopped(&self) -> bool {
        self.helper.is_none()
    }

    fn process(&self) -> Option<i32> {
        self.helper.as_ref().map(|helper| helper.pid)
    }

    fn summary(&self) -> Option<String> {
        let now_ms = crate::system::monotonic_ms();
        let missing_ms =
            self.account.missing_ms + self.account.missing_since_ms.map_or(0, |since| now_ms.saturating_sub(since));
        Some(format!(
            "announcer: joins {}, disconnected_time {}.{:03}",
            self.account.joins,
            missing_ms / 1000,
            missing_ms % 1000
        ))
    }
}

impl Helper {
    fn start(task_id: &str, order: &Order, tools: &Tools<'_>) -> Result<Self, String> {
        let told = serde_json::to_vec(order).map_err(|error| error.to_string())?;
        let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|error| error.to_string());
        let (their_input, input) = pipe()?;
        let (output, their_output) = pipe()?;
        for end in [&input, &output] {
            rustix::io::ioctl_fionbio(end, true).map_err(|error| error.to_string())?;
        }
        // A new pipe takes it all.
        let line = [told, b"\n".to_vec()].concat();
        match rustix::io::write(&input, &line) {
            Ok(count) if count == line.len() => {}
            Ok(_) => return Err("there is too much to announce".into()),
            Err(error) => return Err(error.to_string()),
        }
        let argument = CString::new(ARGUMENT).map_err(|error| error.to_string())?;
        let task_id = CString::new(task_id).map_err(|error| error.to_string())?;
        let surroundings = tools.surroundings;
        let request = Spawn {
            program: PROGRAM,
            arguments: &[c"daybreak", &argument, &task_id],
            environment: std::slice::from_ref(&surroundings.path),
            root: None,
            directory: c"/",
            stdin: their_input.as_fd(),
            stdout: their_output.as_fd(),
            stderr: surroundings.null.as_fd(),
            // It is the supervisor's, with its user and in its group: credentials are none of the task's business.
            identity: None,
            cgroup: None,
            oom_score: b"0",
            open_files_soft: surroundings.open_files_soft,
        };
        let pid = spawn(&request).map_err(|error| error.to_string())?;
        Ok(Self { pid, input: Some(input), output, is_drained: false, line: Vec::new() })
    }

    /// What it has said meanwhile.
    fn listen(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        let mut buffer = [0_u8; 1024];
        // A bounded number of rounds: the supervisor has other work.
        for _ in 0..64 {
            match rustix::io::read(&self.output, &mut buffer) {
                Ok(0) => {
                    self.is_drained = true;
                    break;
                }
                Ok(count) => self.take(&buffer[..count], &mut news),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(_) => {
                    self.is_drained = true;
                    break;
                }
            }
        }
        news
    }

    fn take(&mut self, bytes: &[u8], news: &mut Vec<News>) {
        for &byte in bytes {
            if byte == b'\n' {
                news.extend(News::parse(&String::from_utf8_lossy(&self.line)));
                self.line.clear();
            } else if self.line.len() < LINE_BYTES_MAX {
                self.line.push(byte);
            }
        }
    }
}

impl Drop for Helper {
    /// One that has ended is nobody's any more: its number is not used again before it was reaped, which follows this.
    fn drop(&mut self) {
        wait::signal(self.pid, libc::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcing() -> Announcing {
        Announcing { ensemble: "zk:1".into(), path: "/aurora/r/e/j".into(), ..Announcing::default() }
    }

    fn launch() -> Launch {
        Launch { hostname: "agent".into(), instance: 3, ..Launch::default() }
    }

    fn ports() -> BTreeMap<String, u32> {
        [("http".to_owned(), 31_000), ("aurora".to_owned(), 31_000), ("odd".to_owned(), 70_000)].into()
    }

    #[test]
    fn the_job_is_announced_below_the_root_with_all_its_ports() {
        let order = order(&announcing(), &Announcer::default(), &launch(), &ports()).unwrap();
        assert_eq!((order.path.as_str(), order.host.as_str()), ("/aurora/r/e/j", "agent"));
        assert_eq!((order.port, order.instance), (31_000, 3));
        assert_eq!(order.ports.keys().collect::<Vec<_>>(), ["aurora", "http"]);
        let named = Announcing { hostname: "public".into(), auth_file: "/f".into(), ..announcing() };
        let order = super::order(&named, &Announcer::default(), &launch(), &BTreeMap::new()).unwrap();
        assert_eq!((order.host.as_str(), order.port, order.auth_file.as_deref()), ("public", 0, Some("/f")));
    }

    #[test]
    fn another_path_only_where_it_is_allowed() {
        let custom = Announcer { zk_path: Some("/mine".into()), ..Announcer::default() };
        let refused = order(&announcing(), &custom, &launch(), &ports()).unwrap_err();
        assert!(refused.contains("--announcer-allow-custom-serverset-path"), "{refused}");
        let allowed = Announcing { allow_custom_path: true, ..announcing() };
        assert_eq!(order(&allowed, &custom, &launch(), &ports()).unwrap().path, "/mine");
        let wrong = Announcer { zk_path: Some("mine/".into()), ..Announcer::default() };
        assert!(order(&allowed, &wrong, &launch(), &ports()).unwrap_err().contains("'mine/' is no path"));
    }

    #[test]
    fn time_missing_counts_until_joined_and_after_a_loss() {
        let mut account = Account::default();
        account.missing(100);
        account.missing(200);
        account.joined(350);
        assert_eq!((account.missing_ms, account.missing_since_ms), (250, None));
        account.missing(1000);
        account.joined(1001);
        assert_eq!((account.missing_ms, account.joins), (251, 2));
    }
}
