// The life of this page: at most one run at a time, either on virtual devices of this tab or as one rank of a room. One
// state for both; the page draws it. Every failure ends as one sentence in `problems`. Calls never reject: a button
// cannot handle an error better than the panel that shows it. Surprising rule: a RankHost serves one run. A new view of
// a room gets a new one, because the old one may still be entangled with peers that are gone.

import { worldSize } from '../../base/axis.ts';
import { RoomError, TabmeshError } from '../../base/errors.ts';
import { realWorld } from '../../base/world.ts';
import type { Role } from '../../cluster/presence.ts';
import { viewConnections } from './connections.ts';
import { IceSource } from './ice-source.ts';
import { joinRoom } from '../../cluster/session.ts';
import type { Place, Session, SessionEvent, Wanted } from '../../cluster/session.ts';
import type { SampleAsk } from '../../train/beside/ask.ts';
import { describeEnd } from '../../train/describe-end.ts';
import type { DeviceReport, RankEvent } from '../../../workers/protocol.ts';
import { download } from './checkpoints.ts';
import type { PageSettings, RoomAddress } from './fragment.ts';
import { createLocalHosts, joinPairwise, prepareLocalHosts } from './local-mesh.ts';
import { checkPlan, configOf, fetchContents, parsePlan, wishesOf } from './plan.ts';
import { sentence } from '../shared/sentence.ts';
import type { Plan, PlanContents } from './plan.ts';
import { changed, EMPTY_STATE, roomAt } from './room/page-state.ts';
import type { PageState, RoomState } from './room/page-state.ts';
import { RankHost } from './rank-host.ts';
import type { Reporter } from './reporter.ts';
import { adapterOf, introduce, shownName } from './room/introduction.ts';
import { RoomEntry } from './room/entry.ts';
import { prepareRank } from './room/prepare-rank.ts';
import { createRoomParts } from './room/room-parts.ts';
import type { RoomParts } from './room/room-parts.ts';
import { failureSentence, runOfPlace } from './room/run-of-place.ts';
import { WRITING } from './room/acts.ts';
import { laneWorker, tabLanes } from '../shared/same-browser.ts';
import { RunView } from './run-view.ts';

export type { PageState, Phase, RoomState } from './room/page-state.ts';

export interface ControllerOptions {
  readonly settings: PageSettings;
  /** Address that plans are relative to. */
  readonly page: string;
  readonly reporter: Reporter;
  readonly onChange: (state: PageState) => void;
}

