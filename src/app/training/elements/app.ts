// <tabmesh-app>: the page. Draws the controller's state and turns clicks, files and drops into its calls; holds only
// what is not part of a run: the form's settings, dropped texts, and a checkpoint to go on from.

import { html, LitElement, nothing } from 'lit';
import { formatLayout, worldSize } from '../../../base/axis.ts';
import { ConfigError } from '../../../base/errors.ts';
import { realWorld } from '../../../base/world.ts';
import { formatRunConfig, parseRunConfig } from '../../../train/run-config.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import type { SampleAsk } from '../../../train/beside/ask.ts';
import { readText } from '../../../train/text/read-text.ts';
import { isTurn, urlsOf } from '../../../cluster/ice/servers.ts';
import { isPresetName } from '../../../model/presets.ts';
import { download, loadLatest } from '../checkpoints.ts';
import { filesOf, isModelFolder, modelFolderOf, readModelFolder } from '../files/model-folder.ts';
import type { DroppedModel } from '../files/model-folder.ts';
import { openCheckpoint } from '../../../train/resume/open-checkpoint.ts';
import type { CheckpointAbout } from '../../../train/resume/open-checkpoint.ts';
import { roomLink } from '../fragment.ts';
import type { LinkFor, PageSettings, RoomAddress } from '../fragment.ts';
import { vouch } from '../link/own-tabs.ts';
import { configOf, makePlan } from '../plan.ts';
import { sentence } from '../../shared/sentence.ts';
import type { PlanContents } from '../plan.ts';
import { draftOf, edit, problemsOf } from '../form/draft.ts';
import type { Draft } from '../form/draft.ts';
import { fittingMicrobatches, layoutFor, NO_FACTS } from '../form/fit.ts';
import type { Fault, FormFacts } from '../form/fit.ts';
import { expectMemory } from '../form/forecast.ts';
import { PRESETS, presetConfig } from '../presets.ts';
import type { Curve } from '../charts/curve.ts';
import type { History } from '../history/history.ts';
import { newRoom } from '../room/introduction.ts';
import type { Rules } from '../../../cluster/room/laws.ts';
import { listNames } from '../room/names.ts';
import type { PageState, RunController } from '../run-controller.ts';
import { aboutLine, checkpointName, header, moreStats, runPanels, stats } from './app-parts.ts';
import { appStyle } from './app-style.ts';
import { KeepFocus } from '../../shared/elements/keep-focus.ts';
import { mainButton, pressOnce } from '../../shared/elements/main-button.ts';
import type { MainButton } from '../../shared/elements/main-button.ts';
import { question } from './question.ts';
import { problemList } from '../../shared/elements/problem-list.ts';
import '../form/layout-picture.ts';
import '../room/invite-panel.ts';
import './connection-doctor.ts';
import './run-form.ts';
import { OTHER_COLOURS } from './run-history.ts';
import './share-panel.ts';
import { palette, shapes } from '../../shared/elements/theme.ts';

export class TabmeshApp extends LitElement {
  static override properties = {
    state: { attribute: false },
    draft: { state: true },
    facts: { state: true },
    texts: { state: true },
    resumable: { state: true },
    models: { state: true },
    overlaid: { state: true },
    goesOn: { state: true },
    dropping: { state: true },
    tick: { state: true },
  };
  static override styles = [palette, shapes, appStyle];
  declare state: PageState;
  /** What the form holds. */
  declare draft: Draft;
  /** Contents of dropped model folders by name. */
  declare models: ReadonlyMap<string, DroppedModel['files']>;
  /** What is known of dropped texts and models. */
  declare facts: FormFacts;
  declare texts: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  /** `bytes` is absent for the checkpoint that lies in OPFS: it is read when it is needed. */
  declare resumable: (CheckpointAbout & { readonly bytes?: Uint8Array<ArrayBuffer> | undefined }) | undefined;
  /** Ids of kept runs whose loss is drawn beside this one's. */
  declare overlaid: readonly string[];
  /** When a tab is lost, the room goes on by itself. */
  declare goesOn: boolean;
  declare dropping: boolean;
  declare tick: number;
  settings!: PageSettings;
  controller!: RunController;
  past!: History;
  #statusAtMs = 0;
  #statusShown = '';
  #focused: Element | null = null;
  /** The run of which the other ranks' memory was counted. */
  #counted: PageState['run'];
  /** The last checkpoint that became the one to go on from. */
  #seen: PageState['checkpoint'];

