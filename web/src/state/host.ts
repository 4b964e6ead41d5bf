// The host's figures over the last minutes, out of every answer about it.
import { effect } from '@preact/signals';
import { Series } from '../lib/series';
import { info } from './session';

export const hostKeepMs = 5 * 60_000;
export const hostCpu = new Series(hostKeepMs);
export const hostMemory = new Series(hostKeepMs);

let before: { time: number; clock: number; ns: number } | undefined;

effect(() => {
  const host = info.value?.host;
  if (!host) return;
  const time = Date.now();
  // Two answers close together would make a rate out of their jitter.
  if (before && time - before.time < 1000) return;
  if (host.memoryTotal !== undefined) hostMemory.push(time, host.memoryTotal - (host.memoryAvailable ?? 0));
  if (host.cpuBusyNs === undefined) return;
  // The host's own clock where it tells: answers may be late.
  const clock = host.uptime !== undefined ? host.uptime * 1000 : time;
  hostCpu.push(time, before && host.cpuBusyNs >= before.ns && clock > before.clock ? (host.cpuBusyNs - before.ns) / 1e6 / (clock - before.clock) : undefined);
  before = { time, clock, ns: host.cpuBusyNs };
});
