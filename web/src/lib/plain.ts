// A console's bytes as plain text: escape sequences are left out (ECMA-48: CSI, OSC and two-byte escapes), a carriage return begins
// the line again, a backspace takes one character away.

const escapes = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-~])/g;

export function plainText(raw: string): string {
  if (!/[\x00-\x08\x0b-\x1f]/.test(raw)) return raw;
  return raw.replace(escapes, '').replace(/\r+\n/g, '\n').split('\n').map(line).join('\n');
}

function line(text: string): string {
  const last = text.slice(text.lastIndexOf('\r') + 1);
  if (!last.includes('\b')) return last.replace(/[\x00-\x08\x0b-\x1f]/g, '');
  const out: string[] = [];
  for (const c of last) {
    if (c === '\b') out.pop();
    else if (c >= ' ' || c === '\t') out.push(c);
  }
  return out.join('');
}
