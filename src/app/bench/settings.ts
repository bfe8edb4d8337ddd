// What the bench page runs, read from and written to the URL fragment, so that a link repeats a run:
// #backend=webgpu|wasm&threads=1&only=matmul,adamw&peers=1|tfjs,...&scope=quick|default|full&rounds=5&tune=20
// &cases=1|matmul,...&plan=workloads|PRESET&budget=20&run=1|tune
// All are optional, unknown names are errors. An empty `only` chooses no workload.

import { ConfigError } from '../../base/errors.ts';
import { quote } from '../../base/json.ts';
import type { PeerBackend, Scope } from '../../bench/problem.ts';

/** Names, or all there are. */
export type Selection = 'all' | readonly string[];

export interface BenchSettings {
  readonly backend: PeerBackend;
  /** That compute on WebAssembly. */
  readonly threads: number;
  readonly workloads: Selection;
  /** Libraries to compare with; none unless wanted, because each is a download. */
  readonly peers: Selection;
  readonly scope: Scope;
  /** Turns of each library, at most. */
  readonly rounds: number;
  /** Seconds to measure variants of our kernels before they are timed; 0: the defaults, unchecked. */
  readonly tune: number;
  /** Kernels whose contract cases run too. */
  readonly cases: Selection;
  /** Whose shapes the tuner takes: 'workloads', or a preset. */
  readonly plan: string;
  /** Seconds in which the tuner measures; compiling and checking what a shape needs anyway come on top. */
  readonly budget: number;
}

/** What starts without a click. */
export type Start = 'bench' | 'tuner' | undefined;

export const DEFAULT_SETTINGS: BenchSettings = {
  backend: 'webgpu',
  threads: 1,
  workloads: 'all',
  peers: [],
  scope: 'quick',
  rounds: 5,
  tune: 20,
  cases: [],
  plan: 'workloads',
  budget: 20,
};
export const SCOPES: readonly Scope[] = ['quick', 'default', 'full'];
export const BACKENDS: readonly PeerBackend[] = ['webgpu', 'wasm'];

const NAMES = ['backend', 'threads', 'only', 'peers', 'scope', 'rounds', 'tune', 'cases', 'plan', 'budget', 'run'];
const STARTS = new Map<string, Start>([
  ['1', 'bench'],
  ['tune', 'tuner'],
  ['0', undefined],
]);

export function readSettings(hash: string): { readonly settings: BenchSettings; readonly start: Start } {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  for (const name of given.keys())
    if (!NAMES.includes(name))
      throw new ConfigError('link', `unknown part ${quote(name)}; the parts are ${NAMES.join(', ')}`);
  const scope = given.get('scope') ?? DEFAULT_SETTINGS.scope;
  if (!SCOPES.some((known) => known === scope))
    throw new ConfigError('link', `scope is ${quote(scope)}; expected ${SCOPES.join(', ')}`);
  const backend = given.get('backend') ?? DEFAULT_SETTINGS.backend;
  if (!BACKENDS.some((known) => known === backend))
    throw new ConfigError('link', `backend is ${quote(backend)}; expected ${BACKENDS.join(', ')}`);
  const run = given.get('run') ?? '0';
  if (!STARTS.has(run))
    throw new ConfigError('link', `run is ${quote(run)}; expected 1 (the bench) or tune (the tuner)`);
  return {
    settings: {
      backend: backend as PeerBackend,
      threads: numberOf(given, 'threads', 1, 64, true),
      workloads: choiceOf(given.get('only'), DEFAULT_SETTINGS.workloads),
      peers: choiceOf(given.get('peers'), DEFAULT_SETTINGS.peers),
      cases: choiceOf(given.get('cases'), DEFAULT_SETTINGS.cases),
      scope: scope as Scope,
      rounds: numberOf(given, 'rounds', 1, 100, true),
      tune: numberOf(given, 'tune', 0, 600),
      budget: numberOf(given, 'budget', 1, 600),
      plan: given.get('plan') ?? DEFAULT_SETTINGS.plan,
    },
    start: STARTS.get(run),
  };
}

/** The fragment without '#': what differs from the defaults. */
export function formatSettings(settings: BenchSettings, start?: Start): string {
  const parts: [string, string][] = [];
  const add = (name: string, value: string, usual: string): void => {
    if (value !== usual) parts.push([name, value]);
  };
  for (const name of ['backend', 'threads'] as const) add(name, String(settings[name]), String(DEFAULT_SETTINGS[name]));
  add('only', formatChoice(settings.workloads), formatChoice(DEFAULT_SETTINGS.workloads));
  for (const name of ['peers', 'cases'] as const)
    add(name, formatChoice(settings[name]), formatChoice(DEFAULT_SETTINGS[name]));
  for (const name of ['scope', 'rounds', 'tune', 'plan', 'budget'] as const)
    add(name, String(settings[name]), String(DEFAULT_SETTINGS[name]));
  if (start) parts.push(['run', start === 'bench' ? '1' : 'tune']);
  return parts.map(([name, value]) => `${name}=${value.split(',').map(encodeURIComponent).join(',')}`).join('&');
}

/** The names of `known` that are chosen. Throws ConfigError for one that is unknown. */
export function chosenOf(choice: Selection, known: readonly string[], what: string): readonly string[] {
  if (choice === 'all') return known;
  const stranger = choice.find((name) => !known.includes(name));
  if (stranger !== undefined)
    throw new ConfigError('link', `unknown ${what} ${quote(stranger)}; expected some of ${known.join(', ')}`);
  return known.filter((name) => choice.includes(name));
}

function choiceOf(text: string | null, usual: Selection): Selection {
  if (text === null) return usual;
  if (text === '1' || text === 'all') return 'all';
  return text === '0'
    ? []
    : text
        .split(',')
        .map((name) => name.trim())
        .filter(Boolean);
}

function formatChoice(choice: Selection): string {
  return choice === 'all' ? '1' : choice.join(',') || '0';
}

function numberOf(
  given: URLSearchParams,
  name: 'threads' | 'rounds' | 'tune' | 'budget',
  least: number,
  most: number,
  whole = false,
): number {
  const text = given.get(name);
  if (text === null) return DEFAULT_SETTINGS[name];
  const n = Number(text);
  if (text.trim() === '' || !(n >= least && n <= most) || (whole && !Number.isInteger(n)))
    throw new ConfigError(
      'link',
      `${name} is ${quote(text)}; expected a ${whole ? 'whole ' : ''}number from ${least} to ${most}`,
    );
  return n;
}