export class RunController {
  state: PageState = EMPTY_STATE;
  readonly #options: ControllerOptions;
  readonly #ice: IceSource;
  #hosts: readonly RankHost[] = [];
  #session: Session | undefined;
  readonly entry: RoomEntry;
  #abort = new AbortController();
  readonly #room: RoomParts;

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#ice = new IceSource({
      world: realWorld,
      own: options.settings.ice,
      page: options.page,
      fetch: (address, init) => fetch(address, init),
    });
    this.entry = new RoomEntry({
      room: () => this.state.room,
      change: (change) => this.#setRoom(change),
      onStatus: (status) => this.#change({ status }),
      session: () => this.#session,
      accuse: (rank, what) => {
        void this.#hosts[0]?.accuse(rank, what).catch(() => undefined);
      },
    });
    this.#room = createRoomParts({
      state: () => this.state,
      change: (change) => this.#change(change),
      session: () => this.#session,
      hosts: () => this.#hosts,
      propose: (wanted) => this.#propose(wanted),
      takeHosts: () => {
        const hosts = this.#hosts;
        this.#hosts = [];
        this.#abort.abort();
        return hosts;
      },
    });
  }

  get busy(): boolean {
    return ['starting', 'training', 'paused', 'stopping'].includes(this.state.phase);
  }

  /** Trains on as many virtual devices of this tab as the plan's layout has ranks. Resolves when the run is over. */
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
      hosts = this.#hosts = createLocalHosts(size, backend);
      const reports = await Promise.all(hosts.map((host) => host.open(backend)));
      reports.forEach((report, rank) => run.opened(rank, report));
      const { checkpoint, ...files } = await fetchContents(
        plan,
        this.#options.page,
        given,
        (status) => this.#change({ status }),
        abort.signal,
      );
      this.#change({ status: 'preparing text, tokens and weights' });
      await prepareLocalHosts(hosts, { config: plan.config, files, backend, ...(checkpoint ? { checkpoint } : {}) });
      await joinPairwise(hosts);
      this.#change({ phase: 'training', status: 'compiling kernels' });
      const setup = {
        run: new DataView(realWorld.randomBytes(4).buffer).getUint32(0),
        view: 1,
        stays: true,
        ...wishesOf(plan),
      };
      await Promise.all(
        hosts.map((host, rank) => host.start({ rank, ...setup }, (event) => this.#onRank(run, rank, event))),
      );
    } catch (error) {
      if (!abort.signal.aborted) this.#fail(error);
    }
    // The devices of a run that is over stay for its model. By now another run may have begun with hosts of its own.
    if (this.#hosts === hosts && this.state.stays) return;
    for (const host of hosts) host.close();
    if (this.#hosts === hosts) this.#hosts = [];
  }

  /** Enters a room; a trainer opens its device before. `wanted` is proposed as soon as we are in. */
  async join(address: RoomAddress, wanted?: Wanted, role: Role = 'trainer'): Promise<void> {
    if (this.busy || this.#session) return;
    this.#begin();
    const { settings, page } = this.#options;
    const left = this.entry.begin();
    try {
      this.#change({ status: role === 'trainer' ? 'opening the GPU' : 'looking for the room', room: roomAt(address) });
      const report = role === 'trainer' ? await this.#openHost() : undefined;
      left.throwIfAborted();
      this.#change({ status: 'looking for the room' });
      const { carrier, identity, law } = await this.entry.enter(address, left);
      const lanes = tabLanes(
        settings.lane ?? 'same-browser',
        laneWorker(() => this.#hosts[0]),
      );
      const session = await joinRoom({
        world: realWorld,
        carrier: lanes.tell(carrier),
        room: address.room,
        key: address.key,
        me: introduce(role, identity, report),
        identity,
        ...law,
        ice: () => this.#ice.current(),
        check: (wish) => checkPlan(wish, page),
        prepare: (place) => this.#prepare(place),
        adopt: (peer, lanes) => this.#hosts[0]!.adoptChannels(peer, lanes),
        createMesh: lanes.createMesh,
        onEvent: (event) => {
          if (!left.aborted) this.#onSession(event);
        },
      });
      if (left.aborted) return await session.close();
      this.#session = session;
      this.#setRoom({ joined: true, carrier: carrier.name, ...this.entry.rights() });
      void this.#room.keeper.announce();
      const { me, members } = this.#session;
      this.#room.watch.roster(members, me);
      if (wanted) this.#propose(wanted);
      else if (this.state.phase === 'starting' && !me.run)
        this.#change({
          phase: 'idle',
          ...(this.state.watching ? {} : { status: 'in the room; choose what to train' }),
        });
    } catch (error) {
      // By now the page may be in another room. What ended the visit has told why.
      if (left.aborted) return;
      this.#closeHosts();
      this.#setRoom({ joined: false });
      // joinRoom tells a fatal error by an event as well, if it got so far.
      if (!this.state.problems.includes(sentence(error))) this.#fail(error);
    }
  }

  /** Lends this device to the room: a spare, until a group is formed. */
  async help(): Promise<void> {
    const session = this.#session;
    if (!session || session.me.role === 'trainer') return;
    try {
      const report = await this.#openHost();
      if (this.#session === session) session.update({ role: 'trainer', ...adapterOf(report) });
    } catch (error) {
      this.problem(sentence(error));
    }
  }

  renamed(): void {
    if (this.#session) this.#session.update({ name: shownName(this.#session.me.id) });
  }

  /** Only watches from now on. */
  rest(): void {
    if (!this.#session?.me.run) this.#session?.update({ role: 'observer' });
  }

  /** Asks the room for a run; it begins as soon as the room is free and enough tabs are here. */
  async propose(plan: Plan, given: PlanContents = {}): Promise<void> {
    if (!this.#session || this.busy) return;
    try {
      this.#change({ problems: [] });
      await this.help();
      this.#propose({ worldSize: worldSize(configOf(plan).layout), plan: await this.#room.files.share(plan, given) });
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Asks the room to go on with its last run from its last checkpoint. */
  async goOn(): Promise<void> {
    if (!this.#session || this.busy) return;
    await this.help();
    this.#room.resume.goOn();
  }

  async leaveRoom(): Promise<void> {
    this.#abort.abort();
    this.#room.acts.over();
    this.#closeHosts();
    const session = this.#session;
    this.#session = undefined;
    this.entry.leave();
    this.#room.keeper.left();
    await session?.close();
    this.#change({ phase: 'idle', status: 'left the room', room: undefined, watching: undefined, connections: [] });
  }

  /** Pauses all ranks between two steps, for PAUSE_LIMIT_MS at most. */
  pause(): void {
    if (this.state.phase === 'training') this.#room.acts.want('pause');
  }

  resume(): void {
    if (this.state.phase === 'paused') this.#room.acts.want('resume');
  }

  /** Ends the run after its step, on all ranks; before the first step: at once. */
  stop(): void {
    const { phase } = this.state;
    if (phase === 'training' || phase === 'paused') return this.#room.acts.want('stop');
    if (phase !== 'starting') return;
    const { me } = this.#session ?? {};
    if (me?.run) return this.#session!.giveUp(`${me.name} stopped it before the first step`);
    this.#room.resume.declined();
    if (me?.wants) return this.#session!.withdraw();
    this.#abort.abort();
    if (this.#session || this.state.room) {
      void this.leaveRoom();
      return;
    }
    this.#closeHosts();
    this.#change({ phase: 'idle', status: 'stopped before the first step' });
  }

  /** Saves a checkpoint as a file: now, or the last one of a run that is over. */
  save(): void {
    const { phase, checkpoint, stays, run } = this.state;
    if (phase === 'training' || phase === 'paused' || (stays && checkpoint?.step !== run?.step))
      this.#room.acts.want('save');
    else if (checkpoint) download(checkpoint.bytes, `tabmesh-step-${checkpoint.step}.safetensors`);
  }

  /** Asks the connection doctor anew. */
  examine(): void {
    void this.#session?.examine();
  }

  /** The person's answer to `state.question`. */
  answer(agreed: boolean): void {
    if (this.state.question !== undefined) this.#room.files.answer(agreed);
  }

  /** Lets the model write; while it trains, after the step. */
  sample(ask?: SampleAsk): void {
    if (this.state.run && (this.busy || this.state.stays)) this.#room.acts.want('sample', ask);
  }

  problem(text: string): void {
    this.#change({ problems: [...this.state.problems.filter((known) => known !== text), text].slice(-5) });
    this.#options.reporter.page('error', text);
  }
  forget(text: string): void {
    this.#change({ problems: this.state.problems.filter((known) => known !== text) });
  }

  /** The page goes away: the peers should hear it from us and not by silence. */
  leave(): void {
    for (const host of this.#hosts) host.leave().catch(() => undefined);
    void this.#session?.close();
  }

  #propose(wanted: Wanted): void {
    try {
      this.#session?.propose(wanted);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #prepare(place: Place): Promise<void> {
    const {
      settings: { backend },
      page,
    } = this.#options;
    const { run } = this.state;
    if (this.#hosts.length !== 1 || this.#hosts[0]!.used) await this.#openHost();
    const [host] = this.#hosts;
    await this.#ice.refresh();
    await prepareRank(host!, place, {
      backend,
      page,
      files: this.#room.files,
      run,
      onStatus: (status) => this.#change({ status }),
      signal: this.#abort.signal,
    });
  }

  /** One host, fresh and with an open device. */
  async #openHost(): Promise<DeviceReport> {
    this.#closeHosts();
    const host = new RankHost();
    this.#hosts = [host];
    return host.open(this.#options.settings.backend);
  }

  #onSession(event: SessionEvent): void {
    this.#options.reporter.session(event);
    switch (event.type) {
      case 'status':
        return this.#change({ status: event.text });
      case 'notice':
      case 'rules':
      case 'removed':
        return this.entry.heard(event);
      case 'roster':
        this.#setRoom({ members: event.members, me: event.me });
        return this.#room.roster(event.members, event.me);
      case 'wish':
        if (event.wish) return this.#change({ phase: 'starting' });
        if (this.state.phase === 'starting' && !this.#session?.me.run)
          this.#change({
            phase: 'idle',
            status: event.refused === undefined ? 'in the room; choose what to train' : 'the room refused the run',
          });
        if (event.refused !== undefined) this.problem(event.refused);
        return;
      case 'act':
        return this.#room.acts.heard(event.run, event.act, event.by);
      case 'asked':
        return this.#room.watch.asked(event.run, event.by);
      case 'news':
        return this.#room.watch.news(event.run, event.body, event.from);
      case 'forming':
        this.#begin();
        return this.#showRun(event.place);
      case 'stopped':
        this.#room.resume.declined();
        this.#abort.abort();
        this.#closeHosts();
        return this.#change({ phase: 'idle', status: event.reason });
      case 'connections':
        return this.#change({ connections: viewConnections(event.diagnoses, event.place.members) });
      case 'started':
        void this.#startRank(event.place);
        return;
      case 'lost':
        return this.#change({ status: `rank ${event.rank} (${event.member.name}) left the room` });
      case 'failed':
        if (event.fatal) {
          this.#session = undefined;
          this.entry.leave();
          this.#closeHosts();
          this.#setRoom({ joined: false, members: [], me: undefined });
        }
        return this.#fail(event.error);
    }
  }

  #showRun(place: Place): void {
    try {
      const plan = parsePlan(place.plan);
      this.#room.files.begin(this.#session?.members.find(({ wants }) => wants?.wish === place.wish)?.name ?? '');
      const view = runOfPlace(plan, place, this.#room.resume.before(place.run));
      this.#room.resume.know({ run: place.run, plan, view, group: place.members.map(({ id }) => id) });
      this.#change({ run: view });
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
    if (this.#room.acts.stoppedEarly(place.run)) return;
    try {
      const paths = Object.fromEntries((await this.#session?.routes()) ?? []);
      if (this.#hosts[0] !== host) return;
      await host.start(
        { copies: true, rank: place.rank, run: place.run, view: place.view, paths, ...wishesOf(plan) },
        (event) => this.#onRank(run, place.rank, event),
      );
    } catch (error) {
      // A worker that was ended for the next view fails its old run; nobody waits for that.
      if (this.#hosts[0] !== host) return;
      this.#session?.finish('failed', run.step);
      this.#fail(error);
    }
  }

  #onRank(run: RunView, rank: number, event: RankEvent): void {
    this.#options.reporter.rank(rank, event);
    if (this.state.run !== run) return;
    run.apply(rank, event, performance.now());
    if (this.#room.files.took(event) || this.#room.keeper.took(event, this.#session?.me.run?.run)) return;
    this.#room.watch.event(run, event);
    const watched = rank === run.watched;
    switch (event.kind) {
      case 'status':
        if (watched) this.#change({ status: event.text });
        return;
      case 'ready':
        if (watched && this.state.phase === 'training') this.#change({ status: 'training' });
        return;
      case 'note':
        if (watched) this.#change({ status: `step ${event.step}: ${event.text}` });
        return;
      case 'done':
        if (!watched) return;
        this.#room.acts.over();
        this.#room.resume.ended({});
        this.#change({ phase: 'done', status: describeEnd(event), stays: !this.#session });
        return this.#session?.finish(event.stopped ? 'stopped' : 'done', event.steps);
      case 'failed':
        // Who has stopped it hears the others go.
        if (this.state.phase === 'stopping' && !run.ready) return;
        this.#room.acts.over();
        this.#room.resume.ended(this.#room.files.declined ? {} : event);
        this.#rankFailed(run, event);
        this.#session?.finish('failed', run.step);
        // The next group forms without this tab.
        if (this.#room.files.declined) this.rest();
        return;
      case 'step':
        return this.#change(
          watched && this.state.phase === 'training' && this.#room.keeper.isPassing(this.state.status)
            ? { status: 'training' }
            : {},
        );
      case 'sample':
        return this.#change(
          this.state.status === WRITING ? { status: this.state.phase === 'paused' ? 'paused' : 'the run is over' } : {},
        );
      default:
        this.#change({});
    }
  }

  /** Every rank tells the same failure; the culprit's own words are enough. */
  #rankFailed(run: RunView, event: Extract<RankEvent, { kind: 'failed' }>): void {
    const { message } = event;
    const told = this.state.problems.some((known) => known.includes(message) || message.includes(known));
    if (told) return this.#change({ phase: 'failed' });
    this.examine();
    this.#fail(
      new TabmeshError(
        failureSentence(
          run,
          event,
          this.#session ? this.#room.resume.advice : '; train again, or resume from the last checkpoint',
        ),
      ),
    );
  }

  #begin(): AbortController {
    this.#abort.abort();
    this.#room.acts.over();
    if (this.state.stays) this.#closeHosts();
    this.#abort = new AbortController();
    this.#room.keeper.wantFile(false);
    // The last checkpoint stays: what forms now may come to nothing.
    this.#change({
      phase: 'starting',
      problems: [],
      run: undefined,
      stays: false,
      watching: undefined,
      connections: [],
    });
    return this.#abort;
  }

  #fail(error: unknown): void {
    if (this.state.stays) this.#closeHosts();
    this.#change({
      phase: 'failed',
      stays: false,
      status: error instanceof RoomError && !this.#session ? 'not in the room' : 'the run failed',
    });
    this.problem(sentence(error));
  }

  #closeHosts(): void {
    for (const host of this.#hosts) host.close();
    this.#hosts = [];
  }

  #setRoom(change: Partial<RoomState>): void {
    if (this.state.room) this.#change({ room: { ...this.state.room, ...change } });
  }

  #change(change: Partial<PageState>): void {
    this.state = changed(this.state, change);
    this.#options.onChange(this.state);
  }
}
