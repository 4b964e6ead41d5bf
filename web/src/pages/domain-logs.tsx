// What the console or the program wrote, and what it writes now. The newest megabyte is kept here; the server has all.
import { useEffect, useRef, useState } from 'preact/hooks';
import { stream } from '../api/client';
import { type ApiError, asApiError } from '../api/problem';
import type { Domain } from '../api/types';
import { isUp } from '../lib/actions';
import { plainText } from '../lib/plain';
import { Check } from '../ui/field';
import { CopyButton } from '../ui/copy';
import { Empty, Failed } from '../ui/states';

const most = 1 << 20;

export function Logs({ domain }: { domain: Domain }) {
  const [tail, setTail] = useState('1000');
  const [follow, setFollow] = useState(true);
  const [stamps, setStamps] = useState(false);
  const [text, setText] = useState('');
  const [error, setError] = useState<ApiError | undefined>(undefined);
  const [reading, setReading] = useState(true);
  const [turn, setTurn] = useState(0);
  const box = useRef<HTMLPreElement>(null);
  const atEnd = useRef(true);
  const up = isUp(domain);

  useEffect(() => {
    const abort = new AbortController();
    let buffer = '';
    let frame = 0;
    setText('');
    setError(undefined);
    setReading(true);
    const show = () => {
      frame = 0;
      setReading(false);
      setText(plainText(buffer));
    };
    const query = new URLSearchParams({ tail, follow: String(follow && up), timestamps: String(stamps) });
    stream(`/domains/${encodeURIComponent(domain.name)}/logs?${query}`, abort.signal, (piece) => {
      buffer += piece;
      if (buffer.length > most) buffer = buffer.slice(buffer.indexOf('\n', buffer.length - most) + 1);
      frame ||= requestAnimationFrame(show);
    }).catch((e: unknown) => { if (!abort.signal.aborted) setError(asApiError(e)); })
      .finally(() => { if (!abort.signal.aborted) setReading(false); });
    return () => { abort.abort(); cancelAnimationFrame(frame); };
  }, [domain.name, up, tail, follow, stamps, turn]);

  useEffect(() => {
    // Stays at the end while the reader is there; who scrolled up is left in peace.
    if (atEnd.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [text]);

  return (
    <section aria-label="Logs" class="logs">
      <div class="bar-tools">
        <label>Last <select value={tail} onChange={(e) => setTail(e.currentTarget.value)}>{['100', '1000', '10000'].map((n) => <option key={n} value={n}>{n}</option>)}</select> lines</label>
        <Check label="Follow" checked={follow} onChange={setFollow} />
        <Check label="Times" checked={stamps} onChange={setStamps} />
        <CopyButton text={text} what="log" />
        {follow && up && !reading && !error && <span class="live quiet">live</span>}
      </div>
      {error ? <Failed what="The log could not be read" error={error} retry={() => setTurn(turn + 1)} />
        : text === '' ? (reading ? <p class="state-note loading" role="status">Reading the log…</p> : <Empty title="Nothing was written yet" />)
        : <pre ref={box} class="code log" tabIndex={0} aria-label={`Log of ${domain.name}`}
               onScroll={(e) => { const b = e.currentTarget; atEnd.current = b.scrollHeight - b.scrollTop - b.clientHeight < 24; }}>{text}</pre>}
    </section>
  );
}
