// Numbers, money and times as people write them. The shop's currency is not in events: see docs/protocol.md.

const CURRENCY = 'EUR';

const amounts = new Intl.NumberFormat(undefined, { style: 'currency', currency: CURRENCY });
const wholes = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const hundredth = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
// Of the unit: the style `percent` would multiply by 100, and show what is lost by dividing before that.
const changes = new Intl.NumberFormat(undefined, {
  style: 'unit', unit: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1, signDisplay: 'exceptZero',
});
const times = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

export const currency = CURRENCY;
export const money = (amount: number): string => amounts.format(amount);
export const whole = (number: number): string => wholes.format(number);
export const tenths = (number: number): string => tenth.format(number);
/** Percent by which something changed. */
export const change = (percent: number): string => changes.format(percent);

/** From here on the last figures are of no interest, and there is no room for them. */
const HUGE = 1e7;
const hugeAmounts = new Intl.NumberFormat(undefined, { style: 'currency', currency: CURRENCY, notation: 'compact', maximumFractionDigits: 2 });
const hugeWholes = new Intl.NumberFormat(undefined, { notation: 'compact', maximumFractionDigits: 2 });

/** For figures, which have the room of a card. */
export const shortMoney = (amount: number): string => (amount < HUGE ? amounts : hugeAmounts).format(amount);
export const shortWhole = (number: number): string => (number < HUGE ? wholes : hugeWholes).format(number);

/** The time of day; nothing for one that is beyond what a Date can hold. */
export const clock = (time: number): string => (Number.isNaN(new Date(time).getTime()) ? '' : times.format(time));

/** Milliseconds, with the figures that matter. */
export const milliseconds = (ms: number): string => `${(ms < 10 ? hundredth : ms < 100 ? tenth : wholes).format(ms)} ms`;

export const bytes = (count: number): string =>
  count < 1 << 20 ? `${wholes.format(count / 1024)} KiB` : `${tenth.format(count / (1 << 20))} MiB`;

export function span(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  // A unit stays with its number.
  const parts = hours > 0 ? [`${hours}\u00a0h`, `${minutes}\u00a0min`] : minutes > 0 ? [`${minutes}\u00a0min`, `${seconds % 60}\u00a0s`] : [`${seconds}\u00a0s`];
  return parts.join(' ');
}
