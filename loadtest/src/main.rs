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
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, Common};
use console::Console;
use interrupt::Interrupt;
use report::{Report, compare, html, text};
use run::plan::{Load, Plan};
use server::{Server, Start, launch};

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

/// Refuses what is known beforehand to come to nothing.
fn check(plan: &Plan, common: &Common) -> Result<(), String> {
    if let (Some(json), Some(html)) = (&common.json, &common.html)
        && destination(json) == destination(html)
    {
        return Err(format!(
            "--json and --html both name {}, and one would overwrite the other; name two files",
            json.display()
        ));
    }
    let redis_cores = plan.cluster.as_ref().map(|cluster| &cluster.redis_cores);
    for (flag, cores) in [
        ("--pin-redis", redis_cores.unwrap_or(&None)),
        ("--pin-server", &common.pin_server),
        ("--pin-client", &common.pin_client),
    ] {
        let cores = cores.as_deref().unwrap_or_default();
        priority::check(cores).map_err(|error| format!("{flag}: {error}"))?;
    }
    if common.attach.is_none() {
        launch::check(&common.server, plan)?;
    }
    Ok(())
}

/// The file that is written where `path` is, by the one name that all ways to it share.
fn destination(path: &Path) -> PathBuf {
    let beside = || {
        let parent = std::path::absolute(path).ok()?;
        let parent = parent.parent()?.canonicalize().ok()?;
        Some(parent.join(path.file_name()?))
    };
    // One that is not there yet has none, but its folder does.
    let found = path.canonicalize().ok().or_else(beside);
    found.unwrap_or_else(|| path.to_path_buf())
}

fn run_scenario(plan: &Plan, common: &Common, words: &[String]) -> Outcome {
    check(plan, common).map_err(Failure::Usage)?;
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
            Server::attach(url, socket, secret_file, common.ca.as_deref()).map_err(Failure::Usage)
        }
        _ => {
            let start = Start {
                server: common.server.clone(),
                connections: plan.connections,
                workers: common.workers,
                cores: common.pin_server.clone(),
                arguments: common.server_arguments.clone(),
                ca: common.ca.clone(),
                history: plan.history(),
                is_unicast: matches!(plan.load, Load::Own(_)),
                patience: plan.grace,
            };
            let started = match &plan.cluster {
                Some(cluster) => Server::start_cluster(&start, cluster, interrupt),
                None => Server::start(&start, interrupt),
            };
            Ok(started?)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What is wrong with a command line that parses.
    fn refusal(line: &str) -> Option<String> {
        let words = ["loadtest"].into_iter().chain(line.split(' '));
        let cli = Cli::try_parse_from(words).unwrap();
        let (plan, common) = scenarios::plan(&cli.command).unwrap().unwrap();
        check(&plan, common).err()
    }

    #[test]
    fn two_reports_are_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let line = |json: &str, html: &str| {
            let folder = folder.path().display();
            refusal(&format!(
                "idle --json {folder}/{json} --html {folder}/{html}"
            ))
        };
        assert_eq!(line("a", "b"), None);
        assert!(line("a", "./a").unwrap().contains("name two files"));
        std::fs::write(folder.path().join("a"), "").unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("b")).unwrap();
        assert!(line("a", "b").unwrap().contains("name two files"));
    }

    #[test]
    fn what_is_not_there_is_refused_before_anything_is_started() {
        for flag in ["--pin-server", "--pin-client"] {
            let message = refusal(&format!("idle {flag} 1023")).unwrap();
            let said = format!("{flag}: there is no core 1023");
            assert!(message.starts_with(&said), "{message}");
        }
    }

    #[test]
    fn nobody_comes_back_to_a_server_that_keeps_nothing() {
        for server in ["floor", "ws", "axum"] {
            let message = refusal(&format!("resume --server {server}")).unwrap();
            assert!(message.contains("keeps no events"), "{message}");
        }
        assert_eq!(refusal("resume"), None);
        let message = refusal("cluster --server bun").unwrap();
        assert!(message.contains("knows no Redis"), "{message}");
        assert_eq!(refusal("resume --server target/before/shopwire"), None);
    }

    #[test]
    fn the_floor_is_asked_only_for_what_needs_no_filter() {
        for line in ["mixed", "soak", "seed"] {
            let message = refusal(&format!("{line} --server floor")).unwrap();
            assert!(message.contains("fanout, flood, unicast"), "{message}");
            assert_eq!(refusal(line), None);
        }
        for line in ["fanout", "flood", "unicast", "connect", "idle"] {
            assert_eq!(refusal(&format!("{line} --server floor")), None);
        }
    }
}
