// Small pieces of text: times, sizes, states.
import type { ComponentChildren } from 'preact';
import type { Domain, Operation } from '../api/types';
import { localTime, utc } from '../lib/format';

/** Local time; UTC on hover and for machines. */
export function Time({ at, now }: { at: string | undefined; now?: Date }) {
  if (!at) return <span class="quiet">–</span>;
  return <time dateTime={at} title={utc(at)}>{localTime(at, now)}</time>;
}

/** A state has a shape as well as a colour: it is told apart without seeing colours. */
export function StateMark({ state, label = true }: { state: Domain['state'] | Operation['state']; label?: boolean }) {
  return (
    <span class={`state state-${state}`}>
      <svg class="state-shape" viewBox="0 0 10 10" aria-hidden="true">{shape[state]}</svg>
      <span class={label ? undefined : 'hidden'}>{state}</span>
    </span>
  );
}

const shape: Record<string, ComponentChildren> = {
  created: <circle cx="5" cy="5" r="3.6" class="hollow" />,
  running: <circle cx="5" cy="5" r="4.2" />,
  paused: <path d="M1.5 1h2.6v8H1.5zM5.9 1h2.6v8H5.9z" />,
  stopping: <path d="M1 1.5h8L5 8.5z" />,
  stopped: <rect x="1.6" y="1.6" width="6.8" height="6.8" class="hollow" />,
  failed: <path d="M1 2.2 2.2 1 5 3.8 7.8 1 9 2.2 6.2 5 9 7.8 7.8 9 5 6.2 2.2 9 1 7.8 3.8 5z" />,
  done: <path d="M.8 5.2 2 4l2 2L8 1.6l1.2 1.2L4 8.4z" />,
  cancelled: <path d="M1 4h8v2H1z" />,
};

export function Kind({ kind }: { kind: 'vm' | 'container' }) {
  return <span class="kind">{kind === 'vm' ? 'VM' : 'container'}</span>;
}

export function Key({ children }: { children: ComponentChildren }) {
  return <kbd>{children}</kbd>;
}
