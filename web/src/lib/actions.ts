// Which verbs a domain in a state takes.
import type { Domain } from '../api/types';

export type Verb = 'start' | 'stop' | 'restart' | 'kill' | 'pause' | 'resume' | 'rename' | 'update' | 'delete';

const byState: Record<Domain['state'], readonly Verb[]> = {
  created: ['start', 'rename', 'update', 'delete'],
  running: ['stop', 'restart', 'pause', 'kill', 'update', 'delete'],
  paused: ['resume', 'kill', 'update', 'delete'],
  stopping: ['kill'],
  stopped: ['start', 'rename', 'update', 'delete'],
  failed: ['start', 'rename', 'update', 'delete'],
};

export function verbsOf(domain: Pick<Domain, 'state'>): readonly Verb[] {
  return byState[domain.state] ?? [];
}

export function allows(domain: Pick<Domain, 'state'>, verb: Verb): boolean {
  return verbsOf(domain).includes(verb);
}

/** Runs in the sense that it has figures, processes and a console. */
export function isUp(domain: Pick<Domain, 'state'>): boolean {
  return domain.state === 'running' || domain.state === 'paused' || domain.state === 'stopping';
}

export const verbLabel: Record<Verb, string> = {
  start: 'Start', stop: 'Stop', restart: 'Restart', kill: 'Kill', pause: 'Pause', resume: 'Resume',
  rename: 'Rename…', update: 'Limits…', delete: 'Delete…',
};
