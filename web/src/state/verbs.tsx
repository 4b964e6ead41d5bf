// Verbs that a person chose, some of which ask first. One host component shows whichever question is open.
import { signal } from '@preact/signals';
import { act, remove, type Action } from './domains';
import { tell } from './notices';
import type { Domain } from '../api/types';
import type { Verb } from '../lib/actions';
import { count } from '../lib/format';

export type Question =
  | { ask: 'delete'; domains: Domain[]; after?: () => void }
  | { ask: 'kill'; domains: Domain[] }
  | { ask: 'rename'; domain: Domain; after?: (name: string) => void }
  | { ask: 'update'; domain: Domain };

export const question = signal<Question | undefined>(undefined);

const said: Record<Action, string> = {
  start: 'started', stop: 'stopped', restart: 'restarted', kill: 'killed', pause: 'paused', resume: 'resumed', rename: 'renamed',
};

/** What a button, menu or key does; `after` hears where to go when the thing is gone or has another name. */
export function choose(verb: Verb, domain: Domain, after: { removed?: () => void; renamed?: (name: string) => void } = {}): void {
  if (verb === 'delete') question.value = { ask: 'delete', domains: [domain], after: after.removed };
  else if (verb === 'kill') question.value = { ask: 'kill', domains: [domain] };
  else if (verb === 'rename') question.value = { ask: 'rename', domain, after: after.renamed };
  else if (verb === 'update') question.value = { ask: 'update', domain };
  else void perform(verb, [domain]);
}

export function chooseForMany(verb: Verb, domains: Domain[]): void {
  if (verb === 'delete') question.value = { ask: 'delete', domains };
  else if (verb === 'kill') question.value = { ask: 'kill', domains };
  else if (verb !== 'rename' && verb !== 'update') void perform(verb, domains);
}

export async function perform(verb: Exclude<Action, 'rename'>, domains: Domain[]): Promise<void> {
  const ended = await Promise.all(domains.map((d) => act(d.name, verb)));
  report(ended, domains, said[verb]);
}

export async function removeAll(domains: Domain[], force: boolean): Promise<boolean> {
  const ended = await Promise.all(domains.map((d) => remove(d.name, force)));
  report(ended, domains, 'deleted');
  return ended.every(Boolean);
}

function report(ended: boolean[], domains: Domain[], word: string): void {
  const well = domains.filter((_, i) => ended[i]);
  if (well.length === 1) tell(`${well[0]!.name} ${word}`);
  else if (well.length > 1) tell(`${count(well.length, 'domain')} ${word}`);
}
