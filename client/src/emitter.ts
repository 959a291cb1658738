// Sends events to the server's Unix socket and settles each by the server's answer. Owns the one connection for that,
// made when there is something to send and made again when it is lost. Used by the helpers in `emit.ts`.

import { randomUUID } from 'node:crypto';
import { createConnection, type Socket } from 'node:net';

import { checkSettings, faultIn } from './checks.js';
import type { EventData, EventType, IngestLine, Target } from './generated/events.js';
import { defaultSocket } from './socket-path.js';

/** How many events may wait for their acknowledgement. */
const LIMIT = 10_000;
/** How long one may wait, in ms. */
const TIMEOUT_MS = 5_000;
/** Lines that are sent by one write, in characters. */
const CHUNK = 64 * 1024;
/** The wait before another attempt is random, below a bound that doubles from here with each failure. */
const BACKOFF_MS = 50;
const BACKOFF_MAX_MS = 2_000;

const NO_ANSWER = 'the server does not answer';

export interface EmitOptions {
  to?: Target;
  /** Milliseconds since 1970. Default: the server's clock. */
  timestamp?: number;
  /** The same key again within 10 minutes, for an event of the same namespace, is not sent again. Default: a new one for each call. */
  key?: string;
}

export interface EmitterOptions {
  /** The server's ingest socket. Default: `WS_SOCKET`, else as for `shopwire serve`. */
  socket?: string;
  /** How many events may wait for their acknowledgement; more are refused at once. Default: 10,000. */
  limit?: number;
  /** How long an event may wait for its acknowledgement, in ms; at most 2^31 - 1. Default: 5,000. */
  timeout?: number;
}

/** Why an event was not acknowledged. */
export class EmitError extends Error {
  override name = 'EmitError';
  /** The server's code (`invalid_payload`, `unknown_type`, …), or `timeout`, `queue_full`, `closed`, `invalid_json`. */
  readonly code: string;
  /** The field at fault, `data.total`. */
  readonly field?: string;
  /** Sending again with this key makes no second event, even if the first one arrived after all. */
  readonly key?: string;
  /** The event's place in the list that was given to `emitMany`. */
  index?: number;

  constructor(code: string, message: string, more: { field?: string; key?: string } = {}) {
    super(message);
    this.code = code;
    this.field = more.field;
    this.key = more.key;
  }
}

/** Some events of a list were not acknowledged; the others were. */
export class EmitManyError extends AggregateError {
  override name = 'EmitManyError';
  declare errors: EmitError[];
}

/** An event on its way. */
interface Line {
  text: string;
  key: string;
  deadline: number;
  settle(error?: EmitError): void;
  /** What the server said against it; the ack follows. */
  refusal?: EmitError;
  /** Nobody waits for it any more. */
  isSettled: boolean;
}

type Answer = { ack?: number; error?: { line: number; code: string; field?: string; message: string } };

export class Emitter {
  readonly #path: string;
  readonly #limit: number;
  readonly #timeout: number;
  /** To be sent. */
  #waiting: Line[] = [];
  /** Sent on this connection and not covered by an ack. */
  #sent: Line[] = [];
  /** How many lines of this connection are covered by acks. */
  #acked = 0;
  #socket: Socket | undefined;
  #isOpen = false;
  #isFull = false;
  #isPumpDue = false;
  #rest = '';
  #failures = 0;
  /** What was wrong last, since the last ack. */
  #fault = NO_ANSWER;
  #retry: NodeJS.Timeout | undefined;
  #alarm: NodeJS.Timeout | undefined;
  /** How many nobody was told the end of. */
  #open = 0;
  #isClosed = false;
  /** Those who wait until fewer are open. */
  #onSettled: (() => void)[] = [];

  constructor(options: EmitterOptions = {}) {
    checkSettings(options);
    this.#path = options.socket ?? defaultSocket();
    this.#limit = options.limit ?? LIMIT;
    this.#timeout = options.timeout ?? TIMEOUT_MS;
  }

