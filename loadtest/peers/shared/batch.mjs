// Gathers the frames of one chunk of events, so that each connection gets them at once.
//
// The members of a group share one list. A connection that gets more than its group, or less, is set apart: it has a list of
// its own for the rest of the chunk, begun with what the group has had so far. So the order is the same for everybody.
//
// What is gathered is kept at the groups and connections themselves, which costs less than to look it up by them.

export class Batch {
  #sendToGroup;
  #sendToOne;
  #groups = [];
  #apart = [];

  /**
   * At a flush, `sendToGroup(group, frames)` is called for each group that got something, to send to all members but those in
   * `group.apart`; then `sendToOne(connection, frames)` for each connection that was set apart.
   */
  constructor(sendToGroup, sendToOne) {
    this.#sendToGroup = sendToGroup;
    this.#sendToOne = sendToOne;
  }

  /** Every member of the group but those in the set `without` gets the frame. */
  toGroup(group, without, frame) {
    for (const connection of without) {
      if (connection.group === group) {
        this.#setApart(connection);
      }
    }
    this.#note(group);
    group.frames.push(frame);
    for (const connection of group.apart) {
      if (!without.has(connection)) {
        connection.frames.push(frame);
      }
    }
  }

  /** One connection gets the frame. */
  toOne(connection, frame) {
    this.#setApart(connection);
    connection.frames.push(frame);
  }

  flush() {
    for (const group of this.#groups) {
      if (group.frames.length > 0) {
        this.#sendToGroup(group, group.frames);
      }
    }
    for (const group of this.#groups) {
      group.frames = [];
      group.apart = [];
    }
    for (const connection of this.#apart) {
      const { frames } = connection;
      connection.frames = null;
      if (frames.length > 0) {
        this.#sendToOne(connection, frames);
      }
    }
    this.#groups = [];
    this.#apart = [];
  }

  #setApart(connection) {
    if (connection.frames === null) {
      const { group } = connection;
      this.#note(group);
      connection.frames = [...group.frames];
      group.apart.push(connection);
      this.#apart.push(connection);
    }
  }

  #note(group) {
    if (group.frames.length === 0 && group.apart.length === 0) {
      this.#groups.push(group);
    }
  }
}
