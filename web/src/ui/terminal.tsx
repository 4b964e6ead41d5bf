// A terminal over the terminal protocol of the API: binary messages are bytes, text messages are JSON.
import { useEffect, useRef } from 'preact/hooks';
import { openSocket } from '../api/client';
import { backoff } from '../lib/sse';
import { screenReaderTerminal } from '../state/preferences';

export type Link = 'connecting' | 'open' | 'waiting' | 'closed';

interface Props {
  path: string;
  name: string;
  /** A console outlives its connection and is connected again; a program does not. */
  lasting: boolean;
  onLink: (link: Link) => void;
  onExit: (code: number) => void;
}

export function Terminal(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const latest = useRef(props);
  latest.current = props;
  useEffect(() => {
    let gone = false;
    let leave: (() => void) | undefined;
    // Both arrive as one file of their own.
    void import('./xterm').then(({ open }) => {
      if (!gone && box.current) leave = open(box.current, connect);
    });
    return () => { gone = true; leave?.(); };

    function connect(screen: Screen): () => void {
      let socket: WebSocket;
      let timer: ReturnType<typeof setTimeout> | undefined;
      let tries = 0;
      let exited = false;
      const say = (link: Link) => { if (!gone) latest.current.onLink(link); };
      const dial = () => {
        say('connecting');
        socket = openSocket(latest.current.path);
        socket.onopen = () => {
          tries = 0;
          say('open');
          // The server begins with what was written last: the screen is its, not ours from before.
          screen.reset();
          socket.send(JSON.stringify({ resize: screen.size() }));
          screen.focus();
        };
        socket.onmessage = (message: MessageEvent<ArrayBuffer | string>) => {
          if (typeof message.data !== 'string') return screen.write(new Uint8Array(message.data));
          const said = readControl(message.data);
          if (said !== undefined) {
            exited = true;
            latest.current.onExit(said);
          }
        };
        socket.onclose = () => {
          if (gone) return;
          if (exited || !latest.current.lasting) return say('closed');
          say('waiting');
          timer = setTimeout(dial, backoff(tries++));
        };
      };
      screen.onData((data) => { if (socket.readyState === WebSocket.OPEN) socket.send(new TextEncoder().encode(data)); });
      screen.onBinary((data) => { if (socket.readyState === WebSocket.OPEN) socket.send(Uint8Array.from(data, (c) => c.charCodeAt(0))); });
      screen.onResize((size) => { if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ resize: size })); });
      dial();
      return () => {
        clearTimeout(timer);
        socket.close();
      };
    }
  }, []);
  useEffect(() => {
    box.current?.dispatchEvent(new CustomEvent('reader', { detail: screenReaderTerminal.value }));
  }, [screenReaderTerminal.value]);
  return <div ref={box} class="terminal" role="group" aria-label={props.name} />;
}

/** What the connection needs of the screen. */
export interface Screen {
  write: (bytes: Uint8Array) => void;
  reset: () => void;
  focus: () => void;
  size: () => [columns: number, rows: number];
  onData: (f: (text: string) => void) => void;
  onBinary: (f: (text: string) => void) => void;
  onResize: (f: (size: [number, number]) => void) => void;
}

function readControl(text: string): number | undefined {
  try {
    const { exit } = JSON.parse(text) as { exit?: unknown };
    return typeof exit === 'number' ? exit : undefined;
  } catch {
    return undefined;
  }
}
