// <tabmesh-app>: the page. Draws the controller's state and turns clicks, files and drops into its calls; holds only what is not part of a run:
// the form's settings, dropped texts, and a checkpoint to go on from.

import { html, LitElement } from 'lit';
import { formatLayout, worldSize } from '../../base/axis.ts';
import { ConfigError } from '../../base/errors.ts';
import { realWorld } from '../../base/world.ts';
import { formatRunConfig, parseRunConfig } from '../../train/run-config.ts';
import type { RunConfig } from '../../train/run-config.ts';
import { readText } from '../../train/text/read-text.ts';
import { isTurn, urlsOf } from '../../cluster/ice/servers.ts';
import { isPresetName } from '../../model/presets.ts';
import { loadLatest } from '../checkpoints.ts';
import { openCheckpoint } from '../../train/resume/open-checkpoint.ts';
import type { CheckpointAbout } from '../../train/resume/open-checkpoint.ts';
import { roomLink } from '../fragment.ts';
import type { LinkFor, PageSettings, RoomAddress } from '../fragment.ts';
import { vouch } from '../link/own-tabs.ts';
import { configOf, makePlan, sentence } from '../plan.ts';
import type { PlanContents } from '../plan.ts';
import { layoutFor, PRESETS, presetConfig } from '../presets.ts';
import { newRoom } from '../room.ts';
import { listNames } from '../room/names.ts';
import type { PageState, RunController } from '../run-controller.ts';
import { aboutLine, checkpointName, header, runPanels, stats } from './app-parts.ts';
import { appStyle } from './app-style.ts';
import { problemList } from './problem-list.ts';
import './connection-doctor.ts';
import './run-form.ts';
import './share-panel.ts';
import { palette, shapes } from './theme.ts';

export class TabmeshApp extends LitElement {
  static override properties = { state: { attribute: false }, config: { state: true }, texts: { state: true }, resumable: { state: true }, dropping: { state: true }, tick: { state: true } };
  static override styles = [palette, shapes, appStyle];
  declare state: PageState;
  declare config: RunConfig;
  declare texts: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  /** `bytes` is absent for the checkpoint that lies in OPFS: it is read when it is needed. */
  declare resumable: (CheckpointAbout & { readonly bytes?: Uint8Array<ArrayBuffer> | undefined }) | undefined;
  declare dropping: boolean;
  declare tick: number;
  settings!: PageSettings;
  controller!: RunController;
  #statusAtMs = 0;
  #statusShown = '';

  constructor() {
    super();
    this.config = presetConfig(PRESETS[0]!);
    this.texts = new Map();
    this.dropping = false;
    this.tick = 0;
  }

