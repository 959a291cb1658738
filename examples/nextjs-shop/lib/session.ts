// Who asks. Your sign-in goes here: this example takes everybody for the shop's admin, so it listens on loopback only (`npm start`).

import type { Role } from 'shopwire';

export async function whoAsks(): Promise<{ userId: string; role: Role }> {
  return { userId: 'ann', role: 'admin' };
}
