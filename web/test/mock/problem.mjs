// An answer that says no (RFC 9457).
export class Problem extends Error {
  constructor(status, title, detail, more = {}) {
    super(detail ?? title);
    Object.assign(this, { status, title, detail, more });
  }
  body() {
    return { title: this.title, status: this.status, ...(this.detail ? { detail: this.detail } : {}), ...this.more };
  }
}
