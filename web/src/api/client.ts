// Requests, typed by the contract. Everything that goes to the server leaves through here, the event stream and WebSockets included.
import createClient from 'openapi-fetch';
import type { paths } from '../generated/schema';
import { ApiError, asApiError, problemOf } from './problem';

export const baseUrl = new URL('v1', document.baseURI).href;

/** What the rest of the console hears of: that a server answered or not, and that it no longer knows us. */
export const listeners = {
  reached: (_ok: boolean): void => {},
  refused: (): void => {},
};

let token = '';
export function setToken(value: string): void {
  token = value;
}

function headers(): Record<string, string> {
  return token ? { authorization: `Bearer ${token}` } : {};
}

async function send(request: Request): Promise<Response> {
  for (const [name, value] of Object.entries(headers())) request.headers.set(name, value);
  let response: Response;
  try {
    response = await fetch(request);
  } catch (error) {
    if (request.signal.aborted) throw error;
    listeners.reached(false);
    throw asApiError(error);
  }
  // A proxy that has lost its server answers for it.
  listeners.reached(response.status !== 502 && response.status !== 504);
  if (response.status === 401) listeners.refused();
  return response;
}

export const api = createClient<paths>({ baseUrl, fetch: send });

/** The answer's body, or an ApiError. */
export async function take<T>(answer: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await answer;
  if (!response.ok) throw new ApiError(problemOf(error, response));
  return data as T;
}

/** A stream of text: the event stream, a log that is followed. */
export async function stream(path: string, signal: AbortSignal, onText: (text: string) => void, extra: Record<string, string> = {}): Promise<void> {
  const response = await send(new Request(`${baseUrl}${path}`, { signal, headers: extra, cache: 'no-store' }));
  if (!response.ok || !response.body) {
    const text = await response.text().catch(() => '');
    let body: unknown = text;
    try {
      body = JSON.parse(text);
    } catch {
      // Not JSON: the text itself is what there is to say.
    }
    throw new ApiError(problemOf(body, response));
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onText(value);
  }
}

/** A WebSocket of the terminal protocol; the token goes as one more subprotocol, since headers cannot be set. */
export function openSocket(path: string): WebSocket {
  const url = new URL(`${baseUrl}${path}`);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const protocols = ['nagaya.terminal'];
  if (token) protocols.push(`nagaya.bearer.${token}`);
  const socket = new WebSocket(url, protocols);
  socket.binaryType = 'arraybuffer';
  return socket;
}

/** Only these may stand in a subprotocol; anything else is no token of ours. */
export function isToken(text: string): boolean {
  return /^[A-Za-z0-9_.-]+$/.test(text);
}
