import { expect, it } from 'vitest';
import { detailText } from './event-text';

it('says details as words', () => {
  expect(detailText({ detail: { exitCode: 3, message: 'gave up', from: 'old', empty: '', nothing: null } })).toBe('exit code 3, gave up, from old');
  expect(detailText({ detail: { list: [1, 2] } })).toBe('list [1,2]');
  expect(detailText({})).toBe('');
});
