// The house itself: engines and why one was chosen, memory, processors, page merging, NUMA, storage, and what could be mended.
import { useEffect } from 'preact/hooks';
import { duration, percent, size } from '../lib/format';
import { hostCpu, hostKeepMs, hostMemory } from '../state/host';
import { info, infoError, refreshInfo } from '../state/session';
import { Chart, Meter } from '../ui/chart';
import { CopyButton } from '../ui/copy';
import { Page } from '../ui/page';
import { Failed, Loading } from '../ui/states';

export function HostPage() {
  useEffect(() => {
    const timer = setInterval(() => { if (!document.hidden) void refreshInfo(); }, 3000);
    void refreshInfo();
    return () => clearInterval(timer);
  }, []);
  const now = info.value;
  if (!now) return <Page title="Host">{infoError.value ? <Failed what="The host could not be asked" error={infoError.value} retry={() => void refreshInfo()} /> : <Loading what="the host" />}</Page>;
  const { host, ksm } = now;
  const wrong = (now.checks ?? []).filter((c) => c.ok === false);
  const time = Date.now();
  return (
    <Page title={host.name ? `Host ${host.name}` : 'Host'}>
      <p class="domain-line">
        {[host.cpuModel, host.cpus ? `${host.cpus} CPUs` : '', host.kernel ? `Linux ${host.kernel}` : '', host.uptime !== undefined ? `up ${duration(host.uptime)}` : '', `Nagaya ${now.version}`]
          .filter(Boolean).map((t) => <span key={t}>{t}</span>)}
      </p>
      <section aria-labelledby="host-use">
        <h2 id="host-use">Use</h2>
        <div class="charts two">
          {host.cpuBusyNs !== undefined && <Chart title="CPU" now={time} spanMs={hostKeepMs} format={percent} least={0.2} limit={host.cpus} limitWord="all" lines={[{ name: 'CPU', series: hostCpu }]} />}
          <Chart title="Memory" now={time} spanMs={hostKeepMs} format={size} bytes least={1 << 28} limit={host.memoryTotal} limitWord="all" lines={[{ name: 'memory', series: hostMemory }]} />
        </div>
        <p class="below-charts">
          {host.load && <>Load <b class="number">{host.load.map((l) => l.toFixed(2)).join('  ')}</b> <span class="quiet">(1, 5, 15 minutes)</span> · </>}
          {host.memoryTotal !== undefined && <>Memory: <b class="number">{size(host.memoryAvailable)}</b> of {size(host.memoryTotal)} available</>}
        </p>
      </section>
      <section aria-labelledby="engines">
        <h2 id="engines">Engines</h2>
        <div class="table-frame" role="region" aria-label="Table of engines" tabIndex={0}>
          <table>
            <thead><tr><th scope="col">Engine</th><th scope="col">Usable</th><th scope="col">Why</th></tr></thead>
            <tbody>
              {now.engines.map((e) => (
                <tr key={e.name}>
                  <th scope="row">{e.name}{e.chosen && <span class="badge">chosen</span>}</th>
                  <td>{e.usable ? <span class="good">yes</span> : <span class="bad">no</span>}</td>
                  <td class="detail">{e.reason}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </section>
      <section aria-labelledby="checks">
        <h2 id="checks">Checks <span class="quiet">{wrong.length === 0 ? 'all well' : `${wrong.length} could be mended`}</span></h2>
        <ul class="checks-list">
          {[...wrong, ...(now.checks ?? []).filter((c) => c.ok !== false)].map((c) => (
            <li key={c.name} class={c.ok === false ? 'check-bad' : 'check-good'}>
              <span class="check-mark" aria-hidden="true">{c.ok === false ? '!' : '✓'}</span>
              <div>
                <b>{c.name}</b> <span class="hidden">{c.ok === false ? 'lacks something:' : 'is well:'}</span> <span class="detail">{c.detail}</span>
                {c.ok === false && c.remedy && <div class="remedy"><code>{c.remedy}</code><CopyButton text={c.remedy} what={`remedy for ${c.name}`} /></div>}
              </div>
            </li>
          ))}
        </ul>
      </section>
      <div class="columns">
        <section aria-labelledby="storage">
          <h2 id="storage">Storage</h2>
          {(now.storage ?? []).map((s) => (
            <div key={s.path} class="metered">
              <span><code>{s.path}</code></span><span class="number">{size(s.free)} free of {size(s.size)}</span>
              <Meter label={`Used at ${s.path}`} value={(s.size ?? 0) - (s.free ?? 0)} max={s.size ?? 0} />
            </div>
          ))}
        </section>
        <section aria-labelledby="numa">
          <h2 id="numa">NUMA nodes</h2>
          {(now.numaNodes ?? []).map((n) => (
            <div key={n.id} class="metered">
              <span>Node {n.id} <span class="quiet">CPUs {n.cpus}</span></span><span class="number">{size(n.memoryFree)} free of {size(n.memoryTotal)}</span>
              <Meter label={`Memory used on node ${n.id}`} value={(n.memoryTotal ?? 0) - (n.memoryFree ?? 0)} max={n.memoryTotal ?? 0} />
            </div>
          ))}
        </section>
        <section aria-labelledby="ksm">
          <h2 id="ksm">Merged pages (KSM)</h2>
          {!ksm ? <p class="quiet">The host does not tell.</p> : (
            <p>{ksm.running ? <>Runs; saves <b class="number">{size(ksm.savedBytes)}</b>: {ksm.pagesSharing ?? 0} pages share {ksm.pagesShared ?? 0}.</> : 'Does not run.'}</p>
          )}
        </section>
      </div>
    </Page>
  );
}
