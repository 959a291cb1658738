// A line chart of the last two minutes: plain SVG, read out as a sentence.

import { memo } from 'react';

export interface Series {
  label: string;
  values: readonly number[];
}

export interface ChartProps {
  title: string;
  series: readonly Series[];
  /** A value as people read it. */
  format: (value: number) => string;
  /** So many values fill the width. */
  length: number;
}

const [WIDTH, HEIGHT] = [300, 80];

export const Chart = memo(function Chart({ title, series, format, length }: ChartProps) {
  const top = ceiling(Math.max(0, ...series.flatMap(({ values }) => values)));
  const summary = series.map(({ label, values }) => `${label} ${format(values.at(-1) ?? 0)}`).join(', ');
  return (
    <figure className="chart">
      <figcaption>{title}</figcaption>
      <div className="plot">
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${title}: ${summary}`}>
          {[0.25, 0.5, 0.75].map((part) => (
            <line key={part} className="grid" x1="0" x2={WIDTH} y1={HEIGHT * part} y2={HEIGHT * part} />
          ))}
          {series.map(({ label, values }, index) => (
            <path key={label} data-series={index} d={path(values, length, top)} />
          ))}
        </svg>
        <span className="top-value" aria-hidden="true">
          {format(top)}
        </span>
      </div>
      <ul aria-hidden="true">
        {series.map(({ label, values }, index) => (
          <li key={label} data-series={index}>
            <span className="swatch" /> {label} <strong>{values.length ? format(values.at(-1)!) : '–'}</strong>
          </li>
        ))}
      </ul>
    </figure>
  );
});

function path(values: readonly number[], length: number, top: number): string {
  const from = length - values.length;
  return values
    .map((value, index) => {
      const x = ((from + index) / (length - 1)) * WIDTH;
      const y = HEIGHT - 1 - (value / top) * (HEIGHT - 2);
      return `${index === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join('');
}

/** The next number of the kind 1, 2, 5 × 10ⁿ, so that the scale does not move with each value. */
export function ceiling(value: number): number {
  if (value <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * unit).find((step) => value <= step) ?? 10 * unit;
}
