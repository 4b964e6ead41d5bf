// Figures of all running domains: counters every two seconds, rates between them, and the last minutes of each.
import { signal } from '@preact/signals';
import { api, take } from '../api/client';
import type { Stats } from '../api/types';
import { Poller } from '../lib/poller';
import { ratesBetween, sum, type Rates } from '../lib/rates';
import { Series } from '../lib/series';

export const everyMs = 2000;
export const keepMs = 10 * 60_000;

export class Figures {
  stats!: Stats;
  rates!: Rates;
  readonly cpu = new Series(keepMs);
  readonly memory = new Series(keepMs);
  readonly read = new Series(keepMs);
  readonly write = new Series(keepMs);
  readonly rx = new Series(keepMs);
  readonly tx = new Series(keepMs);
  readonly disk = new Series(keepMs);
  readonly network = new Series(keepMs);

  take(stats: Stats): void {
    const before = this.stats as Stats | undefined;
    if (before?.time === stats.time) return;
    this.rates = ratesBetween(before, stats);
    this.stats = stats;
    const t = Date.parse(stats.time);
    this.cpu.push(t, this.rates.cpu);
    this.memory.push(t, stats.memory);
    this.read.push(t, this.rates.read);
    this.write.push(t, this.rates.write);
    this.rx.push(t, this.rates.rx);
    this.tx.push(t, this.rates.tx);
    this.disk.push(t, sum(this.rates.read, this.rates.write));
    this.network.push(t, sum(this.rates.rx, this.rates.tx));
  }
}

/** A new map after each answer; the Figures in it are the same objects, grown. */
export const figures = signal<ReadonlyMap<string, Figures>>(new Map());
/** The server's time of the newest figures: the right edge of every graph. */
export const newest = signal(Date.now());

export const statsPoller = new Poller(async () => {
  const all = await take(api.GET('/stats'));
  const next = new Map<string, Figures>();
  let latest = 0;
  for (const [name, stats] of Object.entries(all)) {
    const known = figures.value.get(name) ?? new Figures();
    known.take(stats);
    next.set(name, known);
    latest = Math.max(latest, Date.parse(stats.time));
  }
  figures.value = next;
  newest.value = latest || Date.now();
}, () => everyMs);
