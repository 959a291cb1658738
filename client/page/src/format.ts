// Numbers, money and times as people write them. The shop's currency is not in events: see docs/protocol.md.

const CURRENCY = 'EUR';

const amounts = new Intl.NumberFormat(undefined, { style: 'currency', currency: CURRENCY });
const wholes = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const times = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

export const currency = CURRENCY;
export const money = (amount: number): string => amounts.format(amount);
export const whole = (number: number): string => wholes.format(number);

/** The time of day; nothing for one that is beyond what a Date can hold. */
export const clock = (time: number): string => (Number.isNaN(new Date(time).getTime()) ? '' : times.format(time));

/** Milliseconds, with the figures that matter. */
export const milliseconds = (ms: number): string => `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : wholes.format(ms)} ms`;

export const bytes = (count: number): string =>
  count < 1 << 20 ? `${wholes.format(count / 1024)} KiB` : `${(count / (1 << 20)).toFixed(1)} MiB`;

export function span(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours} h ${minutes} min` : minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}