  constructor() {
    super();
    new KeepFocus(this);
    this.draft = draftOf(presetConfig(PRESETS[0]!));
    this.facts = NO_FACTS;
    this.texts = new Map();
    this.models = new Map();
    this.overlaid = [];
    this.goesOn = true;
    this.dropping = false;
    this.tick = 0;
  }

  /** Called once, before the first state. */
  begin(settings: PageSettings, controller: RunController, past: History): void {
    this.settings = settings;
    this.controller = controller;
    this.past = past;
    if (settings.plan) this.draft = draftOf(configOf(settings.plan));
    this.state = controller.state;
    setInterval(() => {
      this.tick++;
    }, 1000);
    for (const name of ['dragover', 'drop', 'dragleave'] as const)
      addEventListener(name, (event) => this.#onDrag(event as DragEvent));
    void loadLatest().then((latest) => {
      if (latest && !this.resumable) this.resumable = { ...latest, bytes: undefined };
    });
  }

  override render() {
    const { state } = this;
    if (!state) return '';
    const shown = (this.controller.busy || state.watching) && state.run ? state.run.config : undefined;
    return html` ${header(this.state.status || 'ready; nothing runs before you press a button', this.#waited())}
      <main
        class=${state.run ? 'with-run' : ''}
        @ask=${(event: CustomEvent<SampleAsk>) => this.controller.sample(event.detail)}
      >
        ${question(state.question, (agreed) => this.controller.answer(agreed))}
        ${problemList(state.problems, (text) => this.controller.forget(text), state.run?.lastOperations)}
        <connection-doctor
          ?checkable=${state.phase !== 'failed'}
          .connections=${state.connections}
          @check-connections=${() => this.controller.examine()}
        ></connection-doctor>
        <div class="top">
          <section class="card training" aria-label="Training">
            ${this.#actions()} ${this.#hint()}
            <run-form
              .draft=${shown ? draftOf(shown) : this.draft}
              .facts=${this.facts}
              ?disabled=${this.controller.busy || state.watching !== undefined}
              @draft-change=${(event: CustomEvent<Draft>) => {
                this.draft = event.detail;
              }}
              @trouble=${(event: CustomEvent<string>) => this.controller.problem(event.detail)}
            ></run-form>
            ${
              state.room?.joined && !this.controller.busy
                ? html`<label class="small"
                    ><input
                      type="checkbox"
                      .checked=${this.goesOn}
                      @change=${(event: Event) => {
                        this.goesOn = (event.target as HTMLInputElement).checked;
                      }}
                    />
                    When a tab is lost, go on from the last checkpoint by itself</label
                  >`
                : nothing
            }
            <p class="soft small drop">
              Drop a text or a model folder anywhere on this page to train on it, or a checkpoint to go on from it.
            </p>
          </section>
          <div class="side">
            <section class="card share" aria-label="More devices">
              <share-panel
                .room=${state.room}
                .link=${state.room ? this.#link(state.room.address) : ''}
                ?busy=${this.controller.busy}
                ?withheld=${urlsOf(this.settings.ice.iceServers).some(isTurn)}
                @add-tab=${() => this.#addTab()}
                @leave-room=${() => this.#leaveRoom()}
                @rename-tab=${() => this.controller.renamed()}
                @remove-member=${({ detail }: CustomEvent<string>) => this.controller.entry.remove(detail)}
                @set-rules=${({ detail }: CustomEvent<Rules>) => this.controller.entry.decree(detail)}
              ></share-panel>
            </section>
            ${
              this.controller.busy
                ? nothing
                : html`<section class="card picture" aria-label="Layout">
                    <layout-picture .config=${shown ?? this.draft.config} .facts=${this.facts}></layout-picture>
                  </section>`
            }
          </div>
        </div>
        ${stats(state, performance.now())} ${moreStats(state)} ${runPanels(state, this.#others())}
        <section class="card" aria-label="History">
          <run-history
            .runs=${this.past.runs}
            .shown=${this.overlaid}
            .atWork=${this.past.atWork}
            .trouble=${this.past.trouble}
            @overlay=${(event: CustomEvent<readonly string[]>) => {
              this.overlaid = event.detail;
            }}
            @rename=${({ detail: { id, name } }: CustomEvent<{ id: string; name: string }>) => this.past.rename(id, name)}
            @delete=${(event: CustomEvent<string>) => this.#deleteRun(event.detail)}
          ></run-history>
        </section>
      </main>
      ${aboutLine(this.settings.backend)}
      ${this.dropping ? html`<div class="dropzone">Drop a text, a model folder or a checkpoint</div>` : ''}`;
  }

  /** The loss of the kept runs that were chosen. */
  #others(): readonly Curve[] {
    return this.overlaid.flatMap((id, i) => {
      const run = this.past.runs.find((known) => known.id === id);
      return run ? [{ name: run.name, colour: OTHER_COLOURS[i]!, series: run.curves.loss, other: true }] : [];
    });
  }

