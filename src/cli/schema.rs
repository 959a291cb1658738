//! `shopwire schema`: the event catalogue and the protocol for other languages, the settings for readers.

use std::process::ExitCode;

use super::print;
use crate::schema;

/// Print the event catalogue for other languages, or the settings
#[derive(clap::Args)]
#[command(
    after_help = "Exactly one of the four. The server judges by the same catalogue; what a schema cannot tell \
    (such as lengths in bytes) stands in its descriptions. Order statuses of a configuration are strings here.\n\n\
    Example:\n  shopwire schema --typescript > events.ts"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    format: Format,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Format {
    /// JSON Schema (2020-12) of a line for the ingest socket (#/$defs/IngestLine) and of an event as it is sent
    /// (#/$defs/Event)
    #[arg(long)]
    json_schema: bool,
    /// A TypeScript module: an interface for each type's data, EventData, ShopEvent, Target, namespaceOf
    #[arg(long)]
    typescript: bool,
    /// AsyncAPI 3.0 (JSON): all messages of the WebSocket and of the ingest socket
    #[arg(long)]
    asyncapi: bool,
    /// The settings: a table in Markdown of flags, variables, defaults and what they do
    #[arg(long)]
    settings: bool,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let Format {
        json_schema,
        typescript,
        settings,
        asyncapi: _,
    } = arguments.format;
    // Which of them is given is clap's to see to.
    let text = match (json_schema, typescript, settings) {
        (true, ..) => schema::json_schema(),
        (_, true, _) => schema::typescript(),
        (.., true) => schema::settings_table(),
        _ => schema::asyncapi(),
    };
    print(&text)
}
