// The examples as programs of their own, which speak with a real server.

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';

export const examples = resolve(import.meta.dirname, '../../../examples');

/** A program that ends with its test. */
export class Program {
  readonly lines: string[] = [];
  #child: ChildProcess;
  #heard: () => void = () => {};

  constructor(command: string[], { cwd, env, stdin }: { cwd: string; env: Record<string, string>; stdin?: string }) {
    const [name, ...args] = command;
    this.#child = spawn(name!, args, { cwd, env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env }, stdio: 'pipe' });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line);
        this.#heard();
      });
    }
    this.#child.on('close', () => this.#heard());
    this.#child.stdin!.end(stdin);
  }

  /** The first line that a pattern stands for. */
  async line(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      for (const line of this.lines) {
        const match = pattern.exec(line);
        if (match) return match;
      }
      if (this.#child.exitCode !== null) throw new Error(`it ended with ${this.#child.exitCode}:\n${this.lines.join('\n')}`);
      await new Promise<void>((heard) => (this.#heard = heard));
    }
  }

  /** Its exit code, when it has ended by itself. */
  async end(): Promise<number | null> {
    if (this.#child.exitCode === null) await once(this.#child, 'close');
    return this.#child.exitCode;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'close');
  }
}
