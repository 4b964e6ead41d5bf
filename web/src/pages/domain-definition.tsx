// The definition as the server keeps it.
import type { ApiError } from '../api/problem';
import type { DomainDetail } from '../api/types';
import { CopyButton } from '../ui/copy';
import { Failed, Loading } from '../ui/states';

export function Definition({ detail, error }: { detail: DomainDetail | undefined; error: ApiError | undefined }) {
  if (!detail) return error ? <Failed what="The definition could not be read" error={error} /> : <Loading what="the definition" />;
  const text = JSON.stringify(detail.definition, null, 2);
  return (
    <section aria-label="Definition">
      <div class="bar-tools"><CopyButton text={text} what="definition" /></div>
      <pre class="code" tabIndex={0} aria-label="Definition in JSON">{text}</pre>
    </section>
  );
}
