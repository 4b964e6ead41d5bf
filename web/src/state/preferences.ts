// What a person set for this browser: colours, and whether single keys are shortcuts.
import { effect, signal } from '@preact/signals';

export type Theme = 'auto' | 'light' | 'dark';
export const theme = signal<Theme>((localStorage.getItem('nagaya.theme') as Theme | null) ?? 'auto');
export const shortcutsOn = signal(localStorage.getItem('nagaya.shortcuts') !== 'off');
export const screenReaderTerminal = signal(localStorage.getItem('nagaya.terminal.reader') === 'on');

effect(() => {
  localStorage.setItem('nagaya.theme', theme.value);
  if (theme.value === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
});
effect(() => localStorage.setItem('nagaya.shortcuts', shortcutsOn.value ? 'on' : 'off'));
effect(() => localStorage.setItem('nagaya.terminal.reader', screenReaderTerminal.value ? 'on' : 'off'));

export function nextTheme(): void {
  theme.value = theme.value === 'auto' ? 'light' : theme.value === 'light' ? 'dark' : 'auto';
}
