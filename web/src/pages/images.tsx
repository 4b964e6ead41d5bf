// Images in the store; others are fetched.
import { useState } from 'preact/hooks';
import { api, take } from '../api/client';
import { asApiError, failureOf } from '../api/problem';
import type { Image } from '../api/types';
import { size } from '../lib/format';
import { pageLink } from '../lib/route';
import { objectsChanged } from '../state/events';
import { operations, submit } from '../state/operations';
import { tell } from '../state/notices';
import { can } from '../state/session';
import { TextField } from '../ui/field';
import { useLoad } from '../ui/hooks';
import { Page } from '../ui/page';
import { OperationLine } from '../ui/progress';
import { Time } from '../ui/text';
import { ObjectTable, UsedBy, usedWords } from './objects';

export function ImagesPage() {
  const loaded = useLoad(() => take(api.GET('/images')), [objectsChanged.value]);
  return (
    <Page title="Images">
      {can('pullImage') && <Pull after={() => void loaded.reload()} />}
      <ObjectTable<Image>
        what="image" many="images" loaded={loaded} nameOf={(i) => i.name}
        columns={[
          { head: 'Name', cell: (i) => <>{i.name}<span class="under"><code title={i.id}>{i.id.replace(/^sha256:/, '').slice(0, 12)}</code></span></> },
          { head: 'Kind', cell: (i) => i.kind, class: 'col-mid' },
          { head: 'Size', cell: (i) => size(i.size), class: 'number' },
          { head: 'Made', cell: (i) => <Time at={i.created} />, class: 'col-wide' },
          { head: 'Used by', cell: (i) => <UsedBy names={i.usedBy} />, class: 'col-wide' },
        ]}
        tools={can('createDomain') ? (i) => <a class="button small" href={pageLink('create', { image: i.name, kind: /oci|container/i.test(i.kind) ? 'container' : 'vm' })} aria-label={`Use ${i.name} for a new domain`}>Use</a> : undefined}
        keeps={usedWords} remove={can('deleteImage') ? (i) => take(api.DELETE('/images/{image}', { params: { path: { image: i.id } } })) : undefined}
        removeWords={(i) => <p>This frees up to {size(i.size)}. It can be fetched again.</p>}
        empty={<p>Fetch one: a name such as <code>debian</code>, or a reference to a registry.</p>}
      />
    </Page>
  );
}

function Pull({ after }: { after: () => void }) {
  const [reference, setReference] = useState('');
  const [error, setError] = useState<string | undefined>(undefined);
  const send = async (e: SubmitEvent) => {
    e.preventDefault();
    const wanted = reference.trim();
    if (!wanted) return setError('Which image?');
    setError(undefined);
    try {
      const begun = await take(api.POST('/images', { body: { reference: wanted } }));
      setReference('');
      const ended = await submit(begun);
      if (ended.state === 'done') tell(`${wanted} is in the store`);
      else if (ended.state === 'failed') setError(`${wanted}: ${failureOf(ended).message}`);
    } catch (failed) {
      setError(asApiError(failed).message);
    }
    after();
  };
  const pulls = (operations.value ?? []).filter((o) => o.state === 'running' && /pull|build|image/.test(o.kind));
  return (
    <section class="fetch" aria-label="Fetch">
      <form class="line-form" onSubmit={(e) => void send(e)} noValidate>
        <TextField label="Fetch an image" name="reference" value={reference} onChange={(v) => { setReference(v); setError(undefined); }} error={error} placeholder="docker.io/library/alpine:3.20" />
        <button type="submit" class="primary">Fetch</button>
      </form>
      {pulls.length > 0 && <div class="pulls" role="status">{pulls.map((o) => <OperationLine key={o.id} operation={o} />)}</div>}
    </section>
  );
}
