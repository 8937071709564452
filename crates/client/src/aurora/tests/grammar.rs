//! The command line: help, usage errors.

use thrift::Call;

use crate::exit::Exit;
use crate::testing::{FakeWorld, Ran};

fn run(words: &str) -> Ran {
    let world = FakeWorld::new(|call: &Call| panic!("nothing should be asked, but was: {call:?}"));
    world.aurora(words)
}

#[test]
fn without_arguments_help_is_the_result() {
    let ran = run("");
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""));
    assert!(ran.out.contains("Usage: aurora <COMMAND>"), "{}", ran.out);
}

#[test]
fn the_version_goes_to_stderr() {
    run("--version").expect(Exit::Ok, "", concat!(env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn help_of_every_verb_is_the_result() {
    for verb in [
        "job",
        "job create",
        "job kill",
        "job killall",
        "job status",
        "job list",
        "job inspect",
        "job restart",
        "job add",
        "job open",
        "config list",
        "update start",
        "update pause",
        "update resume",
        "update abort",
        "update rollback",
        "update list",
        "update info",
        "update wait",
        "update",
        "config",
    ] {
        let ran = run(&format!("{verb} --help"));
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Ok, ""), "{verb}");
        assert!(ran.out.contains(&format!("Usage: aurora {verb}")), "{verb}: {}", ran.out);
    }
}

#[test]
fn wrong_command_lines_exit_with_2_and_say_why() {
    for (words, expected) in [
        ("job", "Usage: aurora job"),
        ("jobs list c1", "unrecognized subcommand 'jobs'"),
        ("job frobnicate", "unrecognized subcommand 'frobnicate'"),
        ("update strat c1/r/e/n f", "unrecognized subcommand 'strat'"),
        ("job create c1/www-data/devel", "is not a job key: write CLUSTER/ROLE/ENV/NAME"),
        ("job create c1/www-data/devel/a!b f.aurora", "may hold only letters"),
        ("job create c1/www-data/devel/hello", "required arguments were not provided"),
        ("job create c1/r/e/n f --wait-until SOMETIME", "possible values: PENDING, RUNNING, FINISHED"),
        ("job create c1/r/e/n f --bind novalue", "write name=value"),
        ("job kill c1/r/e/n/3-1", "runs backwards"),
        ("job kill c1/r/e/n/0 --batch-size zero", "invalid value 'zero'"),
        ("job kill c1/r/e/n/0 --batch-size 0", "0 is not in"),
        ("job add c1/r/e/n 1", "is not an instance of a job"),
        ("job add c1/r/e/n/0 0", "0 is not in"),
        ("job status c1/a/b/c/d", "is not a job key or pattern"),
        ("update list c1 --status bogus", "invalid value 'bogus'"),
        ("job list c1 --nonsense", "unexpected argument '--nonsense'"),
    ] {
        let ran = run(words);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{words}");
        assert!(ran.err.contains(expected), "{words}: {}", ran.err);
    }
}

#[test]
fn unknown_clusters_exit_with_3() {
    let ran = run("job killall nowhere/r/e/n");
    assert_eq!(ran.exit, Exit::InvalidConfiguration);
    assert!(ran.err.starts_with("Unknown cluster: nowhere. Known: c1, devcluster."), "{}", ran.err);
}
