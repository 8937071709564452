//! Runs one seed of the simulated cluster, or a range of them, and says what came of it: `cargo run --release -p simulation
//! --example seed -- 17`, `-- 0..1000`, and with a planted bug `-- 0..1000 KillDropped`. A single seed with `--trace` shows each step.

use std::process::ExitCode;

use simulation::cluster::mutation::Mutation;
use simulation::cluster::run::{Options, run};

fn main() -> ExitCode {
    let (flags, arguments): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|argument| argument == "--trace");
    let verbose = !flags.is_empty();
    let mut arguments = arguments.into_iter();
    let (Some(seeds), name) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: seed <number or first..end> [planted bug] [--trace]");
        return ExitCode::from(2);
    };
    let mutation = match name {
        None => None,
        Some(name) => match Mutation::ALL.into_iter().find(|mutation| format!("{mutation:?}") == name) {
            None => {
                eprintln!("no planted bug is called {name}; there are {:?}", Mutation::ALL);
                return ExitCode::from(2);
            }
            found => found,
        },
    };
    let range = match seeds.split_once("..") {
        Some((first, end)) => first.parse().and_then(|first: u64| Ok(first..end.parse()?)),
        None => seeds.parse().map(|seed| seed..seed + 1),
    };
    let Ok(range) = range else {
        eprintln!("{seeds} is no seed and no range of seeds like 0..100");
        return ExitCode::from(2);
    };
    let (mut bad, mut inputs, mut simulated_ms) = (0, 0, 0);
    for seed in range {
        let report = run(seed, Options { mutation, verbose, ..Options::default() });
        inputs += report.coverage.inputs;
        simulated_ms += report.simulated_ms;
        for violation in &report.violations {
            println!("seed {seed}: {violation}");
        }
        bad += u32::from(!report.violations.is_empty());
    }
    println!("{bad} seeds failed; {inputs} inputs, {} simulated minutes", simulated_ms / 60_000);
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
