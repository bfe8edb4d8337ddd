// Two networks that cannot reach each other and a machine between them that both can: three network namespaces of
// Linux, joined by veth pairs, with no forwarding.
//   left (10.91.1.2) ── middle (10.91.0.1) ── right (10.91.2.2)
// Programs run inside as processes of their own; the browser comes in through a script that Playwright takes for the
// browser. Needs root and `ip` (iproute2).

import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type Place = 'left' | 'middle' | 'right';

export const MIDDLE_ADDRESS = '10.91.0.1';

const PREFIX = 'tabmesh-';
const KILL_AFTER_MS = 5000;

const ip = (...args: string[]): string =>
  execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** Deletes what earlier runs left that were killed before they could. */
function sweep(): void {
  for (const name of existsSync('/run/netns') ? readdirSync('/run/netns') : []) {
    const pid = /^tabmesh-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) ip('netns', 'del', name);
  }
}

export class NetworkLab {
  readonly folder: string;
  readonly #children: ChildProcess[] = [];
  #closed = false;

  private constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'tabmesh-lab-'));
  }

  /** A text says why this machine allows no such networks. */
  static create(): NetworkLab | string {
    if (process.platform !== 'linux') return `network namespaces are a feature of Linux, this is ${process.platform}`;
    const lab = new NetworkLab();
    try {
      sweep();
      lab.#build();
      return lab;
    } catch (error) {
      lab.#remove();
      const { stderr, code, message } = error as { stderr?: string; code?: string; message: string };
      return code === 'ENOENT'
        ? 'the command ip (package iproute2) is missing'
        : `this user may not make network namespaces (${(stderr?.trim() || message).split('\n').at(-1)})`;
    }
  }

  name(place: Place): string {
    return `${PREFIX}${process.pid}-${place}`;
  }

  #build(): void {
    for (const place of ['left', 'middle', 'right'] as const) {
      ip('netns', 'add', this.name(place));
      // No forwarding, which may be taken over from the machine. No IPv6: its addresses become valid a second or two
      // later, and browsers drop requests when a network changes.
      execFileSync(
        'ip',
        [
          'netns',
          'exec',
          this.name(place),
          'sh',
          '-c',
          'echo 0 > /proc/sys/net/ipv4/ip_forward; cd /proc/sys/net/ipv6/conf && for i in all default; do echo 1 > $i/disable_ipv6; done || true',
        ],
        { stdio: 'pipe' },
      );
      this.#inside(place, 'link', 'set', 'lo', 'up');
    }
    this.#inside('middle', 'addr', 'add', `${MIDDLE_ADDRESS}/32`, 'dev', 'lo');
    (['left', 'right'] as const).forEach((side, i) => {
      const network = `10.91.${i + 1}`;
      // Made inside, so that a name of the machine's own network is never taken.
      this.#inside(
        'middle',
        'link',
        'add',
        `to-${side}`,
        'type',
        'veth',
        'peer',
        'name',
        'uplink',
        'netns',
        this.name(side),
      );
      this.#inside('middle', 'addr', 'add', `${network}.1/24`, 'dev', `to-${side}`);
      this.#inside('middle', 'link', 'set', `to-${side}`, 'up');
      this.#inside(side, 'addr', 'add', `${network}.2/24`, 'dev', 'uplink');
      this.#inside(side, 'link', 'set', 'uplink', 'up');
      this.#inside(side, 'route', 'add', 'default', 'via', `${network}.1`);
    });
  }

  #inside(place: Place, ...args: string[]): void {
    ip('-n', this.name(place), ...args);
  }

  /** Starts a program there and resolves when its output fits `ready`; rejects with its output when it ends first. */
  start(
    place: Place,
    command: string,
    args: readonly string[],
    ready: RegExp,
  ): Promise<{ readonly output: () => string }> {
    // `ip netns exec` becomes the program: the process id is the program's own.
    const child = spawn('ip', ['netns', 'exec', this.name(place), command, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#children.push(child);
    let text = '';
    return new Promise((resolve, reject) => {
      const read = (bytes: Buffer): void => {
        text += bytes.toString();
        if (ready.test(text)) resolve({ output: () => text });
      };
      child.stdout.on('data', read);
      child.stderr.on('data', read);
      child.on('error', reject);
      child.on('exit', (code) => reject(new Error(`${command} ended with ${code}: ${text.slice(-2000)}`)));
    });
  }

  /** A program that starts `executable` with its arguments in that network. */
  wrapper(place: Place, executable: string): string {
    const path = join(this.folder, `in-${place}`);
    writeFileSync(path, `#!/bin/sh\nexec ip netns exec ${this.name(place)} ${executable} "$@"\n`);
    chmodSync(path, 0o755);
    return path;
  }

  /** Ends what was started, by its process id, and deletes the networks. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all(
      this.#children.map(
        (child) =>
          new Promise<void>((ended) => {
            if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return ended();
            const insist = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
            child.once('exit', () => {
              clearTimeout(insist);
              ended();
            });
            child.kill('SIGTERM');
          }),
      ),
    );
    this.#remove();
  }

  #remove(): void {
    for (const place of ['left', 'middle', 'right'] as const)
      if (existsSync(`/run/netns/${this.name(place)}`)) ip('netns', 'del', this.name(place));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
