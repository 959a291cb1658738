// The server under check: started on a free port with a folder of its own, ended by its process id.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { within } from './waiting.mjs';

export class Server {
  secret = 'a secret for checks, long enough for HS256';
  /** All it said on stdout. */
  output = '';

  static async start(name, command) {
    const server = new Server();
    await server.#start(name, command);
    return server;
  }

  async #start(name, [program, ...args]) {
    this.folder = mkdtempSync(join(tmpdir(), 'peer-check-'));
    const secretFile = join(this.folder, 'secret');
    writeFileSync(secretFile, `${this.secret}\n`);
    this.process = spawn(program, args, {
      cwd: this.folder,
      env: {
        ...process.env,
        WS_HOST: '127.0.0.1',
        WS_PORT: '0',
        WS_SOCKET: join(this.folder, 'ingest.sock'),
        WS_JWT_SECRET_FILE: secretFile,
        WS_CONNECT_RATE: '0',
        WS_MESSAGE_RATE: '0',
        // The limit the peers have. With shopwire's own of 1 MiB a long chunk would be too much for a busy observer.
        WS_OUTBOX_LIMIT: String(16 * 1024 * 1024),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.exited = once(this.process, 'exit');
    this.process.stdout.setEncoding('utf8').on('data', (text) => {
      this.output += text;
      this.process.emit('said');
    });
    while (!this.output.includes('\n')) {
      await within(10, 'the ready line', Promise.race([once(this.process, 'said'), this.exited.then(fails)]));
    }
    const line = this.output.split('\n', 1)[0];
    const [, said, url, socketPath] = /^(\S+) ready ws=(ws:\S+) ingest=(\S+)/.exec(line) ?? [];
    if (said !== name || socketPath !== join(this.folder, 'ingest.sock')) {
      throw new Error(`not the ready line of ${name}: ${line}`);
    }
    Object.assign(this, { url, socketPath });
  }

  /** Sends SIGTERM; gives exit code and milliseconds taken. */
  async terminate() {
    const start = performance.now();
    this.process.kill('SIGTERM');
    const [code] = await within(10, 'the end after SIGTERM', this.exited);
    return { code, milliseconds: performance.now() - start };
  }

  async remove() {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.process.kill('SIGKILL');
      await this.exited;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function fails([code]) {
  throw new Error(`the server ended before it was ready, with ${code}`);
}
