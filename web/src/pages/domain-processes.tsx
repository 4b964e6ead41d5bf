// Processes inside, the busiest first.
import { useRef } from 'preact/hooks';
import { api, take } from '../api/client';
import type { Domain, ProcessEntry } from '../api/types';
import { isUp } from '../lib/actions';
import { count, percent, size } from '../lib/format';
import { useLoad } from '../ui/hooks';
import { Empty, Failed, Loading } from '../ui/states';

export function Processes({ domain }: { domain: Domain }) {
  const up = isUp(domain);
  const before = useRef<{ time: number; cpu: Map<number, number> } | undefined>(undefined);
  const loaded = useLoad(async () => {
    if (!up) return { list: [] as ProcessEntry[], shares: new Map<number, number>() };
    const list = await take(api.GET('/domains/{domain}/top', { params: { path: { domain: domain.name } } }));
    const time = performance.now();
    const shares = new Map<number, number>();
    for (const p of list) {
      const past = before.current?.cpu.get(p.pid);
      if (past !== undefined && p.cpuNs !== undefined && p.cpuNs >= past) shares.set(p.pid, (p.cpuNs - past) / 1e6 / (time - before.current!.time));
    }
    before.current = { time, cpu: new Map(list.map((p) => [p.pid, p.cpuNs ?? 0])) };
    list.sort((a, b) => (shares.get(b.pid) ?? 0) - (shares.get(a.pid) ?? 0) || (b.memory ?? 0) - (a.memory ?? 0));
    return { list, shares };
  }, [domain.name, domain.state], up ? 3000 : 0);
  if (!up) return <Empty title="It is not running" />;
  if (!loaded.data) return loaded.error ? <Failed what="The processes could not be listed" error={loaded.error} retry={() => void loaded.reload()} /> : <Loading what="processes" />;
  const { list, shares } = loaded.data;
  return (
    <div class="table-frame" role="region" aria-label="Processes" tabIndex={0}>
      <table>
        <caption class="hidden">Processes inside {domain.name}</caption>
        <thead><tr><th scope="col" class="number">PID</th><th scope="col">User</th><th scope="col" class="number">CPU</th><th scope="col" class="number">Memory</th><th scope="col">Command</th></tr></thead>
        <tbody>
          {list.map((p) => (
            <tr key={p.pid}>
              <td class="number">{p.pid}</td><td>{p.user ?? ''}</td><td class="number">{percent(shares.get(p.pid))}</td><td class="number">{size(p.memory)}</td>
              <td class="command"><code>{p.command}</code></td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="quiet table-note">{count(list.length, 'process', 'processes')}</p>
    </div>
  );
}