  /** Called once, before the first state. */
  begin(settings: PageSettings, controller: RunController): void {
    this.settings = settings;
    this.controller = controller;
    if (settings.plan) this.config = configOf(settings.plan);
    this.state = controller.state;
    setInterval(() => { this.tick++; }, 1000);
    for (const name of ['dragover', 'drop', 'dragleave'] as const) addEventListener(name, (event) => this.#onDrag(event as DragEvent));
    void loadLatest().then((latest) => { if (latest && !this.resumable) this.resumable = { ...latest, bytes: undefined }; });
  }

  override render() {
    const { state } = this;
    if (!state) return '';
    return html`
      ${header(this.state.status || 'ready; nothing runs before you press a button', this.#waited())}
      <main>
        ${problemList(state.problems, (text) => this.controller.forget(text), state.run?.lastOperations)}
        <connection-doctor ?checkable=${state.phase !== 'failed'} .connections=${state.connections} @check-connections=${() => this.controller.examine()}></connection-doctor>
        <div class="top">
          <section class="card" aria-label="Training">
            <div class="row actions">${this.#actions()}</div>
            ${this.#hint()}
            <run-form .config=${(this.controller.busy || state.watching) && state.run ? state.run.config : this.config} .files=${[...this.texts.keys()]} ?disabled=${this.controller.busy || state.watching !== undefined} @config-change=${(event: CustomEvent<RunConfig>) => { this.config = event.detail; }}></run-form>
            <p class="soft small drop">Drop a text file anywhere on this page to train on it, or a checkpoint to go on from it.</p>
          </section>
          <section class="card" aria-label="More devices">
            <share-panel .room=${state.room} .link=${state.room ? this.#link(state.room.address) : ''} ?busy=${this.controller.busy} ?withheld=${urlsOf(this.settings.ice.iceServers).some(isTurn)} @add-tab=${() => this.#addTab()} @leave-room=${() => this.#leaveRoom()}></share-panel>
          </section>
        </div>
        ${stats(state)}
        ${runPanels(state)}
      </main>
      ${aboutLine(this.settings.backend)}
      ${this.dropping ? html`<div class="dropzone">Drop a text file or a checkpoint</div>` : ''}`;
  }

  /** Waiting is bearable when the seconds count. */
  #waited(): string {
    const { status, phase, run } = this.state;
    if (status !== this.#statusShown) {
      this.#statusShown = status;
      this.#statusAtMs = performance.now();
    }
    const seconds = Math.floor((performance.now() - this.#statusAtMs) / 1000);
    const waiting = phase === 'starting' || (phase === 'training' && !run?.step);
    return waiting && seconds >= 3 ? ` ${seconds} s` : '';
  }

  #actions() {
    const { phase, room, checkpoint } = this.state;
    const { controller } = this;
    if (phase === 'starting') return html`<button @click=${() => controller.stop()}>Cancel</button>`;
    if (controller.busy) {
      return html`
        ${phase === 'paused' ? html`<button class="primary" @click=${() => controller.resume()}>Resume</button>` : html`<button ?disabled=${phase === 'stopping'} @click=${() => controller.pause()}>Pause</button>`}
        <button ?disabled=${phase === 'stopping'} @click=${() => controller.stop()}>Stop</button>
        <button ?disabled=${phase !== 'training'} @click=${() => controller.save()}>Save</button>
        <button ?disabled=${phase !== 'training'} @click=${() => controller.sample()}>Sample now</button>`;
    }
    const invited = this.settings.room && !room?.joined;
    const spare = room?.me?.role === 'trainer';
    // A run belongs to those in it: who watches may help with the next group, or wait.
    if (this.state.watching) return spare ? html`<button @click=${() => controller.rest()}>Only watch</button>` : html`<button class="primary" @click=${() => { void controller.help(); }}>Help: be a spare</button>`;
    return html`
      ${invited
        ? html`<button class="primary" @click=${() => { void this.#join(); }}>Join this room</button>`
        : html`<button class="primary" @click=${() => this.#train()}>${room?.joined ? `Train with ${this.#needed()} tab${this.#needed() === 1 ? '' : 's'}` : 'Train now'}</button>`}
      ${room?.joined && !spare ? html`<button @click=${() => { void controller.help(); }}>Lend this device</button>` : ''}
      ${this.resumable && !room ? html`<button @click=${() => { void this.#resume(); }}>Resume from step ${this.resumable.step}</button>` : ''}
      <label class="button"><input type="file" accept=".safetensors,.txt,.md,text/*" @change=${(event: Event) => { void this.#takeFile((event.target as HTMLInputElement).files?.[0]); }}>Load a file</label>
      ${checkpoint ? html`<button @click=${() => controller.save()}>Save ${checkpointName(checkpoint.step)}</button>` : ''}`;
  }

  /** To a room that is at work one comes to watch; the device is opened when it is lent. */
  async #join(): Promise<void> {
    await this.controller.join(this.settings.room!, undefined, 'observer');
    if (this.state.room?.joined && !this.state.watching) await this.controller.help();
  }

  #needed(): number { return worldSize(this.config.layout); }

  #hint() {
    const { room } = this.state;
    if (this.state.watching) {
      const names = listNames(this.state.watching);
      return html`<p class="small hint">${room?.me?.role === 'trainer' ? `${names} train this run; this tab is a spare and takes part when the next group is formed.` : `${names} train this run; you are watching. Help, and this tab lends its device when the next group is formed; or just wait.`}</p>`;
    }
    if (this.controller.busy) return '';
    if (this.settings.room && !room?.joined) return html`<p class="small hint">You were invited to train with other tabs. Joining lends them this device's GPU while this tab is open; they see your network address, and what is trained.</p>`;
    if (room?.joined) {
      const here = room.members.filter(({ role }) => role === 'trainer').length;
      if (here === this.#needed()) return '';
      const fitting = layoutFor(here);
      return html`<p class="small hint">This layout (${formatLayout(this.config.layout)}) needs ${this.#needed()} tabs, ${here} ${here === 1 ? 'is' : 'are'} here.
        ${here > 1 ? html`<button class="inline" @click=${() => { this.config = parseRunConfig([['layout', fitting], ['microbatches', 2]], this.config); }}>Use ${fitting}</button>` : 'Add tabs, or send the link.'}</p>`;
    }
    return html`<p class="small hint">${this.#needed()} virtual device${this.#needed() === 1 ? '' : 's'} in this tab: workers that share this machine's GPU and talk as separate machines would.</p>`;
  }

  #train(): void {
    const plan = { ...makePlan(this.config, this.settings.plan?.files), ...(this.settings.plan?.sampleTokens ? { sampleTokens: this.settings.plan.sampleTokens } : {}) };
    const text = this.texts.get(this.config.data);
    if (this.state.room?.joined) void this.controller.propose(plan);
    else void this.#run(() => this.controller.trainHere(plan, text === undefined ? {} : { text }));
  }

  /** Goes on to as many steps in all as the form says, split as the form says; everything else is the checkpoint's. */
  async #resume(): Promise<void> {
    const from = this.resumable;
    if (!from) return;
    await this.#run(async () => {
      const checkpoint = from.bytes ?? (await loadLatest())?.bytes;
      if (!checkpoint) throw new Error('checkpoint: it is no longer in this browser; load it from a file');
      const { layout, schedule, chunks, sequence, microbatches, steps, evalEvery, sampleEvery, checkpointEvery } = this.config;
      if (steps <= from.step) throw new Error(`steps: the checkpoint has ${from.step} steps already, and the form says ${steps} in all; say more than ${from.step} to go on`);
      const config: RunConfig = { ...from.config, layout, schedule, chunks, sequence, microbatches, evalEvery, sampleEvery, checkpointEvery, steps };
      const text = this.texts.get(config.data);
      const given: PlanContents = { checkpoint, ...(from.tokenizer === undefined ? {} : { tokenizer: from.tokenizer }), ...(text === undefined ? {} : { text }) };
      await this.controller.trainHere(makePlan(parseRunConfig(Object.entries(formatRunConfig(config))), this.settings.plan?.files), given);
    });
  }

  async #run(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.controller.problem(sentence(error));
    }
    const { checkpoint, run } = this.state;
    if (checkpoint && run) this.resumable = { ...openCheckpoint(checkpoint.bytes), bytes: checkpoint.bytes };
  }

  /** The window is opened within the click, or the browser blocks it; `noopener` gives the tab a process and an identity of its own. */
  #addTab(): void {
    const address = this.state.room?.address ?? this.settings.room ?? newRoom(undefined);
    const token = vouch(realWorld, () => localStorage, Date.now());
    window.open(roomLink(location.href, address, this.settings, 'own', token), '_blank', 'noopener');
    if (this.state.room) return;
    history.replaceState(null, '', this.#link(address, 'here'));
    this.settings = { ...this.settings, room: address };
    void this.controller.join(address);
  }

  #leaveRoom(): void {
    const { room: _, ...rest } = this.settings;
    this.settings = rest;
    history.replaceState(null, '', location.pathname + location.search + (rest.backend === 'cpu' ? '#backend=cpu' : ''));
    void this.controller.leaveRoom();
  }

