//! `shopwire schema`: the event catalogue and the protocol for other languages.

use std::process::ExitCode;

use super::print;
use crate::schema;

/// Print the event catalogue for other languages
#[derive(clap::Args)]
#[command(
    after_help = "Exactly one of the three. The server judges by the same catalogue; what a schema cannot tell \
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
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let Format {
        json_schema,
        typescript,
        asyncapi: _,
    } = arguments.format;
    // Which of them is given is clap's to see to.
    let text = match (json_schema, typescript) {
        (true, _) => schema::json_schema(),
        (_, true) => schema::typescript(),
        _ => schema::asyncapi(),
    };
    print(&text)
}