  #deleteRun(id: string): void {
    this.overlaid = this.overlaid.filter((other) => other !== id);
    this.past.delete(id);
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

  /**
   * Each button keeps its element while its meaning lasts, so that focus stays where it is; the first one becomes Pause
   * when the run begins.
   */
  #actions() {
    const { phase, room, checkpoint, watching, stays, run, goOn } = this.state;
    const { controller } = this;
    const { busy } = controller;
    const main = this.#mainAction();
    const running = phase === 'training' || phase === 'paused';
    const spare = room?.me?.role === 'trainer';
    const invited = this.settings.room && !room?.joined;
    const free = !busy && !watching;
    return html`<div class="row actions" @keydown=${pressOnce}>
      ${mainButton(main.name, main.press, main)}
      ${busy ? html`<button aria-disabled=${phase === 'stopping' ? 'true' : 'false'} @click=${() => controller.stop()}>${phase === 'starting' ? 'Cancel' : 'Stop'}</button>` : nothing}
      ${
        busy && phase !== 'starting'
          ? html`<button
                aria-disabled=${running ? 'false' : 'true'}
                @click=${() => {
                  if (running) controller.save();
                }}
              >
                Save
              </button>
              <button
                aria-disabled=${running ? 'false' : 'true'}
                @click=${() => {
                  if (running) controller.sample();
                }}
              >
                Sample now
              </button>`
          : nothing
      }
      ${
        free && invited
          ? html`<button
              @click=${() => {
                void controller.join(this.settings.room!, undefined, 'observer');
              }}
            >
              Look first
            </button>`
          : nothing
      }
      ${
        free && !invited && room?.joined && !spare
          ? html`<button
              @click=${() => {
                void controller.help();
              }}
            >
              Lend this device
            </button>`
          : nothing
      }
      ${free && goOn !== undefined ? html`<button class="primary" @click=${() => this.#goOn()}>Go on from step ${goOn}</button>` : nothing}
      ${
        free && this.resumable && (!room || room.joined)
          ? html`<button
              ?disabled=${this.draft.refused.size > 0}
              @click=${() => {
                void this.#resume();
              }}
            >
              Resume from step ${this.resumable.step}
            </button>`
          : nothing
      }
      ${
        free
          ? html`<label class="button"
              ><input
                type="file"
                multiple
                accept=".safetensors,.json,.txt,.md,text/*"
                title="A text, a checkpoint, or the files of a model folder"
                @change=${(event: Event) => {
                  void this.#take(
                    Promise.resolve(
                      [...((event.target as HTMLInputElement).files ?? [])].map((file) => ({ path: file.name, file })),
                    ),
                  );
                }}
              />Load a file</label
            >`
          : nothing
      }
      ${free && (checkpoint || stays) ? html`<button @click=${() => controller.save()}>Save ${checkpointName(stays ? run!.step : checkpoint!.step)}</button>` : nothing}
      ${free && checkpoint ? html`<button title="config.json, model.safetensors and the tokenizer, without the optimizer's state: for other programs, or to train on" @click=${() => this.#saveModel(checkpoint)}>Model of step ${checkpoint.step}</button>` : nothing}
    </div>`;
  }

  /** What the first button does now. */
  #mainAction(): MainButton & { readonly name: string; readonly press: () => void } {
    const { phase, room, watching } = this.state;
    const { controller } = this;
    const nothing = (): void => {};
    if (phase === 'starting') return { name: 'Starting', press: nothing, idle: true };
    if (phase === 'stopping') return { name: 'Stopping', press: nothing, idle: true };
    if (phase === 'paused') return { name: 'Resume', press: () => controller.resume() };
    if (phase === 'training') return { name: 'Pause', press: () => controller.pause(), primary: false };
    // A run belongs to those in it: who watches may help with the next group, or wait.
    if (watching)
      return room?.me?.role === 'trainer'
        ? { name: 'Only watch', press: () => controller.rest(), primary: false }
        : {
            name: 'Help: be a spare',
            press: () => {
              void controller.help();
            },
          };
    if (this.settings.room && !room?.joined)
      return {
        name: 'Join this room',
        press: () => {
          void this.#join();
        },
      };
    const needed = this.#needed();
    return {
      name: room?.joined ? `Train with ${needed} tab${needed === 1 ? '' : 's'}` : 'Train now',
      press: () => this.#train(),
      blocked: this.#problems().length > 0,
    };
  }

  /** Focus does not fall to the page when the button that had it is gone. */
  override willUpdate(): void {
    const { checkpoint, run } = this.state ?? {};
    if (run?.ready && run !== this.#counted) {
      this.#counted = run;
      // A run whose memory cannot be counted is none that this page can build; its cards go without.
      expectMemory(run, this.facts).then(
        (any) => {
          if (any) this.requestUpdate();
        },
        (error: unknown) => console.warn('the memory of the other ranks is not counted', error),
      );
    }
    if (checkpoint && checkpoint !== this.#seen && !this.controller.busy) {
      this.#seen = checkpoint;
      this.resumable = { ...openCheckpoint(checkpoint.bytes), bytes: checkpoint.bytes };
    }
    this.#focused = this.renderRoot.querySelector<HTMLElement>('.actions')?.contains(this.shadowRoot!.activeElement)
      ? this.shadowRoot!.activeElement
      : null;
  }

  override updated(): void {
    if (this.#focused && !this.#focused.isConnected)
      this.renderRoot.querySelector<HTMLElement>('.actions .main')?.focus();
  }

  #problems(): readonly Fault[] {
    return problemsOf(this.draft, this.facts);
  }

  /** To a room that is at work one comes to watch; the device is opened when it is lent. */
  async #join(): Promise<void> {
    await this.controller.join(this.settings.room!, undefined, 'observer');
    if (this.state.room?.joined && !this.state.watching) await this.controller.help();
  }

  #needed(): number {
    return worldSize(this.draft.config.layout);
  }

  #hint() {
    const { room } = this.state;
    if (this.state.watching) {
      const names = listNames(this.state.watching);
      return html`<p class="small hint">
          ${room?.me?.role === 'trainer' ? `${names} train this run; this tab is a spare and takes part when the next group is formed.` : `${names} train this run; you are watching. Help, and this tab lends its device when the next group is formed; or just wait.`}
        </p>
        ${room && room.me?.role !== 'trainer' ? this.#invite() : nothing}`;
    }
    if (this.controller.busy) return '';
    if (this.settings.room && !room?.joined)
      return html`<p class="small hint">
        You were invited to train with other tabs. Joining lends them this device's GPU while this tab is open; they see
        your network address, and what is trained. Look first, and this device is not lent before you say so.
      </p>`;
    if (room?.joined && room.me?.role !== 'trainer') return this.#invite();
    const problems = this.#problems();
    if (problems.length)
      return html`<p class="small hint" role="status">
        Nothing begins before this is mended: ${problems.map(({ text }) => text).join('; ')}.
      </p>`;
    if (room?.joined) {
      const here = room.members.filter(({ role }) => role === 'trainer').length;
      if (here === this.#needed()) return '';
      const fitting = here > 1 ? layoutFor(here, this.draft.config, this.facts) : undefined;
      return html`<p class="small hint">
        This layout (${formatLayout(this.draft.config.layout)}) needs ${this.#needed()} tabs, ${here}
        ${here === 1 ? 'is' : 'are'} here.
        ${
          fitting
            ? html`<button
                class="inline"
                @click=${() => {
                  this.draft = draftOf(fitting.config, fitting.said);
                }}
              >
                Use ${formatLayout(fitting.config.layout)}
              </button>`
            : 'Add tabs, or send the link.'
        }
      </p>`;
    }
    return html`<p class="small hint">
      ${this.#needed()} virtual device${this.#needed() === 1 ? '' : 's'} in this tab: workers that share this machine's
      GPU and talk as separate machines would.
    </p>`;
  }

  /** For who has come to look. */
  #invite() {
    const { room, run, watching } = this.state;
    return html`<invite-panel
      .members=${room!.members.filter(({ address }) => address !== room!.me?.address)}
      .watched=${watching ? run : undefined}
      .version=${run?.step}
    ></invite-panel>`;
  }

