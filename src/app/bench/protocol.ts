// What the bench page and its worker say to each other. The worker computes: checks in f64 take seconds, and the page
// must stay responsive.

import type { Missing, WorkloadResult } from '../../bench/run.ts';
import type { BenchResult } from '../../bench/bench-report.ts';
import type { Ceilings } from '../../bench/roofline.ts';
import type { PeerBackend, Scope } from '../../bench/problem.ts';
import type { Decision } from '../../device/tune/certificate.ts';

export interface BenchRequest {
  readonly backend: PeerBackend;
  /** On WebAssembly. */
  readonly threads: number;
  /** By name, all of them. */
  readonly workloads: readonly string[];
  readonly peers: readonly string[];
  readonly cases: readonly string[];
  readonly scope: Scope;
  readonly rounds: number;
  /** Seconds; 0: the defaults, unchecked. */
  readonly tune: number;
}

export interface TuneRequest {
  /** Shapes of these workloads, or of the training plan of a preset. */
  readonly shapesOf: { readonly workloads: readonly string[]; readonly scope: Scope } | { readonly preset: string };
  /** Seconds in all. */
  readonly budget: number;
  /** Address of Moby Dick, for a preset. */
  readonly textUrl: string;
}

export type ToWorker =
  | { readonly kind: 'bench'; readonly request: BenchRequest }
  | { readonly kind: 'tune'; readonly request: TuneRequest }
  | { readonly kind: 'stop' };

/** What can be chosen. */
export interface Catalogue {
  readonly workloads: readonly { readonly name: string; readonly about: string; readonly scopes: readonly Scope[] }[];
  readonly libraries: readonly string[];
  readonly kernels: readonly string[];
  readonly presets: readonly string[];
}

export type FromWorker =
  | { readonly kind: 'catalogue'; readonly catalogue: Catalogue }
  /** Of each backend, unasked; then of the device that a bench opened. */
  | { readonly kind: 'adapter'; readonly backend: PeerBackend; readonly adapter: string; readonly software: boolean }
  /** None of this kind here: one sentence what to do. */
  | { readonly kind: 'no-device'; readonly backend: PeerBackend; readonly text: string }
  /** `done` of `total` things are behind us. */
  | { readonly kind: 'status'; readonly text: string; readonly done: number; readonly total: number }
  | { readonly kind: 'ceilings'; readonly ceilings: Ceilings }
  | { readonly kind: 'results'; readonly results: readonly WorkloadResult[]; readonly missing: readonly Missing[] }
  | { readonly kind: 'cases'; readonly results: readonly BenchResult[] }
  | { readonly kind: 'decision'; readonly decision: Decision }
  | { readonly kind: 'note'; readonly text: string }
  | { readonly kind: 'done' }
  /** `what` ended it; what came before stands. */
  | { readonly kind: 'failed'; readonly what: 'stopped' | 'lost' | 'error'; readonly text: string };
