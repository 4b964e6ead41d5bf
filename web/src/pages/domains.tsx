// All households: filters, figures, and verbs for one or many.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Domain } from '../api/types';
import { domainStates } from '../generated/contract';
import { allows, verbLabel, type Verb } from '../lib/actions';
import { isActive, matches, noFilter, sortDomains, type Filter, type Sort, type SortKey } from '../lib/filter';
import { count } from '../lib/format';
import { pageLink } from '../lib/route';
import { domains, domainsError, domainsPoller } from '../state/domains';
import { figures } from '../state/stats';
import { can } from '../state/session';
import { replace, route } from '../state/route';
import { chooseForMany } from '../state/verbs';
import { Page } from '../ui/page';
import { Empty, Failed, Loading } from '../ui/states';
import { DomainTable } from './domain-table';
import { RowHouse } from './row-house';

const many: readonly Verb[] = ['start', 'stop', 'restart', 'pause', 'resume', 'kill', 'delete'];

export function figureOf(domain: Domain, key: SortKey): number | string {
  const rates = figures.value.get(domain.name)?.rates;
  switch (key) {
    case 'cpu': return rates?.cpu ?? -1;
    case 'memory': return rates?.memory ?? -1;
    case 'disk': return rates ? (rates.read ?? 0) + (rates.write ?? 0) : -1;
    case 'network': return rates ? (rates.rx ?? 0) + (rates.tx ?? 0) : -1;
    case 'state': return domainStates.indexOf(domain.state);
    default: return domain.name;
  }
}

export function DomainsPage() {
  const query = route.value.query;
  const filter: Filter = { text: query.get('text') ?? '', kind: query.get('kind') ?? '', state: query.get('state') ?? '', project: query.get('project') ?? '' };
  const [sort, setSort] = useState<Sort>({ key: 'name', descending: false });
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const all = domains.value;
  const shown = useMemo(() => sortDomains((all ?? []).filter((d) => matches(d, filter)), sort, figureOf),
    // Figures move rows only when the order is by a figure.
    [all, query.toString(), sort, ['name', 'state'].includes(sort.key) ? 0 : figures.value]);
  const chosen = shown.filter((d) => selected.has(d.name));
  const projects = [...new Set((all ?? []).map((d) => d.project))].sort();
  const setFilter = (change: Partial<Filter>) => {
    const next = Object.fromEntries(Object.entries({ ...filter, ...change }).filter(([, v]) => v !== ''));
    replace(pageLink('domains', next));
  };

  return (
    <Page title="Domains" tools={can('createDomain') && <a class="button primary" href={pageLink('create')} aria-keyshortcuts="n">New…</a>}>
      {all && <RowHouse domains={all} />}
      {(all === undefined || all.length > 0) && <Filters filter={filter} set={setFilter} projects={projects} shown={shown.length} total={all?.length} />}
      {chosen.length > 0 && <Bulk chosen={chosen} clear={() => setSelected(new Set())} />}
      {!all && domainsError.value ? <Failed what="The domains could not be listed" error={domainsError.value} retry={() => void domainsPoller.now()} />
        : !all ? <Loading what="domains" />
        : all.length === 0 ? (
          <Empty title="No households yet">
            <p>A domain is a virtual machine or a container made from an image.</p>
            {can('createDomain') && <a class="button primary" href={pageLink('create')}>Make the first one</a>}
          </Empty>
        ) : shown.length === 0 ? (
          <Empty title="None fits the filter"><button type="button" onClick={() => setFilter(noFilter)}>Show all {all.length}</button></Empty>
        ) : <DomainTable list={shown} sort={sort} setSort={setSort} selected={selected} setSelected={setSelected} projects={projects.length > 1} />}
    </Page>
  );
}

function Filters({ filter, set, projects, shown, total }: { filter: Filter; set: (f: Partial<Filter>) => void; projects: string[]; shown: number; total: number | undefined }) {
  const [typed, setTyped] = useState(filter.text);
  // The address follows what is typed; only a change from elsewhere (the way back, “Clear”) comes into the field, else a slow page would
  // put older letters over newer ones. An effect comes after the screen was drawn, so it asks for the address of then: more may have been typed.
  const sent = useRef(filter.text);
  useEffect(() => {
    const now = route.value.query.get('text') ?? '';
    if (now === sent.current) return;
    sent.current = now;
    setTyped(now);
  }, [filter.text]);
  const type = (words: string) => {
    sent.current = words;
    setTyped(words);
    set({ text: words });
  };
  return (
    <div class="filters" role="search" aria-label="Filter domains">
      <input id="filter" type="search" class="filter-text" placeholder="Filter by name, image, address, label" aria-label="Filter by text" aria-keyshortcuts="/" value={typed}
             onInput={(e) => type(e.currentTarget.value)}
             onKeyDown={(e) => { if (e.key === 'Escape') { if (typed) type(''); else e.currentTarget.blur(); e.stopPropagation(); } }} />
      <select aria-label="Kind" value={filter.kind} onChange={(e) => set({ kind: e.currentTarget.value })}>
        <option value="">both kinds</option><option value="vm">VMs</option><option value="container">containers</option>
      </select>
      <select aria-label="State" value={filter.state} onChange={(e) => set({ state: e.currentTarget.value })}>
        <option value="">any state</option>{domainStates.map((s) => <option key={s} value={s}>{s}</option>)}
      </select>
      {(projects.length > 1 || filter.project) && (
        <select aria-label="Project" value={filter.project} onChange={(e) => set({ project: e.currentTarget.value })}>
          <option value="">all projects</option>{projects.map((p) => <option key={p} value={p}>{p}</option>)}
        </select>
      )}
      {isActive(filter) && <button type="button" onClick={() => set(noFilter)}>Clear</button>}
      <span class="filter-count quiet" role="status">{total === undefined ? '' : shown === total ? count(total, 'domain') : `${shown} of ${total}`}</span>
    </div>
  );
}

function Bulk({ chosen, clear }: { chosen: Domain[]; clear: () => void }) {
  return (
    <div class="bulk" role="toolbar" aria-label={`Verbs for ${count(chosen.length, 'selected domain')}`}>
      <span class="bulk-count" role="status">{chosen.length} selected</span>
      {many.map((verb) => {
        const takers = chosen.filter((d) => allows(d, verb));
        return (
          <button key={verb} type="button" class={verb === 'delete' || verb === 'kill' ? 'small danger-text' : 'small'} disabled={takers.length === 0}
                  onClick={() => chooseForMany(verb, takers)}>
            {verbLabel[verb]}{takers.length > 0 && takers.length < chosen.length ? ` ${takers.length}` : ''}
          </button>
        );
      })}
      <button type="button" class="small plain" onClick={clear}>Select none</button>
    </div>
  );
}
