// One household: its rooms are tabs.
import { useEffect, useRef, useState } from 'preact/hooks';
import { api, take } from '../api/client';
import type { ApiError } from '../api/problem';
import type { Domain, DomainDetail } from '../api/types';
import { isUp } from '../lib/actions';
import { domainLink, domainTabs, pageLink, type DomainTab } from '../lib/route';
import { domains } from '../state/domains';
import { go } from '../state/route';
import { can } from '../state/session';
import { useLoad } from '../ui/hooks';
import { Page } from '../ui/page';
import { Empty, Failed, Loading } from '../ui/states';
import { Kind, StateMark } from '../ui/text';
import { VerbButtons } from '../ui/verb-buttons';
import { Definition } from './domain-definition';
import { DomainEvents } from './events';
import { Logs } from './domain-logs';
import { Overview } from './domain-overview';
import { Processes } from './domain-processes';
import { TerminalTab } from './domain-terminal';

const titles: Record<DomainTab, string> = { overview: 'Overview', terminal: 'Terminal', logs: 'Logs', processes: 'Processes', events: 'Events', definition: 'Definition' };

export function DomainPage({ name, tab }: { name: string; tab: DomainTab }) {
  const listed = domains.value?.find((d) => d.name === name);
  // The list says when something changed; the detail is fetched anew then, but not when it is gone from the list.
  const known = useRef('');
  if (listed) known.current = JSON.stringify(listed);
  const detail = useLoad(() => take(api.GET('/domains/{domain}', { params: { path: { domain: name } } })), [name, known.current]);
  const domain: Domain | undefined = listed ?? (known.current === '' ? detail.data : undefined);
  if (!domain) return <Page title={name}><Missing name={name} error={detail.error} listed={domains.value !== undefined} /></Page>;
  const tabs = domainTabs.filter((t) => t !== 'terminal' || can('openConsole'));
  const after = { removed: () => go(pageLink('domains')), renamed: (to: string) => go(domainLink(to, tab)) };
  return (
    <Page title={name} label={<><a class="up" href={pageLink('domains')}>Domains</a><span class="quiet" aria-hidden="true"> / </span>{name}</>}
          tools={<VerbButtons domain={domain} after={after} shown={3} />}>
      <p class="domain-line">
        <StateMark state={domain.state} /> <Kind kind={domain.kind} /> <span>{domain.image}</span>
        {domain.reason && <span class="reason">{domain.reason}</span>}
      </p>
      <nav class="tabs" aria-label={`Parts of ${name}`}>
        {tabs.map((t) => <a key={t} href={domainLink(name, t)} aria-current={t === tab ? 'page' : undefined}>{titles[t]}</a>)}
      </nav>
      <Part domain={domain} detail={detail.data} error={detail.error} tab={tab} />
    </Page>
  );
}

function Part({ domain, detail, error, tab }: { domain: Domain; detail: DomainDetail | undefined; error: ApiError | undefined; tab: DomainTab }) {
  switch (tab) {
    case 'overview': return <Overview domain={domain} detail={detail} />;
    case 'terminal': return isUp(domain) || can('openConsole') ? <TerminalTab domain={domain} /> : null;
    case 'logs': return <Logs key={domain.name} domain={domain} />;
    case 'processes': return <Processes key={domain.name} domain={domain} />;
    case 'events': return <DomainEvents name={domain.name} />;
    case 'definition': return <Definition detail={detail} error={error} />;
  }
}

function Missing({ name, error, listed }: { name: string; error: ApiError | undefined; listed: boolean }) {
  // A domain just made may not be listed yet: say nothing for a moment.
  const [patient, setPatient] = useState(true);
  useEffect(() => {
    const timer = setTimeout(() => setPatient(false), 1500);
    return () => clearTimeout(timer);
  }, []);
  if (error && error.status !== 404) return <Failed what={`${name} could not be read`} error={error} />;
  if (patient || !listed) return <Loading what={name} />;
  return <Empty title={`There is no domain ${name}`}><p>It may have been deleted or renamed.</p><a class="button" href={pageLink('domains')}>All domains</a></Empty>;
}
