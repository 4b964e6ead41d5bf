// A new domain from an image. What is seldom needed is folded; what a server refuses is told at the field it means.
import type { ComponentChildren } from 'preact';
import { useMemo, useRef, useState } from 'preact/hooks';
import { api, take } from '../api/client';
import { type ApiError, asApiError, failureOf } from '../api/problem';
import type { Image, Operation } from '../api/types';
import { restartPolicies } from '../generated/contract';
import { emptyForm, fieldOf, toDefinition, type FieldErrors, type Form } from '../lib/definition';
import { domainLink, pageLink } from '../lib/route';
import { operations, submit } from '../state/operations';
import { domainsPoller } from '../state/domains';
import { go, route } from '../state/route';
import { tell } from '../state/notices';
import { can, confined, role } from '../state/session';
import { AreaField, Check, focusFirstError, SelectField, TextField } from '../ui/field';
import { useLoad } from '../ui/hooks';
import { Page } from '../ui/page';
import { OperationLine } from '../ui/progress';
import { ProblemNote } from '../ui/states';

type Texts = { [K in keyof Form]: Form[K] extends string ? K : never }[keyof Form];
type Flags = { [K in keyof Form]: Form[K] extends boolean ? K : never }[keyof Form];

/** What an image in the store is for, by the words the server has for it; anything else fits both. */
function fits(image: Image, kind: Form['kind']): boolean {
  if (/oci|container/i.test(image.kind)) return kind === 'container' || /vm/i.test(image.kind);
  return kind === 'vm' || !/disk|vm/i.test(image.kind);
}

