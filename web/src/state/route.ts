// Where we are. Pages set the title; focus goes to the heading of a new page, so that keyboard and screen reader begin there.
import { computed, signal } from '@preact/signals';
import { parseRoute } from '../lib/route';

const hash = signal(location.hash);
addEventListener('hashchange', () => (hash.value = location.hash));

export const route = computed(() => parseRoute(hash.value));

export function go(link: string): void {
  location.hash = link;
}

/** The same page with another query, without a step in the history. */
export function replace(link: string): void {
  history.replaceState(null, '', link);
  hash.value = location.hash;
}
