//! Aurora's spelling of the scheduler's options: `-thermos_executor_path=…` and the like, translated into ours before the command line
//! is read, by the table of [`super::scheduler_flags`]. What means nothing here goes on as `--ignored-flag`, for the log.

use std::ffi::OsString;

use super::scheduler_flags::{Effect, FLAGS, Flag, Form, REQUIRED};
use crate::exit::{Exit, Failure};

/// Port of Aurora's scheduler where none is named: a free one.
const ANY_PORT: &str = "0";
/// Where `daybreak up` listens unless told otherwise.
const OUR_ADDRESS: &str = "127.0.0.1";
const OUR_PORT: &str = "8081";

/// The command line in our spelling. Only that of `daybreak up` has Aurora's options; all others are left as they are.
pub(super) fn translated(arguments: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    if arguments.get(1).is_none_or(|verb| verb != "up") {
        return Ok(arguments);
    }
    let (head, rest) = arguments.split_at(2);
    let mut line = Line::read(rest)?;
    if let Some((address, port)) = line.listen() {
        let address = address.unwrap_or_else(|| OUR_ADDRESS.to_owned());
        line.listen_at(&address, port.as_deref().unwrap_or(OUR_PORT));
    }
    Ok(head.iter().cloned().chain(line.words).collect())
}

/// The command line of Aurora's own program as one of `daybreak up`. It listens where that did, on every address, and what that demanded
/// is demanded.
pub(super) fn translated_scheduler(arguments: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    let mut line = Line::read(arguments.get(1..).unwrap_or_default())?;
    let asks = |word: &OsString| ["-h", "--help", "-V", "--version"].iter().any(|known| word == known);
    if !line.words.iter().any(asks) {
        let missing: Vec<String> = REQUIRED
            .iter()
            .filter(|name| !line.given.iter().any(|given| given == *name))
            .map(|name| format!("-{name}"))
            .collect();
        if !missing.is_empty() {
            let text = format!(
                "Aurora's scheduler is not started without {}. Give them, or start with: daybreak up --help",
                missing.join(", ")
            );
            return Err(Failure::new(Exit::Usage, text));
        }
        let (address, port) = line.listen().unwrap_or_default();
        if !line.has("--listen") {
            line.listen_at(address.as_deref().unwrap_or("0.0.0.0"), port.as_deref().unwrap_or(ANY_PORT));
        }
        // Whoever puts this program in the place of that one has decided who reaches it; the log says what that means.
        if !line.has("--allow-unauthenticated") {
            line.words.push("--allow-unauthenticated".into());
        }
    }
    let program = arguments.first().cloned().unwrap_or_default();
    Ok([program, "up".into()].into_iter().chain(line.words).collect())
}

/// A command line half way.
#[derive(Default)]
struct Line {
    words: Vec<OsString>,
    /// Aurora's flags that were given.
    given: Vec<&'static str>,
    address: Option<String>,
    port: Option<String>,
}

impl Line {
    fn read(words: &[OsString]) -> Result<Self, Failure> {
        let mut line = Self::default();
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let Some((name, value)) = word.to_str().and_then(auroras) else {
                line.words.push(word.clone());
                continue;
            };
            let flag = FLAGS.iter().find(|flag| flag.name == name).ok_or_else(|| unknown(name))?;
            let value = match value {
                Some(value) => value.to_owned(),
                // As in Aurora, the value may be the next word; of a boolean it may be left out.
                None => match words.next_if(|next| is_value(flag.form, next)) {
                    Some(next) => next.to_string_lossy().into_owned(),
                    None if flag.form == Form::Boolean => "true".to_owned(),
                    None => return Err(wrong(flag, "it needs a value: write -name=value")),
                },
            };
            line.take(flag, &value)?;
        }
        Ok(line)
    }

    fn take(&mut self, flag: &Flag, value: &str) -> Result<(), Failure> {
        flag.form.check(value).map_err(|why| wrong(flag, &why))?;
        self.given.push(flag.name);
        match flag.effect {
            Effect::Is(ours) => self.words.push(format!("--{ours}={value}").into()),
            Effect::Address => {
                value.parse::<std::net::IpAddr>().map_err(|_| wrong(flag, "write an IP address, e.g. 0.0.0.0"))?;
                self.address = Some(value.to_owned());
            }
            Effect::Port => {
                value.parse::<u16>().map_err(|_| wrong(flag, "a port is a number up to 65535"))?;
                self.port = Some(value.to_owned());
            }
            Effect::Only(accepted, why) if value != accepted => return Err(wrong(flag, why)),
            Effect::Only(_, why) | Effect::Ignored(why) => {
                self.words.push(format!("--ignored-flag=-{}: {why}", flag.name).into());
            }
        }
        Ok(())
    }

    fn listen(&self) -> Option<(Option<String>, Option<String>)> {
        (self.address.is_some() || self.port.is_some()).then(|| (self.address.clone(), self.port.clone()))
    }

    fn listen_at(&mut self, address: &str, port: &str) {
        let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        self.words.push(format!("--listen={address}:{port}").into());
    }

    fn has(&self, option: &str) -> bool {
        self.words.iter().any(|word| {
            word.to_str()
                .and_then(|word| word.strip_prefix(option))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    }
}

/// Name and value of a word with one dash. `-h` and `-V` are ours, and a lone dash or a number is somebody's value.
fn auroras(word: &str) -> Option<(&str, Option<&str>)> {
    let flag =
        word.strip_prefix('-').filter(|rest| rest.len() > 1 && rest.starts_with(|c: char| c.is_ascii_alphabetic()))?;
    Some(flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value))))
}

