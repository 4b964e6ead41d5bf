import { expect, it } from 'vitest';
import { joinWords, lines, splitWords } from './words';

const words = (line: string) => {
  const split = splitWords(line);
  return split.ok ? split.words : split.why;
};

it('splits as a shell does', () => {
  expect(words('')).toEqual([]);
  expect(words('  sh  -c "echo \'a b\'; exit 3" ')).toEqual(['sh', '-c', "echo 'a b'; exit 3"]);
  expect(words(`a\\ b '' "x"'y'z`)).toEqual(['a b', '', 'xyz']);
  expect(words('"a\\"b\\n$"')).toEqual(['a"b\\n$']);
  expect(words("'a\\b'")).toEqual(['a\\b']);
});

it('says what is wrong', () => {
  expect(words("echo 'a")).toContain('not closed');
  expect(words('echo \\')).toContain('backslash');
});

it('what was joined splits into the same words', () => {
  const nasty = ['plain', '', "it's", 'a b', '$HOME "x" \\', '--flag=1,2', 'ü\n'];
  expect(words(joinWords(nasty))).toEqual(nasty);
});

it('lines drops blanks', () => {
  expect(lines(' a \n\n b=c d \n')).toEqual(['a', 'b=c d']);
});
