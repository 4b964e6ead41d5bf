import { expect, it } from 'vitest';
import { ratesBetween, sum } from './rates';

const at = (second: number, more: object) => ({ time: new Date(1e12 + second * 1000).toISOString(), cpuNs: 0, memory: 10, ...more });

it('counters become rates', () => {
  const rates = ratesBetween(at(0, { cpuNs: 1e9, readBytes: 100, rxBytes: 5 }), at(2, { cpuNs: 4e9, readBytes: 300, rxBytes: 5 }));
  expect(rates).toEqual({ memory: 10, cpu: 1.5, read: 100, write: undefined, rx: 0, tx: undefined });
});

it('a domain that was started anew has no rate for that step', () => {
  expect(ratesBetween(at(0, { cpuNs: 9e9, readBytes: 1 }), at(2, { cpuNs: 1e9, readBytes: 5 }))).toEqual({ memory: 10 });
});

it('one counter that went back does not spoil the others', () => {
  const rates = ratesBetween(at(0, { cpuNs: 0, rxBytes: 50, txBytes: 0 }), at(1, { cpuNs: 5e8, rxBytes: 10, txBytes: 7 }));
  expect(rates.rx).toBeUndefined();
  expect(rates.tx).toBe(7);
});

it('nothing before, or no time between, is no rate', () => {
  expect(ratesBetween(undefined, at(0, {})).cpu).toBeUndefined();
  expect(ratesBetween(at(1, {}), at(1, { cpuNs: 5 })).cpu).toBeUndefined();
  expect(ratesBetween(at(2, {}), at(1, { cpuNs: 5 })).cpu).toBeUndefined();
});

it('a sum is unknown only when both are', () => {
  expect(sum(undefined, 3)).toBe(3);
  expect(sum(undefined, undefined)).toBeUndefined();
});
