//! Looks at an installation of relpoline, and at what was built with it.

use clap::{Parser, Subcommand};
use relpoline_tools::{audit, flags, info, kernel, program, report, sites, top};
use std::process::ExitCode;

/// Looks at an installation of relpoline, and at what was built with it
#[derive(Parser)]
#[command(name = "relpoline", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what is installed, what is missing, and the command that mends it
    Info(info::Arguments),
    /// Print the flags for builds that do without the compiler wrappers
    Flags(flags::Arguments),
    /// List the call sites of a file
    Sites(sites::Arguments),
    /// Find every indirect call and jump of a file, and say which are protected
    Audit(audit::Arguments),
    /// Show a program's statistics as a page (HTML)
    Report(report::Arguments),
    /// Watch the call sites of a running process
    Top(top::Arguments),
    /// Put relpolines into a source tree of the Linux kernel, or take them out again
    Kernel(kernel::Arguments),
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    program::run("relpoline", 2, || match command {
        Command::Info(arguments) => info::run(&arguments),
        Command::Flags(arguments) => flags::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Sites(arguments) => sites::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Report(arguments) => report::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Top(arguments) => top::run(&arguments),
        Command::Kernel(arguments) => kernel::run(&arguments),
    })
}
