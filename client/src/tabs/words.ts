// What the tabs of one user say to each other, and how they find each other. Read by the sockets of the tabs and by the hub.

import type { WebSocketLike } from '../types.js';

/** Needed of `navigator.locks`. */
export interface Locks {
  request(name: string, options: { signal?: AbortSignal; steal?: boolean }, held: () => Promise<void>): Promise<unknown>;
}

/** Needed of a `BroadcastChannel`. */
export interface Channel {
  onmessage: ((event: any) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
}

/** What the browser has for it. */
export interface Platform {
  locks: Locks;
  BroadcastChannel: new (name: string) => Channel;
  WebSocket: new (url: string, protocols: string[]) => WebSocketLike;
}

/** From a tab's socket. `join` is for whichever hub there is, all else for the one that took the socket in. */
export type ToHub =
  | { join: string; token: string | undefined; isGreeted: boolean }
  | { hub: string; from: string; text: string }
  /** `isSilent`: because nothing came. */
  | { hub: string; from: string; leave: true; isSilent: boolean };

/** From the hub. */
export type FromHub =
  /** A hub begins. Who is with another one comes over. */
  | { lead: string }
  | { hub: string; to: string[]; joined: true }
  /** A message of the server's. */
  | { hub: string; to: string[]; text: string }
  | { hub: string; to: string[]; close: number; reason: string };

export const PROTOCOL = 'shopwire.v1';
/** The close code for an end without a close frame. */
export const CUT = 1006;
/** A WebSocket's states. */
export const [CONNECTING, OPEN, CLOSED] = [0, 1, 3] as const;

/**
 * The name under which the tabs find each other that may share a connection: of one server, one user, one role and one session.
 * Two tabs that differ in any of it may be sent different events. Undefined where a token does not say whose it is.
 * The token is not judged here: that does the server, for each tab's.
 */
export function groupOf(url: string, token: string | undefined): string | undefined {
  const whose = token === undefined ? [] : whoseIs(token);
  // The number changes with the words above: an open tab may be of an older version of the page.
  return whose && JSON.stringify(['shopwire tabs 1', url, ...whose]);
}

function whoseIs(token: string): unknown[] | undefined {
  try {
    const claims = JSON.parse(atob(token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/')));
    const user = claims.sub ?? claims.userId;
    return user && [user, claims.role, claims.sid ?? claims.sessionId];
  } catch {
    return undefined;
  }
}

/** The lock that a tab's socket holds while it lives. */
export const lockOf = (group: string, socket: string) => `${group} ${socket}`;
