// A line as an API route would send it, and the frame that browsers get for it.

import { useEffect, useId, useRef, useState, type FormEvent } from 'react';

import { tenths } from './format.js';
import { watchFrames } from './frames.js';
import { sampleLine } from './samples.js';
import { sendLine } from './session.js';

type Outcome =
  | { kind: 'sending' }
  | { kind: 'accepted'; hasKey: boolean }
  | { kind: 'arrived'; frame: string; afterMs: number }
  | { kind: 'refused'; reason: string };

/** What was being written when the view was left. */
let draft: { type: string; line: string } | undefined;

export function SendEvent({ types }: { types: readonly string[] }) {
  const [type, setType] = useState(draft?.type ?? types[0] ?? '');
  const [line, setLine] = useState(() => draft?.line ?? sampleLine(type));
  const [outcome, setOutcome] = useState<Outcome>();
  const unwatch = useRef(() => {});
  const id = useId();
  useEffect(() => () => unwatch.current(), []);
  useEffect(() => {
    draft = { type, line };
  }, [type, line]);

  const choose = (type: string) => {
    setType(type);
    setLine(sampleLine(type));
    setOutcome(undefined);
  };

  const send = async (event: FormEvent) => {
    event.preventDefault();
    unwatch.current();
    const began = performance.now();
    setOutcome({ kind: 'sending' });
    let arrived: Outcome | undefined;
    const sent = content(line);
    unwatch.current = watchFrames((frame) => {
      if (sent === undefined || content(frame) !== sent) return;
      unwatch.current();
      arrived = { kind: 'arrived', frame, afterMs: performance.now() - began };
      setOutcome(arrived);
    });
    try {
      await sendLine(line);
      // The frame may have been quicker than the answer.
      setOutcome(arrived ?? { kind: 'accepted', hasKey: parse(line)?.key !== undefined });
    } catch (error) {
      unwatch.current();
      setOutcome({ kind: 'refused', reason: error instanceof Error ? error.message : String(error) });
    }
  };

  return (
    <div className="send">
      <form className="card" onSubmit={send}>
        <header>
          <h2>Event line</h2>
        </header>
        <label htmlFor={`${id}-type`}>Begin with</label>
        <select id={`${id}-type`} value={type} onChange={(event) => choose(event.target.value)}>
          {types.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
        <label htmlFor={`${id}-line`}>Line</label>
        <textarea
          id={`${id}-line`}
          value={line}
          onChange={(event) => setLine(event.target.value)}
          rows={14}
          spellCheck={false}
          aria-describedby={`${id}-hint`}
        />
        <p id={`${id}-hint`} className="hint">
          As on the ingest socket, up to 64 KiB: <code>type</code>, <code>data</code>, and if wanted <code>to</code>, <code>timestamp</code>, <code>key</code>.
        </p>
        <div className="buttons">
          <button type="submit" className="primary" disabled={outcome?.kind === 'sending'}>
            Send
          </button>
        </div>
      </form>
      <section className="card" aria-label="Frame">
        <header>
          <h2>Frame</h2>
        </header>
        <div role="status">{outcome ? <Result outcome={outcome} /> : <p className="none">What this page is sent for it stands here.</p>}</div>
        {outcome?.kind === 'arrived' && (
          <pre tabIndex={0} aria-label="The frame as it came">
            {outcome.frame}
          </pre>
        )}
      </section>
    </div>
  );
}

function Result({ outcome }: { outcome: Outcome }) {
  switch (outcome.kind) {
    case 'sending':
      return <p className="none">Sending…</p>;
    case 'accepted':
      return (
        <p>
          Accepted. No frame came here so far: this role may not see it, {outcome.hasKey ? '' : 'or '}it is addressed to others
          {outcome.hasKey && ', or its key was used in the last 10 minutes, so it is no new event'}.
        </p>
      );
    case 'arrived':
      return (
        <p>
          <span className="tag good">arrived</span> {tenths(outcome.afterMs)} ms after Send was pressed.
        </p>
      );
    case 'refused':
      return (
        <p>
          <span className="tag bad">refused</span> {outcome.reason}
        </p>
      );
  }
}

/** A line or a frame; undefined for what is none. */
function parse(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text) ?? undefined;
  } catch {
    return undefined;
  }
}

/** What a line and its frame have in common. */
function content(text: string): string | undefined {
  const parsed = parse(text);
  return parsed && JSON.stringify([parsed.type, parsed.data]);
}
