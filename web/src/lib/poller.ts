// Calls again and again, one call at a time, and rests while nobody looks at the page.

export class Poller {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private running = false;
  private again = false;
  private stopped = true;

  constructor(private readonly work: () => Promise<void>, private readonly everyMs: () => number) {}

  start(): void {
    this.stopped = false;
    document.addEventListener('visibilitychange', this.onVisibility);
    void this.now();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    document.removeEventListener('visibilitychange', this.onVisibility);
  }

  /** At once; when a call is under way, once more after it. */
  async now(): Promise<void> {
    if (this.stopped) return;
    if (this.running) {
      this.again = true;
      return;
    }
    this.running = true;
    clearTimeout(this.timer);
    do {
      this.again = false;
      // The work keeps its own errors; what escapes must not end the round.
      await this.work().catch(() => {});
    } while (this.again && !this.stopped);
    this.running = false;
    this.plan();
  }

  private plan(): void {
    clearTimeout(this.timer);
    if (!this.stopped && !document.hidden) this.timer = setTimeout(() => void this.now(), this.everyMs());
  }

  private readonly onVisibility = (): void => {
    if (document.hidden) clearTimeout(this.timer);
    else void this.now();
  };
}
