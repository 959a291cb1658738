// Text frames as a server sends them (RFC 6455, section 5.2).
//
// A frame is a string in which each character is one byte. Node joins such strings without copying them, and writes one
// that goes to a single socket without a Buffer of its own.

const TEXT_FIN = '\x81';
const LENGTH_IN_2_BYTES = '\x7e';
const LENGTH_IN_8_BYTES = '\x7f';

/** What frames are encoded by. */
export const BYTES = 'latin1';

export function textFrame(text) {
  const length = Buffer.byteLength(text);
  const payload = length === text.length ? text : Buffer.from(text).toString(BYTES);
  return TEXT_FIN + lengthField(length) + payload;
}

function lengthField(length) {
  if (length < 126) {
    return String.fromCharCode(length);
  }
  if (length < 65536) {
    return LENGTH_IN_2_BYTES + String.fromCharCode(length >> 8, length & 255);
  }
  const field = Buffer.alloc(8);
  field.writeBigUInt64BE(BigInt(length));
  return LENGTH_IN_8_BYTES + field.toString(BYTES);
}
