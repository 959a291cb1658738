// Through whose eyes the page looks, and what they may see.

import { useEffect, useRef, useState } from 'react';

import type { Namespace } from '../../src/index.js';
import { useShopwire } from '../../src/react/index.js';
import { NAMESPACES, ROLES, type Access, type Seat } from './session.js';
import { useShop } from './shop.js';

export interface RoleSwitchProps {
  seat: Seat;
  choose: (seat: Seat) => void;
  /** Where it appears because a seat was chosen in the one before. */
  hasFocus: boolean;
}

export function RoleSwitch({ seat, choose, hasFocus }: RoleSwitchProps) {
  const chosen = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (hasFocus) chosen.current?.focus();
  }, []);
  return (
    <fieldset className="roles">
      <legend>Look as</legend>
      {ROLES.map((each) => (
        <label key={each} data-chosen={each === seat}>
          <input ref={each === seat ? chosen : undefined} type="radio" name="role" value={each} checked={each === seat} onChange={() => choose(each)} />
          {each}
        </label>
      ))}
    </fieldset>
  );
}

/** Whom the server takes a pasted token for. */
export function TakenFor() {
  const client = useShopwire();
  const [identity, setIdentity] = useState(client.identity);
  useEffect(() => client.on('authenticated', setIdentity), [client]);
  return (
    identity && (
      <p className="taken-for">
        {identity.userId}, {identity.role}
      </p>
    )
  );
}

/** What is granted may be all of it or the user's own: of a pasted token the server does not tell which. */
type Seen = Access | 'granted' | 'unknown';

const WORDS: Record<Seen, string> = { all: 'all of it', own: 'their own', granted: 'what this token may see', none: 'nothing', unknown: 'not known' };
const SIGNS: Record<Seen, string> = { all: '●', own: '◐', granted: '●', none: '–', unknown: '○' };

/** What of each namespace comes. The server's word counts: what it refused is not seen. */
export function Sees({ seat, access }: { seat: Seat | undefined; access?: Record<Namespace, Access> }) {
  const denied = useShop('denied');
  const known = useShop('known');
  return (
    <ul className="sees" aria-label={seat ? `What ${seat} may see` : 'What this token may see'}>
      {NAMESPACES.map((name) => {
        const granted = seat === 'public' ? 'all' : 'granted';
        const what: Seen = denied.has(name) ? 'none' : (access?.[name] ?? (known.has(name) ? granted : 'unknown'));
        return (
          <li key={name} data-access={what}>
            <span aria-hidden="true">{SIGNS[what]}</span> {name}
            <span className="unseen">: {WORDS[what]}</span>
            {what === 'own' && <small aria-hidden="true">own</small>}
          </li>
        );
      })}
    </ul>
  );
}