export function CreatePage() {
  const [form, setForm] = useState<Form>({ ...emptyForm, image: route.value.query.get('image') ?? '', kind: route.value.query.get('kind') === 'container' ? 'container' : 'vm' });
  const [errors, setErrors] = useState<FieldErrors>({});
  const [problem, setProblem] = useState<ApiError | undefined>(undefined);
  const [operation, setOperation] = useState<Operation | undefined>(undefined);
  const ref = useRef<HTMLFormElement>(null);
  const images = useLoad(() => take(api.GET('/images')), []);
  const networks = useLoad(() => take(api.GET('/networks')), []);
  const made = useMemo(() => toDefinition(form), [form]);

  const put = (change: Partial<Form>) => setForm((f) => ({ ...f, ...change }));
  const text = (name: Texts) => ({ name, value: form[name], error: errors[name], onChange: (v: string) => { put({ [name]: v }); setErrors((e) => ({ ...e, [name]: undefined })); } });
  const flag = (name: Flags) => ({ name, checked: form[name], onChange: (v: boolean) => put({ [name]: v }) });
  const fail = (error: ApiError) => {
    const field = fieldOf(error.problem.field);
    if (field && field in emptyForm) {
      setErrors({ [field]: error.message + (error.problem.hint ? ` ${error.problem.hint}` : '') });
      setProblem(undefined);
      focusFirstError(ref.current);
    } else setProblem(error);
  };

  const send = async (e: SubmitEvent) => {
    e.preventDefault();
    setErrors(made.errors);
    setProblem(undefined);
    if (Object.values(made.errors).some(Boolean)) return focusFirstError(ref.current);
    try {
      const begun = await take(api.POST('/domains', { params: { query: { start: form.start } }, body: made.definition }));
      setOperation(begun);
      const ended = await submit(begun);
      setOperation(undefined);
      void domainsPoller.now();
      if (ended.state === 'done') {
        const name = ended.target ?? form.name.trim();
        tell(`${name || 'The domain'} ${form.start ? 'made and started' : 'made'}`);
        go(name ? domainLink(name) : pageLink('domains'));
      } else if (ended.state === 'cancelled') tell('Cancelled; nothing was made');
      else fail(failureOf(ended));
    } catch (error) {
      setOperation(undefined);
      fail(asApiError(error));
    }
  };

  if (!can('createDomain')) return <Page title="New domain"><p>Your role does not allow making domains.</p></Page>;
  const container = form.kind === 'container';
  const live = operation && (operations.value?.find((o) => o.id === operation.id) ?? operation);
  const offered = (images.data ?? []).filter((i) => fits(i, form.kind));
  return (
    <Page title="New domain">
      <div class="create-page">
      <form ref={ref} class="create" onSubmit={(e) => void send(e)} noValidate>
        <fieldset class="kinds">
          <legend>Kind</legend>
          {([['vm', 'Virtual machine', 'Its own kernel; strongest walls'], ['container', 'Container', 'Shares the host’s kernel; starts at once']] as const).map(([kind, name, words]) => (
            <label key={kind} class={form.kind === kind ? 'choice chosen' : 'choice'}>
              <input type="radio" name="kind" value={kind} checked={form.kind === kind} onChange={() => put({ kind })} />
              <span><b>{name}</b><small>{words}</small></span>
            </label>
          ))}
        </fieldset>
        <div class="fields">
          <TextField label="Image" {...text('image')} list="images" placeholder={container ? 'docker.io/library/alpine' : 'debian'} autoFocus
                     hint={offered.length > 0 ? `${offered.length} in the store; any other reference is fetched` : 'A name, or a reference to fetch'} />
          <datalist id="images">{offered.map((i) => <option key={i.id} value={i.name} />)}</datalist>
          <TextField label="Name" {...text('name')} placeholder="chosen for you" />
          <TextField label="Memory" {...text('memory')} placeholder={container ? 'no limit' : 'as usual for the image'} hint="K, M, G are powers of 1024" />
          <TextField label="CPUs" {...text('cpus')} inputMode="decimal" placeholder={container ? 'no limit' : '1'} />
          {!container && <TextField label="Disk" {...text('diskSize')} placeholder="as the image" />}
          <TextField label="Project" {...text('project')} placeholder="default" />
          <TextField label="Command" {...text('command')} placeholder="as the image says" hint="Quotes work as in a shell" wide />
        </div>

        <Fold title="Network and storage" open={Boolean(errors.publish || errors.volumes || errors.networks)}>
          <fieldset class="checks">
            <legend>Networks</legend>
            {(networks.data ?? []).map((n) => (
              <Check key={n.name} label={<>{n.name} <span class="quiet">{n.kind}{n.subnet ? `, ${n.subnet}` : ''}</span></>} checked={form.networks.includes(n.name)}
                     onChange={(on) => put({ networks: on ? [...form.networks, n.name] : form.networks.filter((x) => x !== n.name) })} />
            ))}
            <p class="hint">None chosen: the usual one, with a way out.</p>
          </fieldset>
          <div class="fields">
            <AreaField label="Published ports" {...text('publish')} placeholder="8080:80" hint="[ADDRESS:]HOST:GUEST[/PROTOCOL], one a line" />
            <AreaField label="Volumes" {...text('volumes')} placeholder="data:/var/lib/data" hint="SOURCE:/FOLDER[:ro], one a line" />
          </div>
        </Fold>
        <Fold title="Program" open={Boolean(errors.env || errors.entrypoint)}>
          <div class="fields">
            <AreaField label="Environment" {...text('env')} placeholder="LANG=C.UTF-8" hint="KEY=VALUE, one a line" wide />
            <TextField label="Working folder" {...text('workdir')} />
            <TextField label="User" {...text('user')} />
            <TextField label="Host name" {...text('hostname')} placeholder="its name" />
            {container && <TextField label="Entry point" {...text('entrypoint')} placeholder="as the image says" />}
          </div>
          {container && <div class="checks">
            <Check label="A terminal" {...flag('terminal')} />
            <Check label="A whole system: boot the image’s own init" {...flag('system')} />
            <Check label="Root is read-only" {...flag('readOnly')} />
            {role.value === 'admin' && !confined.value && <Check label="Privileged" {...flag('privileged')} hint="Takes most walls away. Only for what you trust as you trust root." />}
          </div>}
        </Fold>
        {!container && <Fold title="Machine" open={Boolean(errors.engine || errors.userData || errors.append || errors.sshKeys)}>
          <div class="fields">
            <SelectField label="Engine" {...text('engine')} options={[['auto', 'the best this host has'], ['kvm', 'KVM'], ['soft', 'software']]} />
            <TextField label="Added to the kernel’s command line" {...text('append')} />
            <AreaField label="SSH keys" {...text('sshKeys')} hint="One a line" wide />
            <AreaField label="User data (cloud-init)" {...text('userData')} placeholder="#cloud-config" rows={5} wide />
          </div>
        </Fold>}
        <Fold title="More limits" open={['cpuWeight', 'cpuset', 'numaNodes', 'pids', 'ioWeight', 'readBps', 'writeBps'].some((f) => errors[f])}>
          <div class="fields">
            <TextField label="CPU weight" {...text('cpuWeight')} inputMode="numeric" placeholder="100" hint="1 to 10000" />
            <TextField label="CPUs it may use" {...text('cpuset')} placeholder="0-3,8" />
            <TextField label="NUMA nodes" {...text('numaNodes')} placeholder="0" />
            <TextField label="Processes" {...text('pids')} inputMode="numeric" placeholder="no limit" />
            <TextField label="I/O weight" {...text('ioWeight')} inputMode="numeric" placeholder="100" hint="1 to 10000" />
            <TextField label="Read per second" {...text('readBps')} placeholder="no limit" hint="e.g. 50M" />
            <TextField label="Write per second" {...text('writeBps')} placeholder="no limit" />
          </div>
        </Fold>
        <Fold title="When it ends, and labels" open={Boolean(errors.labels || errors.retries || errors.restart)}>
          <div class="fields">
            <SelectField label="Restart" {...text('restart')} options={restartPolicies.map((p) => [p, p] as const)} />
            {form.restart === 'on-failure' && <TextField label="Tries" {...text('retries')} inputMode="numeric" placeholder="no limit" />}
            <AreaField label="Labels" {...text('labels')} placeholder="role=web" hint="KEY=VALUE, one a line" wide />
          </div>
          <Check label="Start with the host" {...flag('autostart')} />
        </Fold>

        <ProblemNote error={problem} />
        <div class="create-end">
          {live ? <div class="create-progress" role="status"><OperationLine operation={live} /></div> : (
            <>
              <Check label="Start it" {...flag('start')} />
              <a class="button" href={pageLink('domains')}>Back</a>
              <button type="submit" class="primary">{form.start ? 'Make and start' : 'Make'}</button>
            </>
          )}
        </div>
      </form>
      <aside class="create-definition" aria-labelledby="definition">
        <h2 id="definition">The same as a definition</h2>
        <p class="hint">What is sent. Kept in a file, the command line takes it too.</p>
        <pre class="code" tabIndex={0} aria-label="Definition in JSON">{JSON.stringify(made.definition, null, 2)}</pre>
      </aside>
      </div>
    </Page>
  );
}

function Fold({ title, open, children }: { title: string; open: boolean; children: ComponentChildren }) {
  // A message inside opens it; it is not closed again by itself.
  return <details class="fold" {...(open ? { open: true } : {})}><summary>{title}</summary><div class="fold-body">{children}</div></details>;
}
