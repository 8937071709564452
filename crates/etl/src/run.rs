//! The rounds on the engine: events in, calls out, ticks by the clock, and an orderly end.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::{Engine, Event, EventSink};
use engine_mesos::{CommandTask, Credentials, Framework, MesosEngine, Options};
use model::{ExecutorConfig, JobKey, Resources, TaskConfig};

use crate::arguments::Arguments;
use crate::health;
use crate::rounds::{Line, Output, Rounds};

/// Masters keep tasks this long for a framework that is away: long enough for an election.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(600);
/// How long the master may take to take the teardown.
const TEARDOWN_LIMIT: Duration = Duration::from_secs(10);
/// Events that wait at most; then the stream waits.
const INBOX_EVENTS: usize = 256;
/// How often it is looked at whether a signal has come.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(200);
/// Name under which the command is known to the engine.
const COMMAND_NAME: &str = "command";

struct Inbox(SyncSender<Event>);

impl EventSink for Inbox {
    fn send(&self, event: Event) -> bool {
        self.0.send(event).is_ok()
    }
}

/// Runs until a signal, or until it cannot go on.
pub fn run(arguments: &Arguments) -> ExitCode {
    let user = match arguments.user.clone().or_else(own_name) {
        Some(user) => user,
        None => return refuse("Unable to determine user; name one with -user"),
    };
    let job = JobKey::new(role_of(&user), "etl", "rounds");
    let (sender, events) = sync_channel(INBOX_EVENTS);
    let engine = match MesosEngine::start(options(arguments, &user), Arc::new(Inbox(sender))) {
        Ok(engine) => engine,
        Err(error) => return refuse(&error.to_string()),
    };
    health::serve(arguments.health, |text| print(&Line::Info(text), arguments.debug));
    let signal = signals();
    let config = TaskConfig {
        executor_config: Some(ExecutorConfig { name: COMMAND_NAME.into(), data: String::new() }),
        resources: Resources { cpu: arguments.cpu, ram_mb: arguments.ram_mb, ..Resources::ZERO },
        ..TaskConfig::new(job, 0.0, 0, 0, "")
    };
    let wait_ms = i64::try_from(arguments.wait_secs).unwrap_or(i64::MAX / 2000).saturating_mul(1000);
    let rounds = Rounds::new(Arc::new(config), arguments.tasks_max, wait_ms, arguments.exit_on_failure, now_ms());
    engine.begin(None);
    Program { arguments, engine, rounds, signal }.live(&events)
}

fn options(arguments: &Arguments, user: &str) -> Options {
    let secret = std::env::var("MESOS_SECRET").unwrap_or_default();
    Options {
        masters: arguments.masters.clone(),
        framework: Framework {
            user: user.to_owned(),
            name: "mesos-http-scheduler".into(),
            roles: arguments.role.clone().into_iter().collect(),
            failover_timeout: FAILOVER_TIMEOUT,
            hostname: nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()),
            // A copy on an agent that is away counts as gone; if it comes back it is killed.
            partition_aware: false,
            ..Framework::default()
        },
        credentials: arguments.principal.clone().map(|principal| Credentials { principal, secret }),
        commands: vec![CommandTask {
            name: COMMAND_NAME.into(),
            command: arguments.command.clone(),
            image: arguments.image.clone(),
            task_name_prefix: "task-".into(),
        }],
        ..Options::default()
    }
}

struct Program<'a> {
    arguments: &'a Arguments,
    engine: MesosEngine,
    rounds: Rounds,
    signal: Arc<AtomicI32>,
}

impl Program<'_> {
    fn live(mut self, events: &Receiver<Event>) -> ExitCode {
        loop {
            let signal = self.signal.load(Ordering::Relaxed);
            if signal != 0 {
                self.say(&Line::Info(format!("Stopping: {} tasks are killed", self.rounds.live())));
                self.tear_down();
                return ExitCode::from(128 + u8::try_from(signal).unwrap_or(0));
            }
            let until_tick = Duration::from_millis(u64::try_from(self.rounds.next_tick_ms() - now_ms()).unwrap_or(0));
            let output = match events.recv_timeout(until_tick.min(SIGNAL_INTERVAL)) {
                Ok(event) => {
                    if matches!(event, Event::Registered { .. })
                        && let Some(master) = self.engine.directory().leader()
                    {
                        println!("Current Master is  {master}");
                    }
                    self.rounds.event(event, now_ms())
                }
                Err(RecvTimeoutError::Timeout) => self.rounds.tick(now_ms()),
                Err(RecvTimeoutError::Disconnected) => {
                    return refuse("the connection to Mesos ended by a fault of its own");
                }
            };
            if let Some(reason) = self.act(output) {
                self.tear_down();
                return refuse(&reason);
            }
        }
    }

    /// Prints and calls; the reason to end, if there is one.
    fn act(&mut self, output: Output) -> Option<String> {
        output.lines.iter().for_each(|line| self.say(line));
        if !output.calls.is_empty() {
            self.engine.call(0, output.calls);
        }
        output.end
    }

    fn say(&self, line: &Line) {
        print(line, self.arguments.debug);
    }

    fn tear_down(&self) {
        if !self.engine.control().teardown(TEARDOWN_LIMIT) {
            self.say(&Line::Info(format!(
                "The master could not be told; it kills the tasks {} s after it has missed this framework",
                FAILOVER_TIMEOUT.as_secs()
            )));
        }
    }
}

/// A role has to look like one; a user's name need not.
fn role_of(user: &str) -> String {
    if model::key::is_identifier(user) { user.to_owned() } else { "etl".into() }
}

fn own_name() -> Option<String> {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.name)
}

/// Holds the number of the first signal that asked to end; the second one ends at once.
fn signals() -> Arc<AtomicI32> {
    let seen = Arc::new(AtomicI32::new(0));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let seen = Arc::clone(&seen);
        // The handler only stores a number, or ends the process, which handlers may do.
        #[allow(unsafe_code)]
        let _ = unsafe {
            signal_hook::low_level::register(signal, move || {
                if seen.swap(signal, Ordering::Relaxed) != 0 {
                    signal_hook::low_level::exit(128 + signal);
                }
            })
        };
    }
    seen
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A log line as the original's: local date and time, then the text.
fn print(line: &Line, debug: bool) {
    let text = match line {
        Line::Info(text) => text,
        Line::Debug(text) if debug => text,
        Line::Debug(_) => return,
    };
    eprintln!("{} {text}", jiff::Zoned::now().strftime("%Y/%m/%d %H:%M:%S"));
}

fn refuse(why: &str) -> ExitCode {
    print(&Line::Info(why.to_owned()), false);
    ExitCode::FAILURE
}
