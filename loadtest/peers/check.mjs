#!/usr/bin/env node
// Checks that a peer does what the contract says, with real clients against a real process.
//
//   node check.mjs ws                               one of the peers
//   node check.mjs shopwire -- PROGRAM [ARGUMENT…]  any program that answers to the same interface; the name is its ready line's
//
// Prints a line a check; exits 1 where one failed.

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { deliveryChecks } from './checks/delivery.mjs';
import { ingestChecks } from './checks/ingest.mjs';
import { protocolChecks } from './checks/protocol.mjs';
import { Server } from './checks/server.mjs';
import { same, Stage } from './checks/stage.mjs';

/** A server that drains its connections may take its time; one that hangs may not. */
const SHUTDOWN_LIMIT = 3000;

const COMMANDS = {
  bun: 'bun/start.sh',
  ws: 'ws/server.mjs',
  socketio: 'socketio/server.mjs',
  axum: 'axum/target/release/axum-peer',
};

const [name, separator, ...command] = process.argv.slice(2);
if (separator !== '--' && !(name in COMMANDS && separator === undefined)) {
  process.stderr.write(`usage: node check.mjs ${Object.keys(COMMANDS).join('|')}, or node check.mjs NAME -- PROGRAM [ARGUMENT...]\n`);
  process.exit(2);
}

let failures = 0;
let passes = 0;

async function check(what, run) {
  try {
    await run();
    passes += 1;
    process.stdout.write(`ok      ${what}\n`);
  } catch (error) {
    failures += 1;
    process.stdout.write(`FAILED  ${what}: ${error.message}\n`);
  }
}

const server = await Server.start(name, separator === '--' ? command : [fileURLToPath(new URL(COMMANDS[name], import.meta.url))]);
process.stdout.write(`ok      ready: ${server.output}`);
try {
  const stage = await Stage.open(server);
  for (const run of [...protocolChecks(stage, check), ...deliveryChecks(stage, check), ...ingestChecks(stage, check)]) {
    await run();
  }
  await check('SIGTERM: ends with 0, soon, and removes its socket', async () => {
    const { code, milliseconds } = await server.terminate();
    same('exit code', code, 0);
    same('socket file', existsSync(server.socketPath), false);
    same(`within ${SHUTDOWN_LIMIT} ms`, milliseconds < SHUTDOWN_LIMIT, true);
  });
  await check('stdout has the ready line and nothing else', async () => same('lines', server.output.split('\n').length, 2));
  stage.close();
} finally {
  await server.remove();
}
process.stdout.write(`${name}: ${passes} checks passed, ${failures} failed\n`);
process.exit(failures > 0 ? 1 : 0);
