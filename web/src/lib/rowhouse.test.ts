import { expect, it } from 'vitest';
import type { Domain } from '../api/types';
import { dye, rooms } from './rowhouse';

const domain = (name: string, state: Domain['state'], cpus?: number): Domain => ({ name, kind: 'vm', state, image: '', project: '', created: '', limits: cpus ? { cpus } : {} });
const figures = (memory: number, cpu?: number) => ({ stats: { time: '', cpuNs: 0, memory }, rates: { memory, cpu } });

it('has a room for each that is up and has figures', () => {
  const house = rooms([domain('a', 'running', 2), domain('b', 'stopped'), domain('c', 'paused'), domain('d', 'running')],
    new Map([['a', figures(30, 0.5)], ['b', figures(5)], ['c', figures(10)]]), 100, 40);
  expect(house).toEqual({ rooms: [{ name: 'a', memory: 30, cpu: 0.5, cpus: 2 }, { name: 'c', memory: 10, cpu: undefined, cpus: 1 }], others: 20, free: 40 });
});

it('others are never less than none', () => {
  expect(rooms([domain('a', 'running')], new Map([['a', figures(90)]]), 100, 40).others).toBe(0);
  expect(rooms([], new Map(), undefined, undefined)).toEqual({ rooms: [], others: 0, free: 0 });
});

it('the dye deepens with the share of what it may use', () => {
  expect([undefined, 0, 0.05, 0.2, 0.5, 0.7, 1, 3].map((cpu) => dye(cpu, 1))).toEqual([0, 0, 1, 2, 3, 4, 5, 5]);
  expect(dye(1, 4)).toBe(2);
});
