import { describe, expect, it } from 'vitest';
import { emptyForm, fieldOf, readLabels, readLimits, toDefinition, type Form } from './definition';

const make = (change: Partial<Form>) => toDefinition({ ...emptyForm, image: 'debian', ...change });

describe('toDefinition', () => {
  it('sends nothing that was left empty', () => {
    expect(make({})).toEqual({ definition: { image: 'debian', kind: 'vm' }, errors: {} });
  });
  it('reads all fields of a container', () => {
    const { definition, errors } = make({
      kind: 'container', name: ' web ', project: 'shop', memory: '256M', cpus: '1.5', pids: '100', command: "nginx -g 'daemon off;'", env: 'A=1\n\nB=x=y', publish: '8080:80\n127.0.0.1:53:53/udp',
      volumes: 'data:/srv:ro', networks: ['office'], restart: 'on-failure', retries: '3', labels: 'tier=web', readOnly: true, system: true, terminal: true, privileged: true,
      diskSize: '9G', sshKeys: 'key', userData: '#x', engine: 'kvm',
    });
    expect(errors).toEqual({});
    expect(definition).toEqual({
      image: 'debian', kind: 'container', name: 'web', project: 'shop', limits: { memory: 256 * 1024 ** 2, cpus: 1.5, pids: 100 }, command: ['nginx', '-g', 'daemon off;'], env: ['A=1', 'B=x=y'],
      publish: ['8080:80', '127.0.0.1:53:53/udp'], volumes: ['data:/srv:ro'], networks: ['office'], restart: { policy: 'on-failure', retries: 3 }, labels: { tier: 'web' },
      readOnly: true, system: true, terminal: true, privileged: true,
    });
  });
  it('leaves out of a VM what only containers have, and the other way', () => {
    const { definition } = make({ readOnly: true, privileged: true, system: true, entrypoint: 'x', diskSize: '20G', engine: 'soft', sshKeys: 'a\nb' });
    expect(definition).toEqual({ image: 'debian', kind: 'vm', diskSize: 20 * 1024 ** 3, engine: 'soft', sshKeys: ['a', 'b'] });
  });
  it.each([
    ['image', ' '], ['name', '-x'], ['name', 'a/b'], ['name', 'x'.repeat(65)], ['memory', 'lots'], ['cpus', '-1'], ['cpus', 'two'], ['cpuWeight', '0'], ['cpuWeight', '1.5'], ['cpuset', '0-'],
    ['command', "echo 'a"], ['env', 'novalue'], ['publish', '80'], ['publish', 'a:b:c:d'], ['volumes', 'data'], ['volumes', 'data:relative'], ['labels', '=x'], ['diskSize', '1 elephant'],
  ])('%s: %j is told at its field', (field, value) => {
    expect(Object.keys(make({ [field]: value }).errors)).toEqual([field]);
  });
});

it('limits: zero is none and is sent, empty is not', () => {
  const errors = {};
  expect(readLimits({ ...emptyForm, pids: '0', cpuset: ' 0-3, 8 ' }, errors)).toEqual({ pids: 0, cpuset: '0-3,8' });
  expect(errors).toEqual({});
});

it('labels keep what stands after the first equals sign', () => {
  expect(readLabels('a=b=c\nd=', {})).toEqual({ a: 'b=c', d: '' });
});

it('knows which field a problem means, however it is written', () => {
  expect(fieldOf('limits.memory')).toBe('memory');
  expect(fieldOf('/limits/cpus')).toBe('cpus');
  expect(fieldOf('publish[0]')).toBe('publish');
  expect(fieldOf('env.3')).toBe('env');
  expect(fieldOf('restart.policy')).toBe('restart');
  expect(fieldOf('restart.retries')).toBe('retries');
  expect(fieldOf('labels.tier')).toBe('labels');
  expect(fieldOf('somethingElse')).toBe('somethingElse');
  expect(fieldOf(undefined)).toBeUndefined();
});
