// The collectives page: as the host it shows settings and results and is rank 0; by a #join link it is a further rank,
// with nothing to press. `window.tabmeshCollectives` is for programs that drive it; `collectivesReport`, if a program
// has put it there, hears of every change as JSON.

import './elements/collectives-app.ts';
import { randomHex, realWorld } from '../../base/world.ts';
import type { CollectivesApp } from './elements/collectives-app.ts';
import type { CollectivesEvent } from '../../bench/collectives/collectives-report.ts';
import { sentence } from '../shared/sentence.ts';
import { CollectivesController } from './controller.ts';
import type { CollectivesState } from './controller.ts';
import { Guest, Host } from './room.ts';
import { formatLink, readLink } from '../../bench/collectives/link.ts';
import type { CollectivesLink, CollectivesSettings } from '../../bench/collectives/link.ts';
import { newRoomKey } from '../../cluster/seal.ts';
import { keepLastRun, loadLastRun } from './saved-run.ts';
import { openTalk } from './talk.ts';

declare global {
  interface Window {
    collectivesReport?: (text: string) => unknown;
    tabmeshCollectives?: {
      run(): void;
      stop(): void;
      /** The link of a further rank. */ readonly joinUrl: string;
      readonly state: CollectivesState;
    };
  }
}

const app = document.querySelector<CollectivesApp>('collectives-app')!;
const tell = (event: CollectivesEvent): void => {
  window.collectivesReport?.(JSON.stringify(event));
};

try {
  const link = readLink(location.hash);
  if (link.join !== undefined) beGuest(link.join, link.key);
  else beHost(link);
} catch (error) {
  // The form is there all the same, with what is usual.
  app.trouble = sentence(error);
  beHost(readLink(''));
  tell({ kind: 'failed', text: sentence(error) });
}
addEventListener('pageshow', (event) => {
  if ((event as PageTransitionEvent).persisted) location.reload();
});

/**
 * A room of the broker has members of other machines: nobody joins one without a click, unless a program drives this
 * browser.
 */
function beGuest(room: string, key: string | undefined): void {
  document.title = 'tabmesh bench: a rank';
  const join = (): void => {
    app.consent = undefined;
    new Guest(
      (id, events) => openTalk(key === undefined ? 'browser' : 'broker', { room, key }, id, events),
      (text) => {
        app.guest = text;
      },
    );
  };
  if (key === undefined || window.collectivesReport !== undefined) join();
  else app.consent = join;
  addEventListener('hashchange', () => location.reload());
}

function beHost(link: CollectivesLink): void {
  const room = link.room ?? randomHex(realWorld, 6);
  const key = newRoomKey(realWorld);
  const kept = (): Storage => localStorage;
  const program = window.collectivesReport !== undefined;
  let written = location.hash.replace(/^#/, '');
  let told = '';
  const show = (state: CollectivesState): void => {
    const fragment = formatLink(state.settings, link.room === undefined ? {} : { room });
    if (fragment !== written && !program) history.replaceState(null, '', `#${(written = fragment)}`);
    // Drawing while a program measures would take the processor from what it measures.
    if (!program || state.phase !== 'running') app.state = state;
    if (state.status !== told) {
      told = state.status;
      tell({ kind: 'status', text: state.status, done: state.done, total: state.total });
    }
  };
  const controller = new CollectivesController(
    new Host((meet, id, events) => openTalk(meet, { room, key }, id, events)),
    link.settings,
    {
      onChange: show,
      onRows: (rows) => tell({ kind: 'rows', rows }),
      last: program ? undefined : loadLastRun(kept),
      keep: (report) => program || keepLastRun(kept, report),
    },
  );
  const run = async (): Promise<void> => {
    const { report, error } = await controller.run({ program });
    tell(report ? { kind: 'done', report } : { kind: 'failed', text: error! });
  };
  const joinUrl = ({ meet }: CollectivesSettings): string =>
    `${location.href.split('#')[0]}#join=${room}${meet === 'broker' ? `&key=${key}` : ''}`;
  app.host = {
    controller,
    run: () => {
      void run();
    },
    joinUrl,
    linkOf: (settings) => `${location.href.split('#')[0]}#${formatLink(settings, { start: true })}`,
  };
  addEventListener('pagehide', () => controller.leave());
  show(controller.state);
  window.tabmeshCollectives = {
    run: () => {
      void run();
    },
    stop: () => controller.stop(),
    get joinUrl() {
      return joinUrl(controller.state.settings);
    },
    get state() {
      return controller.state;
    },
  };
  addEventListener('error', (event) => controller.problem(sentence(event.error ?? event.message)));
  addEventListener('unhandledrejection', (event) => controller.problem(sentence(event.reason)));
  addEventListener('hashchange', () => {
    if (location.hash.replace(/^#/, '') !== written) location.reload();
  });
  if (link.start) void run();
}
