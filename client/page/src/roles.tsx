// Through whose eyes the page looks, and what they may see.

import { useEffect, useRef } from 'react';

import { NAMESPACES, ROLES, type Access, type Seat } from './session.js';
import { useShop } from './shop.js';
import type { Namespace } from '../../src/index.js';

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

const WORDS: Record<Access | 'unknown', string> = { all: 'all of it', own: 'their own', none: 'nothing', unknown: 'not known' };
const SIGNS: Record<Access | 'unknown', string> = { all: '●', own: '◐', none: '–', unknown: '○' };

/** What of each namespace comes. The server's word counts: what it refused is not seen. */
export function Sees({ seat, access }: { seat: Seat | undefined; access?: Record<Namespace, Access> }) {
  const denied = useShop('denied');
  const known = useShop('known');
  return (
    <ul className="sees" aria-label={seat ? `What ${seat} may see` : 'What this token may see'}>
      {NAMESPACES.map((name) => {
        const what = denied.has(name) ? 'none' : (access?.[name] ?? (known.has(name) ? 'all' : 'unknown'));
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
