// What an operator looks at.

import { useMemo } from 'react';

import { Chart } from './chart.js';
import { bytes, milliseconds, shortWhole, span, tenths, whole } from './format.js';
import { SAMPLES, useStats, type Sample, type Stats } from './stats.js';

const rate = (value: number) => `${value < 10 ? tenths(value) : whole(value)}/s`;

export function Operations({ token }: { token: string | undefined }) {
  const { now, samples, fault } = useStats(token);
  return (
    <div className="operations">
      {fault && (
        <p className="banner" role="alert">
          <strong>No statistics just now.</strong> {fault}.
        </p>
      )}
      {now ? <Numbers now={now} /> : !fault && <p className="none">Asking the server…</p>}
      <Charts samples={samples} />
      {now && (
        <div className="split">
          <Bars title="Connections by role" counts={now.connectionsByRole} total={now.totalConnections} rest="public" />
          <Bars title="Subscriptions by namespace" counts={now.connectionsByNamespace} total={now.totalConnections} />
        </div>
      )}
    </div>
  );
}

function Numbers({ now }: { now: Stats }) {
  const resumes = now.recovered + now.notRecovered;
  const numbers: [label: string, value: string, note: string][] = [
    ['Connections', whole(now.totalConnections), `${whole(now.authenticatedConnections)} with a token`],
    ['Up for', span(now.uptimeSeconds), `${shortWhole(now.eventsIn)} events, ${shortWhole(now.deliveries)} deliveries`],
    ['Kept for resuming', bytes(now.historyBytes), `${whole(now.historyEvents)} events`],
    ['Came back', whole(resumes), resumes ? `${whole(now.recovered)} missed nothing` : 'nobody had to'],
    ['Refused', shortWhole(now.rejected), 'lines and messages, also this page’s own'],
    ['Too slow', whole(now.slowConsumers), `${bytes(now.outboxBytes)} wait now`],
  ];
  return (
    <dl className="figures">
      {numbers.map(([label, value, note]) => (
        <div className="figure" key={label}>
          <dt>{label}</dt>
          <dd>
            <strong>{value}</strong>
            <small>{note}</small>
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Charts({ samples }: { samples: readonly Sample[] }) {
  const series = useMemo(() => {
    const pick = (label: string, value: (sample: Sample) => number) => ({ label, values: samples.map(value) });
    const workers = samples.at(-1)?.workers ?? [];
    return {
      deliveries: [pick('Deliveries', ({ deliveries }) => deliveries)],
      events: [pick('Events in', ({ eventsIn }) => eventsIn)],
      latency: [
        pick('p50', ({ latencyMs }) => latencyMs.p50),
        pick('p99', ({ latencyMs }) => latencyMs.p99),
        pick('p99.9', ({ latencyMs }) => latencyMs.p999),
      ],
      workers: workers.map((_, index) => pick(`Worker ${index}`, (sample) => sample.workers[index] ?? 0)),
      connections: [pick('Connections', ({ connections }) => connections)],
    };
  }, [samples]);
  return (
    <div className="charts">
      <Chart title="Deliveries a second" series={series.deliveries} format={rate} length={SAMPLES} />
      <Chart title="Events a second" series={series.events} format={rate} length={SAMPLES} />
      <Chart title="Latency, socket to send, since the start" series={series.latency} format={milliseconds} length={SAMPLES} />
      <Chart title="Deliveries a second by worker" series={series.workers} format={rate} length={SAMPLES} />
      <Chart title="Connections" series={series.connections} format={whole} length={SAMPLES} />
    </div>
  );
}

function Bars({ title, counts, total, rest }: { title: string; counts: Record<string, number>; total: number; rest?: string }) {
  const rows = Object.entries(counts);
  // The statistics do not count the public by itself.
  if (rest) rows.push([rest, Math.max(0, total - rows.reduce((sum, [, count]) => sum + count, 0))]);
  const most = Math.max(1, ...rows.map(([, count]) => count));
  return (
    <section className="card" aria-label={title}>
      <header>
        <h2>{title}</h2>
      </header>
      <table className="bars">
        <tbody>
          {rows.map(([name, count]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>
                <span className="gauge">
                  <svg className="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
                    <rect className="rail" width="100" height="6" rx="3" />
                    <rect className="fill" width={(count / most) * 100} height="6" rx="3" />
                  </svg>
                  <span>{whole(count)}</span>
                </span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
