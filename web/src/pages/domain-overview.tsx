// What a domain does now, and what it is.
import { useState } from 'preact/hooks';
import type { ComponentChildren } from 'preact';
import type { Domain, DomainDetail } from '../api/types';
import { isUp } from '../lib/actions';
import { count, duration, percent, rate, size } from '../lib/format';
import { figures, newest } from '../state/stats';
import { Chart } from '../ui/chart';
import { Empty } from '../ui/states';
import { Time } from '../ui/text';

const spans = [[2, '2 min'], [5, '5 min'], [10, '10 min']] as const;

export function Overview({ domain, detail }: { domain: Domain; detail: DomainDetail | undefined }) {
  const [minutes, setMinutes] = useState<number>(2);
  const known = figures.value.get(domain.name);
  const common = { now: newest.value, spanMs: minutes * 60_000 };
  const limits = domain.limits ?? detail?.definition.limits ?? {};
  return (
    <div class="overview">
      <section aria-labelledby="use" class="use">
        <div class="section-head">
          <h2 id="use">Use</h2>
          <span class="switch" role="group" aria-label="Time shown">
            {spans.map(([m, text]) => <button key={m} type="button" aria-pressed={m === minutes} onClick={() => setMinutes(m)}>{text}</button>)}
          </span>
        </div>
        {!known || !isUp(domain) ? <Empty title={isUp(domain) ? 'Waiting for the first figures' : 'It is not running'} /> : (
          <div class="charts">
            <Chart {...common} title="CPU" format={percent} least={0.1} limit={limits.cpus || undefined} lines={[{ name: 'CPU', series: known.cpu }]} />
            <Chart {...common} title="Memory" format={size} bytes least={1 << 20} limit={known.stats.memoryLimit} lines={[{ name: 'memory', series: known.memory }]} />
            <Chart {...common} title="Disk" format={rate} bytes least={64 << 10} lines={[{ name: 'read', series: known.read }, { name: 'written', series: known.write }]} />
            <Chart {...common} title="Network" format={rate} bytes least={16 << 10} lines={[{ name: 'received', series: known.rx }, { name: 'sent', series: known.tx }]} />
          </div>
        )}
        {known && isUp(domain) && (known.stats.oomKills || known.stats.throttledNs) ? (
          <p class="warn">
            {known.stats.oomKills ? `The kernel ended ${count(known.stats.oomKills, 'process', 'processes')} for lack of memory. ` : ''}
            {known.stats.throttledNs ? `Held back by its CPU limit for ${duration(known.stats.throttledNs / 1e9)} in all.` : ''}
          </p>
        ) : null}
      </section>
      <section aria-labelledby="facts" class="facts">
        <h2 id="facts">Facts</h2>
        <dl>
          <Fact name="Image">{domain.image}</Fact>
          <Fact name="Project">{domain.project}</Fact>
          {domain.engine && <Fact name="Engine">{domain.engine === 'kvm' ? 'KVM' : 'software'}</Fact>}
          <Fact name="Addresses">{domain.addresses?.length ? domain.addresses.map((a) => <div key={a}><code>{a}</code></div>) : undefined}</Fact>
          <Fact name="Ports">{domain.ports?.length ? domain.ports.map((p) => <div key={`${p.host}${p.protocol}`}><code>{p.address ? `${p.address}:` : ''}{p.host} → {p.guest}/{p.protocol}</code></div>) : undefined}</Fact>
          <Fact name="Processes">{known && isUp(domain) ? known.stats.pids : undefined}</Fact>
          <Fact name="Made"><Time at={domain.created} /></Fact>
          {domain.started && <Fact name="Started"><Time at={domain.started} />{isUp(domain) && <span class="quiet"> ({duration((Date.now() - Date.parse(domain.started)) / 1000)} ago)</span>}</Fact>}
          {!isUp(domain) && domain.finished && <Fact name="Ended"><Time at={domain.finished} />{domain.exitCode !== undefined && <span class="quiet"> with exit code {domain.exitCode}</span>}</Fact>}
          {domain.restarts ? <Fact name="Restarts">{domain.restarts}</Fact> : null}
          <Fact name="Restart policy">{detail && (detail.definition.restart?.policy ?? 'no')}</Fact>
          <Fact name="With the host">{detail ? (detail.definition.autostart ? 'starts' : 'does not start') : undefined}</Fact>
        </dl>
        <h2>Limits</h2>
        <dl>
          <Fact name="Memory">{limits.memory ? size(limits.memory) : 'none'}</Fact>
          <Fact name="CPUs">{limits.cpus || 'none'}</Fact>
          {limits.cpuWeight && <Fact name="CPU weight">{limits.cpuWeight}</Fact>}
          {limits.cpuset && <Fact name="CPUs it may use">{limits.cpuset}</Fact>}
          {limits.numaNodes && <Fact name="NUMA nodes">{limits.numaNodes}</Fact>}
          {limits.pids ? <Fact name="Processes">{limits.pids}</Fact> : null}
          {limits.ioWeight && <Fact name="I/O weight">{limits.ioWeight}</Fact>}
          {limits.readBps ? <Fact name="Reads">{rate(limits.readBps)}</Fact> : null}
          {limits.writeBps ? <Fact name="Writes">{rate(limits.writeBps)}</Fact> : null}
        </dl>
        {domain.labels && Object.keys(domain.labels).length > 0 && (
          <>
            <h2>Labels</h2>
            <dl>{Object.entries(domain.labels).map(([k, v]) => <Fact key={k} name={k}>{v}</Fact>)}</dl>
          </>
        )}
      </section>
    </div>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return <div class="fact"><dt>{name}</dt><dd>{children ?? <span class="quiet">–</span>}</dd></div>;
}
