// The detail of an event as words: whatever the server put there, key by key.
import type { Event } from '../api/types';

export function detailText(event: Pick<Event, 'detail'>): string {
  return Object.entries(event.detail ?? {})
    .filter(([, value]) => value !== undefined && value !== null && value !== '')
    .map(([key, value]) => (key === 'message' ? String(value) : `${spaced(key)} ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`))
    .join(', ');
}

function spaced(key: string): string {
  return key.replace(/([a-z])([A-Z])/g, (_, a: string, b: string) => `${a} ${b.toLowerCase()}`);
}
