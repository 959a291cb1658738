// What a page's main thread does, by Chromium's own trace. In CPU time of that thread: how long the machine lets it wait for its
// turn is no fault of the page, and differs from machine to machine.

import type { Browser, Page } from 'playwright-core';

/** The names of a task from the event loop, in the order in which they are looked for. */
const TASKS = ['RunTask', 'ThreadControllerImpl::RunTask'];

interface TraceEvent {
  name: string;
  pid: number;
  tid: number;
  /** CPU time, in µs. */
  tdur?: number;
  args: { name?: string; data?: { frames?: { url: string; processId: number }[] } };
}

/** How long each task of the page's main thread took while `act` ran, in ms of CPU time. */
export async function tasksDuring(browser: Browser, page: Page, act: () => Promise<void>): Promise<number[]> {
  await browser.startTracing(page, { categories: ['toplevel', 'disabled-by-default-devtools.timeline'] });
  await act();
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString()) as { traceEvents: TraceEvent[] };
  const started = traceEvents.find(({ name }) => name === 'TracingStartedInBrowser');
  const pid = started?.args.data?.frames?.find(({ url }) => url === page.url())?.processId;
  const thread = traceEvents.find(({ name, pid: its, args }) => name === 'thread_name' && its === pid && args.name === 'CrRendererMain');
  const own = traceEvents.filter((event) => event.pid === pid && event.tid === thread?.tid && event.tdur !== undefined);
  const name = TASKS.find((each) => own.some((event) => event.name === each));
  if (!name) throw new Error(`the trace has no tasks of the page's main thread: ${traceEvents.length} events, process ${pid}, thread ${thread?.tid}`);
  return own.filter((event) => event.name === name).map(({ tdur }) => tdur! / 1000);
}

/**
 * How long what comes at a random moment within `span` ms waits for the task that is under way, in ms: of all moments but the
 * `share` that wait longest.
 */
export function waitFor(share: number, tasks: number[], span: number): number {
  // Of a task of t ms its first t − w are those in which one waits for more than w: together they shall be that share.
  let sum = 0;
  let wait = 0;
  [...tasks]
    .sort((one, other) => other - one)
    .forEach((task, index) => {
      sum += task;
      wait = Math.max(wait, (sum - share * span) / (index + 1));
    });
  return wait;
}
