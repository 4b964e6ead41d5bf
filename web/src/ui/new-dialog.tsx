// The dialog that makes a small thing at once: network, volume.
import type { ComponentChildren } from 'preact';
import { useRef, useState } from 'preact/hooks';
import { type ApiError, asApiError } from '../api/problem';
import { nameMaxLength, namePattern } from '../generated/contract';
import type { FieldErrors } from '../lib/definition';
import { tell } from '../state/notices';
import { Dialog } from './dialog';
import { focusFirstError } from './field';
import { ProblemNote } from './states';

export function NewDialog(props: {
  title: string; name: string; close: () => void; after: () => void; send: () => Promise<unknown>; check?: () => FieldErrors;
  children: (errors: FieldErrors) => ComponentChildren;
}) {
  const [errors, setErrors] = useState<FieldErrors>({});
  const [problem, setProblem] = useState<ApiError | undefined>(undefined);
  const [busy, setBusy] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const submit = async (e: SubmitEvent) => {
    e.preventDefault();
    setProblem(undefined);
    const found: FieldErrors = { ...props.check?.() };
    if (!namePattern.test(props.name) || props.name.length > nameMaxLength) found.name = 'Letters, digits, “_”, “.” and “-”; begins with a letter or digit';
    setErrors(found);
    if (Object.values(found).some(Boolean)) return focusFirstError(form.current);
    setBusy(true);
    try {
      await props.send();
      props.close();
      tell(`${props.name} made`);
      props.after();
    } catch (error) {
      const failed = asApiError(error);
      const field = failed.problem.field?.split(/[./]/).filter(Boolean).at(-1);
      if (field && form.current?.querySelector(`[name="${CSS.escape(field)}"]`)) {
        setErrors({ [field]: failed.message });
        focusFirstError(form.current);
      } else setProblem(failed);
      setBusy(false);
    }
  };
  return (
    <Dialog title={props.title} onClose={props.close}>
      <form ref={form} onSubmit={(e) => void submit(e)} noValidate>
        <div class="fields one">{props.children(errors)}</div>
        <ProblemNote error={problem} />
        <div class="dialog-buttons">
          <button type="button" onClick={props.close}>Cancel</button>
          <button type="submit" class="primary" disabled={busy}>Make</button>
        </div>
      </form>
    </Dialog>
  );
}
