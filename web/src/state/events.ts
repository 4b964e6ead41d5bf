// The server's event stream: one connection for the whole console. It rests while the page is hidden (a browser allows six connections
// to one server) and comes back with the id it saw last.
import { signal } from '@preact/signals';
import { stream } from '../api/client';
import type { Event } from '../api/types';
import { backoff, EventParser, type ServerEvent } from '../lib/sse';
import { domainsPoller } from './domains';
import { operationsPoller } from './operations';

const kept = 1000;
export const events = signal<Event[]>([]);
export const feed = signal<'connecting' | 'live' | 'waiting'>('connecting');
/** Grows when an image, network or volume changed: pages that list them load again. */
export const objectsChanged = signal(0);

let last = 0;
let abort: AbortController | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;
let tries = 0;

function heard(messages: readonly ServerEvent[]): void {
  const fresh: Event[] = [];
  for (const message of messages) {
    try {
      const event = JSON.parse(message.data) as Event;
      if (event.id <= last) continue;
      last = event.id;
      fresh.push(event);
    } catch {
      // A message that is no event of ours is not worth losing the stream for.
    }
  }
  if (fresh.length === 0) return;
  events.value = [...events.value, ...fresh].slice(-kept);
  const objects = ['image', 'network', 'volume'];
  if (fresh.some((e) => e.kind === 'operation')) void operationsPoller.now();
  if (fresh.some((e) => objects.includes(e.kind))) objectsChanged.value++;
  if (fresh.some((e) => e.kind !== 'operation' && !objects.includes(e.kind))) void domainsPoller.now();
}

async function connect(): Promise<void> {
  clearTimeout(timer);
  abort?.abort();
  const mine = (abort = new AbortController());
  const parser = new EventParser();
  feed.value = 'connecting';
  const extra: Record<string, string> = { accept: 'text/event-stream' };
  if (last > 0) extra['last-event-id'] = String(last);
  try {
    // The first time: what is still kept, so that the list is not empty.
    await stream(last > 0 ? '/events' : '/events?since=0', mine.signal, (text) => {
      feed.value = 'live';
      tries = 0;
      heard(parser.push(text));
    }, extra);
  } catch {
    // Told by the state of the feed; errors of requests that people made are told elsewhere.
  }
  if (mine.signal.aborted) return;
  feed.value = 'waiting';
  timer = setTimeout(() => void connect(), backoff(tries++));
}

function onVisibility(): void {
  if (document.hidden) {
    clearTimeout(timer);
    timer = setTimeout(() => abort?.abort(), 30_000);
  } else {
    clearTimeout(timer);
    if (feed.value !== 'live' || abort?.signal.aborted) void connect();
  }
}

export function startEvents(): void {
  last = 0;
  events.value = [];
  document.addEventListener('visibilitychange', onVisibility);
  void connect();
}

export function stopEvents(): void {
  document.removeEventListener('visibilitychange', onVisibility);
  clearTimeout(timer);
  abort?.abort();
}
