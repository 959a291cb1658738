// Events in steps, for pages with many of them a second. Apart from the client, so that pages that do not use it do not load it.

/** Events are handed on after so long where no frame is drawn, as in a hidden page. */
const NO_FRAME_MS = 100;

/** For the client's option `batch`: handlers are called once an animation frame, for all that came since the last one. */
export function perFrame(handOn: () => void): void {
  const next = () => {
    clearTimeout(timer);
    handOn();
  };
  const timer = setTimeout(next, NO_FRAME_MS);
  globalThis.requestAnimationFrame?.(next);
}
