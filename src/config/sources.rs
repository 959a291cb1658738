//! Where a setting's value is looked up: flag, then environment, then file.
//!
//! Owns the precedence, and ties an error to the source of the value.

use super::error::{ConfigError, Source};
use super::file::File;
use super::settings::Setting;

/// The three places, in order.
pub(super) struct Sources<'a> {
    pub(super) flags: &'a [(&'static Setting, String)],
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) file: Option<&'a File>,
}

/// A value as it was given: one text, except for lists.
pub(super) struct Given {
    pub(super) source: Source,
    pub(super) texts: Vec<String>,
}

impl Sources<'_> {
    /// The value of `setting` from the first place that has one.
    pub(super) fn read<T>(
        &self,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(Given { source, texts }) = self.given(setting)? else {
            return Ok(None);
        };
        let text = texts.concat();
        parse(&text)
            .map(Some)
            .map_err(|reason| ConfigError::value(setting, source, &text, reason))
    }

    /// Like [`Sources::read`]; where no place has a value, the table's default is parsed.
    pub(super) fn read_or_default<T>(
        &self,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        match self.read(setting, &parse)? {
            Some(value) => Ok(value),
            None => Ok(parse(setting.default).expect("a test parses every default of the table")),
        }
    }

    /// A list, each of its items parsed; an empty one is an error, since it says neither all nor none.
    pub(super) fn read_list<T>(
        &self,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, ConfigError> {
        let Some(Given { source, texts }) = self.given(setting)? else {
            return Ok(None);
        };
        if texts.is_empty() {
            return Err(ConfigError::empty_list(setting, source));
        }
        let item = |text: &String| {
            parse(text).map_err(|reason| ConfigError::value(setting, source.clone(), text, reason))
        };
        texts.iter().map(item).collect::<Result<_, _>>().map(Some)
    }

    /// What was given for `setting`, unparsed. An empty environment variable counts as not set.
    pub(super) fn given(&self, setting: &'static Setting) -> Result<Option<Given>, ConfigError> {
        let flags = || {
            self.flags
                .iter()
                .filter(|(flag, _)| flag.name == setting.name)
        };
        if let Some((_, last)) = flags().next_back() {
            let source = Source::Flag(setting.name);
            let texts = if setting.shape.takes_several() {
                flags()
                    .flat_map(|(_, text)| setting.shape.of_flag(text))
                    .collect()
            } else {
                setting.shape.of_flag(last)
            };
            return Ok(Some(Given { source, texts }));
        }
        if let Some(text) = (self.env)(setting.env).filter(|text| !text.is_empty()) {
            let source = Source::Environment(setting.env);
            return Ok(Some(Given {
                source,
                texts: setting.shape.of_variable(&text),
            }));
        }
        let Some(file) = self.file else {
            return Ok(None);
        };
        let texts = file.texts(setting)?;
        Ok(texts.map(|texts| Given {
            source: Source::File(file.path.clone()),
            texts,
        }))
    }
}
