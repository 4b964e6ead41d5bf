// Copies a text to the clipboard, and says so when the browser refuses (it does on plain HTTP to another host).
import { useState } from 'preact/hooks';
import { tellError } from '../state/notices';

export function CopyButton({ text, what }: { text: string; what: string }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      setTimeout(() => setDone(false), 1500);
    } catch {
      tellError('Could not copy', new Error('the browser allows it on secure pages only; select the text and copy it by hand'));
    }
  };
  return <button type="button" class="small" aria-label={`Copy ${what}`} onClick={() => void copy()}>{done ? 'Copied' : 'Copy'}</button>;
}
