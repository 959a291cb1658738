// Where the server's ingest socket is if nobody says so: the server's own rule.

import { statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';

const NAME = 'shopwire.sock';
const SYSTEM_FOLDER = '/run/shopwire';

/** `WS_SOCKET`, else where `shopwire serve` of this user or of the system puts it. */
export function defaultSocket(
  env: Record<string, string | undefined> = process.env,
  user: number = process.getuid?.() ?? 0,
  isFolder: (path: string) => boolean = (path) => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false,
): string {
  if (env.WS_SOCKET) return env.WS_SOCKET;
  const runtime = env.XDG_RUNTIME_DIR;
  if (runtime && isAbsolute(runtime) && isFolder(runtime)) return join(runtime, NAME);
  if (isFolder(SYSTEM_FOLDER) || (user === 0 && isFolder('/run'))) return join(SYSTEM_FOLDER, NAME);
  const temp = env.TMPDIR && isAbsolute(env.TMPDIR) ? env.TMPDIR : '/tmp';
  return join(temp, `shopwire-${user}`, NAME);
}
