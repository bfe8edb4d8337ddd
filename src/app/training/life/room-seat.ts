// This tab's seat in a room: joins it, lends or withdraws the device, asks for runs, and follows the session through
// forming and starting a group. A new view of a room goes on in the worker of the last run, with its device, plans and
// weights; it gets a new RankHost where that run ended by a fault of ours, or does not end.

import { worldSize } from '../../../base/axis.ts';
import { realWorld } from '../../../base/world.ts';
import type { Role } from '../../../cluster/presence.ts';
import { joinRoom } from '../../../cluster/session.ts';
import type { Place, Session, SessionEvent, Wanted } from '../../../cluster/session.ts';
import type { RankEvent } from '../../../../workers/protocol.ts';
import { laneWorker, tabLanes } from '../../shared/same-browser.ts';
import { sentence } from '../../shared/sentence.ts';
import { viewConnections } from '../connections.ts';
import type { PageSettings, RoomAddress } from '../fragment.ts';
import { IceSource } from '../ice-source.ts';
import { checkJob, configOf, parseJob, wishesOf } from '../job.ts';
import type { Job, JobContents } from '../job.ts';
import type { Reporter } from '../reporter.ts';
import { RoomEntry } from '../room/entry.ts';
import { adapterOf, introduce, shownName } from '../room/introduction.ts';
import { roomAt } from '../room/page-state.ts';
import { prepareRank } from '../room/prepare-rank.ts';
import { createRoomParts } from '../room/room-parts.ts';
import type { RoomParts } from '../room/room-parts.ts';
import { runOfPlace } from '../room/run-of-place.ts';
import type { RunView } from '../run-view.ts';
import type { PageLife } from './page-life.ts';

export interface SeatOptions {
  readonly settings: PageSettings;
  /** Address that jobs are relative to. */
  readonly page: string;
  readonly reporter: Reporter;
  readonly onRank: (run: RunView, rank: number, event: RankEvent) => void;
}

export class RoomSeat {
  readonly #page: PageLife;
  readonly #options: SeatOptions;
  readonly #ice: IceSource;
  readonly entry: RoomEntry;
  readonly parts: RoomParts;
  #session: Session | undefined;

