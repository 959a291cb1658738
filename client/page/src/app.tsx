// The page's frame: who is looking, one connection for that, and the views.

import { useCallback, useEffect, useMemo, useRef, useState, type ReactNode } from 'react';

import { perFrame, type TokenSource } from '../../src/index.js';
import { ShopwireProvider, useShopwire } from '../../src/react/index.js';
import { ConnectionState } from './connection.js';
import { WatchedSocket } from './frames.js';
import { Operations } from './operations.js';
import { RoleSwitch, Sees, TakenFor } from './roles.js';
import { SendEvent } from './send.js';
import { loadInfo, NAMESPACES, signIn, type Info, type Seat, type Signed } from './session.js';
import { Shop, ShopContext } from './shop.js';
import { SignIn } from './sign-in.js';
import { ShopView } from './views.js';

/** How many of the newest events of each namespace the page begins with. */
const LAST = 600;
/** All but customers, who begin now: old comings and goings would be counted again. */
const WITH_PAST = NAMESPACES.filter((name) => name !== 'customers');

export function App() {
  const [info, setInfo] = useState<Info>();
  const [fault, setFault] = useState('');
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let isGone = false;
    setFault('');
    loadInfo().then(
      (info) => isGone || setInfo(info),
      (error: Error) => isGone || setFault(error.message),
    );
    return () => {
      isGone = true;
    };
  }, [attempt]);
  if (info) return info.isDev ? <DevPage info={info} /> : <TokenPage info={info} />;
  return (
    <main className="alone" aria-busy={!fault}>
      <h1>shopwire</h1>
      {fault ? (
        <p role="alert">
          The server cannot be asked what it offers: {fault}.{' '}
          <button type="button" onClick={() => setAttempt(attempt + 1)}>
            Try now
          </button>
        </p>
      ) : (
        <p>Loading…</p>
      )}
    </main>
  );
}

/** Signs itself in, in any role. */
function DevPage({ info }: { info: Info }) {
  const [seat, setSeat] = useState<Seat>('admin');
  const [signed, setSigned] = useState<Signed>();
  // The page is made anew for another seat, and whoever goes through the seats by keyboard goes on there.
  const isMoving = useRef(false);
  const choose = useCallback((seat: Seat) => {
    isMoving.current = true;
    setSeat(seat);
  }, []);
  useEffect(() => {
    isMoving.current = false;
  }, [seat]);
  const token = useCallback(async () => {
    if (seat === 'public') return null;
    const signed = await signIn(seat);
    setSigned(signed);
    return signed.token;
  }, [seat]);
  return (
    <Live
      key={seat}
      info={info}
      token={token}
      shown={signed?.role === seat ? signed.token : undefined}
      who={<RoleSwitch seat={seat} choose={choose} hasFocus={isMoving.current} />}
      sees={<Sees seat={seat} access={signed?.role === seat ? signed.access : undefined} />}
    />
  );
}

/** Is whom a pasted token says, or nobody. */
function TokenPage({ info }: { info: Info }) {
  const [token, setToken] = useState<string | null>();
  const leave = () => setToken(undefined);
  if (token === undefined) return <SignIn choose={setToken} />;
  const who = (
    <>
      <TakenFor />
      <button type="button" onClick={leave}>
        {token === null ? 'Sign in' : 'Sign out'}
      </button>
    </>
  );
  const sees = <Sees seat={token === null ? 'public' : undefined} />;
  return <Live info={info} token={token} shown={token ?? undefined} who={who} sees={sees} signInAgain={leave} />;
}

interface LiveProps {
  info: Info;
  token: TokenSource;
  /** The token that was shown last, for requests beside the connection. */
  shown: string | undefined;
  who: ReactNode;
  sees: ReactNode;
  /** Asks for another token, where the page does not get one by itself. */
  signInAgain?: () => void;
}

/** One connection, and what comes over it. After a gap all of it is made anew from what the server still has. */
function Live(props: LiveProps) {
  const [gaps, setGaps] = useState<number[]>([]);
  const addGap = useCallback(() => setGaps((gaps) => [...gaps, Date.now()]), []);
  return (
    <ShopwireProvider key={gaps.length} token={props.token} namespaces={WITH_PAST} last={LAST} batch={perFrame} WebSocket={WatchedSocket}>
      <Connected {...props} reloadedAt={gaps.at(-1)} onGap={addGap} />
    </ShopwireProvider>
  );
}

const VIEWS = ['shop', 'operations', 'send'] as const;
type View = (typeof VIEWS)[number];
const TITLES: Record<View, string> = { shop: 'Shop', operations: 'Operations', send: 'Send an event' };

function Connected({ info, shown, who, sees, signInAgain, reloadedAt, onGap }: LiveProps & { reloadedAt: number | undefined; onGap: () => void }) {
  const client = useShopwire();
  const shop = useMemo(() => new Shop(), [client]);
  useEffect(() => {
    const unfollow = shop.follow(client);
    const unlisten = client.on('gap', onGap);
    return () => {
      unlisten();
      unfollow();
    };
  }, [client, shop, onGap]);
  useEffect(() => client.subscribe({ namespaces: ['customers'] }), [client]);
  const view = useView();
  useEffect(() => {
    document.title = `${TITLES[view]} – shopwire`;
    return () => {
      document.title = 'shopwire';
    };
  }, [view]);
  return (
    <ShopContext value={shop}>
      <header className="top">
        <a className="skip" href="#main">
          Skip to content
        </a>
        <a className="brand" href="#shop">
          <img src="/page/icon.svg" alt="" width="28" height="28" />
          <span>shopwire</span>
        </a>
        <nav aria-label="Views">
          {VIEWS.filter((each) => each !== 'send' || info.isDev).map((each) => (
            <a key={each} href={`#${each}`} aria-current={each === view ? 'page' : undefined}>
              {TITLES[each]}
            </a>
          ))}
        </nav>
        <ConnectionState reloadedAt={reloadedAt} signInAgain={signInAgain} />
      </header>
      <section className="who" aria-label="Who looks">
        {who}
        {sees}
      </section>
      <main id="main" tabIndex={-1}>
        <h1 className="unseen">{TITLES[view]}</h1>
        {view === 'shop' && <ShopView />}
        {view === 'operations' && <Operations token={shown} />}
        {view === 'send' && info.isDev && <SendEvent types={info.types} />}
      </main>
      <footer>
        shopwire {info.version}
        {info.isDev && ' · for trying out (--dev), this machine only'}
      </footer>
    </ShopContext>
  );
}

/** The view that the address names. */
function useView(): View {
  const read = () => VIEWS.find((each) => location.hash === `#${each}`) ?? 'shop';
  const [view, setView] = useState(read);
  useEffect(() => {
    // A jump to the content is not a change of the view.
    const follow = () => location.hash !== '#main' && setView(read());
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, []);
  return view;
}
