// What happens, newest first, as it happens.
import { useState } from 'preact/hooks';
import type { Event } from '../api/types';
import { count } from '../lib/format';
import { detailText } from '../lib/event-text';
import { domainLink } from '../lib/route';
import { events, feed } from '../state/events';
import { Page } from '../ui/page';
import { Empty } from '../ui/states';
import { Time } from '../ui/text';

export function EventsPage() {
  return <Page title="Events"><EventList /></Page>;
}

export function DomainEvents({ name }: { name: string }) {
  return <EventList domain={name} />;
}

const feedWords = { live: 'live', connecting: 'connecting…', waiting: 'connection lost; trying again…' };

function EventList({ domain }: { domain?: string }) {
  const [text, setText] = useState('');
  const [held, setHeld] = useState<Event[] | undefined>(undefined);
  const all = (held ?? events.value).filter((e) => (domain === undefined || e.domain === domain) && fits(e, text));
  const fresh = held ? events.value.filter((e) => e.id > (held.at(-1)?.id ?? 0)).length : 0;
  const shown = all.slice(-300).reverse();
  return (
    <section aria-label="Events">
      <div class="filters">
        <input id="filter" type="search" class="filter-text" aria-label="Filter events" aria-keyshortcuts="/" placeholder="Filter by kind, domain, words" value={text} onInput={(e) => setText(e.currentTarget.value)} />
        <button type="button" aria-pressed={held !== undefined} onClick={() => setHeld(held ? undefined : events.value)}>{held ? 'Go on' : 'Hold'}</button>
        <span class={`link link-${feed.value === 'live' ? 'open' : 'waiting'}`} role="status">{held ? `held; ${count(fresh, 'new event')}` : feedWords[feed.value]}</span>
      </div>
      {shown.length === 0 ? <Empty title={text ? 'None fits the filter' : 'Nothing happened yet'}>{!text && <p>What is started, stopped, changed or fails will be listed here.</p>}</Empty> : (
        <div class="table-frame" role="region" aria-label="List of events" tabIndex={0}>
          <table class="events">
            <caption class="hidden">Events, newest first</caption>
            <thead><tr><th scope="col">Time</th><th scope="col">What</th>{domain === undefined && <th scope="col">Domain</th>}<th scope="col">Detail</th></tr></thead>
            <tbody>
              {shown.map((e) => (
                <tr key={e.id} class={`event-${e.kind}`}>
                  <td class="when"><Time at={e.time} /></td>
                  <td class="what">{e.kind}</td>
                  {domain === undefined && <td>{e.domain ? <a href={domainLink(e.domain)}>{e.domain}</a> : ''}</td>}
                  <td class="detail">{detailText(e)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}

function fits(event: Event, text: string): boolean {
  const all = `${event.kind} ${event.domain ?? ''} ${event.project ?? ''} ${detailText(event)}`.toLowerCase();
  return text.toLowerCase().split(/\s+/).every((w) => all.includes(w));
}
