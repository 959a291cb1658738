// What is said to the server for all tabs, in order and no faster than it takes it: a connection has one message rate, however many
// tabs share it. The rate is not known here; a refusal says how long to wait.

/** So many questions are under way at most: as many can be refused at once, and too many refusals end a connection. */
const UNDER_WAY = 8;

/** Says one thing, if that is still to be said. */
export type Say = () => void;

export class Pace {
  #isFree: () => boolean;
  #waiting: Say[] = [];
  /** Of those that wait, so many were refused, and are first. */
  #refused = 0;
  /** The time between two, in ms, once one was refused: until all is said. */
  #gapMs = 0;
  /** One was said after such a time. */
  #isPaced = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** `underWay` is how many questions are not answered. */
  constructor(underWay: () => number) {
    this.#isFree = () => underWay() < UNDER_WAY;
  }

  add(say: Say): void {
    this.#waiting.push(say);
    this.go();
  }

  /** Says what may be said now. To be called when a question is answered. */
  go(): void {
    while (this.#waiting.length && !this.#timer && this.#isFree()) {
      this.#isPaced = this.#gapMs > 0;
      if (this.#isPaced) this.#wait(this.#gapMs);
      this.#refused = Math.max(0, this.#refused - 1);
      this.#waiting.shift()!();
    }
  }

  /** The server takes nothing for so long. What it refused is said again, unless there is no way to know what that was. */
  slow(retryAfter: number, again?: Say): void {
    if (again) this.#waiting.splice(this.#refused++, 0, again);
    // One that is refused in spite of the time before it came too early by so much. Others were under way when the first one was.
    this.#gapMs = this.#isPaced ? this.#gapMs + retryAfter : Math.max(this.#gapMs, retryAfter);
    this.#isPaced = false;
    this.#wait(retryAfter);
  }

  /** The connection is gone. */
  reset(): void {
    this.#waiting = [];
    this.#refused = 0;
    this.#calm();
  }

  #wait(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#waiting.length) this.go();
      else this.#calm();
    }, ms);
  }

  #calm(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#gapMs = 0;
  }
}
