// Operations under way and lately ended. The list is asked for often while something runs, seldom else.
import { computed, signal } from '@preact/signals';
import { api, take } from '../api/client';
import { type ApiError, asApiError } from '../api/problem';
import type { Operation } from '../api/types';
import { Poller } from '../lib/poller';
import { tellError } from './notices';

export const operations = signal<Operation[] | undefined>(undefined);
export const operationsError = signal<ApiError | undefined>(undefined);
export const trayOpen = signal(false);
export const runningCount = computed(() => operations.value?.filter((o) => o.state === 'running').length ?? 0);

const waiting = new Map<string, ((ended: Operation) => void)[]>();

export const operationsPoller = new Poller(async () => {
  try {
    const list = await take(api.GET('/operations'));
    operationsError.value = undefined;
    operations.value = list;
    for (const operation of list) settle(operation);
    await askForForgotten(list);
  } catch (error) {
    operationsError.value = asApiError(error);
  }
}, () => (runningCount.value > 0 || waiting.size > 0 ? 700 : 15_000));

function settle(operation: Operation): void {
  if (operation.state === 'running') return;
  for (const done of waiting.get(operation.id) ?? []) done(operation);
  waiting.delete(operation.id);
}

/** One that the list no longer names is asked for by its id; one that is gone altogether has ended unseen. */
async function askForForgotten(list: Operation[]): Promise<void> {
  for (const id of waiting.keys()) {
    if (list.some((o) => o.id === id)) continue;
    const answer = await api.GET('/operations/{operation}', { params: { path: { operation: id }, query: {} } });
    if (answer.data) settle(answer.data);
    else if (answer.response.status === 404) settle({ id, kind: '', state: 'done', started: new Date().toISOString() });
  }
}

/** Follows an operation that a request began; answers when it has ended. */
export function submit(operation: Operation): Promise<Operation> {
  if (operation.state !== 'running') return Promise.resolve(operation);
  operations.value = [operation, ...(operations.value ?? []).filter((o) => o.id !== operation.id)];
  return new Promise((done) => {
    waiting.set(operation.id, [...(waiting.get(operation.id) ?? []), done]);
    void operationsPoller.now();
  });
}

export async function cancel(id: string): Promise<void> {
  try {
    await take(api.DELETE('/operations/{operation}', { params: { path: { operation: id } } }));
  } catch (error) {
    tellError('Could not cancel', error);
  }
  void operationsPoller.now();
}
