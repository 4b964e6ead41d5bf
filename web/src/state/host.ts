// The host's figures over the last minutes, out of every answer about it.
import { effect } from '@preact/signals';
import { Series } from '../lib/series';
import { info } from './session';

export const hostKeepMs = 5 * 60_000;
export const hostCpu = new Series(hostKeepMs);
export const hostMemory = new Series(hostKeepMs);

let before: { time: number; ns: number } | undefined;

effect(() => {
  const host = info.value?.host;
  if (!host) return;
  const time = Date.now();
  // Two answers close together would make a rate out of their jitter.
  if (before && time - before.time < 1000) return;
  if (host.memoryTotal !== undefined) hostMemory.push(time, host.memoryTotal - (host.memoryAvailable ?? 0));
  if (host.cpuBusyNs === undefined) return;
  hostCpu.push(time, before && host.cpuBusyNs >= before.ns ? (host.cpuBusyNs - before.ns) / 1e6 / (time - before.time) : undefined);
  before = { time, ns: host.cpuBusyNs };
});
