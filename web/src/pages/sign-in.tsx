// The way in: a token. The server may need none (a Unix socket, a client certificate); then this page is never seen.
import { useEffect, useState } from 'preact/hooks';
import { signIn, signInError } from '../state/session';
import { TextField } from '../ui/field';
import { useTitle } from '../ui/hooks';
import { Mark } from '../ui/mark';

export function SignIn() {
  useTitle('Sign in');
  const [token, setToken] = useState('');
  const [busy, setBusy] = useState(false);
  useEffect(() => document.querySelector<HTMLElement>('[autofocus]')?.focus(), []);
  const submit = async (e: SubmitEvent) => {
    e.preventDefault();
    setBusy(true);
    await signIn(token.trim());
    setBusy(false);
  };
  return (
    <main class="sign-in">
      <h1><Mark /> Nagaya</h1>
      <p>Virtual machines and containers of this host.</p>
      <form onSubmit={(e) => void submit(e)}>
        <TextField label="Token" type="password" name="token" value={token} onChange={setToken} autoFocus autoComplete="current-password"
                   error={signInError.value || undefined} hint="Kept until this tab is closed. An administrator makes tokens on the page “Access”." />
        <button type="submit" class="primary" disabled={busy || !token.trim()}>{busy ? 'Asking the server…' : 'Sign in'}</button>
      </form>
    </main>
  );
}

export function Checking({ error }: { error: string | undefined }) {
  return (
    <main class="sign-in" aria-busy="true">
      <h1><Mark /> Nagaya</h1>
      <p role="status">{error ? `No answer from the server (${error}). Trying again…` : 'Asking the server who you are…'}</p>
    </main>
  );
}
