// The bench page: settings from the fragment, one controller, one element that draws its state. `window.tabmeshBench`
// is for programs that drive it.

import './elements/bench-app.ts';
import type { BenchApp } from './elements/bench-app.ts';
import { sentence } from '../shared/sentence.ts';
import { browserName } from '../shared/browser-name.ts';
import type { UserAgentData } from '../shared/browser-name.ts';
import { compareRows } from './comparison.ts';
import type { Comparison } from './comparison.ts';
import { BenchController } from './controller.ts';
import type { BenchState } from './controller.ts';
import { formatMarkdown } from './markdown.ts';
import type { Report } from './bench-file.ts';
import { keepLastRun, loadLastRun } from './saved-runs.ts';
import { DEFAULT_SETTINGS, formatSettings, readSettings } from './settings.ts';

declare global {
  interface Window {
    tabmeshBench?: {
      run(): void;
      tune(): void;
      stop(): void;
      /** Compares with the text of a saved run. */
      compareWith(name: string, text: string): void;
      readonly state: Readonly<
        Pick<BenchState, 'phase' | 'tool' | 'status' | 'done' | 'total' | 'adapter' | 'browser' | 'problems' | 'notes'>
      >;
      readonly report: Report | undefined;
      readonly comparison: Comparison | undefined;
      readonly json: string | undefined;
      readonly markdown: string | undefined;
    };
  }
}

const app = document.querySelector<BenchApp>('bench-app')!;
const { settings, start, trouble } = readLink();
let written = location.hash.replace(/^#/, '');
const controller = new BenchController(
  {
    makeWorker: () => new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'bench' }),
    browser: () => browserName(navigator as Navigator & { readonly userAgentData?: UserAgentData }),
    textUrl: new URL('data/moby-dick.txt', document.baseURI).href,
    last: loadLastRun(),
    keep: keepLastRun,
    onChange: show,
  },
  settings,
  start,
);
app.controller = controller;
app.state = controller.state;
window.tabmeshBench = {
  run: () => controller.run(),
  tune: () => controller.tune(),
  stop: () => controller.stop(),
  compareWith: (name, text) => controller.compareWith(name, text),
  get state() {
    const { phase, tool, status, done, total, adapter, browser, problems, notes } = controller.state;
    return { phase, tool, status, done, total, adapter, browser, problems, notes };
  },
  get report() {
    return controller.state.report;
  },
  get comparison() {
    const { report, baseline } = controller.state;
    return report && baseline && compareRows(report, baseline.report);
  },
  get json() {
    return controller.json();
  },
  get markdown() {
    return controller.state.report && formatMarkdown(controller.state.report, controller.state.baseline);
  },
};
if (trouble !== undefined) controller.problem(trouble);
addEventListener('error', (event) => controller.problem(sentence(event.error ?? event.message)));
addEventListener('unhandledrejection', (event) => controller.problem(sentence(event.reason)));
// A new link in the same tab is a new page; a fragment that we wrote ourselves is not.
addEventListener('hashchange', () => {
  if (location.hash.replace(/^#/, '') !== written) location.reload();
});
addEventListener('pagehide', () => controller.leave());
addEventListener('pageshow', (event) => {
  if ((event as PageTransitionEvent).persisted) location.reload();
});

/** The address always repeats what is chosen; it starts by itself only where somebody asks for such a link. */
function show(state: BenchState): void {
  if (state.settings !== app.state?.settings) {
    written = formatSettings(state.settings);
    history.replaceState(null, '', written ? `#${written}` : location.pathname + location.search);
  }
  app.state = state;
}

function readLink(): ReturnType<typeof readSettings> & { readonly trouble?: string } {
  try {
    return readSettings(location.hash);
  } catch (error) {
    return { settings: DEFAULT_SETTINGS, start: undefined, trouble: sentence(error) };
  }
}
