import { describe, expect, it } from 'vitest';
import { areaPath, linePath, niceCeiling, Series } from './series';

it('keeps the last minutes only, in order', () => {
  const s = new Series(1000);
  for (const t of [0, 500, 500, 400, 1000, 1600]) s.push(t, t);
  expect(s.points.map((p) => p.time)).toEqual([1000, 1600]);
  expect(s.last).toBe(1600);
});

describe('niceCeiling', () => {
  it('is at least the value, round, and near', () => {
    for (const v of [0.01, 0.1, 0.99, 1, 3, 7, 99, 101, 4999]) {
      const c = niceCeiling(v);
      expect(c).toBeGreaterThanOrEqual(v * (1 - 1e-9));
      expect(c).toBeLessThanOrEqual(v * 2.5 + 1e-9);
    }
    expect(niceCeiling(0)).toBe(1);
    expect(niceCeiling(0.3)).toBe(0.5);
  });
  it('counts bytes by 1024', () => {
    expect(niceCeiling(1.1 * 1024 ** 2, true)).toBe(2 * 1024 ** 2);
    expect(niceCeiling(700 * 1024, true)).toBe(1000 * 1024);
  });
});

describe('paths', () => {
  const box = { width: 100, height: 10, from: 0, to: 10_000, max: 10 };
  it('draws a line, clips at the top, splits at gaps', () => {
    const path = linePath([{ time: 0, value: 0 }, { time: 5000, value: 20 }, { time: 6000, value: undefined }, { time: 10_000, value: 5 }], box);
    expect(path).toBe('M0.0 10.0L50.0 0.0M100.0 5.0');
  });
  it('splits where figures are missing for long', () => {
    expect(linePath([{ time: 0, value: 1 }, { time: 20_000, value: 1 }], { ...box, to: 20_000 }).match(/M/g)).toHaveLength(2);
  });
  it('shades below each piece of the line', () => {
    expect(areaPath('M0.0 10.0L50.0 0.0M100.0 5.0', 10)).toBe('M0.0 10.0L50.0 0.0L50.0 10L0.0 10Z');
    expect(areaPath('', 10)).toBe('');
  });
});
