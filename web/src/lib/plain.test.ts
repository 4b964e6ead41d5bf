import { expect, it } from 'vitest';
import { plainText } from './plain';

it('leaves escape sequences out', () => {
  expect(plainText('[\x1b[0;32m  OK  \x1b[0m] up\r\n')).toBe('[  OK  ] up\n');
  expect(plainText('\x1b]0;title\x07a\x1b]8;;x\x1b\\b\x1b(Bc\x1b=d\x1b[?25h')).toBe('abcd');
});

it('a carriage return begins the line again, a backspace takes one away', () => {
  expect(plainText('10 %\r20 %\r100 %\nnext')).toBe('100 %\nnext');
  expect(plainText('lss\b \b\r\r\n')).toBe('ls\n');
  expect(plainText('\b\ba\bb')).toBe('b');
});

it('plain text stays as it is', () => {
  const text = 'a\tb\nü – 長屋\n';
  expect(plainText(text)).toBe(text);
  expect(plainText('bell\x07 nul\x00')).toBe('bell nul');
});
