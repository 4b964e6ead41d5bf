// The list of keys, and the switch that turns single keys off (WCAG 2.1.4).
import { signal } from '@preact/signals';
import { shortcutsOn } from '../state/preferences';
import { shortcuts } from '../state/shortcuts';
import { Dialog } from './dialog';
import { Check } from './field';

export const helpOpen = signal(false);

export function Help() {
  return (
    <Dialog title="Keys" onClose={() => (helpOpen.value = false)} wide>
      <div class="keys">
        {shortcuts.map((group) => (
          <section key={group.title}>
            <h3>{group.title}</h3>
            <dl>{group.keys.map(([keys, words]) => <div key={words}><dt>{keys.split(' ').map((k, i) => (k === 'or' || k === 'then' ? <span key={i} class="quiet"> {k} </span> : <kbd key={i}>{k}</kbd>))}</dt><dd>{words}</dd></div>)}</dl>
          </section>
        ))}
      </div>
      <Check label="Single keys are shortcuts" checked={shortcutsOn.value} onChange={(on) => (shortcutsOn.value = on)} />
      <div class="dialog-buttons"><button type="button" autoFocus onClick={() => (helpOpen.value = false)}>Close</button></div>
    </Dialog>
  );
}
