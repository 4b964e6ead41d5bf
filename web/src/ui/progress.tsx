// An operation as one line: what, how far, how it ended, and a way to stop it.
import type { Operation } from '../api/types';
import { can } from '../state/session';
import { cancel } from '../state/operations';
import { StateMark } from './text';

export function ProgressBar({ operation }: { operation: Operation }) {
  const name = `${operation.kind} ${operation.target ?? ''}`;
  if (operation.progress === undefined) return <span class="bar bar-open" role="progressbar" aria-label={name}><span /></span>;
  const part = Math.round(operation.progress * 100);
  return (
    <span class="bar" role="progressbar" aria-label={name} aria-valuemin={0} aria-valuemax={100} aria-valuenow={part}>
      <span style={{ width: `${part}%` }} />
    </span>
  );
}

export function OperationLine({ operation }: { operation: Operation }) {
  const running = operation.state === 'running';
  const words = operation.error ? operation.error.detail || operation.error.title : operation.message;
  return (
    <div class={`operation operation-${operation.state}`}>
      <div class="operation-head">
        <StateMark state={operation.state} label={false} />
        <span class="operation-what"><b>{operation.kind}</b> {operation.target}</span>
        {running && operation.progress !== undefined && <span class="quiet number">{Math.round(operation.progress * 100)} %</span>}
        {running && operation.cancellable && can('cancelOperation') && (
          <button type="button" class="small" aria-label={`Cancel ${operation.kind} ${operation.target ?? ''}`} onClick={() => void cancel(operation.id)}>Cancel</button>
        )}
      </div>
      {running && <ProgressBar operation={operation} />}
      {words && <p class={operation.error ? 'operation-words bad' : 'operation-words quiet'}>{words}</p>}
      {operation.error?.hint && <p class="hint">{operation.error.hint}</p>}
    </div>
  );
}
