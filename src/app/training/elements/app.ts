// <tabmesh-app>: the page. Draws the controller's state and turns clicks, files and drops into its calls; holds only
// what is not part of a run: the form's settings, dropped texts, and a checkpoint to go on from.

import { html, LitElement, nothing } from 'lit';
import { worldSize } from '../../../base/axis.ts';
import { realWorld } from '../../../base/world.ts';
import type { SampleAsk } from '../../../train/beside/ask.ts';
import { isTurn, urlsOf } from '../../../cluster/ice/servers.ts';
import { loadLatest } from '../checkpoints.ts';
import { transferCard } from '../files/transfer-card.ts';
import { DropTarget } from '../files/drop-target.ts';
import { modelZip } from '../files/model-zip.ts';
import type { DroppedModel } from '../files/model-folder.ts';
import { openCheckpoint } from '../../../train/resume/open-checkpoint.ts';
import type { CheckpointAbout } from '../../../train/resume/open-checkpoint.ts';
import { homeLink, roomLink } from '../fragment.ts';
import type { LinkFor, PageSettings, RoomAddress } from '../fragment.ts';
import { vouch } from '../link/own-tabs.ts';
import { configOf, makeJob } from '../job.ts';
import { sentence } from '../../shared/sentence.ts';
import type { JobContents } from '../job.ts';
import { draftOf, edit, problemsOf } from '../form/draft.ts';
import type { Draft } from '../form/draft.ts';
import { NO_FACTS } from '../form/fit.ts';
import type { Fault, FormFacts } from '../form/fit.ts';
import { devicesIn, Suggestion } from '../form/suggestion.ts';
import { expectMemory } from '../form/forecast.ts';
import { PRESETS, presetConfig } from '../presets.ts';
import type { Curve } from '../charts/curve.ts';
import type { History } from '../history/history.ts';
import { newRoom } from '../room/introduction.ts';
import type { Rules } from '../../../cluster/room/laws.ts';
import type { PageState, RunController } from '../run-controller.ts';
import { actions } from './actions.ts';
import type { Acting } from './actions.ts';
import { hint } from './hint.ts';
import type { Hinting } from './hint.ts';
import { goOnConfig } from '../form/go-on.ts';
import { receive } from '../files/receive.ts';
import { aboutLine, header, moreStats, runPanels, stats } from './app-parts.ts';
import { appStyle } from './app-style.ts';
import { KeepFocus } from '../../shared/elements/keep-focus.ts';
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
  declare tick: number;
  settings!: PageSettings;
  controller!: RunController;
  past!: History;
  #statusAtMs = 0;
  #statusShown = '';
  #focused: Element | null = null;
  /** The run of which the other ranks' memory was counted. */
  #counted: PageState['run'];
  readonly #drops = new DropTarget(this, (given) => void this.#take(given));
  #suggestion = new Suggestion(presetConfig(PRESETS[0]!));
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
    this.tick = 0;
  }

  /** Called once, before the first state. */
  begin(settings: PageSettings, controller: RunController, past: History): void {
    this.settings = settings;
    this.controller = controller;
    this.past = past;
    if (settings.job) {
      this.draft = draftOf(configOf(settings.job));
      this.#suggestion = new Suggestion(this.draft.config, { chosen: true });
    }
    this.state = controller.state;
    setInterval(() => {
      this.tick++;
    }, 1000);
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
        ${transferCard(state, this.controller)}
        <connection-doctor
          ?checkable=${state.phase !== 'failed'}
          .connections=${state.connections}
          @check-connections=${() => this.controller.examine()}
        ></connection-doctor>
        <div class="top">
          <section class="card training" aria-label="Training">
            ${actions(this.#acting())} ${hint(this.#hinting())}
            <run-form
              .draft=${shown ? draftOf(shown) : this.draft}
              .facts=${this.facts}
              ?disabled=${this.controller.busy || state.watching !== undefined}
              @draft-change=${(event: CustomEvent<Draft>) => {
                this.#edited(event.detail);
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
      ${this.#drops.over ? html`<div class="dropzone">Drop a text, a model folder or a checkpoint</div>` : ''}`;
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
    if (this.state && !this.controller.busy && !this.state.watching)
      this.draft = this.#suggestion.next(this.draft, devicesIn(this.state.room), this.facts);
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

  #edited(draft: Draft): void {
    this.#suggestion.edited(this.draft, draft);
    this.draft = draft;
  }

  #problems(): readonly Fault[] {
    return problemsOf(this.draft, this.facts);
  }

  /** To a room that is at work one comes to watch; the device is opened when it is lent. */
  async #join(): Promise<void> {
    await this.controller.join(this.settings.room!, undefined, 'observer');
    if (this.state.room?.joined && !this.state.watching) await this.controller.help();
  }

  /** The link leads into a room that this tab is not in. */
  #invited(): boolean {
    return this.settings.room !== undefined && !this.state.room?.joined;
  }

  #acting(): Acting {
    const { state, controller, draft, resumable } = this;
    return {
      state,
      controller,
      invited: this.#invited(),
      needed: this.#needed(),
      blocked: this.#problems().length > 0,
      refused: draft.refused.size > 0,
      resumable: resumable?.step,
      train: () => this.#train(),
      join: () => void this.#join(),
      look: () => void controller.join(this.settings.room!, undefined, 'observer'),
      goOn: () => this.#goOn(),
      resume: () => void this.#resume(),
      take: (files) => void this.#take(Promise.resolve(files.map((file) => ({ path: file.name, file })))),
      saveModel: (checkpoint) => void this.#saveModel(checkpoint),
    };
  }

  #hinting(): Hinting {
    return {
      state: this.state,
      busy: this.controller.busy,
      invited: this.#invited(),
      config: this.draft.config,
      facts: this.facts,
      problems: this.#problems(),
      needed: this.#needed(),
      use: ({ config, said }) => {
        this.#edited(draftOf(config, said));
        this.#train();
      },
    };
  }

  #needed(): number {
    return worldSize(this.draft.config.layout);
  }

  #train(): void {
    const job = {
      ...makeJob(this.draft.config, this.settings.job?.files),
      ...(this.state.room && this.goesOn ? { onLoss: 'resume' as const } : {}),
      ...(this.settings.job?.sampleTokens ? { sampleTokens: this.settings.job.sampleTokens } : {}),
    };
    const text = this.texts.get(this.draft.config.data);
    const given = { ...this.models.get(this.draft.config.model), ...(text === undefined ? {} : { text }) };
    this.past.goOnFromNothing();
    if (this.state.room?.joined) void this.controller.propose(job, given);
    else void this.#run(() => this.controller.trainHere(job, given));
  }

  async #resume(): Promise<void> {
    const from = this.resumable;
    if (!from) return;
    await this.#run(async () => {
      const checkpoint = from.bytes ?? (await loadLatest())?.bytes;
      if (!checkpoint) throw new Error('checkpoint: it is no longer in this browser; load it from a file');
      const config = goOnConfig(from, this.draft.config);
      const text = this.texts.get(config.data);
      const given: JobContents = {
        checkpoint,
        ...(from.tokenizer === undefined ? {} : { tokenizer: from.tokenizer }),
        ...(text === undefined ? {} : { text }),
      };
      const job = makeJob(config, this.settings.job?.files);
      await this.past.goOnFrom(checkpoint, from.step, configOf(job));
      if (!this.state.room?.joined) return this.controller.trainHere(job, given);
      await this.controller.propose(job, given);
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

  /** The model folder as one file. */
  #saveModel({ step, bytes }: NonNullable<PageState['checkpoint']>): Promise<void> {
    const folder = `tabmesh-step-${step}`;
    return this.#run(async () => this.controller.saveFile(await modelZip(bytes, folder), `${folder}.zip`));
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
    history.replaceState(null, '', homeLink(location.href, rest));
    void this.controller.leaveRoom();
  }

  #link(address: RoomAddress, who: LinkFor = 'others'): string {
    return roomLink(location.href, address, this.settings, who);
  }

  /** A model folder, or one text or checkpoint. */
  async #take(given: Promise<readonly { readonly path: string; readonly file: File }[]>): Promise<void> {
    try {
      const received = await receive(await given, this.draft.config);
      switch (received?.kind) {
        case 'model': {
          const { name, model, files } = received;
          this.models = new Map([...this.models, [name, files]]);
          this.facts = { ...this.facts, models: new Map([...this.facts.models, [name, model]]) };
          this.#edited(edit(edit(this.draft, 'tokenizer', 'auto', this.facts), 'model', name, this.facts));
          return;
        }
        case 'checkpoint':
          this.resumable = received;
          return;
        case 'text': {
          const { name, bytes, characters, tokenizer } = received;
          this.texts = new Map([...this.texts, [name, bytes]]);
          this.facts = { ...this.facts, characters: new Map([...this.facts.characters, [name, characters]]) };
          this.#edited(edit(edit(this.draft, 'data', name, this.facts), 'tokenizer', tokenizer, this.facts));
        }
      }
    } catch (error) {
      this.controller.problem(sentence(error));
    }
  }
}

customElements.define('tabmesh-app', TabmeshApp);
