// Named volumes: data that outlives domains.
import { useState } from 'preact/hooks';
import { api, take } from '../api/client';
import type { Volume } from '../api/types';
import { readLabels, type FieldErrors } from '../lib/definition';
import { size } from '../lib/format';
import { objectsChanged } from '../state/events';
import { can } from '../state/session';
import { AreaField, TextField } from '../ui/field';
import { useLoad } from '../ui/hooks';
import { NewDialog } from '../ui/new-dialog';
import { Page } from '../ui/page';
import { Time } from '../ui/text';
import { ObjectTable, UsedBy, usedWords } from './objects';

export function VolumesPage() {
  const loaded = useLoad(() => take(api.GET('/volumes')), [objectsChanged.value]);
  const [open, setOpen] = useState(false);
  return (
    <Page title="Volumes" tools={can('createVolume') && <button type="button" class="primary" aria-keyshortcuts="n" data-new onClick={() => setOpen(true)}>New…</button>}>
      <ObjectTable<Volume>
        what="volume" many="volumes" loaded={loaded} nameOf={(v) => v.name}
        columns={[
          { head: 'Name', cell: (v) => <>{v.name}{v.labels && Object.keys(v.labels).length > 0 && <span class="under">{Object.entries(v.labels).map(([k, x]) => `${k}=${x}`).join(' ')}</span>}</> },
          { head: 'Size', cell: (v) => size(v.size), class: 'number' },
          { head: 'Used by', cell: (v) => <UsedBy names={v.usedBy} /> },
          { head: 'Made', cell: (v) => <Time at={v.created} />, class: 'col-wide' },
          { head: 'Folder', cell: (v) => (v.path ? <code>{v.path}</code> : <span class="quiet">–</span>), class: 'col-wide' },
        ]}
        keeps={usedWords} remove={can('deleteVolume') ? (v) => take(api.DELETE('/volumes/{volume}', { params: { path: { volume: v.name } } })) : undefined}
        removeWords={(v) => <p>This removes all data in <b>{v.name}</b>{v.size ? ` (${size(v.size)})` : ''}. It cannot be taken back.</p>}
        empty={<p>A volume keeps data when its domain is deleted.</p>}
      />
      {open && <New close={() => setOpen(false)} after={() => void loaded.reload()} />}
    </Page>
  );
}

function New({ close, after }: { close: () => void; after: () => void }) {
  const [name, setName] = useState('');
  const [labels, setLabels] = useState('');
  const check = () => {
    const errors: FieldErrors = {};
    readLabels(labels, errors);
    return errors;
  };
  const send = () => {
    const read = readLabels(labels, {});
    return take(api.POST('/volumes', { body: { name: name.trim(), ...(Object.keys(read).length > 0 ? { labels: read } : {}) } }));
  };
  return (
    <NewDialog title="New volume" name={name.trim()} close={close} after={after} check={check} send={send}>
      {(errors) => (
        <>
          <TextField label="Name" name="name" value={name} onChange={setName} error={errors.name} autoFocus />
          <AreaField label="Labels" name="labels" value={labels} onChange={setLabels} error={errors.labels} hint="KEY=VALUE, one a line" rows={2} />
        </>
      )}
    </NewDialog>
  );
}
