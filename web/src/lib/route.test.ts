import { expect, it } from 'vitest';
import { domainLink, pageLink, parseRoute } from './route';

it('finds pages', () => {
  expect(parseRoute('').page).toBe('domains');
  expect(parseRoute('#/host')).toMatchObject({ page: 'host' });
  expect(parseRoute('#/create?kind=container')).toMatchObject({ page: 'create' });
  expect(parseRoute('#/domains?text=a%20b').query.get('text')).toBe('a b');
  expect(parseRoute('#/domains/web-1')).toMatchObject({ page: 'domain', name: 'web-1', tab: 'overview' });
  for (const bad of ['#/nowhere', '#/host/x', '#/domains/a/b/c', '#/domains/a/nothing']) expect(parseRoute(bad).page, bad).toBe('unknown');
});

it('names survive the way into an address and back', () => {
  for (const name of ['web-1', 'a.b_c', 'host', '100%', 'ä/b']) {
    expect(parseRoute(domainLink(name, 'logs'))).toMatchObject({ page: 'domain', name, tab: 'logs' });
  }
  expect(parseRoute(pageLink('domains', { text: 'x&y=1' })).query.get('text')).toBe('x&y=1');
  expect(parseRoute('#/domains/%E0%A4%A')).toMatchObject({ page: 'domain', name: '%E0%A4%A' });
});
