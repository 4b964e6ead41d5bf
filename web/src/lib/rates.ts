// Counters become rates. A counter that went back belongs to a new start of the domain: no rate for that step.
import type { Stats } from '../api/types';

export interface Rates {
  /** Share of one CPU: 1 is one CPU fully used. */
  cpu?: number;
  memory: number;
  read?: number;
  write?: number;
  rx?: number;
  tx?: number;
}

export function ratesBetween(before: Stats | undefined, now: Stats): Rates {
  const rates: Rates = { memory: now.memory };
  if (!before) return rates;
  const seconds = (Date.parse(now.time) - Date.parse(before.time)) / 1000;
  if (!(seconds > 0) || now.cpuNs < before.cpuNs) return rates;
  const per = (a: number | undefined, b: number | undefined) =>
    a === undefined || b === undefined || b < a ? undefined : (b - a) / seconds;
  rates.cpu = (now.cpuNs - before.cpuNs) / 1e9 / seconds;
  rates.read = per(before.readBytes, now.readBytes);
  rates.write = per(before.writeBytes, now.writeBytes);
  rates.rx = per(before.rxBytes, now.rxBytes);
  rates.tx = per(before.txBytes, now.txBytes);
  return rates;
}

export function sum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined && b === undefined ? undefined : (a ?? 0) + (b ?? 0);
}
