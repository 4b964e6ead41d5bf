// The shell: navigation, what is under way, who one is, and the page the address names.
import { useEffect, useRef, useState } from 'preact/hooks';
import { domainsPoller } from './state/domains';
import { startEvents, stopEvents, feed } from './state/events';
import { operationsPoller, runningCount, trayOpen } from './state/operations';
import { nextTheme, theme } from './state/preferences';
import { route } from './state/route';
import { can, info, infoError, offlineSince, refreshInfo, role, session, signOut } from './state/session';
import { onKey } from './state/shortcuts';
import { statsPoller } from './state/stats';
import { pageLink, type PageName, type Route } from './lib/route';
import { AccessPage } from './pages/access';
import { CreatePage } from './pages/create';
import { DomainPage } from './pages/domain';
import { DomainsPage } from './pages/domains';
import { EventsPage } from './pages/events';
import { HostPage } from './pages/host';
import { ImagesPage } from './pages/images';
import { NetworksPage } from './pages/networks';
import { Checking, SignIn } from './pages/sign-in';
import { VolumesPage } from './pages/volumes';
import { Help, helpOpen } from './ui/help';
import { Mark } from './ui/mark';
import { Notices } from './ui/notices';
import { Page } from './ui/page';
import { Questions } from './ui/questions';
import { Empty } from './ui/states';
import { Tray } from './ui/tray';

const places: readonly (readonly [PageName, string])[] = [
  ['domains', 'Domains'], ['images', 'Images'], ['networks', 'Networks'], ['volumes', 'Volumes'], ['events', 'Events'], ['host', 'Host'], ['access', 'Access'],
];

export function App() {
  if (session.value === 'checking') return <Checking error={infoError.value?.message} />;
  if (session.value === 'out') return <SignIn />;
  return <Console />;
}

function Console() {
  useEffect(() => {
    domainsPoller.start();
    statsPoller.start();
    operationsPoller.start();
    startEvents();
    const host = setInterval(() => { if (!document.hidden) void refreshInfo(); }, 10_000);
    return () => {
      domainsPoller.stop();
      statsPoller.stop();
      operationsPoller.stop();
      stopEvents();
      clearInterval(host);
    };
  }, []);
  useEffect(() => {
    const key = (e: KeyboardEvent) => onKey(e, () => (helpOpen.value = true));
    document.addEventListener('keydown', key);
    return () => document.removeEventListener('keydown', key);
  }, []);
  const here = route.value;
  return (
    <div class={`shell${offlineSince.value !== undefined ? ' stale' : ''}`}>
      <a class="skip" href="#main" onClick={(e) => { e.preventDefault(); document.querySelector<HTMLElement>('h1')?.focus(); }}>Skip to content</a>
      <TopBar here={here} />
      {offlineSince.value !== undefined && <Offline since={offlineSince.value} />}
      <main id="main"><CurrentPage here={here} /></main>
      {trayOpen.value && <Tray />}
      <Questions />
      {helpOpen.value && <Help />}
      <Notices />
    </div>
  );
}

function CurrentPage({ here }: { here: Route }) {
  switch (here.page) {
    case 'domains': return <DomainsPage key="domains" />;
    case 'create': return <CreatePage key="create" />;
    case 'domain': return <DomainPage key={here.name} name={here.name} tab={here.tab} />;
    case 'images': return <ImagesPage key="images" />;
    case 'networks': return <NetworksPage key="networks" />;
    case 'volumes': return <VolumesPage key="volumes" />;
    case 'events': return <EventsPage key="events" />;
    case 'host': return <HostPage key="host" />;
    case 'access': return <AccessPage key="access" />;
    default: return <Page title="No such page"><Empty title="There is nothing at this address"><a class="button" href={pageLink('domains')}>Domains</a></Empty></Page>;
  }
}

function TopBar({ here }: { here: Route }) {
  const [open, setOpen] = useState(false);
  const bar = useRef<HTMLElement>(null);
  useEffect(() => setOpen(false), [here]);
  const page = here.page === 'domain' || here.page === 'create' ? 'domains' : here.page;
  const caller = info.value?.caller;
  const running = runningCount.value;
  return (
    <header ref={bar} class="top" onKeyDown={(e) => { if (e.key === 'Escape' && open) { setOpen(false); bar.current?.querySelector<HTMLElement>('.nav-button')?.focus(); } }}>
      <a class="brand" href={pageLink('domains')}><Mark /><span>Nagaya</span>{info.value?.host.name && <span class="brand-host">{info.value.host.name}</span>}</a>
      <button type="button" class="nav-button" aria-expanded={open} aria-controls="nav" onClick={() => setOpen(!open)}>Menu</button>
      <nav id="nav" class={open ? 'nav open' : 'nav'} aria-label="Main">
        {places.filter(([p]) => p !== 'access' || can('listTokens')).map(([p, name]) => (
          <a key={p} href={pageLink(p)} aria-current={p === page ? 'page' : undefined}>{name}</a>
        ))}
      </nav>
      <div class="top-end">
        {feed.value === 'waiting' && offlineSince.value === undefined && <span class="quiet feed-note" role="status">events interrupted</span>}
        <button type="button" id="tray-button" class={running > 0 ? 'tray-button busy' : 'tray-button'} aria-expanded={trayOpen.value} aria-keyshortcuts="o" onClick={() => (trayOpen.value = !trayOpen.value)}>
          Operations{running > 0 && <span class="count">{running}</span>}<span class="hidden">{running > 0 ? ' running' : ''}</span>
        </button>
        <button type="button" class="icon-button" onClick={nextTheme} aria-label={`Colours: ${theme.value === 'auto' ? 'as the system' : theme.value}`} title={`Colours: ${theme.value === 'auto' ? 'as the system' : theme.value}`}>
          <svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="5.5" class="hollow" /><path d={theme.value === 'light' ? '' : theme.value === 'dark' ? 'M8 2.5a5.5 5.5 0 1 0 .01 0z' : 'M8 2.5a5.5 5.5 0 0 1 0 11z'} /></svg>
        </button>
        <button type="button" class="icon-button help-button" onClick={() => (helpOpen.value = true)} aria-label="Keys" title="Keys (?)"><span aria-hidden="true">?</span></button>
        <span class="who" title={`Role: ${role.value}`}>{caller?.name ?? 'you'}<span class="quiet"> {role.value}</span></span>
        <button type="button" class="small plain" onClick={() => signOut()}>Sign out</button>
      </div>
    </header>
  );
}

function Offline({ since }: { since: number }) {
  return <div class="offline" role="alert">No answer from the server since {new Date(since).toLocaleTimeString()}. What you see is from then; trying again.</div>;
}
