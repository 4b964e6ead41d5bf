// Console, or one more program inside. xterm.js comes only when a terminal is opened.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Domain } from '../api/types';
import { isUp } from '../lib/actions';
import { splitWords } from '../lib/words';
import { screenReaderTerminal } from '../state/preferences';
import { Check } from '../ui/field';
import { Empty } from '../ui/states';
import { Terminal, type Link } from '../ui/terminal';

const words: Record<Link, string> = { connecting: 'connecting…', open: 'connected', waiting: 'connection lost; trying again…', closed: 'closed' };

export function TerminalTab({ domain }: { domain: Domain }) {
  const [mode, setMode] = useState<'console' | 'exec'>('console');
  const [command, setCommand] = useState('/bin/sh');
  const [user, setUser] = useState('');
  const [running, setRunning] = useState<{ path: string; turn: number } | undefined>(undefined);
  const [link, setLink] = useState<Link>('connecting');
  const [ended, setEnded] = useState<string>('');
  const [turn, setTurn] = useState(0);
  const [bad, setBad] = useState('');
  const frame = useRef<HTMLDivElement>(null);
  const base = `/domains/${encodeURIComponent(domain.name)}`;
  useEffect(() => { setRunning(undefined); setEnded(''); }, [domain.name, mode]);

  if (!isUp(domain)) return <Empty title="It is not running"><p>Its console opens when it runs. What it wrote last is under Logs.</p></Empty>;
  const start = (e: SubmitEvent) => {
    e.preventDefault();
    const split = splitWords(command);
    if (!split.ok || split.words.length === 0) return setBad(split.ok ? 'Which program?' : `The command ${split.why}`);
    setBad('');
    setEnded('');
    const query = new URLSearchParams(split.words.map((w) => ['command', w]));
    query.set('terminal', 'true');
    if (user.trim()) query.set('user', user.trim());
    setRunning({ path: `${base}/exec?${query}`, turn: (running?.turn ?? 0) + 1 });
  };
  const path = mode === 'console' ? `${base}/console` : running?.path;
  const key = mode === 'console' ? `console ${domain.name} ${turn}` : `exec ${running?.turn} ${turn}`;
  return (
    <section aria-label="Terminal" class="terminal-part">
      <div class="bar-tools">
        <span class="switch" role="group" aria-label="What to open">
          <button type="button" aria-pressed={mode === 'console'} onClick={() => setMode('console')}>Console</button>
          <button type="button" aria-pressed={mode === 'exec'} onClick={() => setMode('exec')}>Program</button>
        </span>
        {mode === 'exec' && (
          <form class="exec" onSubmit={start}>
            <input aria-label="Command" name="command" value={command} onInput={(e) => setCommand(e.currentTarget.value)} class="mono" spellcheck={false} autoCapitalize="off" autoComplete="off" aria-invalid={bad ? true : undefined} />
            <input aria-label="User (empty: the image’s)" name="user" placeholder="user" value={user} onInput={(e) => setUser(e.currentTarget.value)} class="mono exec-user" spellcheck={false} autoCapitalize="off" autoComplete="off" />
            <button type="submit" class="primary">Run</button>
          </form>
        )}
        {path && <span class={`link link-${link}`} role="status">{ended || words[link]}</span>}
        {path && (link === 'closed' || link === 'waiting') && mode === 'console' && <button type="button" class="small" onClick={() => { setEnded(''); setTurn(turn + 1); }}>Connect again</button>}
        {path && <button type="button" class="small" onClick={() => void (document.fullscreenElement ? document.exitFullscreen() : frame.current?.requestFullscreen())}>Full screen</button>}
      </div>
      {bad && <p class="field-error" role="alert">{bad}</p>}
      {path ? (
        <div ref={frame} class="terminal-frame">
          <Terminal key={key} path={path} lasting={mode === 'console'} onLink={setLink} name={mode === 'console' ? `Console of ${domain.name}` : `${command} in ${domain.name}`}
                    onExit={(code) => setEnded(`ended with exit code ${code}`)} />
        </div>
      ) : <Empty title="Run a program inside"><p>It ends when its connection does.</p></Empty>}
      <div class="terminal-foot">
        <p class="hint"><kbd>Ctrl</kbd> <kbd>]</kbd> leaves the terminal for the rest of the page.</p>
        <Check label="Speak output (screen readers)" checked={screenReaderTerminal.value} onChange={(on) => (screenReaderTerminal.value = on)} />
      </div>
    </section>
  );
}