  #train(): void {
    const plan = {
      ...makePlan(this.draft.config, this.settings.plan?.files),
      ...(this.state.room && this.goesOn ? { onLoss: 'resume' as const } : {}),
      ...(this.settings.plan?.sampleTokens ? { sampleTokens: this.settings.plan.sampleTokens } : {}),
    };
    const text = this.texts.get(this.draft.config.data);
    const given = { ...this.models.get(this.draft.config.model), ...(text === undefined ? {} : { text }) };
    this.past.goOnFromNothing();
    if (this.state.room?.joined) void this.controller.propose(plan, given);
    else void this.#run(() => this.controller.trainHere(plan, given));
  }

  /** Goes on to as many steps in all as the form says, split as the form says; everything else is the checkpoint's. */
  async #resume(): Promise<void> {
    const from = this.resumable;
    if (!from) return;
    await this.#run(async () => {
      const checkpoint = from.bytes ?? (await loadLatest())?.bytes;
      if (!checkpoint) throw new Error('checkpoint: it is no longer in this browser; load it from a file');
      const { layout, schedule, chunks, sequence, microbatches, steps, evalEvery, sampleEvery, checkpointEvery } =
        this.draft.config;
      if (steps <= from.step)
        throw new Error(
          `steps: the checkpoint has ${from.step} steps already, and the form says ${steps} in all; say more than ${from.step} to go on`,
        );
      const config: RunConfig = {
        ...from.config,
        layout,
        schedule,
        chunks,
        sequence,
        microbatches: fittingMicrobatches(microbatches, from.config.batch / (layout.dp * layout.ep)),
        evalEvery,
        sampleEvery,
        checkpointEvery,
        steps,
      };
      const text = this.texts.get(config.data);
      const given: PlanContents = {
        checkpoint,
        ...(from.tokenizer === undefined ? {} : { tokenizer: from.tokenizer }),
        ...(text === undefined ? {} : { text }),
      };
      const plan = makePlan(parseRunConfig(Object.entries(formatRunConfig(config))), this.settings.plan?.files);
      await this.past.goOnFrom(checkpoint, from.step, configOf(plan));
      if (!this.state.room?.joined) return this.controller.trainHere(plan, given);
      await this.controller.propose(plan, given);
      // It was not even asked for.
      if (!this.controller.busy) this.past.goOnFromNothing();
    });
  }

  /** The run of the room, whose curves the room brings. */
  #goOn(): void {
    this.past.goOnFromNothing();
    void this.controller.goOn();
  }

  async #run(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.controller.problem(sentence(error));
    }
  }

  /** The files of a model folder, one after the other. */
  #saveModel({ bytes }: NonNullable<PageState['checkpoint']>): void {
    try {
      for (const [name, content] of modelFolderOf(bytes)) download(content, name);
    } catch (error) {
      this.controller.problem(sentence(error));
    }
  }

  /**
   * The window is opened within the click, or the browser blocks it; `noopener` gives the tab a process and an identity
   * of its own.
   */
  #addTab(): void {
    const address = this.state.room?.address ?? this.settings.room ?? newRoom(undefined);
    const token = vouch(realWorld, () => localStorage, Date.now(), address, this.settings);
    window.open(roomLink(location.href, address, this.settings, 'own', token), '_blank', 'noopener');
    if (this.state.room) return;
    history.replaceState(null, '', this.#link(address, 'here'));
    this.settings = { ...this.settings, room: address };
    void this.controller.join(address);
  }

  #leaveRoom(): void {
    const { room: _, ...rest } = this.settings;
    this.settings = rest;
    history.replaceState(
      null,
      '',
      location.pathname + location.search + (rest.backend === 'cpu' ? '#backend=cpu' : ''),
    );
    void this.controller.leaveRoom();
  }

  #link(address: RoomAddress, who: LinkFor = 'others'): string {
    return roomLink(location.href, address, this.settings, who);
  }

  #onDrag(event: DragEvent): void {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    this.dropping = event.type === 'dragover';
    if (event.type === 'drop') void this.#take(filesOf(event.dataTransfer));
  }

  /** A model folder, or one text or checkpoint. */
  async #take(given: Promise<readonly { readonly path: string; readonly file: File }[]>): Promise<void> {
    try {
      const files = await given;
      if (isModelFolder(files)) {
        const { name, model, files: contents } = await readModelFolder(files);
        this.models = new Map([...this.models, [name, contents]]);
        this.facts = { ...this.facts, models: new Map([...this.facts.models, [name, model]]) };
        this.draft = edit(edit(this.draft, 'tokenizer', 'auto', this.facts), 'model', name, this.facts);
        return;
      }
      const [file] = files.map((dropped) => dropped.file);
      if (!file) return;
      if (files.length > 1)
        throw new ConfigError(
          'files',
          `${files.length} files, and no config.json among them; give one text, one checkpoint or one model folder`,
        );
      const bytes = new Uint8Array(await file.arrayBuffer());
      if (file.name.endsWith('.safetensors')) {
        this.resumable = { ...openCheckpoint(bytes), bytes };
        return;
      }
      const { tokenizer, model } = this.draft.config;
      // Bytes are trained on as they are, whatever they mean; everything else must be a text.
      const distinct = tokenizer === 'bytes' ? 0 : new Set(readText(bytes, file.name).text).size;
      this.texts = new Map([...this.texts, [file.name, bytes]]);
      this.facts = { ...this.facts, characters: new Map([...this.facts.characters, [file.name, distinct]]) };
      const manyCharacters = isPresetName(model) && tokenizer === 'auto' && distinct > 400;
      this.draft = edit(
        edit(this.draft, 'data', file.name, this.facts),
        'tokenizer',
        manyCharacters ? 'bytes' : tokenizer,
        this.facts,
      );
    } catch (error) {
      this.controller.problem(sentence(error));
    }
  }
}

customElements.define('tabmesh-app', TabmeshApp);