  /**
   * Sends an event. Resolves when the server has it: accepted, ordered, and safe where it keeps a journal.
   * Rejects with an {@link EmitError}: the server's own sentence, or why there was no answer.
   */
  emit<T extends EventType>(type: T, data: EventData[T], options?: EmitOptions): Promise<void> {
    const fault = faultIn(options);
    // What is no option is for the server to refuse: a misspelt `to` must not become a broadcast.
    const { key = randomUUID(), ...rest } = options ?? {};
    return new Promise((resolve, reject) => {
      const refuse = (code: string, message: string, field?: string) => reject(new EmitError(code, message, { field, key }));
      if (fault) return refuse(fault.code, fault.message, fault.field);
      if (this.#isClosed) return refuse('closed', 'the emitter was closed');
      if (this.#open >= this.#limit) {
        return refuse('queue_full', `${this.#limit} events wait for their acknowledgement already`);
      }
      let text: string;
      try {
        text = `${JSON.stringify({ ...rest, type, data, key })}\n`;
      } catch (error) {
        return refuse('invalid_json', `the event cannot be written as JSON: ${(error as Error).message}`);
      }
      const line: Line = {
        text,
        key,
        deadline: Date.now() + this.#timeout,
        isSettled: false,
        settle: (error) => {
          if (line.isSettled) return;
          line.isSettled = true;
          this.#open--;
          if (error) reject(error);
          else resolve();
          for (const tell of this.#onSettled.splice(0)) tell();
        },
      };
      this.#open++;
      this.#waiting.push(line);
      this.#pumpSoon();
    });
  }

  /**
   * Sends many, in order. Waits for room instead of being refused. Resolves when the server has all of them; rejects with an
   * {@link EmitManyError} that names each one it refused.
   */
  async emitMany(events: Iterable<IngestLine>): Promise<void> {
    const errors: EmitError[] = [];
    const all: Promise<void>[] = [];
    for (const event of events) {
      // What is no event is for the server to refuse, as a line of many.
      const { type, data, ...options } = Object(event) as IngestLine;
      while (this.#open >= this.#limit) await this.#oneSettled();
      const index = all.length;
      const told = this.emit(type, data, options).catch((error: EmitError) => {
        error.index = index;
        errors.push(error);
      });
      all.push(told);
    }
    await Promise.all(all);
    if (errors.length === 0) return;
    errors.sort((a, b) => a.index! - b.index!);
    const first = errors[0]!;
    const summary = `${errors.length} of ${all.length} events were not taken; number ${first.index} (from 0): ${first.message}`;
    throw new EmitManyError(errors, summary);
  }

  /** Takes no more events, waits for those under way, and ends the connection. */
  async close(): Promise<void> {
    this.#isClosed = true;
    while (this.#open > 0) await this.#oneSettled();
    clearTimeout(this.#retry);
    clearTimeout(this.#alarm);
    this.#socket?.end();
  }

  #oneSettled(): Promise<void> {
    return new Promise((resolve) => this.#onSettled.push(resolve));
  }

  /** In a microtask: what is emitted together is written together. */
  #pumpSoon(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    queueMicrotask(() => {
      this.#isPumpDue = false;
      this.#pump();
    });
  }

  /** Writes what the socket takes. */
  #pump(): void {
    this.#arm();
    if (!this.#socket) {
      if (!this.#retry && this.#waiting.length) this.#connect();
      return;
    }
    // A process that waits for nothing else may end.
    if (this.#open > 0) this.#socket.ref();
    else this.#socket.unref();
    while (this.#isOpen && !this.#isFull && this.#waiting.length) {
      let count = 0;
      let chunk = '';
      while (count < this.#waiting.length && chunk.length < CHUNK) chunk += this.#waiting[count++]!.text;
      this.#sent.push(...this.#waiting.splice(0, count));
      this.#isFull = !this.#socket.write(chunk);
    }
  }

  #connect(): void {
    const socket = createConnection(this.#path);
    this.#socket = socket;
    this.#acked = 0;
    this.#rest = '';
    this.#isOpen = this.#isFull = false;
    socket.setEncoding('utf8');
    socket.on('connect', () => {
      this.#isOpen = true;
      this.#pump();
    });
    socket.on('drain', () => {
      this.#isFull = false;
      this.#pump();
    });
    socket.on('data', (text: string) => this.#read(text));
    socket.on('error', (error) => (this.#fault = error.message));
    socket.on('close', (hadError) => {
      if (!hadError) this.#fault = 'the server closed the connection';
      this.#lost();
    });
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    try {
      for (const line of lines) this.#answer(JSON.parse(line));
    } catch {
      this.#socket?.destroy(new Error('what listens there is no shopwire server'));
      return;
    }
    this.#pump();
  }

  #answer({ ack, error }: Answer): void {
    if (error) {
      const line = this.#sent[error.line - this.#acked - 1];
      if (line) line.refusal = new EmitError(error.code, error.message, { field: error.field, key: line.key });
    } else if (ack !== undefined) {
      for (const line of this.#sent.splice(0, ack - this.#acked)) line.settle(line.refusal);
      this.#acked = ack;
      this.#failures = 0;
      this.#fault = NO_ANSWER;
    }
  }

  /** The connection is gone. What is not settled goes out again on the next, with the same keys: so none becomes two. */
  #lost(): void {
    this.#socket = undefined;
    this.#isOpen = false;
    for (const line of this.#sent) if (line.refusal) line.settle(line.refusal);
    this.#waiting = [...this.#sent, ...this.#waiting].filter((line) => !line.isSettled);
    this.#sent = [];
    if (this.#waiting.length === 0) return;
    const bound = Math.min(BACKOFF_MAX_MS, BACKOFF_MS * 2 ** this.#failures++);
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#pump();
    }, Math.random() * bound);
  }

  /** Sets the alarm for the event that has waited longest, where there is none yet. */
  #arm(): void {
    if (this.#open === 0) {
      clearTimeout(this.#alarm);
      this.#alarm = undefined;
      return;
    }
    if (this.#alarm) return;
    const oldest = this.#sent.find((line) => !line.isSettled) ?? this.#waiting[0]!;
    this.#alarm = setTimeout(() => {
      this.#alarm = undefined;
      this.#expire();
      this.#pump();
    }, oldest.deadline - Date.now());
  }

  #expire(): void {
    const now = Date.now();
    for (const line of [...this.#sent, ...this.#waiting]) {
      if (line.deadline > now) break;
      const message = `no acknowledgement from ${this.#path} within ${this.#timeout} ms: ${this.#fault}`;
      line.settle(new EmitError('timeout', message, { key: line.key }));
    }
    // One that was sent keeps its place: the server counts it.
    this.#waiting = this.#waiting.filter((line) => !line.isSettled);
  }
}
