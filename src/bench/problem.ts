// What is measured. A workload (a file of workloads/) names shapes and makes a problem of each: seeded inputs, the
// useful work, and a check in f64. A library makes a runner of a problem: its inputs lie where it computes before the
// clock starts, its results stay there. Nothing here knows a page or Node.

import type { TypedArray } from '../base/shape.ts';
import type { Device } from '../device/device.ts';

export interface HostTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;
}

export type Dims = Readonly<Record<string, number>>;
export type Outputs = Readonly<Record<string, TypedArray>>;

export interface Verdict {
  readonly correct: boolean;
  /** The largest error in units of what is allowed. */
  readonly worst: number;
  /** The worst place, if it is wrong. */
  readonly text?: string;
}

/** One workload at one shape. */
export interface Problem {
  readonly workload: string;
  /** For people, such as '256x384x1536'. */
  readonly shape: string;
  readonly dims: Dims;
  readonly inputs: Readonly<Record<string, HostTensor>>;
  /**
   * Useful floating-point operations of one run, and bytes that must cross memory at least once. Every library is
   * credited the same.
   */
  readonly cost: { readonly flops: number; readonly bytes: number };
  /** Runs before `check`; 1 unless stated. They start from the inputs. */
  readonly checkedRuns?: number;
  /** Judges what a library's runner read after `checkedRuns` runs against an f64 computation. */
  check(outputs: Outputs): Verdict;
  /** Where no f64 computation is at hand: which libraries, by what all of them read, are right. */
  agree?(outputs: ReadonlyMap<string, Outputs>): ReadonlyMap<string, boolean>;
}

/** A library ready to run a problem. */
export interface Runner {
  /** Runs `times` times back to back; resolves when all of it is computed. */
  run(times: number): Promise<void>;
  /** What the last run left, by the problem's names; outputs that the library does not make are absent. */
  read(): Promise<Outputs>;
  /** GPU memory at the peak so far in bytes, inputs included; undefined where nobody can tell. */
  readonly peakBytes?: number | undefined;
  /** tabmesh: the kernels and variants that run, such as 'matmul/vec4-8x8'. */
  readonly variants?: readonly string[];
  dispose(): void;
}

/** Default runs are those on a software adapter within minutes; quick ones are a subset, full ones the rest. */
export type Scope = 'quick' | 'default' | 'full';

export interface WorkloadShape {
  readonly dims: Dims;
  readonly scope: Scope;
}

export interface Workload {
  readonly name: string;
  /** One line: what is computed. */
  readonly about: string;
  /** In order of growing work, so that the time of a shape can be foretold from the ones before. */
  readonly shapes: readonly WorkloadShape[];
  /** A size for tests, which no tile or vector divides where a kernel allows it. */
  readonly tiny: Dims;
  problem(dims: Dims): Problem;
  /** tabmesh at work on it. Throws LimitError where the adapter is too small. */
  prepare(device: Device, problem: Problem): Promise<Runner>;
}

/** Makes a runner, or says in one sentence why the library has no such thing. */
export type PeerWorkload = ((problem: Problem) => Promise<Runner>) | string;

export interface PeerSession {
  readonly workloads: Readonly<Record<string, PeerWorkload>>;
  close?(): void;
}

/** What libraries are compared on: the GPU, or the processor by WebAssembly with one thread each. */
export type PeerBackend = 'webgpu' | 'wasm';

/** What libraries are compared on beside `device`. */
export function peerBackendOf({ kind }: Device): PeerBackend {
  return kind === 'wasm' ? 'wasm' : 'webgpu';
}

/** Replaces a library's own way to load, by library: Node needs globals that a page has. */
export type Loaders = Readonly<Record<string, ((on: PeerBackend) => Promise<unknown>) | undefined>>;

/** Another library, a file of peers/. */
export interface Peer {
  readonly library: string;
  /** Loads it and opens its backend. Rejects with one sentence where it cannot run. */
  open(loaders: Loaders, on: PeerBackend): Promise<PeerSession>;
}
