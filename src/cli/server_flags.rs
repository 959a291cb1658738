//! The settings as flags: clap arguments made from the table of settings.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::config::Flags;
use crate::config::settings::{self, Setting, Shape};

const DEV: &str = "dev";
const CONFIG: &str = "config";

/// All settings of a server, for `serve` and `check`.
pub(super) struct ServerFlags(pub(super) Flags);

/// The settings that a token depends on, for `token`.
pub(super) struct KeyFlags(pub(super) Flags);

static KEY_SETTINGS: [&Setting; 3] = [
    &settings::JWT_SECRET_FILE,
    &settings::JWT_ISSUER,
    &settings::JWT_AUDIENCE,
];

impl Args for ServerFlags {
    fn augment_args(command: Command) -> Command {
        let dev = Arg::new(DEV).long(DEV).action(ArgAction::SetTrue).help(
            "Needs no configuration: loopback only, a random signing secret unless one is given, \
             no limit on handshakes; prints what to paste next",
        );
        with_settings(command.arg(dev), settings::ALL)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ServerFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut flags = read(matches, settings::ALL);
        flags.dev = matches.get_flag(DEV);
        Ok(ServerFlags(flags))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for KeyFlags {
    fn augment_args(command: Command) -> Command {
        with_settings(command, &KEY_SETTINGS)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KeyFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(KeyFlags(read(matches, &KEY_SETTINGS)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn with_settings(command: Command, settings: &[&'static Setting]) -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .value_parser(clap::value_parser!(std::path::PathBuf))
        .help("TOML file with settings: the flags' names as keys, and the tables [access], [emitters] and [orders]");
    command
        .arg(config)
        .args(settings.iter().map(|setting| flag(setting)))
}

fn flag(setting: &'static Setting) -> Arg {
    let Setting {
        help, env, default, ..
    } = setting;
    let flag = Arg::new(setting.name)
        .long(setting.name)
        .value_name(setting.value_name)
        .help(format!("{help} [env: {env}] [default: {default}]"));
    match setting.shape {
        Shape::Switch => flag
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Shape::List | Shape::Files => flag.action(ArgAction::Append),
        Shape::One => flag,
    }
}

fn read(matches: &ArgMatches, settings: &[&'static Setting]) -> Flags {
    let values = |setting: &&'static Setting| {
        let texts = matches.get_many::<String>(setting.name).into_iter();
        let setting = *setting;
        texts
            .flatten()
            .map(move |text| (setting, text.clone()))
            .collect::<Vec<_>>()
    };
    Flags {
        dev: false,
        config: matches.get_one(CONFIG).cloned(),
        values: settings.iter().flat_map(values).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Serve {
        #[command(flatten)]
        flags: ServerFlags,
    }

    fn flags(words: &[&str]) -> Flags {
        Serve::try_parse_from(["serve"].iter().chain(words))
            .unwrap()
            .flags
            .0
    }

    #[test]
    fn every_setting_is_a_flag_and_its_help_names_the_variable() {
        let mut command = <ServerFlags as Args>::augment_args(Command::new("serve"));
        let help = command.render_long_help().to_string();
        for setting in settings::ALL {
            let given = flags(&[&format!("--{}=x", setting.name)]);
            assert_eq!(given.values[0].0.name, setting.name);
            assert!(help.contains(setting.env) && help.contains(setting.name));
        }
    }

    #[test]
    fn lists_and_files_may_be_given_several_times() {
        let words = ["--jwt-secret-file", "a", "--jwt-secret-file=b"];
        let texts: Vec<String> = flags(&words)
            .values
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        assert_eq!(texts, ["a", "b"]);
        assert_eq!(
            flags(&["--allowed-origins=*", "--allowed-origins=*"])
                .values
                .len(),
            2
        );
        assert!(Serve::try_parse_from(["serve", "--port", "1", "--port", "2"]).is_err());
    }

    #[test]
    fn a_switch_may_stand_alone() {
        let given = flags(&["--require-auth", "--dev", "--config", "c.toml"]);
        assert_eq!(given.values[0].1, "true");
        assert!(given.dev);
        assert_eq!(given.config.unwrap().to_str(), Some("c.toml"));
    }
}
