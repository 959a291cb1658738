// Whether what the page shows is live: always there, and loud when it is not.

import { useEffect, useState } from 'react';

import type { ConnectionState as State, ShopwireClient } from '../../src/index.js';
import { useConnection, useShopwire } from '../../src/react/index.js';
import { clock } from './format.js';
import { NO_SERVER } from './session.js';

const WORDS: Record<State['status'], string> = {
  idle: 'Not connected',
  connecting: 'Connecting',
  connected: 'Live',
  waiting: 'Reconnecting',
  offline: 'No network',
  closed: 'Disconnected',
};

/** The close code of a token that is refused. */
const UNAUTHORIZED = 4401;

interface ConnectionStateProps {
  reloadedAt: number | undefined;
  /** Asks for another token, where the page does not get one by itself. */
  signInAgain?: (() => void) | undefined;
}

export function ConnectionState({ reloadedAt, signInAgain }: ConnectionStateProps) {
  const client = useShopwire();
  const state = useConnection();
  const wait = useCountdown(state);
  const [caughtUpAt, setCaughtUpAt] = useState<number>();
  useEffect(() => client.on('subscribed', ({ recovered }) => recovered && setCaughtUpAt(Date.now())), [client]);
  const isLive = state.status === 'connected';
  // Why a token was refused is said before the connection is closed for that.
  const [refusal, setRefusal] = useState('');
  useEffect(() => client.on('error', ({ request, message }) => request === 'auth' && setRefusal(message)), [client]);
  useEffect(() => client.on('authenticated', () => setRefusal('')), [client]);
  // Attempts that follow a loss bring no reason of their own: the loss stays said until it is over.
  const [lost, setLost] = useState('');
  const reason = isLive ? '' : (state.code === UNAUTHORIZED && refusal) || state.reason || lost;
  if (reason !== lost) setLost(reason);
  const isTrying = state.status === 'connecting' && lost !== '';
  const remark = caughtUpAt
    ? `caught up at ${clock(caughtUpAt)}, nothing missed`
    : reloadedAt && `loaded anew at ${clock(reloadedAt)}; what came before may be missing`;
  return (
    <>
      <p className="pill" data-status={state.status} role="status">
        <span className="dot" aria-hidden="true" />
        <strong>{WORDS[isTrying ? 'waiting' : state.status]}</strong>
        {isLive && remark && <span className="remark">{remark}</span>}
      </p>
      {reason && (
        <div className="banner" data-status={state.status}>
          <strong>{state.status === 'closed' ? 'Disconnected.' : 'The connection is lost.'}</strong> {sentence(withoutToken(reason))}{' '}
          {state.status === 'closed' && state.code === UNAUTHORIZED && signInAgain ? (
            <button type="button" onClick={signInAgain}>
              Sign in again
            </button>
          ) : state.status === 'closed' ? (
            <button type="button" onClick={() => client.connect()}>
              Connect again
            </button>
          ) : (
            <>
              What you see may be out of date. {wait !== undefined && wait > 0 ? `Next attempt in ${wait} s. ` : 'Trying again… '}
              <button type="button" onClick={() => tryNow(client)}>
                Try now
              </button>
            </>
          )}
        </div>
      )}
    </>
  );
}

/** A server that is not there gives no token either: that is not what is wrong. */
const withoutToken = (reason: string) => (reason.endsWith(NO_SERVER) ? NO_SERVER : reason);

/** It goes on where it stood, without the wait. */
function tryNow(client: ShopwireClient): void {
  client.close();
  client.connect();
}

/** Nothing for what is said before it already. */
const sentence = (reason: string) => (reason === 'the connection was lost' ? '' : `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`);

/** Whole seconds until the next attempt. */
function useCountdown(state: State): number | undefined {
  const [left, setLeft] = useState<number>();
  useEffect(() => {
    if (state.retryIn === undefined) return setLeft(undefined);
    const until = Date.now() + state.retryIn;
    const show = () => setLeft(Math.max(0, Math.ceil((until - Date.now()) / 1000)));
    show();
    const timer = setInterval(show, 250);
    return () => clearInterval(timer);
  }, [state]);
  return left;
}
