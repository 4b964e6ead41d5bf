// The operations tray: what runs and what ended lately, at the side of any page.
import { useEffect, useRef } from 'preact/hooks';
import { operations, operationsError, operationsPoller, trayOpen } from '../state/operations';
import { OperationLine } from './progress';
import { Failed, Loading } from './states';
import { Time } from './text';

export function Tray() {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    heading.current?.focus();
    void operationsPoller.now();
  }, []);
  const list = operations.value;
  const close = () => {
    trayOpen.value = false;
    document.getElementById('tray-button')?.focus();
  };
  return (
    <aside class="tray" aria-labelledby="tray-title" onKeyDown={(e) => { if (e.key === 'Escape') { e.stopPropagation(); close(); } }}>
      <div class="tray-head">
        <h2 id="tray-title" ref={heading} tabIndex={-1}>Operations</h2>
        <button type="button" class="icon-button" aria-label="Close operations" onClick={close}><span aria-hidden="true">✕</span></button>
      </div>
      {!list ? (operationsError.value ? <Failed what="Operations could not be listed" error={operationsError.value} /> : <Loading what="operations" />)
        : list.length === 0 ? <p class="state-note quiet">Nothing is under way.</p>
        : <ul>{list.map((o) => <li key={o.id}><OperationLine operation={o} /><span class="operation-when quiet"><Time at={o.finished ?? o.started} /></span></li>)}</ul>}
    </aside>
  );
}
