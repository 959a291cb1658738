// Answers to requests whose change is told to the pages.

import { EmitError } from 'shopwire/emit';

/**
 * Tells the pages. What was done is done even if they cannot be told now: then the answer says so, and a shop that must not
 * lose an event writes it down beside the change and sends it later, with the same key.
 */
export async function tell(events: Promise<void>[]): Promise<string | undefined> {
  const ends = await Promise.allSettled(events);
  const failed = ends.find((end) => end.status === 'rejected');
  if (!failed) return undefined;
  if (failed.reason instanceof EmitError) return failed.reason.message;
  throw failed.reason;
}
