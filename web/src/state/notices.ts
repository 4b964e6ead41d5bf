// Short messages: shown at the edge of the page, and spoken by screen readers.
import { signal } from '@preact/signals';
import { asApiError } from '../api/problem';

export interface Notice {
  id: number;
  kind: 'done' | 'error';
  text: string;
  hint?: string | undefined;
}

export const notices = signal<Notice[]>([]);
let next = 1;

export function tell(text: string): void {
  add({ id: next++, kind: 'done', text }, 5000);
}

/** Errors stay until they are put away. */
export function tellError(what: string, error: unknown): void {
  const { problem } = asApiError(error);
  add({ id: next++, kind: 'error', text: `${what}: ${problem.detail || problem.title}`, hint: problem.hint }, 0);
}

function add(notice: Notice, forMs: number): void {
  notices.value = [...notices.value.slice(-3), notice];
  if (forMs > 0) setTimeout(() => dismiss(notice.id), forMs);
}

export function dismiss(id: number): void {
  notices.value = notices.value.filter((n) => n.id !== id);
}
