//! Completion in real shells, from a real scheduler: the script of each shell calls the real binary back.

mod support;

use std::path::Path;
use std::process::Command;

use support::{DAYBREAK, Daemon, login};

struct House {
    daemon: Daemon,
    /// Home of the user, with the clusters and the binary under its names.
    home: tempfile::TempDir,
}

impl House {
    /// A daemon with a service `web` and a cron job `nightly`.
    fn new() -> Self {
        let daemon = Daemon::start(&["--allow-root-role"]);
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("bin")).unwrap();
        for name in ["daybreak", "aurora", "aurora_admin"] {
            std::os::unix::fs::symlink(DAYBREAK, home.path().join("bin").join(name)).unwrap();
        }
        let clusters = serde_json::json!([{"name": "devcluster", "scheduler_uri": daemon.url}]);
        std::fs::write(home.path().join("clusters.json"), clusters.to_string()).unwrap();
        let role = login();
        let file = home.path().join("jobs.aurora");
        let text = format!(
            "t = Task(processes = [Process(name = 'p', cmdline = 'sleep 1000')],\n\
             \x20 resources = Resources(cpu = 0.1, ram = 16*MB, disk = 16*MB))\n\
             job = Service(cluster = 'devcluster', role = '{role}', environment = 'devel', task = t)\n\
             jobs = [job(name = 'web'), job(name = 'nightly', cron_schedule = '0 0 1 1 *', service = False)]\n"
        );
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap().to_owned();
        let key = |name: &str| format!("devcluster/{role}/devel/{name}");
        daemon.aurora(&["job", "create", &key("web"), &file, "--wait-until", "RUNNING"]).expect_code(0);
        daemon.aurora(&["cron", "schedule", &key("nightly"), &file]).expect_code(0);
        Self { daemon, home }
    }

    fn shell(&self, program: &str, arguments: &[&str]) -> String {
        let path = format!("{}:{}", self.home.path().join("bin").display(), std::env::var("PATH").unwrap());
        let output = Command::new(program)
            .args(arguments)
            .env("PATH", path)
            .env("HOME", self.home.path())
            .env("AURORA_CONFIG_ROOT", self.home.path())
            .env("XDG_CACHE_HOME", self.home.path().join("cache"))
            .env("XDG_CONFIG_HOME", self.home.path().join("config"))
            .current_dir(self.home.path())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
        shown
    }

    /// What bash has in `COMPREPLY` after Tab at the end of the line.
    fn bash(&self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let script = format!(
            "source <(daybreak completion bash --command {command}); COMP_WORDS=({words}); COMP_CWORD={last}; COMP_TYPE=9\n\
             COMP_LINE={line:?}; COMP_POINT=${{#COMP_LINE}}\n\
             _clap_complete_{command} {command} \"${{COMP_WORDS[$COMP_CWORD]}}\" 2>/dev/null; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            command = words[0],
            words = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            last = words.len() - 1,
        );
        lines(&self.shell("bash", &["--norc", "-c", &script]))
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_keys_verbs_hosts_and_cron_jobs() {
    let house = House::new();
    let role = login();
    assert_eq!(
        house.bash("aurora job killall devc"),
        [format!("devcluster/{role}/devel/nightly"), format!("devcluster/{role}/devel/web")]
    );
    assert_eq!(house.bash("aurora cron start "), [format!("devcluster/{role}/devel/nightly")]);
    assert_eq!(house.bash("daybreak aurora job kill devcluster/"), house.bash("aurora job kill d"));
    assert_eq!(
        house.bash(&format!("aurora job kill devcluster/{role}/devel/web/")),
        [format!("devcluster/{role}/devel/web/0")]
    );
    assert!(house.bash("aurora job rest").contains(&"restart".to_owned()));
    let hosts = house.bash("aurora_admin host_status devcluster --hosts ");
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    let kept = std::fs::read_dir(house.home.path().join("cache/daybreak/completion")).unwrap().count();
    assert!(kept >= 3, "answers are kept for the next key");
    assert!(!house.daemon.log().contains("panicked"));
}

#[test]
fn without_a_scheduler_verbs_and_clusters_are_completed_in_a_moment() {
    let house = {
        let mut house = House::new();
        house.daemon.stop();
        house
    };
    let started = std::time::Instant::now();
    assert_eq!(house.bash("aurora job status dev"), ["devcluster/"]);
    assert!(started.elapsed() < std::time::Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn fish_and_zsh_load_their_scripts_and_complete() {
    let house = House::new();
    let role = login();
    let key = format!("devcluster/{role}/devel/nightly");
    let fish = house.shell(
        "fish",
        &[
            "--no-config",
            "-c",
            "daybreak completion fish --command aurora | source; complete -C 'aurora cron show devcluster/'",
        ],
    );
    assert!(fish.lines().any(|line| line.split('\t').next() == Some(key.as_str())), "{fish}");
    let script = house.home.path().join("_aurora");
    let zsh = house.shell("zsh", &["-f", "-c", "daybreak completion zsh --command aurora"]);
    std::fs::write(&script, zsh).unwrap();
    assert_eq!(zsh_candidates(&house, &script, "aurora cron show devcluster/"), key);
}

/// What zsh's completion function is told by the program for a line. Its own widgets need a terminal; a function of ours stands in for
/// the one that would show the candidates.
fn zsh_candidates(house: &House, script: &Path, line: &str) -> String {
    let program = format!(
        "autoload -U compinit; compinit -u; source {}; _describe() {{ print -l -- ${{(P)3}} }}; _values() {{ print -l -- $@ }}\n\
         compadd() {{ print -l -- $@ }}; words=({line}); CURRENT=${{#words}}; _clap_dynamic_completer_aurora",
        script.display()
    );
    let shown = house.shell("zsh", &["-f", "-c", &program]);
    let wanted = line.rsplit(' ').next().unwrap_or_default();
    shown
        .lines()
        .find_map(|line| line.split([' ', ':']).find(|word| word.starts_with(wanted) && *word != wanted))
        .unwrap_or_else(|| panic!("no candidate in {shown}"))
        .to_owned()
}
