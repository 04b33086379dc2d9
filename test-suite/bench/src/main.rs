//! Runs programs that were built with different protections, interleaved, and prints what each costs.
//! `ci/demo` and `ci/bench` build and call it.

mod costs;
mod demo;
mod generate;
mod measure;
mod micro;
mod stats;
mod table;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};
use relpoline_tools::report::stats::Stats;

#[derive(Parser)]
#[command(name = "relpoline-bench", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Whole programs, as ci/demo built them.
    #[command(subcommand)]
    Demo(Demo),
    /// Thousands of call sites with a target each.
    Sites(Micro),
    /// One call site with several targets.
    Targets(Micro),
    /// What learning, starting and cold sites cost.
    Costs(Micro),
    /// Prints which sites of a program's statistics took the slow path.
    Stats {
        /// What the program wrote for RELPOLINE_OPTIONS=stats=FILE.
        stats: PathBuf,
        /// What it wrote for RELPOLINE_OPTIONS=mode=count:stats=FILE. Without it the share of fast calls
        /// is not known.
        #[arg(long)]
        count: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum Demo {
    /// SQLite's speedtest1.
    Sqlite(DemoOptions),
    /// The rhai script engine.
    Rhai {
        #[command(flatten)]
        options: DemoOptions,
        /// Script to run.
        #[arg(long)]
        script: PathBuf,
    },
}

#[derive(clap::Args)]
struct DemoOptions {
    /// Where the programs are, and where results are put.
    #[arg(long)]
    dir: PathBuf,
    /// How often every program runs.
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

#[derive(clap::Args)]
struct Micro {
    /// Where programs are generated and results are put.
    #[arg(long)]
    dir: PathBuf,
    /// Compiler of the unprotected and the retpoline programs.
    #[arg(long)]
    clang: PathBuf,
    /// Compiler of the relpoline programs. Left out, those are not measured.
    #[arg(long)]
    relpoline_clang: Option<PathBuf>,
    /// How often every program runs.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Demo(Demo::Sqlite(options)) => demo::sqlite(&options.dir).run(&options.dir, options.rounds),
        Command::Demo(Demo::Rhai { options, script }) => {
            demo::rhai(&options.dir, &script).run(&options.dir, options.rounds)
        }
        Command::Sites(options) => micro::Bench::from(options).sites(),
        Command::Targets(options) => micro::Bench::from(options).targets(),
        Command::Costs(options) => costs::run(&options.into()),
        Command::Stats { stats, count } => {
            let count = count.map(|count| Stats::read(&count)).transpose()?;
            stats::print(&Stats::read(&stats)?, count.as_ref());
            Ok(())
        }
    }
}
