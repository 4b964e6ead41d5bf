// Networks that domains share.
import { useState } from 'preact/hooks';
import { api, take } from '../api/client';
import type { Network, NewNetwork } from '../api/types';
import { objectsChanged } from '../state/events';
import { can } from '../state/session';
import { Check, SelectField, TextField } from '../ui/field';
import { useLoad } from '../ui/hooks';
import { NewDialog } from '../ui/new-dialog';
import { Page } from '../ui/page';
import { ObjectTable, UsedBy, usedWords } from './objects';

export function NetworksPage() {
  const loaded = useLoad(() => take(api.GET('/networks')), [objectsChanged.value]);
  const [open, setOpen] = useState(false);
  return (
    <Page title="Networks" tools={can('createNetwork') && <button type="button" class="primary" aria-keyshortcuts="n" data-new onClick={() => setOpen(true)}>New…</button>}>
      <ObjectTable<Network>
        what="network" many="networks" loaded={loaded} nameOf={(n) => n.name}
        columns={[
          { head: 'Name', cell: (n) => n.name },
          { head: 'Kind', cell: (n) => <>{n.kind}{n.internal && <span class="quiet">, no way out</span>}</> },
          { head: 'Subnet', cell: (n) => (n.subnet ? <code>{n.subnet}</code> : <span class="quiet">–</span>) },
          { head: 'Bridge', cell: (n) => (n.bridge ? <code>{n.bridge}</code> : <span class="quiet">–</span>), class: 'col-wide' },
          { head: 'Used by', cell: (n) => <UsedBy names={n.usedBy} />, class: 'col-wide' },
        ]}
        keeps={usedWords} remove={can('deleteNetwork') ? (n) => take(api.DELETE('/networks/{network}', { params: { path: { network: n.name } } })) : undefined}
        removeWords={() => <p>Domains that name it in their definition will not start without it.</p>}
        empty={<p>Domains use one of their own each until they share a network made here.</p>}
      />
      {open && <New close={() => setOpen(false)} after={() => void loaded.reload()} />}
    </Page>
  );
}

function New({ close, after }: { close: () => void; after: () => void }) {
  const [name, setName] = useState('');
  const [kind, setKind] = useState('user');
  const [subnet, setSubnet] = useState('');
  const [bridge, setBridge] = useState('');
  const [internal, setInternal] = useState(false);
  const body = (): NewNetwork => ({
    name: name.trim(), kind: kind as NewNetwork['kind'], ...(internal ? { internal } : {}), ...(subnet.trim() ? { subnet: subnet.trim() } : {}),
    ...(kind === 'bridge' && bridge.trim() ? { bridge: bridge.trim() } : {}),
  });
  return (
    <NewDialog title="New network" name={name.trim()} close={close} after={after} send={() => take(api.POST('/networks', { body: body() }))}>
      {(errors) => (
        <>
          <TextField label="Name" name="name" value={name} onChange={setName} error={errors.name} autoFocus />
          <SelectField label="Kind" name="kind" value={kind} onChange={setKind} error={errors.kind} options={[['user', 'user: needs no root'], ['bridge', 'bridge: the kernel’s, needs root']]} />
          <TextField label="Subnet" name="subnet" value={subnet} onChange={setSubnet} error={errors.subnet} placeholder="chosen for you" hint="e.g. 10.20.0.0/24" />
          {kind === 'bridge' && <TextField label="Bridge" name="bridge" value={bridge} onChange={setBridge} error={errors.bridge} placeholder="a new one" />}
          <Check label="Internal: no way out" checked={internal} onChange={setInternal} />
        </>
      )}
    </NewDialog>
  );
}
