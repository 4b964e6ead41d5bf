// Form fields: label, control, hint and message belong together, also for a screen reader.
import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';

interface Common {
  label: string;
  hint?: ComponentChildren;
  error?: string | undefined;
  wide?: boolean;
}

function Frame({ id, label, hint, error, wide, children }: Common & { id: string; children: ComponentChildren }) {
  return (
    <div class={`field${wide ? ' field-wide' : ''}${error ? ' field-bad' : ''}`}>
      <label for={id}>{label}</label>
      {children}
      {error ? <p class="field-error" id={`${id}-error`}>{error}</p> : hint ? <p class="hint" id={`${id}-hint`}>{hint}</p> : null}
    </div>
  );
}

function described(id: string, { hint, error }: Common) {
  return { 'aria-describedby': error ? `${id}-error` : hint ? `${id}-hint` : undefined, 'aria-invalid': error ? true : undefined };
}

type InputProps = Common & {
  value: string;
  onChange: (value: string) => void;
  name?: string;
  type?: 'text' | 'password' | 'datetime-local';
  list?: string;
  placeholder?: string;
  inputMode?: 'numeric' | 'decimal';
  autoFocus?: boolean;
  autoComplete?: string;
};

export function TextField(props: InputProps) {
  // Preact's types list each kind of input apart; what is passed on fits all that we name.
  const { label, hint, error, wide, onChange, ...rest } = { type: 'text', ...props };
  const id = useId();
  return (
    <Frame id={id} label={label} hint={hint} error={error} wide={wide}>
      <input id={id} autoComplete="off" autoCapitalize="off" spellcheck={false} {...(rest as object)}
             onInput={(e) => onChange(e.currentTarget.value)} {...described(id, props)} />
    </Frame>
  );
}

export function AreaField(props: Common & { value: string; onChange: (value: string) => void; rows?: number; name?: string; placeholder?: string }) {
  const { label, hint, error, wide, onChange, rows = 3, ...rest } = props;
  const id = useId();
  return (
    <Frame id={id} label={label} hint={hint} error={error} wide={wide}>
      <textarea id={id} rows={rows} spellcheck={false} {...rest} onInput={(e) => onChange(e.currentTarget.value)} {...described(id, props)} />
    </Frame>
  );
}

export function SelectField(props: Common & { value: string; onChange: (value: string) => void; options: readonly (readonly [string, string])[]; name?: string }) {
  const { label, hint, error, wide, onChange, options, ...rest } = props;
  const id = useId();
  return (
    <Frame id={id} label={label} hint={hint} error={error} wide={wide}>
      <select id={id} {...rest} onChange={(e) => onChange(e.currentTarget.value)} {...described(id, props)}>
        {options.map(([value, text]) => <option key={value} value={value}>{text}</option>)}
      </select>
    </Frame>
  );
}

export function Check({ label, hint, checked, onChange, name }: { label: ComponentChildren; hint?: string; checked: boolean; onChange: (on: boolean) => void; name?: string }) {
  const id = useId();
  return (
    <div class="check">
      <input type="checkbox" id={id} name={name} checked={checked} onChange={(e) => onChange(e.currentTarget.checked)} aria-describedby={hint ? `${id}-hint` : undefined} />
      <label for={id}>{label}</label>
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
    </div>
  );
}

/** Moves the focus to the first field with a message, once it is there. */
export function focusFirstError(form: HTMLElement | null): void {
  requestAnimationFrame(() => {
    const bad = form?.querySelector<HTMLElement>('[aria-invalid="true"]');
    bad?.closest('details')?.setAttribute('open', '');
    bad?.focus();
  });
}
