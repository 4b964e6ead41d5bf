// Server-sent events out of a byte stream (HTML standard, section 9.2.6). The browser's EventSource cannot send a token in a header.

export interface ServerEvent {
  id: string;
  event: string;
  data: string;
}

/** Takes pieces of text as they come, gives whole events. */
export class EventParser {
  private rest = '';
  private id = '';
  private event = '';
  private data: string[] = [];

  push(text: string): ServerEvent[] {
    const found: ServerEvent[] = [];
    this.rest += text;
    for (;;) {
      // A lone CR at the end may be half of a CR LF: wait for the next piece.
      const match = /\r\n|\n|\r(?!$)/.exec(this.rest);
      if (!match) return found;
      const line = this.rest.slice(0, match.index);
      this.rest = this.rest.slice(match.index + match[0].length);
      if (line !== '') this.field(line);
      else if (this.data.length > 0) found.push(this.dispatch());
      else this.event = '';
    }
  }

  private field(line: string): void {
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') this.data.push(value);
    else if (name === 'event') this.event = value;
    else if (name === 'id' && !value.includes('\0')) this.id = value;
  }

  private dispatch(): ServerEvent {
    const result = { id: this.id, event: this.event || 'message', data: this.data.join('\n') };
    this.data = [];
    this.event = '';
    return result;
  }
}

/** Milliseconds until the next try: doubles up to half a minute, with a little chance so that clients do not come back as one. */
export function backoff(tries: number, random = Math.random()): number {
  return Math.min(30_000, 500 * 2 ** Math.min(tries, 6)) * (0.75 + random / 2);
}
