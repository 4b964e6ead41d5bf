// Dialogs on the browser's own <dialog>: it keeps the focus inside, closes on Escape, and gives the focus back.
import type { ComponentChildren } from 'preact';
import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';

export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useLayoutEffect(() => {
    const before = document.activeElement;
    const dialog = ref.current!;
    dialog.showModal();
    return () => {
      // While it is modal nothing else takes the focus.
      dialog.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog ref={ref} class={props.wide ? 'dialog wide' : 'dialog'} aria-labelledby={id}
            onCancel={(e) => { e.preventDefault(); props.onClose(); }}
            onMouseDown={(e) => { if (e.target === ref.current) props.onClose(); }}>
      <div class="dialog-body">
        <h2 id={id}>{props.title}</h2>
        {props.children}
      </div>
    </dialog>
  );
}

/** Asks before something that cannot be taken back. The focus is on the way out. */
export function Confirm(props: {
  title: string; children: ComponentChildren; verb: string; busy?: boolean; onConfirm: () => void; onClose: () => void;
}) {
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <div class="dialog-text">{props.children}</div>
      <div class="dialog-buttons">
        <button type="button" autoFocus onClick={props.onClose}>Cancel</button>
        <button type="button" class="danger" disabled={props.busy} onClick={props.onConfirm}>{props.verb}</button>
      </div>
    </Dialog>
  );
}

/** State of a dialog that is about one thing: undefined is closed. */
export function useDialog<T>() {
  const [subject, setSubject] = useState<T | undefined>(undefined);
  return { subject, open: setSubject, close: () => setSubject(undefined) };
}
