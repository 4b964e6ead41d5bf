// Graphs of our own in SVG: a small one for table rows, a large one with scale, times and a reading under the pointer or arrow keys.
import { useRef, useState } from 'preact/hooks';
import { areaPath, linePath, niceCeiling, type Point, type Series } from '../lib/series';

export function Spark(props: { series: Series; now: number; spanMs?: number; max?: number; least?: number; bytes?: boolean }) {
  const width = 64;
  const height = 20;
  const span = props.spanMs ?? 120_000;
  const seen = props.series.points.filter((p) => p.time >= props.now - span);
  const top = Math.max(props.least ?? 0, ...seen.map((p) => p.value ?? 0));
  const max = props.max ?? (top || 1);
  const line = linePath(props.series.points, { width, height: height - 2, from: props.now - span, to: props.now, max });
  return (
    <svg class="spark" viewBox={`0 0 ${width} ${height}`} width={width} height={height} aria-hidden="true">
      <path class="spark-base" d={`M0 ${height - 0.5}H${width}`} />
      <path class="spark-area" d={areaPath(line, height - 1)} transform="translate(0 1)" />
      <path class="spark-line" d={line} transform="translate(0 1)" />
    </svg>
  );
}

export interface Line {
  name: string;
  series: Series;
}

export function Chart(props: {
  title: string; lines: Line[]; now: number; spanMs: number; format: (v: number | undefined) => string; bytes?: boolean;
  /** Least height of the scale, so that idle noise does not fill the graph. */
  least: number;
  limit?: number | undefined;
  limitWord?: string;
}) {
  const [at, setAt] = useState<number | undefined>(undefined);
  const box = useRef<SVGSVGElement>(null);
  const width = 600;
  const height = 120;
  const from = props.now - props.spanMs;
  const inSight = (p: Point) => p.time >= from;
  const values = props.lines.flatMap((l) => l.series.points.filter(inSight).map((p) => p.value ?? 0));
  const peak = Math.max(0, ...values);
  const useLimit = props.limit !== undefined && props.limit > 0 && peak > props.limit * 0.4;
  const max = useLimit ? props.limit! : niceCeiling(Math.max(props.least, peak * 1.05), props.bytes);
  const time = at === undefined ? undefined : from + at * props.spanMs;
  const read = (s: Series) => (time === undefined ? s.last : nearest(s.points, time));
  const summary = props.lines.map((l) => `${l.name} ${props.format(l.series.last)}`).join(', ');
  const move = (e: PointerEvent) => {
    const rect = box.current!.getBoundingClientRect();
    setAt(Math.min(1, Math.max(0, (e.clientX - rect.left) / rect.width)));
  };
  const key = (e: KeyboardEvent) => {
    const step = 2000 / props.spanMs;
    if (e.key === 'ArrowLeft') setAt((v) => Math.max(0, (v ?? 1) - step * (e.shiftKey ? 10 : 1)));
    else if (e.key === 'ArrowRight') setAt((v) => Math.min(1, (v ?? 1) + step * (e.shiftKey ? 10 : 1)));
    else if (e.key === 'Escape' && at !== undefined) setAt(undefined);
    else return;
    e.preventDefault();
    e.stopPropagation();
  };
  const grid = [0.25, 0.5, 0.75];
  return (
    <figure class="chart">
      <figcaption>
        <span class="chart-title">{props.title}</span>
        {props.lines.map((l, i) => (
          <span class="chart-reading" key={l.name}>
            {props.lines.length > 1 && <span class={`chart-key line-${i}`} aria-hidden="true" />}
            {props.lines.length > 1 && <span class="quiet">{l.name}</span>} <b>{props.format(read(l.series))}</b>
          </span>
        ))}
        <span class="chart-when quiet">{time === undefined ? '' : new Date(time).toLocaleTimeString()}</span>
      </figcaption>
      <div class="chart-box">
        <svg ref={box} viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" tabIndex={0} role="img"
             aria-label={`${props.title}: now ${summary}; highest in ${Math.round(props.spanMs / 60000)} minutes ${props.format(peak)}`}
             onPointerMove={move} onPointerLeave={() => setAt(undefined)} onKeyDown={key} onBlur={() => setAt(undefined)}>
          {grid.map((g) => <path key={g} class="chart-grid" d={`M0 ${height * g}H${width}`} />)}
          {props.lines.map((l, i) => {
            const line = linePath(l.series.points, { width, height, from, to: props.now, max });
            return (
              <g key={l.name} class={`line-${i}`}>
                {props.lines.length === 1 && <path class="chart-area" d={areaPath(line, height)} />}
                <path class="chart-line" d={line} />
              </g>
            );
          })}
          {at !== undefined && <path class="chart-cursor" d={`M${at * width} 0V${height}`} />}
        </svg>
        <span class="chart-max" aria-hidden="true">{props.format(max)}{useLimit ? ` (${props.limitWord ?? 'limit'})` : ''}</span>
        <span class="chart-min" aria-hidden="true">0</span>
      </div>
      <div class="chart-axis quiet" aria-hidden="true"><span>{Math.round(props.spanMs / 60000)} min ago</span><span>now</span></div>
    </figure>
  );
}

function nearest(points: readonly Point[], time: number): number | undefined {
  let best: Point | undefined;
  for (const p of points) if (!best || Math.abs(p.time - time) < Math.abs(best.time - time)) best = p;
  return best && Math.abs(best.time - time) < 5000 ? best.value : undefined;
}

/** A bar that is full to a part. */
export function Meter({ value, max, label }: { value: number; max: number; label: string }) {
  const share = max > 0 ? Math.min(1, value / max) : 0;
  return (
    <span class={share > 0.9 ? 'meter meter-high' : 'meter'} role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={max} aria-valuenow={Math.min(value, max)}>
      <span style={{ width: `${share * 100}%` }} />
    </span>
  );
}
