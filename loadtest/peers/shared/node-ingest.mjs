// The ingest socket under Node.

import { createServer } from 'node:net';
import { once } from 'node:events';

import { Emitter } from './ingest.mjs';
import { freeSocketPath } from './process.mjs';

/**
 * Listens on `path`. Per chunk read, each accepted event goes to `accept(event, audience)`, then `flush()` is called once, and
 * only then is the chunk acknowledged.
 */
export async function listenForEmitters(path, ids, accept, flush) {
  await freeSocketPath(path);
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const emitter = new Emitter(ids);
    const answer = (lines) => {
      if (lines !== '' && !socket.write(lines)) {
        // An emitter that does not read its answers gets no further until it does.
        socket.pause();
      }
    };
    socket.on('data', (chunk) => {
      const lines = emitter.read(chunk, accept);
      flush();
      answer(lines);
    });
    socket.on('drain', () => socket.resume());
    socket.on('end', () => {
      const lines = emitter.end(accept);
      flush();
      socket.end(lines);
    });
    // An emitter that leaves before its answer does not want it.
    socket.on('error', () => socket.destroy());
  });
  server.listen(path);
  await once(server, 'listening');
}
