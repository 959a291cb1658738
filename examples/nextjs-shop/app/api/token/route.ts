// A token for the page that asks, good for five minutes; the client asks again before it ends.

import { SignJWT } from 'jose';

import { whoAsks } from '@/lib/session';

export const dynamic = 'force-dynamic';

export async function GET(): Promise<Response> {
  // The same secret as the server's.
  const secret = process.env.WS_JWT_SECRET;
  if (!secret) return Response.json({ error: 'WS_JWT_SECRET is not set' }, { status: 500 });
  const { userId, role } = await whoAsks();
  const token = await new SignJWT({ role })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(userId)
    .setExpirationTime('5m')
    .sign(new TextEncoder().encode(secret));
  return new Response(token, { headers: { 'Cache-Control': 'no-store' } });
}
