import { expect, it } from 'vitest';
import { parseSize, writeSize } from './units';

it('reads sizes as the command line does', () => {
  expect(parseSize('512M')).toBe(512 * 1024 ** 2);
  expect(parseSize(' 1.5 GiB ')).toBe(1.5 * 1024 ** 3);
  expect(parseSize('2GB')).toBe(2e9);
  expect(parseSize('0')).toBe(0);
  for (const bad of ['', 'M', '-1', '1X', '1 2', '1e3', '99999999999T']) expect(parseSize(bad), bad).toBeUndefined();
});

it('writes what reads back as the same', () => {
  for (const bytes of [0, 1, 1000, 1024, 1536, 256 * 1024 ** 2, 3 * 1024 ** 4]) expect(parseSize(writeSize(bytes))).toBe(bytes);
  expect(writeSize(256 * 1024 ** 2)).toBe('256M');
});
