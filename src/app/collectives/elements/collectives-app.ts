// <collectives-app>: the collectives page. Draws the controller's state and turns clicks into its calls.

import { css, html, LitElement, nothing } from 'lit';
import { version } from '../../../../package.json';
import { selectable } from '../../../bench/collectives/conductor.ts';
import { summarise } from '../../../bench/collectives/collectives-report.ts';
import { ALL_SIZES, DEFAULT_SIZES, formatSizes } from '../../../bench/collectives/sizes.ts';
import { benchStyle } from '../../shared/elements/bench-style.ts';
import { KeepFocus } from '../../shared/elements/keep-focus.ts';
import { mainButton } from '../../shared/elements/main-button.ts';
import { problemList } from '../../shared/elements/problem-list.ts';
import { palette, shapes } from '../../shared/elements/theme.ts';
import type { CollectivesController, CollectivesState } from '../controller.ts';
import { formatMarkdown } from '../markdown.ts';
import { formatLink, MOST_TABS, MOST_TABS_BY_BROKER, PEER_NAMES, TRANSPORTS } from '../../../bench/collectives/link.ts';
import type { CollectivesSettings } from '../../../bench/collectives/link.ts';
import './bandwidth-chart.ts';
import { ABOUT, curvesOf, table } from './results.ts';

export interface HostParts {
  readonly controller: CollectivesController;
  readonly run: () => void;
  readonly joinUrl: (settings: CollectivesSettings) => string;
  readonly linkOf: (settings: CollectivesSettings) => string;
}

const LINKS: Readonly<Record<CollectivesSettings['transport'], string>> = {
  webrtc: 'WebRTC',
  ports: 'ports, one browser only',
  broadcast: 'BroadcastChannel, one browser only',
};

export class CollectivesApp extends LitElement {
  static override properties = {
    state: { attribute: false },
    guest: { attribute: false },
    consent: { attribute: false },
    trouble: { attribute: false },
    said: { state: true },
  };
  static override styles = [
    palette,
    shapes,
    benchStyle,
    css`
      .fields {
        display: grid;
        gap: 10px 14px;
        grid-template-columns: repeat(auto-fill, minmax(min(240px, 100%), 1fr));
      }
      .fields {
        margin-bottom: 14px;
      }
      .lines + h2 {
        margin-top: 12px;
      }
      .small + h2 {
        margin-top: 12px;
      }
      h2 + .row {
        margin-top: 6px;
      }
      .choices {
        display: flex;
        flex-wrap: wrap;
        gap: 4px 14px;
        font-size: 14px;
      }
      .choices label {
        display: inline-flex;
        gap: 6px;
        align-items: center;
      }
      .choices input {
        width: auto;
        min-height: 0;
        flex: none;
      }
      .wait {
        display: grid;
        gap: 8px;
        margin: 12px 0 14px;
      }
      .frames {
        position: absolute;
        width: 1px;
        height: 1px;
        opacity: 0;
        pointer-events: none;
        border: 0;
      }
      .lines {
        margin: 0;
        padding-left: 18px;
        display: grid;
        gap: 4px;
      }
      tbody th.name {
        padding-top: 12px;
        font-weight: 650;
      }
    `,
  ];
  declare state: CollectivesState | undefined;
  /** What a further rank says; it has no more to show. */
  declare guest: string | undefined;
  declare trouble: string | undefined;
  /** Joins the room of a link, once somebody has allowed it. */
  declare consent: (() => void) | undefined;
  declare said: string;
  host: HostParts | undefined;
  /** Parts of the form that the link opens. */
  #opened: { readonly peers: boolean; readonly place: boolean } | undefined;

  constructor() {
    super();
    new KeepFocus(this);
    this.said = '';
  }