  #link(address: RoomAddress, who: LinkFor = 'others'): string { return roomLink(location.href, address, this.settings, who); }

  #onDrag(event: DragEvent): void {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    this.dropping = event.type === 'dragover';
    if (event.type === 'drop') void this.#takeFile(event.dataTransfer.files[0]);
  }

  async #takeFile(file: File | undefined): Promise<void> {
    if (!file) return;
    try {
      const bytes = new Uint8Array(await file.arrayBuffer());
      if (file.name.endsWith('.safetensors')) {
        this.resumable = { ...openCheckpoint(bytes), bytes };
        return;
      }
      if (this.state.room) throw new ConfigError('data', `${file.name} would lie on this tab alone, and the other tabs of the room could not read it; leave the room to train on it with virtual devices`);
      const { tokenizer, model } = this.config;
      // Bytes are trained on as they are, whatever they mean; everything else must be a text.
      const distinct = tokenizer === 'bytes' ? 0 : new Set(readText(bytes, file.name).text).size;
      this.texts = new Map([...this.texts, [file.name, bytes]]);
      const manyCharacters = isPresetName(model) && tokenizer === 'auto' && distinct > 400;
      this.config = parseRunConfig([['data', file.name], ['tokenizer', manyCharacters ? 'bytes' : tokenizer]], this.config);
    } catch (error) {
      this.controller.problem(sentence(error));
    }
  }
}

customElements.define('tabmesh-app', TabmeshApp);
