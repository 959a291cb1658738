// What an emitter is given, looked at before it is taken: what JSON would leave out must not change who sees an event, and a
// setting that cannot work is told where it was written.

/** Why an event is not sent at all; as the server's own refusals. */
interface Fault {
  code: string;
  message: string;
  field?: string;
}

/** The longest wait that a timer can hold; it takes a longer one for none. */
const WAIT_MAX_MS = 2 ** 31 - 1;
/** JSON leaves out what is one of these. */
const UNWRITTEN = ['undefined', 'function', 'symbol'];
/** What of a target narrows by taking some away. */
const EXCLUDING = ['excludeUserIds', 'excludeSessionId'];

/** A value as a sentence about it calls it. */
export function named(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'function') return 'a function';
  return Object(value) === value ? 'an object' : String(value);
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value);

/** What is wrong with an event's options that the server would not see. The rest is for it to refuse. */
export function faultIn(options: unknown): Fault | undefined {
  if (options === undefined || options === null) return undefined;
  if (!isObject(options)) {
    return { code: 'invalid_payload', message: `the options of an event are an object (to, timestamp, key), and not ${named(options)}` };
  }
  const { to } = options as { to?: unknown };
  // Optional, as TypeScript has it: `{ to }` of none is no target.
  if (to === undefined) return undefined;
  if (UNWRITTEN.includes(typeof to)) return { code: 'invalid_target', field: 'to', message: `to must be an object, and not ${named(to)}` };
  // Left out it would be a broadcast, and `userIds: user?.ids` is a slip. Who excludes nobody excludes nobody.
  const lost = Object.entries(Object(to)).find(([name, value]) => UNWRITTEN.includes(typeof value) && !(value === undefined && EXCLUDING.includes(name)));
  if (!lost) return undefined;
  const field = `to.${lost[0]}`;
  return { code: 'invalid_target', field, message: `${field} is ${named(lost[1])}: give its value, or leave the name out where none is meant` };
}

const SETTINGS: { [name: string]: { kind: 'string' | 'number'; isRight(value: any): boolean; allowed: string } } = {
  socket: { kind: 'string', isRight: (path: string) => path !== '', allowed: 'a path, not empty' },
  limit: { kind: 'number', isRight: (count: number) => Number.isInteger(count) && count >= 1, allowed: 'an integer, at least 1' },
  timeout: { kind: 'number', isRight: (ms: number) => ms > 0 && ms <= WAIT_MAX_MS, allowed: `a number of ms above 0, at most ${WAIT_MAX_MS}` },
};

/** Throws for an emitter's options that are none, or cannot work. */
export function checkSettings(options: object): void {
  if (!isObject(options)) throw new TypeError(`the options of an emitter are an object, and not ${named(options)}`);
  for (const [name, value] of Object.entries(options)) {
    const setting = Object.hasOwn(SETTINGS, name) ? SETTINGS[name] : undefined;
    if (!setting) throw new TypeError(`${name} is no option of an emitter: ${Object.keys(SETTINGS).join(', ')} are`);
    if (value === undefined) continue;
    const message = `${name} of an emitter is ${setting.allowed}, and not ${named(value)}`;
    if (typeof value !== setting.kind) throw new TypeError(message);
    if (!setting.isRight(value)) throw new RangeError(message);
  }
}
