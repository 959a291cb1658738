// A client made with Node's `ws`: connects, authenticates, subscribes to orders, prints every message as a line, and closes
// after the first order:created. Arguments: URL, token, and the way the token is shown (header, subprotocol, message).

import WebSocket from 'ws';

const [url, token, way] = process.argv.slice(2);
const protocols = way === 'subprotocol' ? ['shopwire.v1', `token.${token}`] : [];
const headers = way === 'header' ? { Authorization: `Bearer ${token}` } : {};
const socket = new WebSocket(url, protocols, { headers });

socket.on('message', (data) => {
  console.log(data.toString());
  const message = JSON.parse(data);
  if (message.type === 'welcome' && way === 'message') {
    socket.send(JSON.stringify({ type: 'auth', data: { token } }));
  }
  if (message.type === 'authenticated') {
    socket.send(JSON.stringify({ type: 'subscribe', data: { namespaces: ['orders'] } }));
  }
  if (message.type === 'order:created') {
    socket.close(1000, 'seen');
  }
});
socket.on('close', (code) => console.log(JSON.stringify({ type: 'closed', code, protocol: socket.protocol })));
socket.on('error', (error) => {
  console.error(error.message);
  process.exitCode = 1;
});