  override render() {
    const { state, guest, trouble, consent } = this;
    return html` <header>
        <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
          <path d="M8 8h16v16H8zM8 8l16 16M24 8L8 24"></path>
          <circle cx="8" cy="8" r="4"></circle>
          <circle cx="24" cy="8" r="4"></circle>
          <circle cx="8" cy="24" r="4"></circle>
          <circle cx="24" cy="24" r="4"></circle>
        </svg>
        <div class="title">
          <h1>tabmesh bench collectives</h1>
          <p class="soft">How fast, and how right, do tabs send each other arrays?</p>
        </div>
        <nav><a href="./bench.html">Kernels</a> · <a href="./index.html">Train across tabs</a></nav>
      </header>
      <main>
        ${trouble === undefined ? nothing : html`<section class="card" role="alert">${trouble}</section>`}
        ${
          consent === undefined
            ? nothing
            : html`<section class="card">
                <h2>Join a bench of other browsers or machines?</h2>
                <p>
                  This tab would connect to the tabs of that bench, send and receive arrays at full speed, and use this
                  device's GPU. They see your network address.
                </p>
                <div class="row actions"><button class="primary" @click=${consent}>Join</button></div>
              </section>`
        }
        ${
          guest === undefined
            ? nothing
            : html`<section class="card">
                <h2>A rank of the bench</h2>
                <p role="status">${guest}</p>
                <p class="soft small">Keep this tab open; the results appear in the tab that runs the bench.</p>
              </section>`
        }
        ${state && this.host ? this.#host(state, this.host) : nothing}
      </main>
      <footer class="small soft">
        tabmesh ${version}. Everything stays between these tabs, which are joined by real WebRTC data channels (or by
        what you choose); a server only lets tabs of several browsers meet. All tabs share this machine's processor, so
        the more ranks send at once, the less each has: "raw pipe" is one bare channel that has the machine to itself,
        "raw alike" are bare channels with the same traffic.
      </footer>`;
  }

