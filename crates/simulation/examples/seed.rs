//! Runs one seed of the simulated cluster, or a range of them, and says what came of it: `cargo run --release -p simulation
//! --example seed -- 17`, `-- 0..1000`, and with a planted bug `-- 0..1000 KillDropped`. A single seed with `--trace` shows each step;
//! `--rarest` tells which cells of the state machine were met least, or never.

use std::process::ExitCode;

use simulation::cluster::coverage::Coverage;
use simulation::cluster::expected::Table;
use simulation::cluster::mutation::Mutation;
use simulation::cluster::run::{Options, run};

fn main() -> ExitCode {
    let (flags, arguments): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let verbose = flags.iter().any(|flag| flag == "--trace");
    let rarest = flags.iter().any(|flag| flag == "--rarest");
    let mut arguments = arguments.into_iter();
    let (Some(seeds), name) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: seed <number or first..end> [planted bug] [--trace] [--rarest]");
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
    let (mut bad, mut simulated_ms, mut coverage) = (0, 0, Coverage::default());
    for seed in range {
        let report = run(seed, Options { mutation, verbose, ..Options::default() });
        coverage.add(&report.coverage);
        simulated_ms += report.simulated_ms;
        for violation in &report.violations {
            println!("seed {seed}: {violation}");
        }
        bad += u32::from(!report.violations.is_empty());
    }
    if rarest {
        show_rarest(&coverage);
    }
    println!("{bad} seeds failed; {} inputs, {} simulated minutes", coverage.inputs, simulated_ms / 60_000);
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The dozen cells of the state machine that were met least, of those that must be met.
fn show_rarest(coverage: &Coverage) {
    let table = Table::default();
    let asked = table.cells().map(|(cell, _)| cell).filter(|cell| Table::unasked(*cell).is_none());
    let mut cells: Vec<_> = asked.map(|cell| (coverage.cells.get(&cell).copied().unwrap_or(0), cell)).collect();
    cells.sort();
    for (count, cell) in cells.into_iter().take(12) {
        println!("{cell}: {count}");
    }
}
