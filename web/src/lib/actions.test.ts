import { expect, it } from 'vitest';
import { domainStates } from '../generated/contract';
import { allows, isUp, verbLabel, verbsOf, type Verb } from './actions';

it('every state of the contract has verbs, and every verb a name', () => {
  for (const state of domainStates) {
    expect(verbsOf({ state }).length, state).toBeGreaterThan(0);
    for (const verb of verbsOf({ state })) expect(verbLabel[verb]).toBeTruthy();
  }
});

it('what is up can be ended, what is not can be started or is being ended', () => {
  for (const state of domainStates) {
    expect(allows({ state }, 'kill'), state).toBe(isUp({ state }));
    expect(allows({ state }, 'start'), state).toBe(!isUp({ state }));
  }
  const never: [(typeof domainStates)[number], Verb][] = [['running', 'resume'], ['paused', 'pause'], ['stopped', 'stop'], ['stopping', 'delete'], ['running', 'rename']];
  for (const [state, verb] of never) expect(allows({ state }, verb), `${verb} ${state}`).toBe(false);
});
