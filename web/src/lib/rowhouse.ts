// Who lives in the row house, and how wide each room is.
import type { Domain } from '../api/types';
import type { Figures } from '../state/stats';
import { isUp } from './actions';

export interface Room {
  name: string;
  memory: number;
  cpu: number | undefined;
  /** How many CPUs it may use; its dye is the share of these. */
  cpus: number;
}

export interface House {
  rooms: Room[];
  /** Memory of the host that no domain uses. */
  others: number;
  free: number;
}

export function rooms(domains: readonly Domain[], figures: ReadonlyMap<string, Pick<Figures, 'stats' | 'rates'>>, total: number | undefined, available: number | undefined): House {
  const list: Room[] = [];
  for (const domain of domains) {
    const known = figures.get(domain.name);
    if (!known || !isUp(domain)) continue;
    list.push({ name: domain.name, memory: known.stats.memory, cpu: known.rates.cpu, cpus: domain.limits?.cpus || 1 });
  }
  const used = list.reduce((sum, r) => sum + r.memory, 0);
  const free = available ?? 0;
  return { rooms: list, others: Math.max(0, (total ?? 0) - free - used), free };
}

/** How deep the dye is: 0 is idle, 5 is all it may use. Steps are finer at the bottom, where most households live. */
export function dye(cpu: number | undefined, cpus: number): number {
  const share = (cpu ?? 0) / Math.max(cpus, 0.01);
  return [0.02, 0.1, 0.3, 0.6, 0.85].filter((step) => share >= step).length;
}
