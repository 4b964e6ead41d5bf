// Addresses of pages, after the '#': the server needs to know one file only.

export const domainTabs = ['overview', 'terminal', 'logs', 'processes', 'events', 'definition'] as const;
export type DomainTab = (typeof domainTabs)[number];
export const pages = ['domains', 'images', 'networks', 'volumes', 'events', 'host', 'access'] as const;
export type PageName = (typeof pages)[number];

export type Route =
  | { page: PageName; query: URLSearchParams }
  | { page: 'create'; query: URLSearchParams }
  | { page: 'domain'; name: string; tab: DomainTab; query: URLSearchParams }
  | { page: 'unknown'; path: string; query: URLSearchParams };

export function parseRoute(hash: string): Route {
  const [path = '', search = ''] = hash.replace(/^#?\/?/, '').split('?', 2);
  const query = new URLSearchParams(search);
  const parts = path.split('/').filter(Boolean).map(decode);
  if (parts.length === 0) return { page: 'domains', query };
  if (parts[0] === 'create' && parts.length === 1) return { page: 'create', query };
  if (parts[0] === 'domains' && parts.length >= 2 && parts.length <= 3) {
    const tab = (parts[2] ?? 'overview') as DomainTab;
    if (domainTabs.includes(tab)) return { page: 'domain', name: parts[1]!, tab, query };
  }
  if (parts.length === 1 && pages.includes(parts[0] as PageName)) return { page: parts[0] as PageName, query };
  return { page: 'unknown', path, query };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function domainLink(name: string, tab: DomainTab = 'overview'): string {
  return `#/domains/${encodeURIComponent(name)}${tab === 'overview' ? '' : `/${tab}`}`;
}

export function pageLink(page: PageName | 'create', query?: Record<string, string>): string {
  const text = new URLSearchParams(query).toString();
  return `#/${page}${text ? `?${text}` : ''}`;
}
