// The benches by name, the same in a page and in Node: a request that is plain data in, an answer that is plain data
// out.

import { benchCases } from '../../bench/contract-cases.ts';
import { benchStep, stepConfig } from '../../bench/gpt2/step.ts';
import type { NamedStepPeer, StepMeasured } from '../../bench/gpt2/step.ts';
import { peerBackendOf } from '../../bench/problem.ts';
import type { Loaders, Peer, PeerBackend, Scope } from '../../bench/problem.ts';
import type { Measured } from '../../bench/bench-report.ts';
import { measureCeilings } from '../../bench/roofline.ts';
import { benchWorkloads, workloadsNamed } from '../../bench/run.ts';
import type { WorkloadResult, Workloads } from '../../bench/run.ts';
import type { Device } from '../../device/device.ts';

export interface Requests {
  readonly step: {
    readonly settings: readonly (readonly [string, unknown])[];
    readonly rounds: number;
    readonly peers: boolean;
  };
  readonly workloads: {
    readonly only?: string;
    readonly rounds: number;
    readonly scope: Scope;
    readonly peers: boolean;
  };
  readonly cases: { readonly only?: string };
}

export interface Answers {
  readonly step: StepMeasured;
  readonly workloads: Workloads;
  readonly cases: Measured;
}

/** Where a bench runs. */
export interface Place {
  readonly device: Device;
  /** Other libraries, where there are any to compare with. */
  readonly others?: {
    readonly loaders: Loaders;
    readonly workloads: readonly Peer[];
    step(loaders: Loaders, on: PeerBackend): readonly NamedStepPeer[];
  };
  /** Moby Dick. */
  text(): Promise<string>;
  readonly onStatus: (text: string) => void;
  /** Called between steps; may throw to stop. */
  readonly checkpoint?: () => void;
}

export const benches: { readonly [K in keyof Requests]: (request: Requests[K], place: Place) => Promise<Answers[K]> } =
  {
    async step({ settings, rounds, peers }, { device, others, text, checkpoint }) {
      return benchStep({
        device,
        config: stepConfig(settings),
        files: { text: await text() },
        rounds,
        peers: peers && others ? others.step(others.loaders, peerBackendOf(device)) : [],
        checkpoint,
      });
    },
    async workloads({ only, peers, rounds, scope }, { device, others, onStatus, checkpoint }) {
      onStatus('ceilings of the adapter');
      const ceilings = await measureCeilings(device, checkpoint);
      return benchWorkloads({
        device,
        workloads: workloadsNamed(only),
        peers: peers ? (others?.workloads ?? []) : [],
        rounds,
        scope,
        ...(others ? { loaders: others.loaders } : {}),
        ceilings,
        onStatus,
        checkpoint,
        onResults: (results) => {
          if (results.length) onStatus(resultsLine(results));
        },
      });
    },
    cases: ({ only }, { device, onStatus, checkpoint }) => benchCases({ device, only, onStatus, checkpoint }),
  };

/** 'matmul 256x256x256: tabmesh 13.8 ms, jax-js 2.71x, tfjs 17.2x'. */
function resultsLine(results: readonly WorkloadResult[]): string {
  const parts = results.map(
    ({ library, medianMs, ratio, correct }) =>
      `${library} ${ratio === null ? `${medianMs.toPrecision(3)} ms` : `${ratio.toPrecision(3)}x`}${correct ? '' : ' (wrong)'}`,
  );
  return `${results[0].workload} ${results[0].shape}: ${parts.join(', ')}`;
}
