// The row house: all running households under one roof. A room is as wide as its memory and dyed the deeper the more CPU it uses;
// what the host itself uses and what is free stand beside them. One stop for the Tab key; arrows go from room to room.
import { useRef, useState } from 'preact/hooks';
import type { Domain } from '../api/types';
import { percent, size } from '../lib/format';
import { domainLink } from '../lib/route';
import { dye, rooms as plan } from '../lib/rowhouse';
import { figures } from '../state/stats';
import { info } from '../state/session';

export function RowHouse({ domains }: { domains: Domain[] }) {
  const [current, setCurrent] = useState(0);
  const strip = useRef<HTMLUListElement>(null);
  const host = info.value?.host;
  const house = plan(domains, figures.value, host?.memoryTotal, host?.memoryAvailable);
  if (house.rooms.length === 0) return null;
  const key = (e: KeyboardEvent) => {
    const step = e.key === 'ArrowRight' ? 1 : e.key === 'ArrowLeft' ? -1 : 0;
    const to = e.key === 'Home' ? 0 : e.key === 'End' ? house.rooms.length - 1 : step ? current + step : -1;
    if (to < 0 || to >= house.rooms.length) return;
    e.preventDefault();
    setCurrent(to);
    strip.current!.querySelectorAll('a')[to]?.focus();
  };
  return (
    <section class="row-house" aria-label="Row house: memory and CPU of what runs">
      <div class="roof" aria-hidden="true" />
      <ul ref={strip} class="rooms" onKeyDown={key}>
        {house.rooms.map((room, i) => {
          const words = `${room.name} ${size(room.memory)} · ${percent(room.cpu)} CPU`;
          return (
            <li key={room.name} style={{ flexGrow: room.memory }} class="room">
              <a href={domainLink(room.name)} class={`dye-${dye(room.cpu, room.cpus)}`} tabIndex={i === Math.min(current, house.rooms.length - 1) ? 0 : -1}
                 aria-label={words} title={words} onFocus={() => setCurrent(i)}>
                <span class="room-name">{room.name}</span>{' '}
                <span class="room-figures">{size(room.memory)} · {percent(room.cpu)}</span>
              </a>
            </li>
          );
        })}
        {house.others > 0 && (
          <li class="room others" style={{ flexGrow: house.others }} title={`The host itself: ${size(house.others)}`}>
            <span><span class="room-name">host</span><span class="room-figures">{size(house.others)}</span></span>
          </li>
        )}
        {house.free > 0 && (
          <li class="room free" style={{ flexGrow: house.free }} title={`Free: ${size(house.free)}`}>
            <span><span class="room-name">free</span><span class="room-figures">{size(house.free)}</span></span>
          </li>
        )}
      </ul>
      <p class="row-house-key" aria-hidden="true">
        <span>width: memory</span>
        <span>CPU: idle {[0, 1, 2, 3, 4, 5].map((n) => <i key={n} class={`dye-${n}`} />)} busy</span>
      </p>
    </section>
  );
}
