// The collectives page: as the host it shows settings and results and is rank 0; by a #join link it is a further rank, with nothing to press.
// `window.tabmeshCollectives` is for programs that drive it; `collectivesReport`, if a program has put it there, hears of every change as JSON.

import './elements/collectives-app.ts';
import { randomHex, realWorld } from '../../base/world.ts';
import type { CollectivesApp } from './elements/collectives-app.ts';
import type { CollectivesEvent } from '../../bench/collectives/report.ts';
import { sentence } from '../plan.ts';
import { CollectivesController } from './controller.ts';
import type { CollectivesState } from './controller.ts';
import { Guest, Host } from './room.ts';
import { formatLink, readLink } from '../../bench/collectives/link.ts';
import type { CollectivesLink } from '../../bench/collectives/link.ts';

declare global {
  interface Window {
    collectivesReport?: (text: string) => unknown;
    tabmeshCollectives?: { run(): void; stop(): void; readonly state: CollectivesState };
  }
}

const app = document.querySelector<CollectivesApp>('collectives-app')!;
const tell = (event: CollectivesEvent): void => { window.collectivesReport?.(JSON.stringify(event)); };

try {
  const link = readLink(location.hash);
  if (link.join !== undefined) beGuest(link.join);
  else beHost(link);
} catch (error) {
  app.trouble = sentence(error);
  tell({ kind: 'failed', text: sentence(error) });
}
addEventListener('pageshow', (event) => { if ((event as PageTransitionEvent).persisted) location.reload(); });

function beGuest(room: string): void {
  document.title = 'tabmesh bench: a rank';
  new Guest(room, (text) => { app.guest = text; });
  addEventListener('hashchange', () => location.reload());
}

function beHost(link: CollectivesLink): void {
  const room = link.room ?? randomHex(realWorld, 6);
  const program = window.collectivesReport !== undefined;
  let written = location.hash.replace(/^#/, '');
  let told = '';
  const show = (state: CollectivesState): void => {
    const fragment = formatLink(state.settings, link.room === undefined ? {} : { room });
    if (fragment !== written && !program) history.replaceState(null, '', `#${written = fragment}`);
    // Drawing while a program measures would take the processor from what it measures.
    if (!program || state.phase !== 'running') app.state = state;
    if (state.status !== told) { told = state.status; tell({ kind: 'status', text: state.status, done: state.done, total: state.total }); }
  };
  const controller = new CollectivesController(new Host(room), link.settings, { onChange: show, onRows: (rows) => tell({ kind: 'rows', rows }) });
  const run = async (): Promise<void> => {
    const { report, error } = await controller.run({ program });
    tell(report ? { kind: 'done', report } : { kind: 'failed', text: error! });
  };
  app.host = { controller, run: () => { void run(); }, joinUrl: `${location.href.split('#')[0]}#join=${room}`, linkOf: (settings) => `${location.href.split('#')[0]}#${formatLink(settings, { start: true })}` };
  show(controller.state);
  window.tabmeshCollectives = { run: () => { void run(); }, stop: () => controller.stop(), get state() { return controller.state; } };
  addEventListener('error', (event) => controller.problem(sentence(event.error ?? event.message)));
  addEventListener('unhandledrejection', (event) => controller.problem(sentence(event.reason)));
  addEventListener('hashchange', () => { if (location.hash.replace(/^#/, '') !== written) location.reload(); });
  if (link.start) void run();
}
