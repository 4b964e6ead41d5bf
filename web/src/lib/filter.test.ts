import { expect, it } from 'vitest';
import type { Domain } from '../api/types';
import { isActive, matches, noFilter, sortDomains } from './filter';

const domain = (name: string, more: Partial<Domain> = {}): Domain => ({ name, kind: 'vm', state: 'running', image: 'debian', project: 'default', created: '', ...more });

it('every word must be found somewhere', () => {
  const d = domain('web-1', { image: 'nginx', labels: { tier: 'front' }, addresses: ['10.0.0.9'] });
  for (const text of ['', 'WEB', 'tier=front nginx', '10.0.0', ' web  default ']) expect(matches(d, { ...noFilter, text }), text).toBe(true);
  for (const text of ['db', 'web db', 'tier=back']) expect(matches(d, { ...noFilter, text }), text).toBe(false);
});

it('kind, state and project must be equal', () => {
  const d = domain('a');
  expect(matches(d, { ...noFilter, kind: 'vm', state: 'running', project: 'default' })).toBe(true);
  expect(matches(d, { ...noFilter, kind: 'container' })).toBe(false);
  expect(matches(d, { ...noFilter, state: 'stopped' })).toBe(false);
  expect(matches(d, { ...noFilter, project: 'shop' })).toBe(false);
  expect(isActive(noFilter)).toBe(false);
});

it('sorts numbers as numbers, and by name where they are equal', () => {
  const list = ['b10', 'b9', 'a'].map((n) => domain(n));
  const names = (key: 'name' | 'cpu', descending: boolean, figure: (d: Domain) => number | string) => sortDomains(list, { key, descending }, figure).map((d) => d.name);
  expect(names('name', false, (d) => d.name)).toEqual(['a', 'b9', 'b10']);
  expect(names('name', true, (d) => d.name)).toEqual(['b10', 'b9', 'a']);
  expect(names('cpu', true, () => 1)).toEqual(['a', 'b9', 'b10']);
  expect(names('cpu', true, (d) => d.name.length)).toEqual(['b10', 'b9', 'a']);
});
