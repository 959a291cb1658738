// What every peer does as a process: reads its settings, owns the ingest socket's path, says when it is ready, ends when told to.

import { existsSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';

/** The most that may wait for one connection that does not read. */
export const OUTBOX_LIMIT = 16 * 1024 * 1024;

export const PING_INTERVAL = 30_000;

/** The path clients connect to where the tool does not have one of its own. */
export const WS_PATH = '/api/ws';

/** How many connections the kernel may hold for us until we accept them. */
export const BACKLOG = 4096;

export function readSettings() {
  const { WS_HOST = '127.0.0.1', WS_PORT = '0', WS_SOCKET, WS_JWT_SECRET_FILE } = process.env;
  const port = Number(WS_PORT);
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    fail(2, `WS_PORT is \`${WS_PORT}\`: allowed is 0 to 65535`);
  }
  if (!WS_SOCKET || !WS_JWT_SECRET_FILE) {
    fail(2, `${WS_SOCKET ? 'WS_JWT_SECRET_FILE' : 'WS_SOCKET'} is missing`);
  }
  return { host: WS_HOST, port, socketPath: WS_SOCKET, secret: readSecret(WS_JWT_SECRET_FILE) };
}

function readSecret(path) {
  let secret;
  try {
    secret = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    fail(2, `WS_JWT_SECRET_FILE cannot be read: ${error.message}`);
  }
  if (secret === '') {
    fail(2, `WS_JWT_SECRET_FILE is empty: ${path}`);
  }
  return Buffer.from(secret);
}

/** Removes a socket that a server left behind; one that somebody still listens on is not ours to take. */
export async function freeSocketPath(path) {
  if (!existsSync(path)) {
    return;
  }
  const outcome = await new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => resolve('alive'));
    probe.once('error', (error) => resolve(error.code));
    probe.once('close', () => probe.destroy());
  });
  if (outcome !== 'ECONNREFUSED') {
    fail(1, `${path} is in use, or not a socket (${outcome})`);
  }
  rmSync(path);
}

/** Tells whoever started us where we are reached, and ends the process on SIGTERM and SIGINT. */
export function announce(name, url, socketPath) {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.on(signal, () => {
      rmSync(socketPath, { force: true });
      process.exit(0);
    });
  }
  process.stdout.write(`${name} ready ws=${url} ingest=${socketPath}\n`);
}

export function fail(code, message) {
  process.stderr.write(`${message}\n`);
  process.exit(code);
}