  #host(state: CollectivesState, host: HostParts) {
    const { controller } = host;
    return html` ${problemList(state.problems, (text) => controller.forget(text))}
      <div class="top">
        <section class="card" aria-label="Run">${this.#runPanel(state, host)}</section>
        <section class="card" aria-label="In short">${this.#keep(state, host)}</section>
      </div>
      ${state.rows.some(({ bytes }) => bytes > 0) ? html`<section class="card" aria-label="Chart"><bandwidth-chart .curves=${curvesOf(state.rows)}></bandwidth-chart></section>` : nothing}
      ${state.rows.length ? html`<section class="card" aria-label="Results">${table(state.rows)}</section>` : nothing}`;
  }

  #runPanel(state: CollectivesState, { controller, run, joinUrl }: HostParts) {
    const { phase, settings, adapter, browser, status, done, total, missingTabs } = state;
    const busy = phase !== 'ready';
    const link = joinUrl(settings);
    return html` <dl class="facts">
        <div>
          <dt>adapter</dt>
          <dd>${adapter || 'looking'}</dd>
        </div>
        <div>
          <dt>browser</dt>
          <dd>${browser || 'looking'}</dd>
        </div>
      </dl>
      <div class="row actions">
        ${busy ? mainButton('Stop', () => controller.stop(), { idle: phase === 'stopping' }) : mainButton('Run', run)}
        <p class="now" role="status" aria-live="polite">
          ${phase === 'running' && total ? `${done} of ${total}: ` : ''}${phase === 'waiting' && missingTabs ? `waiting for ${missingTabs} more tab${missingTabs === 1 ? '' : 's'}` : status}
        </p>
      </div>
      <progress max="1" value=${total ? done / total : 0} aria-label="Progress"></progress>
      ${
        phase === 'waiting' && missingTabs && !settings.frames
          ? html`<div class="wait">
              <p class="small">
                Each further rank is a tab of its own, with a process of its own. Keep all of them open.
              </p>
              <div class="row">
                <a class="button" href=${link} target="_blank" rel="noopener">Open a tab</a>
                ${settings.meet === 'broker' ? html`<button @click=${() => this.#copy(link, 'the link for another browser is', controller)}>Copy the link for another browser</button>` : nothing}
              </div>
            </div>`
          : nothing
      }
      ${busy && settings.frames ? Array.from({ length: settings.tabs - 1 }, () => html`<iframe class="frames" src=${link} title="a rank of the bench"></iframe>`) : nothing}
      ${this.#form(settings, controller, busy)}`;
  }

  #form(settings: CollectivesSettings, controller: CollectivesController, busy: boolean) {
    const select = (event: Event): string => (event.target as HTMLSelectElement).value;
    const checked = (event: Event): boolean => (event.target as HTMLInputElement).checked;
    const sizes = formatSizes(settings.sizes);
    // What the link says is shown; from then on the person opens and closes.
    const opened = (this.#opened ??= {
      peers: settings.peers.length > 0,
      place: settings.frames || settings.meet === 'broker',
    });
    return html` <div class="fields">
        <label class="field"
          >Tabs
          <select ?disabled=${busy} @change=${(event: Event) => controller.choose({ tabs: Number(select(event)) })}>
            ${Array.from({ length: MOST_TABS - 1 }, (_, i) => html`<option ?selected=${settings.tabs === i + 2}>${i + 2}</option>`)}
          </select></label
        >
        <label class="field"
          >Sizes
          <select
            ?disabled=${busy}
            @change=${(event: Event) => controller.choose({ sizes: select(event) === 'all' ? ALL_SIZES : DEFAULT_SIZES })}
          >
            <option value="default" ?selected=${sizes === 'default'}>0 B to 16 MiB, six</option>
            <option value="all" ?selected=${sizes === 'all'}>0 B to 64 MiB, all</option>
            ${sizes === 'default' || sizes === 'all' ? nothing : html`<option selected disabled>${sizes}</option>`}
          </select></label
        >
        <label class="field"
          >Links over
          <select
            ?disabled=${busy}
            @change=${(event: Event) => controller.choose({ transport: TRANSPORTS[(event.target as HTMLSelectElement).selectedIndex] })}
          >
            ${TRANSPORTS.map((name) => html`<option ?selected=${settings.transport === name}>${LINKS[name]}</option>`)}
          </select></label
        >
      </div>
      <details>
        <summary>What</summary>
        <div class="choices">
          ${selectable(undefined).map(
            (name) =>
              html`<label title=${ABOUT[name]}
                ><input
                  type="checkbox"
                  ?disabled=${busy}
                  .checked=${settings.only.includes(name)}
                  @change=${(event: Event) => controller.choose({ only: selectable(undefined).filter((one) => (one === name ? checked(event) : settings.only.includes(one))) })}
                />${name}</label
              >`,
          )}
        </div>
      </details>
      <details ?open=${opened.peers}>
        <summary>Beside other libraries</summary>
        <div class="choices">
          ${PEER_NAMES.map(
            (name) =>
              html`<label
                ><input
                  type="checkbox"
                  ?disabled=${busy}
                  .checked=${settings.peers.includes(name)}
                  @change=${(event: Event) => controller.choose({ peers: PEER_NAMES.filter((one) => (one === name ? checked(event) : settings.peers.includes(one))) })}
                />${name}</label
              >`,
          )}
        </div>
      </details>
      <details ?open=${opened.place}>
        <summary>Where the ranks are</summary>
        <div class="choices">
          <label
            ><input
              type="checkbox"
              ?disabled=${busy}
              .checked=${settings.meet === 'broker'}
              @change=${(event: Event) => controller.choose({ meet: checked(event) ? 'broker' : 'browser' })}
            />
            tabs of other browsers and machines of this network too (they meet by the broker of this page's server; at
            most ${MOST_TABS_BY_BROKER}, over WebRTC)</label
          >
          <label
            ><input
              type="checkbox"
              ?disabled=${busy}
              .checked=${settings.frames}
              @change=${(event: Event) => controller.choose({ frames: checked(event) })}
            />
            frames of this page instead of tabs (nothing to open, but all ranks share one process, so the figures are
            lower)</label
          >
        </div>
      </details>`;
  }

  #keep({ report, settings, rows }: CollectivesState, { controller, linkOf }: HostParts) {
    const copy = (text: string, what: string): void => this.#copy(text, what, controller);
    return html` <h2>In short</h2>
      ${report && report.end !== 'complete' ? html`<p class="small">${report.end}${report.problem ? `: ${report.problem}` : ''}; what follows is of the rows until then</p>` : nothing}
      ${
        report
          ? html`<ul class="lines small">
              ${summarise(report).map((line) => html`<li>${line}</li>`)}
            </ul>`
          : html`<p class="soft small">
              ${rows.length ? 'The summary comes with the end of the run.' : 'Press Run, and open the other tabs when you are asked to.'}
            </p>`
      }
      <h2>Keep</h2>
      <div class="row">
        <button ?disabled=${!report} @click=${() => copy(`${JSON.stringify(report, null, 2)}\n`, 'the JSON is')}>
          Copy JSON
        </button>
        <button
          ?disabled=${!report}
          @click=${() => report && copy(formatMarkdown(report, formatLink(settings)), 'the Markdown is')}
        >
          Copy Markdown
        </button>
        <button @click=${() => copy(linkOf(settings), 'a link that runs this by itself is')}>Copy link</button>
      </div>
      <p class="soft small" role="status">${this.said}</p>`;
  }

  #copy(text: string, what: string, controller: CollectivesController): void {
    const failed = (): void => controller.problem('clipboard: this browser does not let the page write there');
    navigator.clipboard.writeText(text).then(() => {
      this.said = `${what} in the clipboard`;
    }, failed);
  }
}

customElements.define('collectives-app', CollectivesApp);
