//! The file's tables: `[access]` (who may see what), `[emitters]` (who may emit what) and `[orders]` (more
//! order statuses).

use toml::Value;

use super::error::{ConfigError, Source};
use super::file::{ACCESS, EMITTERS, File, ORDERS};
use super::users;
use crate::access::{Access, AccessTable, Namespace, Role};
use crate::emitters::{Emitters, Rights, Verb, Verbs};

/// The longest order status, in bytes, as any string in an event.
const STATUS_MAX_BYTES: usize = 4096;

const STATUSES: &str = "statuses";
const NAMESPACES: &str = "namespaces";
const COMMANDS: &str = "commands";
/// Stands for all of a list.
const ALL: &str = "all";

impl File {
    /// The access table: the default one, with the rows replaced that `[access]` names.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn access(&self) -> Result<AccessTable, ConfigError> {
        let mut table = AccessTable::default();
        let Some(rows) = self.table.get(ACCESS) else {
            return Ok(table);
        };
        let rows = rows
            .as_table()
            .ok_or_else(|| self.wrong(ACCESS, "must be a table"))?;
        for (name, row) in rows {
            let Some(namespace) = Namespace::parse(name) else {
                return Err(self.unknown_key(ACCESS, name, &Namespace::ALL.map(Namespace::name)));
            };
            let place = format!("{ACCESS}.{name}");
            let row = self.access_row(&place, row)?;
            table
                .set_row(namespace, &row)
                .map_err(|reason| self.wrong(&place, &reason))?;
        }
        Ok(table)
    }

    /// As [`File::access`], for a file that need hold nothing else: a row that stands outside of its table
    /// would not be looked at, and is refused.
    ///
    /// # Errors
    /// As there.
    pub fn access_alone(&self) -> Result<AccessTable, ConfigError> {
        self.order_statuses()?;
        self.access()
    }

    fn access_row(&self, place: &str, row: &Value) -> Result<Vec<(Role, Access)>, ConfigError> {
        let Some(row) = row.as_table() else {
            return Err(self.wrong(
                place,
                "must be a table like { admin = \"all\", customer = \"own\" }",
            ));
        };
        let mut cells = Vec::with_capacity(row.len());
        for (name, access) in row {
            let Some(role) = Role::ALL.into_iter().find(|role| role.name() == name) else {
                return Err(self.unknown_key(place, name, &Role::ALL.map(Role::name)));
            };
            let parsed = match access.as_str() {
                Some("–" | "-") => Some(Access::None),
                text => text.and_then(Access::parse),
            };
            let Some(parsed) = parsed else {
                let place = format!("{place}.{name}");
                let reason = "must be \"all\", \"own\" or \"none\"";
                return Err(self.wrong_value(&place, &access.to_string(), reason));
            };
            cells.push((role, parsed));
        }
        Ok(cells)
    }

    /// Who may do what on the ingest socket, if there is a table for it.
    pub(super) fn emitters(&self) -> Result<Option<Emitters>, ConfigError> {
        let Some(rows) = self.table.get(EMITTERS) else {
            return Ok(None);
        };
        let rows = rows
            .as_table()
            .ok_or_else(|| self.wrong(EMITTERS, "must be a table"))?;
        let mut emitters = Emitters::default();
        for (name, row) in rows {
            let place = format!("{EMITTERS}.{}", name.escape_debug());
            let user = users::number(name).map_err(|reason| self.wrong(&place, &reason))?;
            if !emitters.insert(user, self.rights(&place, row)?) {
                return Err(self.wrong(&place, "this user has another row already"));
            }
        }
        Ok(Some(emitters))
    }

    fn rights(&self, place: &str, row: &Value) -> Result<Rights, ConfigError> {
        let Some(row) = row.as_table() else {
            return Err(self.wrong(
                place,
                "must be a table like { namespaces = [\"orders\"], commands = [\"stats\"] }",
            ));
        };
        let mut rights = Rights::default();
        for (name, value) in row {
            let place_of = |name: &str| format!("{place}.{name}");
            match name.as_str() {
                NAMESPACES => match names(value) {
                    Some(Names::All) => rights.namespaces = Rights::ALL.namespaces,
                    Some(Names::Some(names)) => {
                        for name in names {
                            let Some(namespace) = Namespace::parse(name) else {
                                let known = Namespace::ALL.map(Namespace::name);
                                return Err(self.unknown_key(&place_of(NAMESPACES), name, &known));
                            };
                            rights.namespaces.insert(namespace);
                        }
                    }
                    None => return Err(self.wrong(&place_of(NAMESPACES), ALL_OR_LIST)),
                },
                COMMANDS => match names(value) {
                    Some(Names::All) => rights.verbs = Verbs::ALL,
                    Some(Names::Some(names)) => {
                        for name in names {
                            let Some(verb) = Verb::parse(name) else {
                                let known = Verb::ALL.map(Verb::name);
                                return Err(self.unknown_key(&place_of(COMMANDS), name, &known));
                            };
                            rights.verbs.insert(verb);
                        }
                    }
                    None => return Err(self.wrong(&place_of(COMMANDS), ALL_OR_LIST)),
                },
                _ => return Err(self.unknown_key(place, name, &[NAMESPACES, COMMANDS])),
            }
        }
        Ok(rights)
    }

    /// The order statuses of `[orders]`.
    pub(super) fn order_statuses(&self) -> Result<Vec<String>, ConfigError> {
        let Some(orders) = self.table.get(ORDERS) else {
            return Ok(Vec::new());
        };
        let orders = orders
            .as_table()
            .ok_or_else(|| self.wrong(ORDERS, "must be a table"))?;
        if let Some(key) = orders.keys().find(|key| *key != STATUSES) {
            if Role::ALL.iter().any(|role| role.name() == key) {
                return Err(self.stray_row(ORDERS));
            }
            return Err(self.unknown_key(ORDERS, key, &[STATUSES]));
        }
        let Some(statuses) = orders.get(STATUSES) else {
            return Ok(Vec::new());
        };
        let status = |value: &Value| {
            let text = value.as_str()?;
            (1..=STATUS_MAX_BYTES)
                .contains(&text.len())
                .then(|| text.to_owned())
        };
        statuses
            .as_array()
            .and_then(|values| values.iter().map(status).collect::<Option<Vec<String>>>())
            .ok_or_else(|| {
                let reason =
                    format!("must be an array of strings of 1 to {STATUS_MAX_BYTES} bytes");
                self.wrong(&format!("{ORDERS}.{STATUSES}"), &reason)
            })
    }

    /// A row of the table of access that stands somewhere else.
    pub(super) fn stray_row(&self, name: &str) -> ConfigError {
        let reason = format!("who may see {name} stands under [{ACCESS}], as a row of that table");
        self.wrong(name, &reason)
    }

    fn wrong_value(&self, place: &str, value: &str, reason: &str) -> ConfigError {
        ConfigError::Value {
            setting: place.into(),
            source: Source::File(self.path.clone()),
            value: Some(value.into()),
            reason: reason.into(),
        }
    }

    fn wrong(&self, place: &str, reason: &str) -> ConfigError {
        ConfigError::Value {
            setting: place.into(),
            source: Source::File(self.path.clone()),
            value: None,
            reason: reason.into(),
        }
    }
}

const ALL_OR_LIST: &str = "must be \"all\", or an array of names";

/// All of something, or those that are named.
enum Names<'a> {
    All,
    Some(Vec<&'a str>),
}

fn names(value: &Value) -> Option<Names<'_>> {
    match value {
        Value::String(all) if all == ALL => Some(Names::All),
        Value::Array(names) => {
            let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
            names.map(Names::Some)
        }
        _ => None,
    }
}
