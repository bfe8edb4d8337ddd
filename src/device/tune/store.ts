// What a browser or a machine remembers about its adapters: one text per adapter key. A store that is absent, full,
// broken or of another version costs a new measurement and nothing else, so everything that is read is checked before
// it is believed.

import { pipelineConstants } from '../params/dynamic.ts';
import type { Constants, Kernel, Variant } from '../kernel.ts';
import { streamId } from '../../base/random.ts';
import { formatPicked } from './certificate.ts';
import { flagsOf } from './shape-class.ts';
import type { Decision, Picked } from './certificate.ts';

export interface TuneStore {
  read(key: string): Promise<string | undefined>;
  write(key: string, text: string): Promise<void>;
}

/** Runs `work` while no other tab of this browser runs its own; resolves to what it resolved to. */
export type TuneLock = <T>(work: () => Promise<T>) => Promise<T>;

const VERSION = 1;
/** Entries of each kind; the oldest go first. */
const MOST_ENTRIES = 2000;

interface Remembered extends Decision {
  readonly sources: string;
}

/** What is known about one adapter. */
export class Knowledge {
  readonly #decisions = new Map<string, Remembered>();
  readonly #checks = new Map<string, number>();
  /** Why a variant may not run, by the name of its text. */
  readonly #wrong = new Map<string, string>();
  readonly #sources = new WeakMap<Kernel, string>();

  /** Adds what `text` says. False if it is not ours or of another version; then nothing is added. */
  merge(text: string): boolean {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return false;
    }
    if (!isRecord(value) || value['version'] !== VERSION || !isRecord(value['decisions']) || !isRecord(value['checks']))
      return false;
    // What was written before wrong variants were kept has none.
    const given = value['wrong'] ?? {};
    if (!isRecord(given)) return false;
    const [decisions, checks, wrong] = [
      Object.entries(value['decisions']),
      Object.entries(value['checks']),
      Object.entries(given),
    ];
    if (!wrong.every(([, reason]) => typeof reason === 'string')) return false;
    if (
      !decisions.every(([, one]) => isRemembered(one)) ||
      !checks.every(([, error]) => typeof error === 'number' && error >= 0 && error <= 1)
    )
      return false;
    for (const [key, one] of decisions) this.#decisions.set(key, one as Remembered);
    for (const [key, error] of checks) this.#checks.set(key, error as number);
    for (const [key, reason] of wrong) this.#wrong.set(key, reason as string);
    return true;
  }

  format(): string {
    const newest = <T>(entries: ReadonlyMap<string, T>): Record<string, T> =>
      Object.fromEntries([...entries].slice(-MOST_ENTRIES));
    return JSON.stringify({
      version: VERSION,
      decisions: newest(this.#decisions),
      checks: newest(this.#checks),
      wrong: newest(this.#wrong),
    });
  }

  /** The decision on this kernel and class, unless the kernel's sources have changed since. */
  decision(kernel: Kernel, shapeClass: string): Decision | undefined {
    const known = this.#decisions.get(`${kernel.name} ${shapeClass}`);
    return known?.sources === this.#sourcesOf(kernel) ? known : undefined;
  }

  /** All decisions on the kernel as it is now. */
  decisionsOf(kernel: Kernel): readonly Decision[] {
    const sources = this.#sourcesOf(kernel);
    return [...this.#decisions.values()].filter((one) => one.kernel === kernel.name && one.sources === sources);
  }

  decide(kernel: Kernel, decision: Decision): void {
    this.#decisions.set(`${kernel.name} ${decision.shapeClass}`, { ...decision, sources: this.#sourcesOf(kernel) });
  }

  /** The error with which a source with these constants passed; undefined if it did not yet. */
  passed(check: string): number | undefined {
    return this.#checks.get(check);
  }

  pass(check: string, error: number): void {
    this.#checks.set(check, error);
  }

  /** A variant that gave a wrong result is not tried again until its text changes. */
  condemn(kernel: Kernel, picked: Picked, reason: string): void {
    const key = textKey(kernel, picked);
    if (key !== undefined) this.#wrong.set(key, reason);
  }

  isWrong(kernel: Kernel, picked: Picked): boolean {
    if (this.#wrong.size === 0) return false;
    const key = textKey(kernel, picked);
    return key !== undefined && this.#wrong.has(key);
  }

  /** Variants of the kernel that gave wrong results, with what was wrong. */
  wrongOf(kernel: Kernel): readonly (readonly [variant: string, reason: string])[] {
    return [...this.#wrong]
      .filter(([key]) => key.startsWith(`${kernel.name}/`))
      .map(([key, reason]) => [key.slice(kernel.name.length + 1, key.lastIndexOf(' ')), reason] as const);
  }

  /** Names the texts and constants of all variants; hashed once, because it is asked for often. */
  #sourcesOf(kernel: Kernel): string {
    let sources = this.#sources.get(kernel);
    if (sources === undefined) {
      sources = hashOf(
        kernel.variants
          .map(({ name, source, lanes, tune, needs }) =>
            [name, source, JSON.stringify([lanes, tune, needs])].join('\n'),
          )
          .join('\n'),
      );
      this.#sources.set(kernel, sources);
    }
    return sources;
  }
}

/**
 * Names a text of a pipeline: the variant's source with all constants that are not dynamic, and what is dynamic but
 * switches code, because that is only checked where it ran.
 */
export function checkKey(kernel: Kernel, variant: Variant, constants: Constants): string {
  const own = pipelineConstants(kernel, variant, constants);
  return `${kernel.name}/${variant.name} ${hashOf([variant.source, JSON.stringify(own), flagsOf(kernel, constants)].join('\n'))}`;
}

/**
 * Names the text of a variant with its tunable constants, whatever the params; undefined for a variant that is gone.
 */
function textKey(kernel: Kernel, picked: Picked): string | undefined {
  const variant = kernel.variants.find(({ name }) => name === picked.variant);
  if (!variant) return undefined;
  // Asked for every launch that is planned.
  const hash = sourceHashes.get(variant) ?? hashOf(variant.source);
  sourceHashes.set(variant, hash);
  return `${kernel.name}/${formatPicked(picked)} ${hash}`;
}

const sourceHashes = new WeakMap<Variant, string>();

function hashOf(text: string): string {
  return streamId(text)
    .map((word) => word.toString(16).padStart(8, '0'))
    .join('');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isPicked(value: unknown): boolean {
  return (
    isRecord(value) &&
    typeof value['variant'] === 'string' &&
    isRecord(value['constants']) &&
    Object.values(value['constants']).every((n) => Number.isSafeInteger(n))
  );
}

function isRemembered(value: unknown): boolean {
  return (
    isRecord(value) &&
    isPicked(value) &&
    isPicked(value['default']) &&
    isRecord(value['params']) &&
    typeof value['sources'] === 'string' &&
    ['kernel', 'shapeClass'].every((name) => typeof value[name] === 'string') &&
    typeof value['complete'] === 'boolean' &&
    Array.isArray(value['candidates']) &&
    value['candidates'].every(
      (one) =>
        isPicked(one) && ['medianMs', 'relative', 'spread', 'samples'].every((name) => typeof one[name] === 'number'),
    ) &&
    Array.isArray(value['refused']) &&
    value['refused'].every((one) => isPicked(one) && typeof one['reason'] === 'string')
  );
}
