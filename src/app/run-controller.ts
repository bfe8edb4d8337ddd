// The life of this page: at most one run at a time, either on virtual devices of this tab or as one rank of a room. One state for both; the page draws it.
// Every failure ends as one sentence in `problems`. Calls never reject: a button cannot handle an error better than the panel that shows it.
// Surprising rule: a worker serves one run. A new view of a room gets a new worker, because the old one may still be entangled with peers that are gone.

import { worldSize } from '../base/axis.ts';
import { ConfigError, RoomError, TabmeshError } from '../base/errors.ts';
import { quote } from '../base/json.ts';
import { realWorld } from '../base/world.ts';
import { createPeerMesh } from '../cluster/peer-mesh.ts';
import type { Presence } from '../cluster/presence.ts';
import type { ConnectionView } from './connections.ts';
import { viewConnections } from './connections.ts';
import { IceSource } from './ice-source.ts';
import { joinRoom } from '../cluster/session.ts';
import type { Place, Session, SessionEvent, Wanted } from '../cluster/session.ts';
import { neededFiles } from '../train/prepare.ts';
import { describeEnd } from '../train/describe-end.ts';
import type { DeviceReport, RankEvent } from '../../workers/protocol.ts';
import { download, storeLatest } from './checkpoints.ts';
import type { PageSettings, RoomAddress } from './fragment.ts';
import { createLocalHosts, joinPairwise } from './local-mesh.ts';
import { formatBytes } from '../base/format-bytes.ts';
import { configOf, fetchContents, parsePlan, sentence } from './plan.ts';
import type { Plan, PlanContents } from './plan.ts';
import { RankHost } from './rank-host.ts';
import type { Reporter } from './reporter.ts';
import { chooseCarrier, introduce } from './room.ts';
import { sameBrowserMesh, witnessed } from './same-browser.ts';
import { RunView } from './run-view.ts';

/** 'starting': opens, loads, connects. 'idle', 'done' and 'failed': a run may begin. */
export type Phase = 'idle' | 'starting' | 'training' | 'paused' | 'stopping' | 'done' | 'failed';

export interface RoomState { readonly address: RoomAddress; readonly joined: boolean; readonly members: readonly Presence[]; readonly me: Presence | undefined; readonly carrier: string }

export interface PageState {
  readonly phase: Phase;
  readonly status: string;
  readonly problems: readonly string[];
  readonly run: RunView | undefined;
  readonly room: RoomState | undefined;
  /** What the connection doctor said last of each link of the current or the last group; empty outside of rooms. */
  readonly connections: readonly ConnectionView[];
  /** The last checkpoint of this page's rank 0. */
  readonly checkpoint: { readonly step: number; readonly bytes: Uint8Array<ArrayBuffer> } | undefined;
}

export interface ControllerOptions {
  readonly settings: PageSettings;
  /** Address that plans are relative to. */
  readonly page: string;
  readonly reporter: Reporter;
  readonly onChange: (state: PageState) => void;
}

