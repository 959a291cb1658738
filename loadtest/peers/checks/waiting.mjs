// Waits for what has to happen, and says what did not.

export async function within(seconds, what, promise) {
  let timer;
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${seconds} s`)), seconds * 1000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A list that can be waited on. */
export class Inbox {
  items = [];
  #watchers = new Set();

  push(item) {
    this.items.push(item);
    this.#watchers.forEach((watcher) => watcher());
  }

  /** The first item from place `from` on that `matches`. */
  async find(what, matches, from = 0, seconds = 20) {
    let next = from;
    const found = () => {
      for (; next < this.items.length; next += 1) {
        if (matches(this.items[next])) {
          return true;
        }
      }
      return false;
    };
    if (!found()) {
      let watcher;
      const happened = new Promise((resolve) => {
        watcher = () => found() && resolve();
        this.#watchers.add(watcher);
      });
      try {
        await within(seconds, what, happened);
      } finally {
        this.#watchers.delete(watcher);
      }
    }
    return this.items[next];
  }
}
