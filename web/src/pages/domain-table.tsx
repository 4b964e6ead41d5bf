// The table of domains. j and k or the arrows move from row to row, x selects, Enter opens.
import { useRef } from 'preact/hooks';
import type { Domain } from '../api/types';
import { isUp } from '../lib/actions';
import type { Sort, SortKey } from '../lib/filter';
import { duration, percent, rate, size, utc } from '../lib/format';
import { sum } from '../lib/rates';
import { domainLink } from '../lib/route';
import { figures, newest, type Figures } from '../state/stats';
import { can } from '../state/session';
import { shortcutsOn } from '../state/preferences';
import { go } from '../state/route';
import { Spark } from '../ui/chart';
import { Kind, StateMark } from '../ui/text';
import { VerbButtons } from '../ui/verb-buttons';

interface Props {
  list: Domain[];
  sort: Sort;
  setSort: (s: Sort) => void;
  selected: ReadonlySet<string>;
  setSelected: (s: ReadonlySet<string>) => void;
  projects: boolean;
}

export function DomainTable({ list, sort, setSort, selected, setSelected, projects }: Props) {
  const body = useRef<HTMLTableSectionElement>(null);
  const selectable = can('actOnDomain');
  const toggle = (name: string) => {
    const next = new Set(selected);
    if (!next.delete(name)) next.add(name);
    setSelected(next);
  };
  const key = (e: KeyboardEvent) => {
    if (e.target instanceof HTMLInputElement && e.target.type !== 'checkbox') return;
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const rows = [...body.current!.rows];
    const row = (e.target as HTMLElement).closest('tr');
    const at = row ? rows.indexOf(row) : -1;
    const letters = shortcutsOn.value;
    const step = e.key === 'ArrowDown' || (letters && e.key === 'j') ? 1 : e.key === 'ArrowUp' || (letters && e.key === 'k') ? -1 : 0;
    if (step) rows[at + step]?.querySelector<HTMLElement>('.domain-name')?.focus();
    else if (letters && e.key === 'x' && selectable && list[at]) toggle(list[at].name);
    else if (e.key === 'Enter' && e.target instanceof HTMLInputElement && list[at]) go(domainLink(list[at].name));
    else return;
    e.preventDefault();
  };
  const everyone = list.length > 0 && list.every((d) => selected.has(d.name));
  const some = list.some((d) => selected.has(d.name));
  const head = { sort, setSort };
  return (
    <div class="table-frame">
      <table class="domains" onKeyDown={key}>
        <caption class="hidden">Domains with what they use now</caption>
        <thead>
          <tr>
            {selectable && (
              <th class="col-select" scope="col">
                <input type="checkbox" aria-label="Select all shown" checked={everyone} ref={(e) => { if (e) e.indeterminate = some && !everyone; }}
                       onChange={() => setSelected(everyone ? new Set() : new Set(list.map((d) => d.name)))} />
              </th>
            )}
            <Head {...head} by="name">Name</Head>
            <Head {...head} by="state" class="col-state">State</Head>
            <th scope="col" class="col-image">Image</th>
            <Head {...head} by="cpu" figure>CPU</Head>
            <Head {...head} by="memory" figure>Memory</Head>
            <Head {...head} by="disk" figure class="col-disk">Disk</Head>
            <Head {...head} by="network" figure class="col-net">Network</Head>
            {selectable && <th scope="col" class="col-verbs"><span class="hidden">Verbs</span></th>}
          </tr>
        </thead>
        <tbody ref={body}>
          {list.map((d) => (
            <tr key={d.name} class={selected.has(d.name) ? 'selected' : undefined}>
              {selectable && <td class="col-select"><input type="checkbox" aria-label={`Select ${d.name}`} checked={selected.has(d.name)} onChange={() => toggle(d.name)} /></td>}
              <th scope="row" class="col-name">
                <a class="domain-name" href={domainLink(d.name)}>{d.name}</a>
                <span class="under"><span class="only-narrow"><StateMark state={d.state} /> </span><Kind kind={d.kind} />{projects && <span class="project"> · {d.project}</span>}</span>
              </th>
              <td class="col-state">
                <StateMark state={d.state} />
                {d.reason ? <span class="under reason" title={d.reason}>{d.reason}</span> : isUp(d) && d.started ? <span class="under" title={`since ${utc(d.started)}`}>{duration((Date.now() - Date.parse(d.started)) / 1000)}</span>
                  : d.state === 'stopped' && d.exitCode ? <span class="under">exit code {d.exitCode}</span> : null}
              </td>
              <td class="col-image" title={d.image}>
                <span class="image-name">{shortImage(d.image)}</span>
                {d.addresses?.[0] && <span class="under address">{d.addresses[0]}</span>}
              </td>
              <FigureCells domain={d} figures={figures.value.get(d.name)} />
              {selectable && <td class="col-verbs"><VerbButtons domain={d} /></td>}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** References of registries are long; the end tells them apart, the whole is in the title. */
function shortImage(image: string): string {
  return image.replace(/^[^/]+\.[^/]+\/(?:library\/)?/, '');
}

function Head({ by, sort, setSort, children, figure, class: name }: { by: SortKey; sort: Sort; setSort: (s: Sort) => void; children: string; figure?: boolean; class?: string }) {
  const here = sort.key === by;
  return (
    <th scope="col" class={`${name ?? ''}${figure ? ' number' : ''}`} aria-sort={here ? (sort.descending ? 'descending' : 'ascending') : undefined}>
      <button type="button" class="sort" onClick={() => setSort({ key: by, descending: here ? !sort.descending : figure === true })}>
        {children}<span class="sort-arrow" aria-hidden="true">{here ? (sort.descending ? '▾' : '▴') : ''}</span>
      </button>
    </th>
  );
}

function FigureCells({ domain, figures: known }: { domain: Domain; figures: Figures | undefined }) {
  if (!known || !isUp(domain)) {
    return <>{['', '', 'col-disk', 'col-net'].map((c, i) => <td key={i} class={`number ${c}`}><span class="quiet">–</span></td>)}</>;
  }
  const now = newest.value;
  const { rates, stats } = known;
  const limit = stats.memoryLimit;
  return (
    <>
      <td class="number figure"><Spark series={known.cpu} now={now} least={0.2} /><span>{percent(rates.cpu)}</span></td>
      <td class="number figure"><Spark series={known.memory} now={now} {...(limit ? { max: limit } : {})} /><span title={limit ? `of ${size(limit)}` : undefined}>{size(stats.memory)}</span></td>
      <td class="number figure col-disk"><Spark series={known.disk} now={now} least={65536} /><span title={`read ${rate(rates.read)}, written ${rate(rates.write)}`}>{rate(sum(rates.read, rates.write))}</span></td>
      <td class="number figure col-net"><Spark series={known.network} now={now} least={16384} /><span title={`received ${rate(rates.rx)}, sent ${rate(rates.tx)}`}>{rate(sum(rates.rx, rates.tx))}</span></td>
    </>
  );
}