export class RunController {
  state: PageState = { phase: 'idle', status: '', problems: [], run: undefined, room: undefined, connections: [], checkpoint: undefined };
  readonly #options: ControllerOptions;
  readonly #ice: IceSource;
  #hosts: readonly RankHost[] = [];
  #session: Session | undefined;
  #abort = new AbortController();
  #wantsFile = false;
  /** What we asked the room to train, until any run begins; told again to whoever becomes the coordinator. */
  #wanted: Wanted | undefined;
  #askedAddress = '';
  /** Status of a moment; the next step replaces it. */
  #passing = '';
  #storeProblem: string | undefined;

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#ice = new IceSource({ world: realWorld, own: options.settings.ice, page: options.page, fetch: (address, init) => fetch(address, init) });
  }

  get busy(): boolean { return ['starting', 'training', 'paused', 'stopping'].includes(this.state.phase); }

  /** Trains on as many workers of this tab as the plan's layout has ranks. Resolves when the run is over. */
  async trainHere(plan: Plan, given: PlanContents = {}): Promise<void> {
    if (this.busy) return;
    const { backend } = this.#options.settings;
    const abort = this.#begin();
    let hosts: readonly RankHost[] = [];
    try {
      const config = configOf(plan);
      const size = worldSize(config.layout);
      const run = new RunView(config);
      this.#change({ run, status: `opening ${size} virtual device${size === 1 ? '' : 's'}` });
      hosts = this.#hosts = createLocalHosts(size);
      const reports = await Promise.all(hosts.map((host) => host.open(backend)));
      reports.forEach((report, rank) => run.opened(rank, report));
      const { checkpoint, ...files } = await fetchContents(plan, this.#options.page, given, (status) => this.#change({ status }), abort.signal);
      this.#change({ status: 'preparing text, tokens and weights' });
      await Promise.all(hosts.map((host) => host.prepare({ config: plan.config, files, backend, ...(checkpoint ? { checkpoint } : {}) })));
      await joinPairwise(hosts);
      this.#change({ phase: 'training', status: 'compiling kernels' });
      const setup = { run: new DataView(realWorld.randomBytes(4).buffer).getUint32(0), view: 1, ...wishesOf(plan) };
      await Promise.all(hosts.map((host, rank) => host.start({ rank, ...setup }, (event) => this.#onRank(run, rank, event))));
    } catch (error) {
      if (!abort.signal.aborted) this.#fail(error);
    } finally {
      // By now another run may have begun with hosts of its own.
      for (const host of hosts) host.close();
      if (this.#hosts === hosts) this.#hosts = [];
    }
  }

  /** Enters a room with an open device. `wanted` is proposed as soon as we are in. */
  async join(address: RoomAddress, wanted?: Wanted): Promise<void> {
    if (this.busy || this.#session) return;
    this.#begin();
    this.#wanted = wanted;
    const { reporter, settings } = this.#options;
    try {
      this.#change({ status: 'opening the GPU', room: { address, joined: false, members: [], me: undefined, carrier: '' } });
      const [host, report] = await this.#openHost();
      this.#hosts = [host];
      this.#change({ status: 'looking for the room' });
      const carrier = await chooseCarrier(address.broker);
      this.#setRoom({ carrier: carrier.name });
      this.#session = await joinRoom({
        world: realWorld, carrier, room: address.room, key: address.key, me: introduce(report), ice: () => this.#ice.current(),
        prepare: (place) => this.#prepare(place),
        adopt: (peer, lanes) => this.#hosts[0]!.adoptChannels(peer, lanes),
        createMesh: witnessed((peer, lock) => { void this.#hosts[0]?.watch(peer, lock).catch(() => undefined); },
          settings.lane ? sameBrowserMesh((peer, met) => this.#hosts[0]!.adoptSameBrowser(peer, met)) : createPeerMesh),
        onEvent: (event) => {
          reporter.session(event);
          this.#onSession(event);
        },
      });
      this.#setRoom({ joined: true });
      if (this.state.phase === 'starting' && !this.state.run && !wanted) this.#change({ phase: 'idle', status: 'in the room; choose what to train' });
      this.#ask();
    } catch (error) {
      this.#closeHosts();
      this.#setRoom({ joined: false });
      // joinRoom tells a fatal error by an event as well, if it got so far.
      if (!this.state.problems.includes(sentence(error))) this.#fail(error);
    }
  }

  /** Asks the room for a run; it begins as soon as enough tabs are here. */
  propose(plan: Plan, given: PlanContents = {}): void {
    if (!this.#session || this.busy) return;
    try {
      const config = configOf(plan);
      if (neededFiles(config).text && plan.files.text === undefined && config.data !== 'moby-dick') throw new ConfigError('data', `${quote(config.data)} lies on this tab alone, and the other tabs of the room cannot read it; train on it with the virtual devices of this tab (leave the room), or choose Moby Dick or a task`);
      if (given.checkpoint) throw new ConfigError('checkpoint', 'it lies on this tab alone, and the other tabs of the room cannot read it; leave the room and resume on the virtual devices of this tab');
      this.#change({ problems: [] });
      this.#wanted = { worldSize: worldSize(config.layout), plan };
      this.#askedAddress = '';
      this.#ask();
    } catch (error) {
      this.#fail(error);
    }
  }

  async leaveRoom(): Promise<void> {
    this.#abort.abort();
    this.#wanted = undefined;
    this.#closeHosts();
    await this.#session?.close();
    this.#session = undefined;
    this.#change({ phase: 'idle', status: 'left the room', room: undefined, connections: [] });
  }

  pause(): void {
    if (this.state.phase !== 'training') return;
    this.#tellHosts((host) => host.pause());
    this.#change({ phase: 'paused', status: 'paused after this step' });
  }

  resume(): void {
    if (this.state.phase !== 'paused') return;
    this.#tellHosts((host) => host.resume());
    this.#change({ phase: 'training', status: 'training' });
  }

  /** Ends the run after its step, on all ranks; before the first step: at once. */
  stop(): void {
    const { phase, run } = this.state;
    if (phase === 'starting') {
      this.#abort.abort();
      if (this.#session) { void this.leaveRoom(); return; }
      this.#closeHosts();
      this.#change({ phase: 'idle', status: 'stopped before the first step' });
    } else if (run && this.busy) {
      this.#tellHosts((host) => host.request({ stop: true, save: true }));
      this.#change({ phase: 'stopping', status: 'stopping after this step' });
    }
  }

  /** Saves a checkpoint as a file: now, or the last one of a run that is over. */
  save(): void {
    const { phase, run, checkpoint } = this.state;
    if (run && (phase === 'training' || phase === 'paused')) {
      this.#wantsFile = true;
      this.#tellOne((host) => host.request({ save: true }));
      this.#change({ status: run.ranks[0]!.own ? 'saving after this step' : `rank 0 (${run.ranks[0]!.name || 'another tab'}) saves after this step` });
    } else if (checkpoint) download(checkpoint.bytes, `tabmesh-step-${checkpoint.step}.safetensors`);
  }

  /** Asks the connection doctor anew. */
  examine(): void { void this.#session?.examine(); }

  sample(): void { this.#tellOne((host) => host.request({ sample: true })); }

  problem(text: string): void {
    this.#change({ problems: [...this.state.problems.filter((known) => known !== text), text].slice(-5) });
    this.#options.reporter.page('error', text);
  }

  forget(text: string): void { this.#change({ problems: this.state.problems.filter((known) => known !== text) }); }

  /** The page goes away: the peers should hear it from us and not by silence. */
  leave(): void {
    this.#tellHosts((host) => host.leave());
    void this.#session?.close();
  }

  /**
   * Tells the coordinator what we want. A proposal lives with the coordinator alone, and while tabs arrive another one may turn out to be it;
   * the same number of the run says that it is the same proposal.
   */
  #ask(): void {
    const address = this.#session?.coordinator?.address;
    if (!this.#wanted || !this.#session || address === undefined || address === this.#askedAddress) return;
    this.#askedAddress = address;
    this.#wanted = { ...this.#wanted, run: this.#session.propose(this.#wanted) };
  }

  async #prepare(place: Place): Promise<void> {
    const { settings, page } = this.#options;
    const plan = parsePlan(place.plan);
    const { layout } = configOf(plan);
    if (worldSize(layout) !== place.worldSize) throw new ConfigError('plan', `its layout has ${worldSize(layout)} ranks, but the world has ${place.worldSize}; make them equal`);
    const { run } = this.state;
    let host = this.#hosts[0];
    if (!host || host.used) {
      this.#closeHosts();
      [host] = await this.#openHost();
      this.#hosts = [host];
    }
    await this.#ice.refresh();
    run?.opened(place.rank, await host.open(settings.backend));
    const { checkpoint, ...files } = await fetchContents(plan, page, {}, (status) => this.#change({ status }), this.#abort.signal);
    this.#change({ status: 'preparing text, tokens and weights' });
    await host.prepare({ config: plan.config, files, backend: settings.backend, ...(checkpoint ? { checkpoint } : {}) });
    this.#change({ status: 'connecting to the other tabs' });
  }

  async #openHost(): Promise<[RankHost, DeviceReport]> {
    const host = new RankHost();
    return [host, await host.open(this.#options.settings.backend)];
  }

  #onSession(event: SessionEvent): void {
    switch (event.type) {
      case 'status': return this.#change({ status: event.text });
      case 'roster':
        this.#setRoom({ members: event.members, me: event.me });
        return this.#ask();
      case 'forming':
        this.#wanted = undefined;
        this.#begin();
        return this.#showRun(event.place);
      case 'connections': return this.#change({ connections: viewConnections(event.diagnoses, event.place.members) });
      case 'started': void this.#startRank(event.place); return;
      case 'lost': return this.#change({ status: `rank ${event.rank} (${event.member.name}) left the room` });
      case 'failed':
        if (event.fatal) {
          this.#session = undefined;
          this.#closeHosts();
          this.#setRoom({ joined: false });
        }
        return this.#fail(event.error);
    }
  }

  #showRun({ plan, members }: Place): void {
    try {
      const run = new RunView(configOf(parsePlan(plan)));
      for (const view of run.ranks) {
        const { name, adapter, software } = members[view.rank] ?? { name: '', adapter: '', software: false };
        Object.assign(view, { name, adapter, software });
      }
      this.#change({ run });
    } catch (error) {
      this.#fail(error);
    }
  }

  async #startRank(place: Place): Promise<void> {
    const [host] = this.#hosts;
    const { run } = this.state;
    if (!host || !run) return;
    const plan = parsePlan(place.plan);
    this.#change({ phase: 'training', status: 'compiling kernels' });
    try {
      const paths = Object.fromEntries(await this.#session?.routes() ?? []);
      if (this.#hosts[0] !== host) return;
      await host.start({ rank: place.rank, run: place.run, view: place.view, paths, ...wishesOf(plan) }, (event) => this.#onRank(run, place.rank, event));
    } catch (error) {
      // A worker that was ended for the next view fails its old run; nobody waits for that.
      if (this.#hosts[0] === host) this.#fail(error);
    }
  }

  #onRank(run: RunView, rank: number, event: RankEvent): void {
    this.#options.reporter.rank(rank, event);
    if (this.state.run !== run) return;
    run.apply(rank, event, performance.now());
    const watched = rank === run.watched;
    switch (event.kind) {
      case 'status': if (watched) this.#change({ status: event.text }); return;
      case 'ready': if (watched) this.#change({ status: 'training' }); return;
      case 'note': if (watched) this.#change({ status: `step ${event.step}: ${event.text}` }); return;
      case 'checkpoint': this.#keep(event.step, event.bytes); return;
      case 'done': if (watched) this.#change({ phase: 'done', status: describeEnd(event) }); return;
      case 'failed': return this.#rankFailed(run, event);
      case 'step': return this.#change(watched && this.state.phase === 'training' && this.state.status === this.#passing ? { status: 'training' } : {});
      default: this.#change({});
    }
  }

  /** Every rank tells the same failure; the culprit's own words are enough. */
  #rankFailed(run: RunView, { message, culprit }: Extract<RankEvent, { kind: 'failed' }>): void {
    const told = this.state.problems.some((known) => known.includes(message) || message.includes(known));
    if (told) return this.#change({ phase: 'failed' });
    this.examine();
    const name = culprit === undefined ? '' : run.ranks[culprit]?.name;
    const advice = culprit === undefined ? '' : this.#session ? '; train again when enough tabs are in the room' : '; train again, or resume from the last checkpoint';
    this.#fail(new TabmeshError(`${message}${name ? ` (${name})` : ''}${advice}`));
  }

  #keep(step: number, bytes: Uint8Array<ArrayBuffer>): void {
    this.#passing = `checkpoint of step ${step}: ${formatBytes(bytes.byteLength)}`;
    this.#change({ checkpoint: { step, bytes }, status: this.#passing });
    if (this.#wantsFile) {
      this.#wantsFile = false;
      download(bytes, `tabmesh-step-${step}.safetensors`);
    }
    // A full store ends no training; it stays told until a later checkpoint fits.
    storeLatest(bytes).then(() => this.#tellStore(undefined), (error: unknown) => {
      this.#tellStore(`the checkpoint of step ${step} is not kept in this browser (${sentence(error)}); what it kept before stays; save this one as a file`);
    });
  }

  #tellStore(problem: string | undefined): void {
    if (this.#storeProblem === problem) return;
    const others = this.state.problems.filter((known) => known !== this.#storeProblem);
    this.#storeProblem = problem;
    this.#change({ problems: problem === undefined ? others : [...others, problem].slice(-5) });
  }

  #begin(): AbortController {
    this.#abort.abort();
    this.#askedAddress = '';
    this.#abort = new AbortController();
    this.#wantsFile = false;
    this.#change({ phase: 'starting', problems: [], run: undefined, connections: [], checkpoint: undefined });
    return this.#abort;
  }

  #fail(error: unknown): void {
    this.#change({ phase: 'failed', status: error instanceof RoomError && !this.#session ? 'not in the room' : 'the run failed' });
    this.problem(sentence(error));
  }

  #closeHosts(): void {
    for (const host of this.#hosts) host.close();
    this.#hosts = [];
  }

  #tellHosts(call: (host: RankHost) => Promise<void>): void {
    // A worker that fails here fails its run too, and that is where it is told.
    for (const host of this.#hosts) call(host).catch(() => {});
  }

  /** One rank's wish reaches all with the step; of two ranks that are asked at different steps there would be two. */
  #tellOne(call: (host: RankHost) => Promise<void>): void {
    const [host] = this.#hosts;
    if (host) call(host).catch(() => {});
  }

  #setRoom(change: Partial<RoomState>): void {
    const { room } = this.state;
    if (room) this.#change({ room: { ...room, ...change } });
  }

  #change(change: Partial<PageState>): void {
    this.state = { ...this.state, ...change };
    this.#options.onChange(this.state);
  }
}

function wishesOf({ wantGradients = false, wantModel = false, sampleTokens }: Plan): { wantGradients: boolean; wantModel: boolean; sampleTokens?: number } {
  return { wantGradients, wantModel, ...(sampleTokens === undefined ? {} : { sampleTokens }) };
}
