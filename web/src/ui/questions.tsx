// The questions behind verbs: delete, kill, rename, limits.
import { useRef, useState } from 'preact/hooks';
import { api, take } from '../api/client';
import { type ApiError, asApiError } from '../api/problem';
import type { Domain, DomainDetail, Update } from '../api/types';
import { restartPolicies } from '../generated/contract';
import { isUp } from '../lib/actions';
import { fieldOf, readLabels, readLimits, type FieldErrors, type LimitFields } from '../lib/definition';
import { count } from '../lib/format';
import { writeSize } from '../lib/units';
import { act, domainsPoller } from '../state/domains';
import { tell } from '../state/notices';
import { perform, question, removeAll } from '../state/verbs';
import { Confirm, Dialog } from './dialog';
import { AreaField, Check, focusFirstError, SelectField, TextField } from './field';
import { useLoad } from './hooks';
import { Failed, Loading, ProblemNote } from './states';

const close = () => (question.value = undefined);

export function Questions() {
  const q = question.value;
  if (!q) return null;
  if (q.ask === 'delete') return <Delete key="delete" domains={q.domains} after={q.after} />;
  if (q.ask === 'kill') {
    const name = q.domains.length === 1 ? q.domains[0]!.name : count(q.domains.length, 'domain');
    return (
      <Confirm title={`Kill ${name}?`} verb={`Kill ${name}`} onClose={close} onConfirm={() => { close(); void perform('kill', q.domains); }}>
        <p>It ends at once, like a pulled plug: what it has not written to its disk is lost. “Stop” lets it end by itself first.</p>
        <Names domains={q.domains} />
      </Confirm>
    );
  }
  if (q.ask === 'rename') return <Rename domain={q.domain} after={q.after} />;
  return <Limits domain={q.domain} />;
}

function Names({ domains }: { domains: Domain[] }) {
  if (domains.length < 2) return null;
  return <ul class="name-list">{domains.map((d) => <li key={d.name}>{d.name}</li>)}</ul>;
}

function Delete({ domains, after }: { domains: Domain[]; after?: (() => void) | undefined }) {
  const [busy, setBusy] = useState(false);
  const up = domains.filter(isUp);
  const name = domains.length === 1 ? domains[0]!.name : count(domains.length, 'domain');
  const go = async () => {
    setBusy(true);
    close();
    if (await removeAll(domains, up.length > 0)) after?.();
  };
  return (
    <Confirm title={`Delete ${name}?`} verb={up.length > 0 ? `End and delete ${name}` : `Delete ${name}`} busy={busy} onClose={close} onConfirm={() => void go()}>
      <p>{domains.length === 1 ? <>This removes <b>{name}</b> and its disk.</> : 'This removes them and their disks.'} It cannot be taken back. Named volumes stay.</p>
      {up.length > 0 && <p class="warn">{domains.length === 1 ? 'It is running and will be ended first.' : `${count(up.length, 'one', `of them`)} ${up.length === 1 ? 'runs' : 'run'} and will be ended first.`}</p>}
      <Names domains={domains} />
    </Confirm>
  );
}

function Rename({ domain, after }: { domain: Domain; after?: ((name: string) => void) | undefined }) {
  const [name, setName] = useState(domain.name);
  const [busy, setBusy] = useState(false);
  const submit = async (e: SubmitEvent) => {
    e.preventDefault();
    setBusy(true);
    const to = name.trim();
    const done = await act(domain.name, 'rename', { name: to });
    setBusy(false);
    if (!done) return;
    close();
    tell(`${domain.name} is now ${to}`);
    after?.(to);
  };
  return (
    <Dialog title={`Rename ${domain.name}`} onClose={close}>
      <form onSubmit={(e) => void submit(e)}>
        <TextField label="New name" name="name" value={name} onChange={setName} autoFocus />
        <div class="dialog-buttons">
          <button type="button" onClick={close}>Cancel</button>
          <button type="submit" class="primary" disabled={busy || !name.trim() || name.trim() === domain.name}>Rename</button>
        </div>
      </form>
    </Dialog>
  );
}

async function loadWithTag(name: string): Promise<{ detail: DomainDetail; tag: string }> {
  const answer = api.GET('/domains/{domain}', { params: { path: { domain: name } } });
  const detail = await take(answer);
  return { detail, tag: (await answer).response.headers.get('etag') ?? '' };
}

function Limits({ domain }: { domain: Domain }) {
  const loaded = useLoad(() => loadWithTag(domain.name), [domain.name]);
  // A form of its own for each version that was loaded: nobody's change is overwritten unseen.
  return (
    <Dialog title={`Limits of ${domain.name}`} onClose={close} wide>
      {loaded.error ? <Failed what="Its definition could not be read" error={loaded.error} retry={() => void loaded.reload()} />
        : !loaded.data ? <Loading what="its definition" />
        : <LimitsForm key={loaded.data.tag} detail={loaded.data.detail} tag={loaded.data.tag} reload={() => void loaded.reload()} />}
    </Dialog>
  );
}