fn is_value(form: Form, word: &OsString) -> bool {
    let word = word.to_string_lossy();
    if form == Form::Boolean { matches!(&*word, "true" | "false") } else { !word.starts_with('-') }
}

fn wrong(flag: &Flag, why: &str) -> Failure {
    Failure::new(Exit::Usage, format!("-{}: {why}. See daybreak up --help.", flag.name))
}

fn unknown(name: &str) -> Failure {
    let similar: Vec<String> = FLAGS
        .iter()
        .map(|flag| flag.name)
        .filter(|aurora| aurora.split('_').filter(|word| name.split('_').any(|other| other == *word)).count() > 1)
        .map(|aurora| format!("-{aurora}"))
        .collect();
    let hint =
        if similar.is_empty() { String::new() } else { format!(" Of Aurora's, it knows {}.", similar.join(", ")) };
    Failure::new(Exit::Usage, format!("-{name} is not an option of this scheduler.{hint} See daybreak up --help."))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::super::arguments::{Daybreak, UpArguments, Verb};
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    fn up(line: &str) -> Result<UpArguments, String> {
        let translated = translated(words(line)).map_err(|failure| failure.text)?;
        match Daybreak::try_parse_from(translated).map_err(|error| error.to_string())?.verb {
            Verb::Up(arguments) => Ok(arguments),
            other => Err(format!("{other:?}")),
        }
    }

    /// A value of each form that is not the default and that every option of that form takes.
    fn sample(flag: &Flag) -> &'static str {
        match (flag.name, flag.form) {
            ("hostname" | "cluster_name" | "framework_name" | "mesos_role" | "executor_user", _) => "word",
            ("http_authentication_mechanism", _) => "BASIC",
            ("serverset_path" | "zk_chroot_path", _) => "/a/path",
            ("zk_endpoints", _) => "zk:2181",
            ("zk_digest_credentials", _) => "user:password",
            ("mesos_master_address", _) => "master:5050",
            ("ip", _) => "127.0.0.2",
            ("http_port", _) => "4711",
            ("allowed_container_types", _) => "DOCKER",
            ("default_docker_parameters", _) => "a=b",
            ("global_container_mounts", _) => "/a:/b:ro",
            ("sla_prod_metrics" | "sla_non_prod_metrics", _) => "MEDIANS",
            ("cron_timezone", _) => "UTC",
            ("shiro_realm_modules", _) => "INI_AUTHNZ",
            (_, Form::Text) => "/a/file",
            (_, Form::Boolean) => "true",
            (_, Form::Count | Form::Number) => "7",
            (_, Form::Duration) => "7mins",
            (_, Form::Data) => "7MB",
            (_, Form::Word(known)) => known[0],
        }
    }

    #[test]
    fn every_flag_of_aurora_is_an_option_that_exists_or_is_listed_as_ignored() {
        let command = Daybreak::command();
        let options = command.find_subcommand("up").unwrap();
        for flag in FLAGS {
            let name = flag.name;
            assert_eq!(FLAGS.iter().filter(|other| other.name == name).count(), 1, "{name} stands twice");
            if !flag.default.is_empty() {
                assert_eq!(flag.form.check(flag.default), Ok(()), "-{name}: its default is of its form");
            }
            let value = sample(flag);
            let others = "-mesos_master_address=m:1 -zk_endpoints=zk:1 -shiro_ini_path=/ini";
            let others: Vec<&str> =
                others.split(' ').filter(|other| !other.starts_with(&format!("-{name}="))).collect();
            let line = |value: &str| format!("daybreak up {} -{name}={value}", others.join(" "));
            match flag.effect {
                Effect::Is(ours) => {
                    assert!(
                        options.get_arguments().any(|option| option.get_long() == Some(ours)),
                        "-{name} leads to --{ours}"
                    );
                    let read = up(&line(value));
                    assert!(read.is_ok(), "-{name}={value}: {}", read.unwrap_err());
                    assert_eq!(read.unwrap().ignored_flag, [""; 0], "-{name}");
                }
                Effect::Port => assert_eq!(up(&line(value)).unwrap().listen.port(), 4711),
                Effect::Address => assert_eq!(up(&line(value)).unwrap().listen.to_string(), "127.0.0.2:8081"),
                Effect::Ignored(why) => {
                    assert_eq!(up(&line(value)).unwrap().ignored_flag, [format!("-{name}: {why}")]);
                }
                Effect::Only(accepted, why) => {
                    assert_eq!(up(&line(accepted)).unwrap().ignored_flag, [format!("-{name}: {why}")]);
                    let refused = up(&line(if flag.form == Form::Boolean { "true" } else { "/else" })).unwrap_err();
                    assert!(refused.contains(why), "{refused}");
                }
            }
            // What is of another form is refused by name.
            if !matches!(flag.form, Form::Text) {
                let refused = up(&line("-much-")).unwrap_err();
                assert!(refused.contains(&format!("-{name}: '-much-'")), "{refused}");
            }
        }
    }

    #[test]
    fn auroras_spelling_becomes_ours() {
        let line = "daybreak up -thermos_executor_path=/x/y.pex -enable_mesos_fetcher=true -custom_executor_config=/a=b --agents 3 -h";
        let expected = "daybreak up --executor-path=/x/y.pex --enable-mesos-fetcher=true --custom-executor-config=/a=b --agents 3 -h";
        assert_eq!(translated(words(line)).unwrap(), words(expected));
        for untouched in ["daybreak run -x=y", "daybreak", "daybreak up --x=-y -5 -"] {
            assert_eq!(translated(words(untouched)).unwrap(), words(untouched));
        }
        // Values may stand apart, and booleans may have none.
        let apart = "daybreak up -hostname h -enable_mesos_fetcher -allow_gpu_resource false -http_port 1 -ip ::1";
        let expected =
            "daybreak up --hostname=h --enable-mesos-fetcher=true --allow-gpu-resource=false --listen=[::1]:1";
        assert_eq!(translated(words(apart)).unwrap(), words(expected));
    }

    #[test]
    fn unknown_options_are_refused_by_name() {
        let text = translated(words("daybreak up -no_such_flag=1hrs")).unwrap_err().text;
        assert!(text.contains("-no_such_flag"), "{text}");
        let text = translated(words("daybreak up -thermos_executor_pth=/x")).unwrap_err().text;
        assert!(text.contains("-thermos_executor_path"), "{text}");
        let text = translated(words("daybreak up -hostname")).unwrap_err().text;
        assert!(text.contains("needs a value"), "{text}");
    }

    #[test]
    fn an_existing_unit_file_starts_and_listens_where_it_did() {
        let line = "aurora-scheduler -cluster_name=example -hostname=s1 -http_port=8081 -native_log_quorum_size=1 \
                    -zk_endpoints=127.0.0.1:2181 -mesos_master_address=zk://127.0.0.1:2181/mesos \
                    -serverset_path=/aurora/scheduler -native_log_zk_group_path=/aurora/replicated-log \
                    -native_log_file_path=/var/lib/aurora/db -backup_dir=/var/lib/aurora/backups \
                    -thermos_executor_path=/usr/bin/thermos_executor -thermos_executor_flags=--announcer-ensemble=127.0.0.1:2181 \
                    -allowed_container_types=MESOS,DOCKER -use_beta_db_task_store=true -enable_h2_console=true";
        let given: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let Verb::Up(arguments) = Daybreak::try_parse_from(translated_scheduler(given).unwrap()).unwrap().verb else {
            panic!("it is up")
        };
        assert_eq!((arguments.listen.to_string().as_str(), arguments.cluster.as_str()), ("0.0.0.0:8081", "example"));
        assert!(arguments.allow_unauthenticated);
        let ignored: Vec<&str> = arguments.ignored_flag.iter().map(|line| line.split(':').next().unwrap()).collect();
        let expected = [
            "-native_log_quorum_size",
            "-native_log_zk_group_path",
            "-native_log_file_path",
            "-use_beta_db_task_store",
            "-enable_h2_console",
        ];
        assert_eq!(ignored, expected);
        let refused = translated_scheduler(words("aurora-scheduler -cluster_name=x")).unwrap_err().text;
        assert!(refused.contains("-zk_endpoints") && !refused.contains("-cluster_name"), "{refused}");
        assert!(translated_scheduler(words("aurora-scheduler --help")).is_ok());
    }
}
