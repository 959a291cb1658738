// Mints tokens, good and bad, independently of the code under test.

import { createHmac } from 'node:crypto';

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

export function mint(secret, claims, { alg = 'HS256', ttl = 3600 } = {}) {
  const exp = ttl === undefined ? {} : { exp: Math.floor(Date.now() / 1000) + ttl };
  const signed = `${part({ alg, typ: 'JWT' })}.${part({ ...claims, ...exp })}`;
  return `${signed}.${alg === 'none' ? '' : createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** The tokens that have to be refused. */
export function badTokens(secret) {
  const claims = { sub: 'u-bad', role: 'admin' };
  const [header, , signature] = mint(secret, claims).split('.');
  return {
    'another secret': mint(`${secret}x`, claims),
    expired: mint(secret, claims, { ttl: -60 }),
    'no exp': `${noExp(secret, claims)}`,
    'algorithm none': mint(secret, claims, { alg: 'none' }),
    'algorithm none with a signature': `${part({ alg: 'none' })}.${mint(secret, claims).split('.').slice(1).join('.')}`,
    'changed claims': `${header}.${part({ ...claims, role: 'manager', exp: 9_999_999_999 })}.${signature}`,
    'unknown role': mint(secret, { ...claims, role: 'root' }),
    'no user': mint(secret, { role: 'admin' }),
    'no token at all': 'admin',
  };
}

function noExp(secret, claims) {
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}
