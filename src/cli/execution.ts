// Where a run is executed: in this process (Dawn, WebAssembly or the references), or in headless Chromium (real tabs
// over WebRTC, or workers of one tab; on WebGPU or WebAssembly).

import { ConfigError } from '../base/errors.ts';
import type { TuneStore } from '../device/tune/store.ts';
import type { PreparedRun, RunFiles } from '../train/prepare.ts';
import type { RunConfig } from '../train/run-config.ts';
import type { RunEvent } from '../train/run.ts';
import { runInProcess } from './in-process.ts';
import { fileTuneStore } from './machine/tune-file.ts';

export const BACKENDS = ['chromium', 'node', 'wasm', 'chromium-wasm', 'cpu'] as const;
/** `chromium-auto`: tabs choose for themselves. */
export type ExecutionBackend = (typeof BACKENDS)[number] | 'chromium-auto';

/** What the tabs of a backend in a browser compute on. */
const DEVICE_OF_TABS = { chromium: 'webgpu', 'chromium-wasm': 'wasm', 'chromium-auto': 'auto' } as const;
export type BrowserBackend = keyof typeof DEVICE_OF_TABS;

/** The same device in `tabs` tabs of headless Chromium. Throws ConfigError where tabs have none such. */
export function backendOfTabs(backend: string, tabs: number): BrowserBackend {
  if (backend === 'auto') return 'chromium-auto';
  if (backend === 'chromium') return 'chromium';
  if (backend === 'wasm' || backend === 'chromium-wasm') return 'chromium-wasm';
  const wanted = 'expected the backend chromium or wasm, which tabs have';
  throw new ConfigError('--tabs', `${wanted}, got ${backend}; use --backend wasm, or ${tabs} ranks without --tabs`);
}

/** Whether kernels are WGSL, with variants to tune and choose among. */
export function onGpu(backend: ExecutionBackend): boolean {
  return backend === 'chromium' || backend === 'chromium-auto' || backend === 'node';
}

/** Whether it runs in headless Chromium. */
export function inBrowser(backend: ExecutionBackend): backend is BrowserBackend {
  return backend in DEVICE_OF_TABS;
}

export interface Execution {
  readonly backend: ExecutionBackend;
  /** Only in a browser: a tab per rank over WebRTC, or all ranks as workers of one tab. */
  readonly mode: 'tabs' | 'devices';
  readonly config: RunConfig;
  readonly files: RunFiles;
  /** Config and files as prepareRun reads them, where the caller has that already. */
  readonly prepared?: PreparedRun;
  readonly wantGradients?: boolean;
  readonly wantModel?: boolean;
  /** Further parts of the address of each tab; only in a browser. */
  readonly parts?: (tab: number) => Readonly<Record<string, string>>;
  readonly onEvent: (rank: number, event: RunEvent) => void;
  /** Progress in words. */
  readonly onStatus?: (text: string) => void;
  /** What the ranks did last, when one has failed: all of this process or tab, or the first tab that told. */
  readonly onTimeline?: (text: string) => void;
  /** Ends the run at once; rejects with AbortedError. */
  readonly signal?: AbortSignal;
  /**
   * Ends the run after its step, on all ranks; with `save` they hand over a checkpoint of it. Before there is a step:
   * at once.
   */
  readonly stop?: { readonly signal: AbortSignal; readonly save: boolean };
  /** On WebAssembly in this process: a thread per core. */
  readonly threads?: boolean;
  /** What this machine remembers about its adapters; browsers have a memory of their own. */
  readonly tuneStore?: TuneStore;
}

/** Resolves when every rank is done; rejects with the first error. */
export async function execute(execution: Execution): Promise<void> {
  const { backend } = execution;
  if (inBrowser(backend)) {
    // Loaded only when wanted: it brings Vite's server and playwright.
    const { runInChromium } = await import('./chromium.ts');
    await runInChromium(execution, DEVICE_OF_TABS[backend]);
    return;
  }
  await runInProcess({ tuneStore: fileTuneStore(), ...execution, backend });
}
