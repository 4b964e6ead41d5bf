// Keys that work everywhere. They are silent while one types, in dialogs and in terminals.
import type { PageName } from '../lib/route';
import { pageLink } from '../lib/route';
import { nextTheme, shortcutsOn } from './preferences';
import { trayOpen } from './operations';
import { go, route } from './route';
import { can } from './session';

export const shortcuts: readonly { title: string; keys: readonly (readonly [string, string])[] }[] = [
  { title: 'Go to', keys: [['g then d', 'domains'], ['g then i', 'images'], ['g then n', 'networks'], ['g then v', 'volumes'], ['g then e', 'events'], ['g then h', 'host'], ['g then a', 'access']] },
  { title: 'Anywhere', keys: [['/', 'filter'], ['n', 'new'], ['o', 'operations'], ['t', 'light, dark, as the system'], ['?', 'this list'], ['Esc', 'close, or clear']] },
  { title: 'In the list of domains', keys: [['j or ↓', 'next row'], ['k or ↑', 'row before'], ['x', 'select'], ['Enter', 'open']] },
  { title: 'In the row house', keys: [['← or →', 'from room to room'], ['Enter', 'open']] },
  { title: 'In a terminal', keys: [['Ctrl+]', 'leave it']] },
  { title: 'On a graph', keys: [['← or →', 'read the past; Shift: ten steps']] },
];

const targets: Record<string, PageName> = { d: 'domains', i: 'images', n: 'networks', v: 'volumes', e: 'events', h: 'host', a: 'access' };
let prefix = Number.NEGATIVE_INFINITY;

export function onKey(event: KeyboardEvent, showHelp: () => void): void {
  if (!shortcutsOn.value || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const target = event.target as HTMLElement;
  if (target.closest('input:not([type=checkbox]):not([type=radio]), textarea, select, dialog, .terminal, [role=menu], [contenteditable]')) return;
  if (run(event.key, showHelp)) event.preventDefault();
}

function run(key: string, showHelp: () => void): boolean {
  const afterG = performance.now() - prefix < 1500;
  prefix = Number.NEGATIVE_INFINITY;
  if (afterG && targets[key] && (key !== 'a' || can('listTokens'))) go(pageLink(targets[key]));
  else if (key === 'g') prefix = performance.now();
  else if (key === '?') showHelp();
  else if (key === '/') return focus('#filter');
  else if (key === 'n') return makeNew();
  else if (key === 'o') trayOpen.value = !trayOpen.value;
  else if (key === 't') nextTheme();
  else return false;
  return true;
}

function makeNew(): boolean {
  const button = document.querySelector<HTMLElement>('[data-new]');
  if (button) button.click();
  else if (can('createDomain') && route.value.page !== 'create') go(pageLink('create'));
  else return false;
  return true;
}

function focus(selector: string): boolean {
  const found = document.querySelector<HTMLElement>(selector);
  found?.focus();
  return found !== null;
}
