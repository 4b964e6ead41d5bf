// Notices at the edge of the page. Two live regions: what went well is said when there is a pause, what failed at once.
import { dismiss, notices } from '../state/notices';

export function Notices() {
  const list = (kind: 'done' | 'error') => notices.value.filter((n) => n.kind === kind).map((n) => (
    <div key={n.id} class={`notice notice-${kind}`}>
      <div><p>{n.text}</p>{n.hint && <p class="hint">{n.hint}</p>}</div>
      <button type="button" class="icon-button" aria-label="Dismiss" onClick={() => dismiss(n.id)}><span aria-hidden="true">✕</span></button>
    </div>
  ));
  return (
    <div class="notices">
      <div role="status" aria-live="polite">{list('done')}</div>
      <div role="alert">{list('error')}</div>
    </div>
  );
}
