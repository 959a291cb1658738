//! `loadtest`: drives a real shopwire server, or one of its peers, over real sockets and says what it
//! saw.
//!
//! - [`cli`], [`scenario_file`], [`scenarios`]: what can be asked for, and the plan made of it
//! - [`run`]: a run from its first connect to its last delivery
//! - [`world`]: what is sent and who must receive it
//! - [`client`], [`accounting`]: the receiving side
//! - [`emitter`], [`schedule`], [`progress`]: the sending side
//! - [`server`]: the server under test, started here or already running
//! - [`process`], [`priority`], [`interrupt`]: what the kernel says and is told
//! - [`report`], [`console`]: how it is told
//! - [`peers`]: several servers side by side

mod accounting;
mod cli;
mod client;
mod console;
mod emitter;
#[cfg(test)]
mod faulty_server;
mod interrupt;
mod peers;
mod priority;
mod process;
mod progress;
mod report;
mod run;
mod scenario_file;
mod scenarios;
mod schedule;
mod server;
mod tokens;
mod world;

use std::fs::File;
use std::io::{self, ErrorKind, StdoutLock};
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, Common};
use console::Console;
use interrupt::Interrupt;
use report::{Report, compare, html, text};
use run::plan::{Load, Plan};
use server::{Server, Start};

/// Open files beside the connections: poll, sockets, log, and the server's own, which inherits the
/// limit.
const FILES_BESIDE: u64 = 200;

/// The exit code of a wrong command line or scenario file.
const WRONG_USAGE: u8 = 2;

/// Why this program could not do what it was asked to.
enum Failure {
    /// It was asked for something that there is not.
    Usage(String),
    /// Only running has shown it.
    Running(String),
}

/// What [`execute`] and those it calls return. `false`: it was done, and not all holds that was judged.
type Outcome = Result<bool, Failure>;

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure::Running(message)
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let (message, code) = match execute(Cli::parse(), &words) {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => return ExitCode::FAILURE,
        Err(Failure::Running(message)) => (message, ExitCode::FAILURE),
        Err(Failure::Usage(message)) => (message, ExitCode::from(WRONG_USAGE)),
    };
    eprintln!("loadtest: {message}");
    code
}

/// Does what `words`, parsed as `cli`, say.
fn execute(cli: Cli, words: &[String]) -> Outcome {
    match &cli.command {
        Command::Run(run) => {
            let (cli, words) =
                scenario_file::parse(&run.file, &run.flags, &words[0]).map_err(Failure::Usage)?;
            execute(cli, &words)
        }
        Command::Compare(files) => {
            let read = |file| Report::read(file).map_err(Failure::Usage);
            let (a, b) = (read(&files.a)?, read(&files.b)?);
            print(|out| compare::write(&a, &b, out))?;
            Ok(true)
        }
        Command::Figures => {
            print(text::write_figures)?;
            Ok(true)
        }
        Command::Peers(arguments) => Ok(peers::main(arguments)?),
        command => match scenarios::plan(command).map_err(Failure::Usage)? {
            Some((plan, common)) => run_scenario(&plan, common, words),
            None => Ok(true),
        },
    }
}

fn run_scenario(plan: &Plan, common: &Common, words: &[String]) -> Outcome {
    process::raise_file_limit(u64::from(plan.connections) + FILES_BESIDE)?;
    // What a run of hours has seen must not be lost for a folder that is not there, nor an earlier
    // report for a run that fails.
    for path in common.json.iter().chain(&common.html) {
        let mut opening = File::options();
        let opened = opening.create(true).append(true).open(path);
        opened.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let interrupt = Interrupt::default();
    interrupt.watch()?;
    if let Some(nice) = common.nice
        && !priority::be_nice(nice)
    {
        eprintln!("loadtest: not allowed to be nice {nice}; running as usual");
    }
    let mut server = open_server(plan, common, &interrupt)?;
    if let Some(cores) = &common.pin_client {
        priority::pin(cores)?;
    }
    let console = Console::new(common.quiet);
    let measured = run::run(&server.target, plan, &console, &interrupt);
    console.end();
    let log = || server.log_tail().filter(|log| !log.is_empty());
    let measured = measured.map_err(|message| match log() {
        Some(log) => format!("{message}\nthe server's log ends so:\n{log}"),
        _ => message,
    })?;
    let mut report = Report::new(&server.name, words.join(" "), plan, &measured);
    if measured.cut.is_some_and(|cut| !cut.is_asked_for) {
        let log = log();
        report.tell_last_words(server.exit_status(), log.as_deref());
    }
    print(|out| text::write(&report, out))?;
    if let Some(path) = &common.json {
        report.write(path)?;
    }
    if let Some(path) = &common.html {
        html::write(&report, path)?;
    }
    Ok(report.has_passed())
}

/// Prints what `write` writes. A reader that has seen enough, such as `head`, may go.
fn print(write: impl FnOnce(&mut StdoutLock<'static>) -> io::Result<()>) -> Result<(), String> {
    match write(&mut io::stdout().lock()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

fn open_server(plan: &Plan, common: &Common, interrupt: &Interrupt) -> Result<Server, Failure> {
    match (&common.attach, &common.socket, &common.secret_file) {
        (Some(url), Some(socket), Some(secret_file)) => {
            Server::attach(url, socket, secret_file).map_err(Failure::Usage)
        }
        _ => {
            let start = Start {
                server: common.server.clone(),
                connections: plan.connections,
                workers: common.workers,
                cores: common.pin_server.clone(),
                arguments: common.server_arguments.clone(),
                is_unicast: matches!(plan.load, Load::Own(_)),
                patience: plan.grace,
            };
            Ok(Server::start(&start, interrupt)?)
        }
    }
}