  constructor(page: PageLife, options: SeatOptions) {
    this.#page = page;
    this.#options = options;
    this.#ice = new IceSource({
      world: realWorld,
      own: options.settings.ice,
      page: options.page,
      fetch: (address, init) => fetch(address, init),
    });
    this.entry = new RoomEntry({
      room: () => page.state.room,
      change: (change) => page.setRoom(change),
      onStatus: (status) => page.change({ status }),
      session: () => this.#session,
      accuse: (rank, what) => {
        void page.hosts.first?.accuse(rank, what).catch(() => undefined);
      },
    });
    this.parts = createRoomParts({
      state: () => page.state,
      change: (change) => page.change(change),
      moved: (news) => page.moved(news),
      closeTransfer: (key) => page.closeTransfer(key),
      session: () => this.#session,
      hosts: () => page.hosts.all,
      propose: (wanted) => this.#propose(wanted),
      takeHosts: () => {
        const hosts = page.hosts.take();
        page.abort();
        return hosts;
      },
    });
  }

  get session(): Session | undefined {
    return this.#session;
  }

  /** Enters a room; a trainer opens its device before. `wanted` is proposed as soon as we are in. */
  async join(address: RoomAddress, wanted?: Wanted, role: Role = 'trainer'): Promise<void> {
    if (this.#page.busy || this.#session) return;
    this.#page.begin();
    const { settings, page } = this.#options;
    const left = this.entry.begin();
    try {
      this.#page.change({
        status: role === 'trainer' ? 'opening the device' : 'looking for the room',
        room: roomAt(address),
      });
      const report = role === 'trainer' ? await this.#page.hosts.open(this.#page.backend()) : undefined;
      left.throwIfAborted();
      this.#page.change({ status: 'looking for the room' });
      const { carrier, identity, law } = await this.entry.enter(address, left);
      const lanes = tabLanes(
        settings.lane ?? 'same-browser',
        laneWorker(() => this.#page.hosts.first),
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
        check: (wish) => checkJob(wish, page),
        prepare: (place) => this.#prepare(place),
        adopt: (peer, lanes) => this.#page.hosts.first!.adoptChannels(peer, lanes),
        createConnections: lanes.createConnections,
        onEvent: (event) => {
          if (!left.aborted) this.#onSession(event);
        },
      });
      if (left.aborted) return await session.close();
      this.#session = session;
      this.#page.setRoom({ joined: true, carrier: carrier.name, ...this.entry.rights() });
      void this.parts.keeper.announce();
      const { me, members } = this.#session;
      this.parts.watch.roster(members, me);
      if (wanted) this.#propose(wanted);
      else if (this.#page.state.phase === 'starting' && !me.run)
        this.#page.change({
          phase: 'idle',
          ...(this.#page.state.watching ? {} : { status: 'in the room; choose what to train' }),
        });
    } catch (error) {
      // By now the page may be in another room. What ended the visit has told why.
      if (left.aborted) return;
      this.#page.hosts.close();
      this.#page.setRoom({ joined: false });
      // joinRoom tells a fatal error by an event as well, if it got so far.
      if (!this.#page.state.problems.includes(sentence(error))) this.#page.fail(error);
    }
  }

  /** Lends this device to the room: a spare, until a group is formed. */
  async help(): Promise<void> {
    const session = this.#session;
    if (!session || session.me.role === 'trainer') return;
    try {
      const report = await this.#page.hosts.open(this.#page.backend());
      if (this.#session === session) session.update({ role: 'trainer', ...adapterOf(report) });
    } catch (error) {
      // Who has left the room meanwhile has ended the device.
      if (this.#session === session) this.#page.problem(sentence(error));
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
  async propose(job: Job, given: JobContents = {}): Promise<void> {
    if (!this.#session || this.#page.busy) return;
    try {
      this.#page.change({ problems: [] });
      await this.help();
      this.#propose({ worldSize: worldSize(configOf(job).layout), plan: await this.parts.files.share(job, given) });
    } catch (error) {
      this.#page.fail(error);
    }
  }

  /** Asks the room to go on with its last run from its last checkpoint. */
  async goOn(): Promise<void> {
    if (!this.#session || this.#page.busy) return;
    await this.help();
    this.parts.resume.goOn();
  }

  async leave(): Promise<void> {
    this.#page.abort();
    this.parts.acts.over();
    this.#page.hosts.close();
    const session = this.#session;
    this.#session = undefined;
    this.entry.leave();
    this.parts.keeper.left();
    await session?.close();
    this.#page.change({
      phase: 'idle',
      status: 'left the room',
      room: undefined,
      watching: undefined,
      connections: [],
    });
  }

  #propose(wanted: Wanted): void {
    try {
      this.#session?.propose(wanted);
    } catch (error) {
      this.#page.fail(error);
    }
  }

  async #prepare(place: Place): Promise<void> {
    const { page } = this.#options;
    // Those of this run: while a device is opened the page may leave it, or begin another.
    const { signal } = this.#page;
    const { run } = this.#page.state;
    const backend = await this.#page.backend();
    const host = await this.#page.hosts.serve(backend, signal);
    await this.#ice.refresh();
    await prepareRank(host, place, {
      backend,
      page,
      files: this.parts.files,
      run,
      onStatus: (status) => this.#page.change({ status }),
      onLoading: this.#page.loading,
      signal,
    });
  }

  #onSession(event: SessionEvent): void {
    this.#options.reporter.session(event);
    switch (event.type) {
      case 'status':
        return this.#page.change({ status: event.text });
      case 'notice':
      case 'rules':
      case 'removed':
        return this.entry.heard(event);
      case 'roster':
        this.#page.setRoom({ members: event.members, me: event.me });
        return this.parts.roster(event.members, event.me);
      case 'wish':
        if (event.wish) return this.#page.change({ phase: 'starting' });
        if (this.#page.state.phase === 'starting' && !this.#session?.me.run)
          this.#page.change({
            phase: 'idle',
            status: event.refused === undefined ? 'in the room; choose what to train' : 'the room refused the run',
          });
        if (event.refused !== undefined) this.#page.problem(event.refused);
        return;
      case 'act':
        return this.parts.acts.heard(event.run, event.act, event.by);
      case 'asked':
        return this.parts.watch.asked(event.run, event.by);
      case 'news':
        return this.parts.watch.news(event.run, event.body, event.from);
      case 'forming':
        this.#page.begin();
        return this.#showRun(event.place);
      case 'stopped':
        this.parts.resume.declined();
        this.#page.abort();
        this.#page.hosts.close();
        return this.#page.change({ phase: 'idle', status: event.reason });
      case 'connections':
        return this.#page.change({ connections: viewConnections(event.diagnoses, event.place.members) });
      case 'started':
        void this.#startRank(event.place);
        return;
      case 'lost':
        return this.#page.change({ status: `rank ${event.rank} (${event.member.name}) left the room` });
      case 'failed':
        if (event.fatal) {
          this.#session = undefined;
          this.entry.leave();
          this.#page.hosts.close();
          this.#page.setRoom({ joined: false, members: [], me: undefined });
        }
        return this.#page.fail(event.error);
    }
  }

  #showRun(place: Place): void {
    try {
      const job = parseJob(place.plan);
      this.parts.files.begin(this.#session?.members.find(({ wants }) => wants?.wish === place.wish)?.name ?? '');
      const view = runOfPlace(job, place, this.parts.resume.before(place.run));
      this.parts.resume.know({ run: place.run, job, view, group: place.members.map(({ id }) => id) });
      this.#page.change({ run: view });
    } catch (error) {
      this.#page.fail(error);
    }
  }

  async #startRank(place: Place): Promise<void> {
    const host = this.#page.hosts.first;
    const { run } = this.#page.state;
    if (!host || !run) return;
    const job = parseJob(place.plan);
    this.#page.change({ phase: 'training', status: 'compiling kernels' });
    if (this.parts.acts.stoppedEarly(place.run)) return;
    try {
      const paths = Object.fromEntries((await this.#session?.routes()) ?? []);
      if (this.#page.hosts.first !== host) return;
      await host.start(
        { copies: true, rank: place.rank, run: place.run, view: place.view, paths, ...wishesOf(job) },
        (event) => this.#options.onRank(run, place.rank, event),
      );
    } catch (error) {
      // A worker that was ended for the next view fails its old run; nobody waits for that.
      if (this.#page.hosts.first !== host) return;
      this.#session?.finish('failed', run.step);
      this.#page.fail(error);
    }
  }
}
