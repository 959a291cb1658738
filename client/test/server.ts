// The real server for tests, and a line to it that can be cut or held. Each test has its own, on free ports.

import { spawn, type ChildProcess } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { accessSync, mkdtempSync, rmSync } from 'node:fs';
import { createConnection, createServer, type AddressInfo, type Server as NetServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

import WebSocket from 'ws';

import { ShopwireClient } from '../src/client.js';
import { Emitter } from '../src/emitter.js';
import type { Role } from '../src/generated/events.js';
import type { ShopwireOptions } from '../src/types.js';

const PROGRAM = resolve(process.env.SHOPWIRE_BIN ?? '../target/debug/shopwire');
export const SECRET = 'a secret for the tests of the client';

export class Server {
  url = '';
  readonly folder = mkdtempSync(join(tmpdir(), 'shopwire-client-'));
  readonly socket = join(this.folder, 'ingest.sock');
  #process: ChildProcess | undefined;
  #port = 0;
  #args: string[] = [];
  #ends: (() => unknown)[] = [];

  /** Starts one; `args` stand behind `serve`, each time it is run. */
  static async start(env: Record<string, string> = {}, args: string[] = []): Promise<Server> {
    try {
      accessSync(PROGRAM);
    } catch {
      throw new Error(`there is no server at ${PROGRAM}: build it with \`cargo build\`, or name it in SHOPWIRE_BIN`);
    }
    const server = new Server();
    server.#args = args;
    await server.run(env);
    return server;
  }

  /** Starts it, on the same port as before if it ran. */
  async run(env: Record<string, string> = {}): Promise<void> {
    this.#process = spawn(PROGRAM, ['serve', ...this.#args], {
      env: {
        PATH: process.env.PATH,
        WS_HOST: '127.0.0.1',
        WS_PORT: String(this.#port),
        WS_SOCKET: this.socket,
        WS_JWT_SECRET: SECRET,
        WS_CONNECT_RATE: '0',
        WS_WORKERS: '2',
        RUST_LOG: 'error',
        ...env,
      },
      // Under --dev it prints what to paste.
      stdio: ['ignore', 'pipe', this.#args.includes('--dev') ? 'ignore' : 'inherit'],
    });
    const lines = createInterface({ input: this.#process.stdout! });
    const gone = once(this.#process, 'exit').then(() => ['it ended']);
    const [line] = await Promise.race([once(lines, 'line'), gone]);
    const url = /^shopwire ready ws=(\S+)/.exec(line)?.[1];
    if (!url) throw new Error(`the server did not get ready: ${line}`);
    this.url = url;
    this.#port = Number(new URL(url).port);
  }

  /** Ends the process and waits for that. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (!running || running.exitCode !== null) return;
    const gone = once(running, 'exit');
    running.kill(signal);
    await gone;
  }

  /** Runs another command of the program against this server. */
  async command(...args: string[]): Promise<void> {
    const child = spawn(PROGRAM, [...args, '--socket', this.socket], { stdio: ['ignore', 'ignore', 'inherit'] });
    const [code] = await once(child, 'exit');
    if (code !== 0) throw new Error(`shopwire ${args.join(' ')} ended with ${code}`);
  }

  client(options: ShopwireOptions = {}): ShopwireClient {
    const client = new ShopwireClient({ url: this.url, token: () => token('ann', 'admin'), WebSocket, ...options });
    this.#ends.push(() => client.close());
    return client;
  }

  emitter(options: { limit?: number; timeout?: number } = {}): Emitter {
    return new Emitter({ socket: this.socket, ...options });
  }

  async line(): Promise<Line> {
    const line = await Line.to(this.#port);
    this.#ends.push(() => line.close());
    return line;
  }

  async stop(): Promise<void> {
    for (const end of this.#ends) await end();
    await this.kill();
    rmSync(this.folder, { recursive: true });
  }
}

/** A token that is good for `seconds`. Whole ones: that is what `exp` counts in. */
export function token(user: string, role: Role, seconds = 3600): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: user, role, exp })}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

/** A TCP proxy in front of a server. */
export class Line {
  #server: NetServer;
  #sockets = new Set<Socket>();
  #isHeld = false;
  /** How many connections were made through it. */
  connections = 0;

  private constructor(port: number) {
    this.#server = createServer((near) => {
      this.connections++;
      const far = createConnection(port, '127.0.0.1');
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          this.#sockets.delete(socket);
          near.destroy();
          far.destroy();
        });
      }
      near.on('data', (data) => this.#isHeld || far.write(data));
      far.on('data', (data) => this.#isHeld || near.write(data));
    });
  }

  static async to(port: number): Promise<Line> {
    const line = new Line(port);
    line.#server.listen(0, '127.0.0.1');
    await once(line.#server, 'listening');
    return line;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/api/ws`;
  }

  /** How many connections there are now. */
  get open(): number {
    return this.#sockets.size / 2;
  }

  /** Ends all connections at once, without a word. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Loses all bytes from now on, and keeps the connections open. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

/** Waits until something holds; says what did not if the time is over. */
export async function until(what: string, holds: () => boolean, seconds = 20): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export const order = (orderId: string, customerId = 'c-1') => ({
  orderId,
  customerId,
  customerName: 'Ada',
  total: 12.5,
  status: 'pending',
  channel: 'web',
});
