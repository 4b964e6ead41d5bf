// Loading one thing from the server, and again when asked or when the server says that it changed.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { type ApiError, asApiError } from '../api/problem';

export interface Loaded<T> {
  data: T | undefined;
  error: ApiError | undefined;
  reload: () => Promise<void>;
}

/** `load` is called anew whenever one of `keys` changes; an answer to an older question is dropped. */
export function useLoad<T>(load: () => Promise<T>, keys: readonly unknown[], everyMs = 0): Loaded<T> {
  const [state, setState] = useState<{ data?: T; error?: ApiError }>({});
  const turn = useRef(0);
  const latest = useRef(load);
  latest.current = load;
  const reload = useCallback(async () => {
    const mine = ++turn.current;
    try {
      const data = await latest.current();
      if (mine === turn.current) setState({ data });
    } catch (error) {
      if (mine === turn.current) setState((before) => ({ data: before.data, error: asApiError(error) }));
    }
  }, []);
  useEffect(() => {
    void reload();
    if (!everyMs) return;
    const timer = setInterval(() => { if (!document.hidden) void reload(); }, everyMs);
    return () => clearInterval(timer);
  }, keys);
  useEffect(() => () => void ++turn.current, []);
  return { data: state.data, error: state.error, reload };
}

export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Nagaya`;
  }, [title]);
}