function fieldsOf(detail: DomainDetail): LimitFields & { restart: string; retries: string; autostart: boolean; labels: string } {
  const limits = detail.definition.limits ?? detail.limits ?? {};
  const text = (n: number | undefined) => (n ? String(n) : '');
  const bytes = (n: number | undefined) => (n ? writeSize(n) : '');
  return {
    memory: bytes(limits.memory), cpus: text(limits.cpus), cpuWeight: text(limits.cpuWeight), cpuset: limits.cpuset ?? '', numaNodes: limits.numaNodes ?? '',
    pids: text(limits.pids), ioWeight: text(limits.ioWeight), readBps: bytes(limits.readBps), writeBps: bytes(limits.writeBps),
    restart: detail.definition.restart?.policy ?? 'no', retries: text(detail.definition.restart?.retries), autostart: detail.definition.autostart ?? false,
    labels: Object.entries(detail.definition.labels ?? detail.labels ?? {}).map(([k, v]) => `${k}=${v}`).join('\n'),
  };
}

function LimitsForm({ detail, tag, reload }: { detail: DomainDetail; tag: string; reload: () => void }) {
  const [form, setForm] = useState(() => fieldsOf(detail));
  const [errors, setErrors] = useState<FieldErrors>({});
  const [problem, setProblem] = useState<ApiError | undefined>(undefined);
  const [busy, setBusy] = useState(false);
  const ref = useRef<HTMLFormElement>(null);
  const bind = <K extends keyof typeof form>(name: K) => ({
    name, value: form[name] as string, error: errors[name], onChange: (value: string) => setForm((f) => ({ ...f, [name]: value })),
  });
  const submit = async (e: SubmitEvent) => {
    e.preventDefault();
    const found: FieldErrors = {};
    const body: Update = { limits: readLimits(form, found), labels: readLabels(form.labels, found), autostart: form.autostart };
    body.restart = { policy: form.restart as NonNullable<Update['restart']>['policy'] };
    if (form.restart === 'on-failure' && form.retries.trim()) body.restart.retries = Number(form.retries);
    setErrors(found);
    if (Object.keys(found).length > 0) return focusFirstError(ref.current);
    setBusy(true);
    try {
      await take(api.PATCH('/domains/{domain}', { params: { path: { domain: detail.name }, header: tag ? { 'If-Match': tag } : {} }, body }));
      close();
      tell(`Limits of ${detail.name} changed`);
      void domainsPoller.now();
    } catch (error) {
      const failed = asApiError(error);
      const field = fieldOf(failed.problem.field);
      if (field && field in form) {
        setErrors({ [field]: failed.message });
        focusFirstError(ref.current);
      } else setProblem(failed);
    }
    setBusy(false);
  };
  return (
    <form ref={ref} onSubmit={(e) => void submit(e)} noValidate>
      <p class="hint">Empty: no limit. Changes apply at once where the guest allows, else at its next start.</p>
      <div class="fields">
        <TextField label="Memory" {...bind('memory')} placeholder="no limit" autoFocus />
        <TextField label="CPUs" {...bind('cpus')} inputMode="decimal" placeholder="no limit" />
        <TextField label="CPU weight" {...bind('cpuWeight')} inputMode="numeric" placeholder="100" />
        <TextField label="Processes" {...bind('pids')} inputMode="numeric" placeholder="no limit" />
        <TextField label="I/O weight" {...bind('ioWeight')} inputMode="numeric" placeholder="100" />
        <TextField label="CPUs it may use" {...bind('cpuset')} placeholder="all" />
        <TextField label="NUMA nodes" {...bind('numaNodes')} placeholder="all" />
        <TextField label="Read per second" {...bind('readBps')} placeholder="no limit" />
        <TextField label="Write per second" {...bind('writeBps')} placeholder="no limit" />
        <SelectField label="Restart" {...bind('restart')} options={restartPolicies.map((p) => [p, p] as const)} />
        {form.restart === 'on-failure' && <TextField label="Tries" {...bind('retries')} inputMode="numeric" placeholder="no limit" />}
        <AreaField label="Labels" {...bind('labels')} rows={2} hint="KEY=VALUE, one a line" wide />
      </div>
      <Check label="Start with the host" checked={form.autostart} onChange={(autostart) => setForm((f) => ({ ...f, autostart }))} />
      {problem?.status === 412 ? (
        <div class="problem" role="alert">
          <p>Somebody changed {detail.name} while this was open. Nothing was changed by you.</p>
          <button type="button" onClick={reload}>Show what it is now</button>
        </div>
      ) : <ProblemNote error={problem} />}
      <div class="dialog-buttons">
        <button type="button" onClick={close}>Cancel</button>
        <button type="submit" class="primary" disabled={busy}>Change</button>
      </div>
    </form>
  );
}
