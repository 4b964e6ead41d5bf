// The last minutes of one figure: times in milliseconds and values, oldest first. A gap is a value that is undefined.

export interface Point {
  time: number;
  value: number | undefined;
}

export class Series {
  readonly points: Point[] = [];
  constructor(readonly keepMs: number) {}

  push(time: number, value: number | undefined): void {
    const last = this.points.at(-1);
    if (last && time <= last.time) return;
    this.points.push({ time, value });
    while (this.points[0] && this.points[0].time < time - this.keepMs) this.points.shift();
  }

  get last(): number | undefined {
    return this.points.at(-1)?.value;
  }
}

/** A round number at or above the value: 1, 2 or 5 times a power of ten (or of 1024 for bytes). */
export function niceCeiling(value: number, bytes = false): number {
  if (!(value > 0)) return 1;
  const base = bytes ? 1024 : 10;
  let unit = 1;
  if (bytes) while (unit * base <= value) unit *= base;
  const scaled = value / unit;
  const power = 10 ** Math.floor(Math.log10(scaled));
  for (const step of [1, 2, 5, 10]) if (step * power >= scaled * (1 - 1e-9)) return step * power * unit;
  return value;
}

/**
 * SVG path of a series over the given box; gaps split the line. Values are clipped at `max`, so that a spike the scale does not
 * know yet does not leave the box.
 */
export function linePath(points: readonly Point[], box: { width: number; height: number; from: number; to: number; max: number }): string {
  const span = Math.max(1, box.to - box.from);
  let path = '';
  let pen = false;
  let before: Point | undefined;
  for (const point of points) {
    if (point.value === undefined) pen = false;
    // The point before the left edge is drawn too: the line enters the box instead of beginning inside it.
    else if (point.time >= box.from - span * 0.05) {
      const x = ((point.time - box.from) / span) * box.width;
      const y = box.height - (Math.min(point.value, box.max) / box.max) * box.height;
      const far = before !== undefined && point.time - before.time > 15_000;
      path += `${pen && !far ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = true;
    }
    before = point;
  }
  return path;
}

/** The same path closed along the bottom, for the shade below the line. */
export function areaPath(line: string, height: number): string {
  return line
    .split(/(?=M)/)
    .filter((piece) => piece.includes('L'))
    .map((piece) => {
      const xs = [...piece.matchAll(/[ML](-?[\d.]+) /g)].map((m) => m[1]!);
      return `${piece}L${xs.at(-1)} ${height}L${xs[0]} ${height}Z`;
    })
    .join('');
}
