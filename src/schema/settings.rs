//! The settings as a table in Markdown: the reference in docs/operations.md.

use crate::config::settings;

/// A row a setting, in the order of `--help`.
pub fn settings_table() -> String {
    let rows = settings::ALL.iter().map(|setting| {
        format!(
            "| `--{}` | `{}` | {} | {} |\n",
            setting.name,
            setting.env,
            cell(setting.default),
            cell(setting.help)
        )
    });
    ["| flag | environment | default | |\n|---|---|---|---|\n".to_owned()]
        .into_iter()
        .chain(rows)
        .collect()
}

/// Text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
