//! Measures usp beside its peers (docs/BENCHMARKS.md).

use std::fs;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::bench::{Bench, Plan};
use crate::contestant::Places;
use crate::scenarios::Scenario;

mod bench;
mod bytes;
mod contestant;
mod contestants;
mod disk;
mod http;
mod keeper;
mod load;
mod machine;
mod meter;
mod proc;
mod process;
mod report;
mod scenarios;
mod signature;
mod stats;

/// Measures usp beside every peer that is installed: the same bytes, in turn, the durability of each named.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:\n  usp-bench --quick\n  usp-bench --only a,b --runs 3 --who usp,nginx,dd")]
struct Args {
    /// Scenarios to run, such as a,b; all without it.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Contestants that take part, such as usp,nginx,dd; all without it.
    #[arg(long, value_delimiter = ',')]
    who: Vec<String>,
    /// How often each contestant has its turn [default: 5; 1 with --quick].
    #[arg(long)]
    runs: Option<usize>,
    /// Smaller figures, under five minutes in all: to see a tendency, not to publish.
    #[arg(long)]
    quick: bool,
    /// Says what would run, how long it takes, and who is missing.
    #[arg(long)]
    list: bool,
    /// How long the store of scenario f may take to fill.
    #[arg(long, default_value_t = 420)]
    grow_seconds: u64,
    /// The binary under test.
    #[arg(long, default_value = "target/release/usp")]
    usp: PathBuf,
    /// Where corpus, peers and results are kept.
    #[arg(long, default_value = "target")]
    target: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let target = args.target.canonicalize().context("find the target directory")?;
    let runs = args.runs.unwrap_or(if args.quick { 1 } else { 5 });
    ensure!(runs > 0, "--runs is at least 1");
    let cell_time_max = Duration::from_secs(if args.quick { 1 } else { 4 });
    let grow_time_max = Duration::from_secs(if args.quick { 20 } else { args.grow_seconds });
    let plan = Plan { runs, quick: args.quick, who: args.who, cell_time_max, grow_time_max };
    let usp = args.usp.canonicalize().unwrap_or(args.usp);
    let places =
        Places { usp, peers: target.join("bench-peers"), nats_server: target.join("venv/bin/nats-server") };
    let chosen = chosen(&args.only)?;

    let mut bench = Bench::new(plan, places, &target)?;
    introduce(&mut bench);
    if args.list {
        return list(&bench, &chosen);
    }
    bench.report.machine = machine::describe(&target);
    for scenario in chosen {
        bench.report.layouts.push(scenario.layout);
        bench.say(&format!("scenario {}: {}", scenario.layout.scenario, scenario.layout.title));
        if let Err(error) = (scenario.run)(&mut bench) {
            bench.say(&format!("scenario {} FAILED: {error:#}", scenario.layout.scenario));
            bench.report.failures.push(format!("scenario {}: {error:#}", scenario.layout.scenario));
        }
        // What is there so far survives whatever comes.
        write_report(&bench, &target.join("bench"))?;
    }
    let text = bench.report.markdown();
    writeln!(stdout(), "{text}")?;
    bench.say(&format!("written to {}", target.join("bench/results.md").display()));
    Ok(())
}

fn chosen(only: &[String]) -> Result<Vec<&'static Scenario>> {
    let unknown =
        only.iter().find(|key| scenarios::ALL.iter().all(|scenario| scenario.layout.scenario != **key));
    ensure!(unknown.is_none(), "there is no scenario {}; see --list", unknown.map_or("", String::as_str));
    let is_in =
        |scenario: &&Scenario| only.is_empty() || only.iter().any(|key| key == scenario.layout.scenario);
    Ok(scenarios::ALL.iter().filter(is_in).collect())
}

/// Names who takes part and who is missing.
fn introduce(bench: &mut Bench) {
    let places = &bench.places;
    let servers = contestants::ALL.iter().map(|it| (it.name(), it.missing(places), it.about(places)));
    let keepers = keeper::ALL.iter().skip(1).map(|it| (it.name(), it.missing(places), it.about(places)));
    let all: Vec<_> = servers.chain(keepers).filter(|(name, ..)| bench.takes_part(name)).collect();
    for (name, missing, about) in all {
        match missing {
            None => bench.report.contestants.push((name.to_owned(), about)),
            Some(command) => {
                bench.say(&format!("{name} is not installed and takes no part; install it with: {command}"));
                bench.report.missing.push((name.to_owned(), command));
            }
        }
    }
}

fn list(bench: &Bench, chosen: &[&Scenario]) -> Result<()> {
    let mut total = 0.0;
    for scenario in chosen {
        let seconds = (scenario.estimate)(&bench.plan);
        total += seconds;
        let layout = scenario.layout;
        writeln!(stdout(), "{}  about {:>4.1} min  {}", layout.scenario, seconds / 60.0, layout.title)?;
    }
    writeln!(stdout(), "all about {:.0} min with {} runs on a quiet machine", total / 60.0, bench.plan.runs)?;
    for (name, about) in &bench.report.contestants {
        writeln!(stdout(), "{name}: {} ({})", about.version, about.durability)?;
    }
    Ok(())
}

fn write_report(bench: &Bench, out: &std::path::Path) -> Result<()> {
    fs::write(out.join("results.md"), bench.report.markdown())?;
    let json = serde_json::to_string_pretty(&bench.report.json())?;
    fs::write(out.join("results.json"), json).context("write the results")
}
