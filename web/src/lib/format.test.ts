import { describe, expect, it } from 'vitest';
import { count, duration, localTime, percent, rate, size, utc } from './format';

describe('size', () => {
  it('shows powers of 1024 with three figures at most', () => {
    expect(size(0)).toBe('0 B');
    expect(size(1023)).toBe('1023 B');
    expect(size(1536)).toBe('1.5 KiB');
    expect(size(1024 ** 2 - 1)).toBe('1 MiB');
    expect(size(123.4 * 1024 ** 3)).toBe('123 GiB');
    expect(size(99.97 * 1024)).toBe('100 KiB');
    expect(size(5 * 1024 ** 6)).toBe('5120 PiB');
  });
  it('has a dash for what is not known', () => {
    expect(size(undefined)).toBe('–');
    expect(size(NaN)).toBe('–');
    expect(rate(undefined)).toBe('–');
  });
});

it('percent has a decimal only where it matters', () => {
  expect(percent(0.0042)).toBe('0.4 %');
  expect(percent(0.0996)).toBe('10 %');
  expect(percent(2.5)).toBe('250 %');
});

it('duration gives the two largest parts', () => {
  expect(duration(-3)).toBe('0 s');
  expect(duration(59.9)).toBe('59 s');
  expect(duration(3599)).toBe('59 min');
  expect(duration(3600)).toBe('1 h');
  expect(duration(86400 + 7300)).toBe('1 d 2 h');
});

it('times are local, and UTC beside them', () => {
  const noon = new Date(2026, 10, 27, 12, 0, 5);
  expect(localTime(noon.toISOString(), noon)).not.toContain('2026');
  expect(localTime(noon.toISOString(), new Date(2026, 10, 28))).toContain('2026');
  expect(utc('2026-11-27T02:03:04.5+01:00')).toBe('2026-11-27 01:03:04 UTC');
  expect(utc('soon')).toBe('soon');
});

it('count knows one from many', () => {
  expect(count(1, 'process', 'processes')).toBe('1 process');
  expect(count(0, 'domain')).toBe('0 domains');
});
