// Lets one tab after the other be sent the past. All tabs share one stream, and a second subscription that goes back less far
// than a replay under way would end that one: so it waits until the replay is through.

import type { Namespace } from '../generated/events.js';
import { numberOf } from '../numbers.js';
import type { Subscribed } from '../types.js';

/** The wait before the server is asked again how far a replay is: from here on it doubles. Such questions count like all others. */
const ASK_AGAIN_MS = 50;
const ASK_AGAIN_MAX_MS = 4_000;

export class Catchup {
  #probe: (names: readonly Namespace[]) => void;
  #waiting: (() => void)[] = [];
  /** From the question to the end of the replay. */
  #isBusy = false;
  #isProbing = false;
  #names: readonly Namespace[] = [];
  /** The replay's last event, once it has begun. */
  #end: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pauseMs = ASK_AGAIN_MS;

  /** `probe` asks the server where it stands with namespaces, and tells it to `reached` or `retry`. */
  constructor(probe: (names: readonly Namespace[]) => void) {
    this.#probe = probe;
  }

  /** Calls `ask` when nothing is replayed. It ends in `begin` or `over`. */
  wait(ask: () => void): void {
    this.#waiting.push(ask);
    if (!this.#isBusy) this.over();
    else this.#find();
  }

  /** The server has agreed. */
  begin(names: readonly Namespace[], { position, recovered }: Subscribed): void {
    if (recovered === false) return this.over();
    this.#names = names;
    this.#end = numberOf(position);
    this.#find();
  }

  /** There is no replay, or no longer one. */
  over(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#end = undefined;
    // The answer to a question on its way comes before that to the next subscription, and says nothing any more.
    this.#isProbing = false;
    this.#pauseMs = ASK_AGAIN_MS;
    const ask = this.#waiting.shift();
    this.#isBusy = ask !== undefined;
    ask?.();
  }

  /** The replay stands here. */
  reached(position: string): void {
    this.#isProbing = false;
    if (this.#end === undefined) return;
    if (numberOf(position) < this.#end) this.retry();
    else this.over();
  }

  /** That cannot be said now. */
  retry(): void {
    this.#isProbing = false;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#find();
    }, this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 2, ASK_AGAIN_MAX_MS);
  }

  /** An event has come. One behind the end is no old one. */
  passed(id: string): void {
    if (this.#end !== undefined && numberOf(id) > this.#end) this.over();
  }

  /** The connection is gone. */
  reset(): void {
    this.#waiting = [];
    this.over();
  }

  /** Finds out whether the replay is through, if somebody waits for that. */
  #find(): void {
    if (this.#end === undefined || this.#isProbing || this.#timer || !this.#waiting.length) return;
    this.#isProbing = true;
    this.#probe(this.#names);
  }
}
