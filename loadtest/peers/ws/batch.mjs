// Gathers the frames of one chunk of events so that each connection gets them in one buffer, by one write.
//
// The members of a group share one buffer. A connection that gets more than its group, or less, has a list of its own for
// the rest of the chunk, begun with what the group has had so far: so the order is the same for everybody.

export class Batch {
  #write;
  #shared = new Map();
  #single = new Map();
  #singleByGroup = new Map();

  /** `write(connection, bytes)` is called once for each receiver and chunk. */
  constructor(write) {
    this.#write = write;
  }

  /** Every member of the group but those in the set `without` gets the frame. */
  toGroup(group, without, frame) {
    for (const connection of without) {
      if (connection.group === group) {
        this.#listOf(connection);
      }
    }
    for (const connection of this.#singleByGroup.get(group) ?? []) {
      if (!without.has(connection)) {
        this.#single.get(connection).push(frame);
      }
    }
    const frames = this.#shared.get(group);
    if (frames === undefined) {
      this.#shared.set(group, [frame]);
    } else {
      frames.push(frame);
    }
  }

  /** One connection gets the frame. */
  toOne(connection, frame) {
    this.#listOf(connection).push(frame);
  }

  flush() {
    for (const [group, frames] of this.#shared) {
      const bytes = join(frames);
      for (const connection of group.members) {
        if (!this.#single.has(connection)) {
          this.#write(connection, bytes);
        }
      }
    }
    for (const [connection, frames] of this.#single) {
      if (frames.length > 0) {
        this.#write(connection, join(frames));
      }
    }
    this.#shared.clear();
    this.#single.clear();
    this.#singleByGroup.clear();
  }

  #listOf(connection) {
    let frames = this.#single.get(connection);
    if (frames === undefined) {
      frames = [...(this.#shared.get(connection.group) ?? [])];
      this.#single.set(connection, frames);
      const others = this.#singleByGroup.get(connection.group);
      if (others === undefined) {
        this.#singleByGroup.set(connection.group, [connection]);
      } else {
        others.push(connection);
      }
    }
    return frames;
  }
}

function join(frames) {
  return frames.length === 1 ? frames[0] : Buffer.concat(frames);
}
