// Who is at the console. A server behind a Unix socket or client certificates may need no token; else one is asked for and kept
// for this tab only.
import { computed, signal } from '@preact/signals';
import { api, isToken, listeners, setToken, take } from '../api/client';
import { ApiError, asApiError } from '../api/problem';
import type { Info, Role } from '../api/types';
import { ofHost, roleOf, type OperationId } from '../generated/contract';

const key = 'nagaya.token';
const rank: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

export const session = signal<'checking' | 'out' | 'in'>('checking');
export const signInError = signal('');
export const info = signal<Info | undefined>(undefined);
export const infoError = signal<ApiError | undefined>(undefined);
/** Since when no server answers; undefined while one does. */
export const offlineSince = signal<number | undefined>(undefined);

export const role = computed<Role>(() => info.value?.caller?.role ?? 'viewer');

/** Whether the caller sees only some projects. */
export const confined = computed(() => (info.value?.caller?.projects?.length ?? 0) > 0);

/** Whether the caller's role and projects are enough; the server decides all the same. */
export function can(operation: OperationId): boolean {
  return rank[role.value] >= rank[roleOf[operation]] && !(confined.value && ofHost.includes(operation));
}

listeners.reached = (ok) => {
  if (ok) offlineSince.value = undefined;
  else offlineSince.value ??= Date.now();
};
listeners.refused = () => {
  if (session.value === 'in') signOut('The server no longer accepts this token. It may have expired or been withdrawn.');
};

export async function refreshInfo(): Promise<void> {
  try {
    info.value = await take(api.GET('/info'));
    infoError.value = undefined;
  } catch (error) {
    infoError.value = asApiError(error);
  }
}

/** At start: with the token of this tab, or none. */
export async function begin(): Promise<void> {
  setToken(sessionStorage.getItem(key) ?? '');
  session.value = 'checking';
  await refreshInfo();
  if (info.value) session.value = 'in';
  else if (infoError.value?.status === 401) session.value = 'out';
  else setTimeout(() => session.value === 'checking' && void begin(), 3000);
}

export async function signIn(token: string): Promise<void> {
  signInError.value = '';
  if (!isToken(token)) {
    signInError.value = 'A token consists of letters, digits, “_”, “-” and “.”.';
    return;
  }
  setToken(token);
  await refreshInfo();
  if (info.value && !infoError.value) {
    sessionStorage.setItem(key, token);
    session.value = 'in';
    return;
  }
  setToken('');
  const problem = infoError.value?.problem;
  signInError.value =
    problem?.status === 401 ? 'The server does not know this token.' : (problem?.detail ?? problem?.title ?? 'No answer from the server');
}

export function signOut(why = ''): void {
  sessionStorage.removeItem(key);
  setToken('');
  info.value = undefined;
  signInError.value = why;
  session.value = 'out';
}
