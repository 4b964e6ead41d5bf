// Tokens: who may call, as what, for which projects. A secret is shown once.
import { useRef, useState } from 'preact/hooks';
import { api, take } from '../api/client';
import { type ApiError, asApiError } from '../api/problem';
import type { NewToken, Role, Token } from '../api/types';
import { nameMaxLength, namePattern } from '../generated/contract';
import type { FieldErrors } from '../lib/definition';
import { can } from '../state/session';
import { CopyButton } from '../ui/copy';
import { Dialog } from '../ui/dialog';
import { focusFirstError, SelectField, TextField } from '../ui/field';
import { useLoad } from '../ui/hooks';
import { Page } from '../ui/page';
import { ProblemNote } from '../ui/states';
import { Time } from '../ui/text';
import { ObjectTable } from './objects';

const roles: readonly (readonly [Role, string])[] = [['viewer', 'viewer: sees'], ['operator', 'operator: also makes, changes, deletes'], ['admin', 'admin: also tokens']];
const lives = [['', 'until withdrawn'], ['1', 'one day'], ['30', '30 days'], ['90', '90 days'], ['365', 'one year']] as const;

export function AccessPage() {
  if (!can('listTokens')) return <Page title="Access"><p>Only administrators see who may call.</p></Page>;
  return <Tokens />;
}

function Tokens() {
  const loaded = useLoad(() => take(api.GET('/tokens')), []);
  const [open, setOpen] = useState(false);
  return (
    <Page title="Access" tools={<button type="button" class="primary" aria-keyshortcuts="n" data-new onClick={() => setOpen(true)}>New token…</button>}>
      <ObjectTable<Token>
        what="token" many="tokens" loaded={loaded} nameOf={(t) => t.name}
        columns={[
          { head: 'Name', cell: (t) => t.name },
          { head: 'Role', cell: (t) => t.role },
          { head: 'Projects', cell: (t) => (t.projects?.length ? t.projects.join(', ') : <span class="quiet">all</span>) },
          { head: 'Made', cell: (t) => <Time at={t.created} />, class: 'col-wide' },
          { head: 'Until', cell: (t) => (t.expires ? <Expiry at={t.expires} /> : <span class="quiet">withdrawn</span>) },
        ]}
        remove={(t) => take(api.DELETE('/tokens/{token}', { params: { path: { token: t.name } } }))}
        removeWords={(t) => <p>Whoever uses <b>{t.name}</b> is refused from now on.</p>}
        empty={<p>A token lets a person or program in over the network.</p>}
      />
      {open && <New close={() => { setOpen(false); void loaded.reload(); }} />}
    </Page>
  );
}

function Expiry({ at }: { at: string }) {
  return <><Time at={at} />{Date.parse(at) < Date.now() && <span class="bad"> expired</span>}</>;
}

function New({ close }: { close: () => void }) {
  const [name, setName] = useState('');
  const [role, setRole] = useState<string>('viewer');
  const [projects, setProjects] = useState('');
  const [life, setLife] = useState('90');
  const [errors, setErrors] = useState<FieldErrors>({});
  const [problem, setProblem] = useState<ApiError | undefined>(undefined);
  const [made, setMade] = useState<Token | undefined>(undefined);
  const form = useRef<HTMLFormElement>(null);
  const submit = async (e: SubmitEvent) => {
    e.preventDefault();
    const list = projects.split(/[\s,]+/).filter(Boolean);
    const found: FieldErrors = {};
    if (!namePattern.test(name.trim()) || name.trim().length > nameMaxLength) found.name = 'Letters, digits, “_”, “.” and “-”; begins with a letter or digit';
    const bad = list.find((p) => !namePattern.test(p));
    if (bad) found.projects = `“${bad}” is no project’s name`;
    setErrors(found);
    if (Object.keys(found).length > 0) return focusFirstError(form.current);
    const body: NewToken = { name: name.trim(), role: role as Role };
    if (list.length > 0) body.projects = list;
    if (life) body.expires = new Date(Date.now() + Number(life) * 86_400_000).toISOString().replace(/\.\d+Z$/, 'Z');
    try {
      setMade(await take(api.POST('/tokens', { body })));
    } catch (error) {
      const failed = asApiError(error);
      if (failed.problem.field === 'name' || failed.status === 409) setErrors({ name: failed.message });
      else setProblem(failed);
    }
  };
  if (made) {
    return (
      <Dialog title={`Token ${made.name}`} onClose={close}>
        <p>This is its secret. It is shown <b>this once</b>; the server keeps no copy that can be read.</p>
        <p class="secret"><code>{made.secret}</code><CopyButton text={made.secret ?? ''} what="secret" /></p>
        <div class="dialog-buttons"><button type="button" class="primary" autoFocus onClick={close}>I have kept it</button></div>
      </Dialog>
    );
  }
  return (
    <Dialog title="New token" onClose={close}>
      <form ref={form} onSubmit={(e) => void submit(e)} noValidate>
        <div class="fields one">
          <TextField label="Name" name="name" value={name} onChange={setName} error={errors.name} autoFocus hint="Whose it is, or what uses it" />
          <SelectField label="Role" name="role" value={role} onChange={setRole} options={roles} />
          <TextField label="Projects" name="projects" value={projects} onChange={setProjects} error={errors.projects} placeholder="all" />
          <SelectField label="Valid" name="life" value={life} onChange={setLife} options={lives} />
        </div>
        <ProblemNote error={problem} />
        <div class="dialog-buttons"><button type="button" onClick={close}>Cancel</button><button type="submit" class="primary">Make token</button></div>
      </form>
    </Dialog>
  );
}
