// The worker of page.ts: a bench on WebAssembly with several threads.

import { openWasmThreads } from '../../../workers/wasm-device.ts';
import { benches } from './work.ts';
import type { Answers, Requests } from './work.ts';

export interface WorkerBench<K extends keyof Requests = keyof Requests> {
  readonly name: K;
  readonly request: Requests[K];
  /** Where Moby Dick is. */
  readonly textUrl: string;
  readonly threads: number;
}

export type FromBenchWorker =
  | { readonly kind: 'status'; readonly text: string }
  | { readonly kind: 'measured'; readonly measured: Answers[keyof Requests] }
  | { readonly kind: 'failed'; readonly text: string };

const tell = (message: FromBenchWorker): void => postMessage(message);

addEventListener('message', ({ data }: MessageEvent<WorkerBench>) => {
  measure(data).catch((error: unknown) =>
    tell({ kind: 'failed', text: error instanceof Error ? error.message : String(error) }),
  );
});

async function measure<K extends keyof Requests>({ name, request, textUrl, threads }: WorkerBench<K>): Promise<void> {
  const device = await openWasmThreads(threads);
  try {
    const measured = await benches[name](request, {
      device,
      text: async () => (await fetch(textUrl)).text(),
      onStatus: (text) => tell({ kind: 'status', text }),
    });
    tell({ kind: 'measured', measured });
  } finally {
    device.destroy();
  }
}
