// The training page: settings from the fragment, one controller, one element that draws its state. `window.tabmesh` is
// for programs that drive the page.

import './elements/app.ts';
import type { TabmeshApp } from './elements/app.ts';
import { readFragment, THIS_TAB } from './fragment.ts';
import type { PageSettings } from './fragment.ts';
import { ConfigError } from '../../base/errors.ts';
import { realWorld } from '../../base/world.ts';
import { NO_ICE } from '../../cluster/ice/servers.ts';
import { wishesOfLink } from './link/consent.ts';
import './link/consent-card.ts';
import type { ConsentCard } from './link/consent-card.ts';
import { isVouched } from './link/own-tabs.ts';
import { layoutFor, NO_FACTS } from './form/fit.ts';
import { hashOf, History } from './history/history.ts';
import { historyStore } from './history/store.ts';
import { configOf, makeJob } from './job.ts';
import { sentence } from '../shared/sentence.ts';
import { createReporter } from './reporter.ts';
import { tabIdentity } from './room/identity.ts';
import { RunController } from './run-controller.ts';
import { differsInMore } from './room/page-state.ts';
import type { PageState } from './room/page-state.ts';
import { parseRunConfig } from '../../train/run-config.ts';
import { worldSize } from '../../base/axis.ts';

declare global {
  interface Window {
    tabmeshReport?: (text: string) => unknown;
    tabmesh?: {
      pause(): void;
      resume(): void;
      stop(): void;
      save(): void;
      readonly state: Readonly<Record<string, unknown>>;
    };
  }
}

const LAST_WORDS_MS = 50;

let drawing: ReturnType<typeof setTimeout> | undefined;
const app = document.querySelector<TabmeshApp>('tabmesh-app')!;
// Whoever drives this browser has put that function here, which no link can do; so its links act.
const driven = typeof window.tabmeshReport === 'function';
const { settings, trouble } = await readSettings();
let allowed = driven || isVouched(settings, () => localStorage, Date.now());
const reporter = createReporter(window.tabmeshReport, () => (allowed ? settings.upload : undefined));
const past = new History({
  store: historyStore,
  world: realWorld,
  date: () => Date.now(),
  digest: hashOf,
  onChange: () => app.requestUpdate(),
});
const controller = new RunController({ settings, page: document.baseURI.split('#')[0]!, reporter, onChange: show });
app.begin(settings, controller, past);
void past.load();
window.tabmesh = {
  pause: () => controller.pause(),
  resume: () => controller.resume(),
  stop: () => controller.stop(),
  save: () => controller.save(),
  get state() {
    return plainState(controller.state);
  },
};
addEventListener('pagehide', () => controller.leave());
// The browser ends the process of a closed page before its WebRTC threads have sent the good-bye; without this wait a
// peer in twenty heard none. No event tells when it is out.
addEventListener('pagehide', () => {
  for (const until = performance.now() + LAST_WORDS_MS; performance.now() < until;);
});
// A page out of the back-forward cache has dead workers and peers.
addEventListener('pageshow', (event) => {
  if ((event as PageTransitionEvent).persisted) location.reload();
});
// A new link in the same tab is a new page.
addEventListener('hashchange', () => location.reload());
addEventListener('error', (event) => controller.problem(sentence(event.error ?? event.message)));
addEventListener('unhandledrejection', (event) => controller.problem(sentence(event.reason)));
// A room that is opened by a click names its owner in the link. Who enters one is told why there is none.
tabIdentity().then(
  ({ identity }) => reporter.page('identity', identity.id),
  () => undefined,
);
reporter.page('loaded');
if (trouble !== undefined) controller.problem(trouble);
else if (allowed) {
  if (settings.auto) void begin();
} else if (wishesOfLink(settings).length > 0) ask();

/** Steps may come hundreds of times a second; only what changes more than numbers is drawn at once. */
function show(state: PageState): void {
  state.run?.running(state.phase === 'training' || state.phase === 'stopping', performance.now());
  past.show(state);
  if (differsInMore(state, app.state)) app.state = state;
  else
    drawing ??= setTimeout(() => {
      drawing = undefined;
      app.state = { ...controller.state };
    }, 250);
}

/** A link of anybody: what it would do is said, and done after a click. */
function ask(): void {
  const card = document.createElement('consent-card') as ConsentCard;
  card.wishes = wishesOfLink(settings);
  card.addEventListener('allow', () => {
    card.remove();
    allowed = true;
    if (settings.auto) void begin();
  });
  // What is left of the link only fills in the page.
  card.addEventListener('refuse', () => card.remove());
  document.body.prepend(card);
}

async function begin(): Promise<void> {
  const { room, world, devices, job } = settings;
  if (room) return controller.join(room, job && { worldSize: world ?? worldSize(configOf(job).layout), plan: job });
  return controller.trainHere(
    job ?? makeJob(layoutFor(devices ?? 1, parseRunConfig([['microbatches', 2]]), NO_FACTS).config),
  );
}

async function readSettings(): Promise<{ settings: PageSettings; trouble?: string }> {
  try {
    const settings = readFragment(location.hash, document.baseURI);
    const { room } = settings;
    if (room?.owner !== THIS_TAB) return { settings };
    if (!driven)
      throw new ConfigError('link', 'owner is "self", which only a program says; copy the whole link of the room');
    return { settings: { ...settings, room: { ...room, owner: (await tabIdentity()).identity.id } } };
  } catch (error) {
    return { settings: { auto: false, backend: 'auto', ice: NO_ICE }, trouble: sentence(error) };
  }
}

function plainState({
  phase,
  status,
  problems,
  question,
  goOn,
  run,
  room,
  checkpoint,
  connections,
  watching,
}: PageState): Record<string, unknown> {
  return {
    phase,
    status,
    problems: [...problems],
    question,
    goOn,
    connections,
    checkpointStep: checkpoint?.step,
    may: room?.may,
    members: room?.members.map(({ name, adapter, role, run: work }) => ({
      name,
      adapter,
      role,
      ...(work ? { rank: work.rank, phase: work.phase } : {}),
    })),
    notices: room?.notices,
    watching: watching?.map(({ name }) => name),
    run: run && {
      step: run.step,
      loss: run.loss.last,
      points: run.loss.length,
      evaluations: run.evaluation.length,
      samples: run.samples.length,
      ranks: run.ranks.length,
    },
  };
}
