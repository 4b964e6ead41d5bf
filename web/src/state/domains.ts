// The list of domains: fetched anew when an event says so, and every few seconds in case one was missed.
import { signal } from '@preact/signals';
import { api, take } from '../api/client';
import { type ApiError, asApiError, failureOf } from '../api/problem';
import type { Domain, Operation } from '../api/types';
import { Poller } from '../lib/poller';
import type { Verb } from '../lib/actions';
import { submit } from './operations';
import { tellError } from './notices';

export const domains = signal<Domain[] | undefined>(undefined);
export const domainsError = signal<ApiError | undefined>(undefined);

export const domainsPoller = new Poller(async () => {
  try {
    domains.value = await take(api.GET('/domains'));
    domainsError.value = undefined;
  } catch (error) {
    domainsError.value = asApiError(error);
  }
}, () => 5000);

const doing: Record<string, string> = {
  start: 'Could not start', stop: 'Could not stop', restart: 'Could not restart', kill: 'Could not kill',
  pause: 'Could not pause', resume: 'Could not resume', rename: 'Could not rename',
};

export type Action = Exclude<Verb, 'update' | 'delete'>;

/** Asks for a verb; true when the operation it began has ended well. */
export async function act(name: string, action: Action, body?: { timeout?: number; signal?: string; name?: string }): Promise<boolean> {
  return attempt(`${doing[action]} ${name}`, () => take(api.POST('/domains/{domain}/{action}', { params: { path: { domain: name, action } }, body: body ?? {} })));
}

export async function remove(name: string, force: boolean): Promise<boolean> {
  return attempt(`Could not delete ${name}`, () => take(api.DELETE('/domains/{domain}', { params: { path: { domain: name }, query: { force } } })));
}

async function attempt(what: string, request: () => Promise<Operation>): Promise<boolean> {
  try {
    const ended = await submit(await request());
    void domainsPoller.now();
    if (ended.state === 'failed') tellError(what, failureOf(ended));
    return ended.state === 'done';
  } catch (error) {
    tellError(what, error);
    return false;
  }
}
