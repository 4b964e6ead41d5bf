// Which domains a list shows, and in which order.
import type { Domain } from '../api/types';

export interface Filter {
  text: string;
  kind: string;
  state: string;
  project: string;
}
export const noFilter: Filter = { text: '', kind: '', state: '', project: '' };

/** Every word must be found in name, image, address, label or reason. */
export function matches(domain: Domain, filter: Filter): boolean {
  if (filter.kind && domain.kind !== filter.kind) return false;
  if (filter.state && domain.state !== filter.state) return false;
  if (filter.project && domain.project !== filter.project) return false;
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const labels = Object.entries(domain.labels ?? {}).map(([k, v]) => `${k}=${v}`);
  const text = [domain.name, domain.image, domain.project, domain.reason ?? '', ...(domain.addresses ?? []), ...labels].join('\n').toLowerCase();
  return words.every((w) => text.includes(w));
}

export type SortKey = 'name' | 'state' | 'cpu' | 'memory' | 'disk' | 'network';
export interface Sort {
  key: SortKey;
  descending: boolean;
}

/** Equal figures fall back to the name, so that rows do not dance. */
export function sortDomains(list: readonly Domain[], sort: Sort, figure: (d: Domain, key: SortKey) => number | string): Domain[] {
  const sign = sort.descending ? -1 : 1;
  return [...list].sort((a, b) => {
    const x = figure(a, sort.key);
    const y = figure(b, sort.key);
    const order = typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true });
    return order !== 0 ? order * sign : a.name.localeCompare(b.name, undefined, { numeric: true });
  });
}

export function isActive(filter: Filter): boolean {
  return Object.values(filter).some((v) => v !== '');
}
