// The ingest protocol: NDJSON lines in, one answer a chunk out.
//
// Knows nothing of sockets, so that each peer reads by what its runtime is fastest with.

import { IngestedEvent } from './event.mjs';
import { isObject, readAudience, typeNamed, Refusal } from './contract.mjs';

const NEWLINE = 0x0a;

/** Gives every event its id: unique across restarts, because the start is in it. */
export class EventIds {
  #prefix = `${Date.now().toString(16)}-`;
  #last = 0;

  next() {
    this.#last += 1;
    return this.newest;
  }

  get newest() {
    return this.#prefix + this.#last;
  }
}

/** One emitter's connection. */
export class Emitter {
  #ids;
  #rest = [];
  #settled = 0;
  #newestId = undefined;

  constructor(ids) {
    this.#ids = ids;
  }

  /**
   * Takes what one read gave. Each accepted event goes to `accept(event, audience)`.
   * Returns what is to be answered: empty where no line was completed.
   */
  read(chunk, accept) {
    const end = chunk.lastIndexOf(NEWLINE);
    if (end === -1) {
      // Copied, because a runtime may use the buffer of a read again.
      this.#rest.push(Buffer.from(chunk));
      return '';
    }
    const head = chunk.subarray(0, end);
    const lines = (this.#rest.length > 0 ? Buffer.concat([...this.#rest, head]) : head).toString();
    this.#rest = end + 1 < chunk.length ? [Buffer.from(chunk.subarray(end + 1))] : [];
    return this.#settle(lines.split('\n'), accept);
  }

  /** The emitter has said all: a last line needs no newline. */
  end(accept) {
    const line = Buffer.concat(this.#rest).toString();
    this.#rest = [];
    return line === '' ? '' : this.#settle([line], accept);
  }

  #settle(lines, accept) {
    const now = Date.now();
    let answer = '';
    for (const line of lines) {
      this.#settled += 1;
      try {
        this.#take(line, now, accept);
      } catch (error) {
        if (!(error instanceof Refusal)) {
          throw error;
        }
        const { code, message } = error;
        answer += `${JSON.stringify({ error: { line: this.#settled, code, message } })}\n`;
      }
    }
    return `${answer}${JSON.stringify({ ack: this.#settled, id: this.#newestId })}\n`;
  }

  #take(line, now, accept) {
    if (line === '' || line === '\r') {
      return;
    }
    const parsed = parseObject(line);
    const { data } = parsed;
    const type = typeNamed(parsed.type);
    if (type === undefined) {
      throw new Refusal('unknown_type', `\`${parsed.type}\` is no event type`);
    }
    if (!isObject(data)) {
      throw new Refusal('invalid_payload', '`data` is not an object');
    }
    const audience = readAudience(type, parsed.to, data);
    this.#newestId = this.#ids.next();
    accept(new IngestedEvent(this.#newestId, type, line, parsed, now), audience);
  }
}

function parseObject(line) {
  let value;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new Refusal('invalid_json', error.message);
  }
  if (!isObject(value)) {
    throw new Refusal('invalid_json', 'the line is not an object');
  }
  return value;
}
