// Through whose eyes the page looks, and what they may see.

import { NAMESPACES, ROLES, type Access, type Seat } from './session.js';
import { useShop } from './shop.js';
import type { Namespace } from '../../src/index.js';

export function RoleSwitch({ seat, choose }: { seat: Seat; choose: (seat: Seat) => void }) {
  return (
    <fieldset className="roles">
      <legend>Look as</legend>
      {ROLES.map((each) => (
        <label key={each} data-chosen={each === seat}>
          <input type="radio" name="role" value={each} checked={each === seat} onChange={() => choose(each)} />
          {each}
        </label>
      ))}
    </fieldset>
  );
}

const WORDS: Record<Access, string> = { all: 'all of it', own: 'their own', none: 'nothing' };

/** What of each namespace comes. The server's word counts: what it refused is not seen. */
export function Sees({ seat, access }: { seat: Seat | undefined; access?: Record<Namespace, Access> }) {
  const denied = useShop('denied');
  return (
    <ul className="sees" aria-label={seat ? `What ${seat} may see` : 'What this token may see'}>
      {NAMESPACES.map((name) => {
        const what: Access = denied.has(name) ? 'none' : (access?.[name] ?? 'all');
        return (
          <li key={name} data-access={what}>
            <span aria-hidden="true">{what === 'none' ? '–' : what === 'own' ? '◐' : '●'}</span> {name}
            <span className="unseen">: {WORDS[what]}</span>
            {what === 'own' && <small aria-hidden="true">own</small>}
          </li>
        );
      })}
    </ul>
  );
}
