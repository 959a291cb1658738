// The ingest socket under Bun: its own sockets, which cost less than those it has for `node:net`.

import { Emitter } from '../shared/ingest.mjs';
import { freeSocketPath } from '../shared/process.mjs';

/**
 * Listens on `path`. Per chunk read, each accepted event goes to `accept(event, audience)`, then `flush()` is called once, and
 * only then is the chunk acknowledged.
 */
export async function listenForEmitters(path, ids, accept, flush) {
  await freeSocketPath(path);
  Bun.listen({
    unix: path,
    allowHalfOpen: true,
    socket: {
      open(socket) {
        socket.data = { emitter: new Emitter(ids), unsent: null, ended: false };
      },
      data(socket, chunk) {
        const lines = socket.data.emitter.read(chunk, accept);
        flush();
        answer(socket, lines);
      },
      drain(socket) {
        const { unsent } = socket.data;
        if (unsent !== null) {
          socket.data.unsent = null;
          socket.resume();
          write(socket, unsent);
        }
      },
      end(socket) {
        socket.data.ended = true;
        const lines = socket.data.emitter.end(accept);
        flush();
        answer(socket, lines);
      },
      error(socket) {
        // An emitter that leaves before its answer does not want it.
        socket.terminate();
      },
    },
  });
}

function answer(socket, lines) {
  const { unsent } = socket.data;
  if (unsent === null) {
    write(socket, lines);
  } else {
    socket.data.unsent = Buffer.concat([unsent, Buffer.from(lines)]);
  }
}

/** Writes what the socket takes. An emitter that does not read its answers gets no further until it does. */
function write(socket, lines) {
  const written = lines.length > 0 ? socket.write(lines) : 0;
  const bytes = Buffer.byteLength(lines);
  if (written < bytes) {
    socket.data.unsent = Buffer.from(lines).subarray(Math.max(written, 0));
    socket.pause();
  } else if (socket.data.ended) {
    socket.end();
  }
}
