// What stands where there is nothing (yet): loading, empty, failed.
import type { ComponentChildren } from 'preact';
import type { ApiError } from '../api/problem';

export function Loading({ what }: { what: string }) {
  return <p class="state-note loading" role="status">Loading {what}…</p>;
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="state-note empty">
      <svg viewBox="0 0 96 40" aria-hidden="true"><path d="M4 16 14 5h68l10 11M8 16v20M28 16v20M48 16v20M68 16v20M88 16v20M2 36h92" /></svg>
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

export function Failed({ what, error, retry }: { what: string; error: ApiError; retry?: () => void }) {
  const { problem } = error;
  return (
    <div class="state-note failed" role="alert">
      <p><strong>{what}</strong></p>
      <p>{problem.detail || problem.title}{problem.status ? <span class="quiet"> (status {problem.status})</span> : null}</p>
      {problem.hint && <p class="hint">{problem.hint}</p>}
      {retry && <button type="button" onClick={retry}>Try again</button>}
    </div>
  );
}

/** A problem inside a form. */
export function ProblemNote({ error }: { error: ApiError | undefined }) {
  if (!error) return null;
  return (
    <div class="problem" role="alert">
      <p>{error.problem.detail || error.problem.title}</p>
      {error.problem.hint && <p class="hint">{error.problem.hint}</p>}
    </div>
  );
}
