import { expect, it } from 'vitest';
import { backoff, EventParser } from './sse';

const stream = 'retry: 5\n: comment\nid: 7\ndata: {"a":1}\n\nevent: x\r\ndata: one\r\ndata:two\r\n\r\n\n\nid: 9\n\ndata: last\n\ndata: not yet';

it('reads events whole', () => {
  expect(new EventParser().push(stream)).toEqual([
    { id: '7', event: 'message', data: '{"a":1}' }, { id: '7', event: 'x', data: 'one\ntwo' }, { id: '9', event: 'message', data: 'last' },
  ]);
});

it('reads the same however the stream is cut', () => {
  const whole = new EventParser().push(stream);
  for (let cut = 1; cut < stream.length; ++cut) {
    const parser = new EventParser();
    expect([...parser.push(stream.slice(0, cut)), ...parser.push(stream.slice(cut))], `cut at ${cut}`).toEqual(whole);
  }
  const slow = new EventParser();
  expect([...stream].flatMap((c) => slow.push(c))).toEqual(whole);
});

it('waits longer after each failure, within bounds', () => {
  expect(backoff(0, 0.5)).toBe(500);
  expect(backoff(3, 0.5)).toBe(4000);
  expect(backoff(100, 1)).toBeLessThanOrEqual(30_000 * 1.25);
});
