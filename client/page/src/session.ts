// Who the page is: under --dev whoever it chooses to be, elsewhere whom a pasted token says. Tokens stay in memory.

import type { Namespace, Role } from '../../src/index.js';

/** What a role may see of a namespace. */
export type Access = 'all' | 'own' | 'none';

/** Roles that can be looked through, `public` being nobody. */
export const ROLES = ['admin', 'manager', 'staff', 'customer', 'guest', 'public'] as const;
export type Seat = (typeof ROLES)[number];

export const NAMESPACES: readonly Namespace[] = ['orders', 'customers', 'products', 'inventory', 'payments', 'system'];

/** What the server says of itself. */
export interface Info {
  version: string;
  /** It hands out tokens to this page. */
  isDev: boolean;
  /** All event types. */
  types: string[];
}

/** What a browser calls `Failed to fetch`. */
export const NO_SERVER = 'the server does not answer';

async function ask(path: string, options?: RequestInit): Promise<Response> {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error(NO_SERVER);
  }
}

export async function loadInfo(): Promise<Info> {
  const answer = await ask('/api/ws/info');
  if (!answer.ok) throw new Error(`/api/ws/info answered ${answer.status}`);
  const { version, features } = await answer.json();
  return { version, isDev: features.dev === true, types: Object.values<string[]>(features.eventTypes).flat() };
}

/** A token as the server hands it out under --dev. */
export interface Signed {
  token: string;
  user: string;
  role: Role;
  access: Record<Namespace, Access>;
}

export async function signIn(role: Role): Promise<Signed> {
  return post('/dev/token', JSON.stringify({ role }));
}

/** Sends an event line. Rejects with the server's own sentence. */
export async function sendLine(line: string): Promise<void> {
  await post('/dev/events', line);
}

async function post(path: string, body: string) {
  const answer = await ask(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  const content = await answer.json();
  if (!answer.ok) throw new Error(content?.error?.message ?? `${path} answered ${answer.status}`);
  return content;
}
