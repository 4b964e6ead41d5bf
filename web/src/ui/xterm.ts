// The part that loads xterm.js. Colours follow the page; the size follows the box.
import { FitAddon } from '@xterm/addon-fit';
import { Terminal as Xterm, type ITheme } from '@xterm/xterm';
import '@xterm/xterm/css/xterm.css';
import { screenReaderTerminal } from '../state/preferences';
import type { Screen } from './terminal';

export function open(box: HTMLElement, connect: (screen: Screen) => () => void): () => void {
  const style = getComputedStyle(box);
  const value = (name: string) => style.getPropertyValue(name).trim();
  const theme: ITheme = {
    background: value('--term'), foreground: value('--term-ink'), cursor: value('--term-cursor'), cursorAccent: value('--term'), selectionBackground: value('--term-select'),
    black: '#2b3038', red: '#e5786d', green: '#8fc17c', yellow: '#d9b25f', blue: '#7fa6dc', magenta: '#c594c5', cyan: '#74bcbc', white: '#d5d9de',
    brightBlack: '#7d8590', brightRed: '#f2938a', brightGreen: '#a8d696', brightYellow: '#ecc97b', brightBlue: '#9dbdea', brightMagenta: '#d8acd8', brightCyan: '#93d2d2', brightWhite: '#f4f6f8',
  };
  const terminal = new Xterm({
    theme, fontFamily: value('--mono'), fontSize: 13, lineHeight: 1.15, scrollback: 10_000, cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
    screenReaderMode: screenReaderTerminal.value,
  });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.open(box);
  // As with the command line, Ctrl-] is the way out; without it a terminal would hold the keyboard for ever.
  terminal.attachCustomKeyEventHandler((e) => {
    if (e.type === 'keydown' && e.ctrlKey && (e.key === ']' || e.code === 'BracketRight')) {
      terminal.blur();
      box.closest('section')?.querySelector<HTMLElement>('button')?.focus();
      e.preventDefault();
      return false;
    }
    return true;
  });
  let frame = 0;
  const refit = () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => fit.fit());
  };
  const watcher = new ResizeObserver(refit);
  watcher.observe(box);
  fit.fit();
  // A font that arrives late changes the size of a character.
  void document.fonts.load(`13px ${value('--mono')}`).then(refit);
  const reader = (e: Event) => (terminal.options.screenReaderMode = (e as CustomEvent<boolean>).detail);
  box.addEventListener('reader', reader);
  const leave = connect({
    write: (bytes) => terminal.write(bytes),
    reset: () => terminal.reset(),
    focus: () => terminal.focus(),
    size: () => [terminal.cols, terminal.rows],
    onData: (f) => void terminal.onData(f),
    onBinary: (f) => void terminal.onBinary(f),
    onResize: (f) => void terminal.onResize(({ cols, rows }) => f([cols, rows])),
  });
  return () => {
    leave();
    watcher.disconnect();
    cancelAnimationFrame(frame);
    box.removeEventListener('reader', reader);
    terminal.dispose();
  };
}
