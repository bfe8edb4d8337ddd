// <share-panel>: other tabs and other machines. A button that opens one more tab of this room, its link, a QR code of
// it, and who is here. Events: 'add-tab' (a room may have to be made first), 'leave-room', 'rename-tab',
// 'remove-member' (detail: address), 'set-rules' (detail: Rules).

import { css, html, LitElement, svg } from 'lit';
import { encode } from 'uqr';
import type { Presence } from '../../../cluster/presence.ts';
import { MAX_LISTED, namedIn, RIGHTS, withName } from '../../../cluster/room/laws.ts';
import type { Right, Rules } from '../../../cluster/room/laws.ts';
import { DEEDS, rulesSentence } from '../room/names.ts';
import { sentence } from '../../shared/sentence.ts';
import { keepTabName, MOST_NAME, readTabName, tabName } from '../link/tab-name.ts';
import type { RoomState } from '../run-controller.ts';
import { KeepFocus } from '../../shared/elements/keep-focus.ts';
import { shapes } from '../../shared/elements/theme.ts';

export class SharePanel extends LitElement {
  static override properties = {
    room: { attribute: false },
    link: {},
    busy: { type: Boolean },
    withheld: { type: Boolean },
    copied: { state: true },
    wrong: { state: true },
  };
  static override styles = [
    shapes,
    css`
      .grid {
        display: flex;
        gap: 14px;
        margin-top: 12px;
        align-items: flex-start;
      }
      .grid > div {
        min-width: 0;
        flex: 1;
        display: grid;
        gap: 8px;
      }
      svg {
        width: 116px;
        height: 116px;
        border-radius: 10px;
        background: #fff;
        flex: none;
      }
      ul {
        margin: 0;
        padding: 0;
        list-style: none;
        font-size: 13px;
        display: grid;
        gap: 2px;
      }
      li::before {
        content: '';
        display: inline-block;
        width: 8px;
        height: 8px;
        border-radius: 50%;
        background: var(--good);
        margin-right: 8px;
      }
      li {
        overflow-wrap: anywhere;
      }
      li label {
        white-space: nowrap;
      }
      .grid input {
        font: 12px var(--mono);
      }
      .name {
        display: grid;
        gap: 3px;
        margin-top: 10px;
      }
      .name input {
        color: var(--ink);
        min-height: 32px;
        font-size: 14px;
      }
      .wrong {
        color: var(--bad);
      }
    `,
  ];
  declare room: RoomState | undefined;
  declare link: string;
  declare busy: boolean;
  /** The link leaves out a TURN server, because its password is this person's. */
  declare withheld: boolean;
  declare copied: boolean;
  /** Why the name that was written cannot be used. */
  declare wrong: string;

  constructor() {
    super();
    new KeepFocus(this);
    this.link = '';
    this.busy = false;
    this.withheld = false;
    this.copied = false;
    this.wrong = '';
  }

  override render() {
    const { room } = this;
    return html` <div class="row spread">
        <h2>More devices</h2>
        ${room ? html`<button @click=${() => this.#tell('leave-room')}>Leave the room</button>` : ''}
      </div>
      ${room ? this.#room(room) : html`<p class="soft small" .style=${'margin:6px 0 12px'}>Tabs, browsers and machines that open the same link train one model together. Tensors go straight from tab to tab.</p>`}
      ${
        room
          ? html`<label class="small soft name"
                >Name of this tab
                <input
                  maxlength=${MOST_NAME}
                  placeholder="its browser"
                  .value=${tabName(() => sessionStorage)}
                  aria-invalid=${this.wrong ? 'true' : 'false'}
                  @change=${(event: Event) => this.#rename((event.target as HTMLInputElement).value)}
              /></label>
              ${this.wrong ? html`<p class="small wrong" role="status">${this.wrong}</p>` : ''}`
          : ''
      }
      <div class="row" .style=${'margin-top:10px'}>
        <button ?disabled=${this.busy && !room} @click=${() => this.#tell('add-tab')}>Add a tab</button>
        ${room ? html`<button @click=${() => this.#copy()}>${this.copied ? 'Copied' : 'Copy the link'}</button>` : ''}
      </div>`;
  }

  #room({ members, me, joined, carrier, notices, address, rules, may }: RoomState) {
    return html`<div class="grid">
      ${this.link ? qrCode(this.link) : ''}
      <div>
        <input
          readonly
          aria-label="Link of this room"
          .value=${this.link}
          @focus=${(event: Event) => (event.target as HTMLInputElement).select()}
        />
        <ul aria-label="Tabs in this room">
          ${members.map(
            (member) =>
              html`<li>
                ${member.name}${member.address === me?.address ? ' (this tab)' : ''}
                <span class="soft"
                  >${[placeOf(member), member.id === address.owner ? 'opened this room' : '', member.adapter].filter(Boolean).join(', ')}</span
                >
                ${me?.id === address.owner && member.id !== me?.id ? this.#naming(rules, member) : ''}
                ${may.remove && member.id !== me?.id && member.id !== address.owner ? html` <button class="small" aria-label=${`Remove ${member.name}`} @click=${() => this.#tell('remove-member', member.address)}>Remove</button>` : ''}
              </li>`,
          )}
        </ul>
        ${address.owner === undefined ? '' : me?.id === address.owner ? this.#rules(rules) : html`<p class="soft small">${rulesSentence(rules)}</p>`}
        ${notices.map((text) => html`<p class="small hint" role="status">${text}</p>`)}
        ${this.withheld ? html`<p class="soft small">The link leaves out your TURN server and its password; whoever needs one adds their own.</p>` : ''}
        <p class="soft small">
          ${joined ? `meets over ${carrier}` : 'not in the room yet'}${['localhost', '127.0.0.1'].includes(location.hostname) ? '; this address works on this machine alone, others need the page over https' : ''}
        </p>
      </div>
    </div>`;
  }

  #rename(text: string): void {
    try {
      keepTabName(readTabName(text), () => sessionStorage);
      this.wrong = '';
      this.#tell('rename-tab');
    } catch (error) {
      this.wrong = sentence(error);
    }
  }

  /** For the owner: one choice for each right. */
  #rules(rules: Rules) {
    return html`${RIGHTS.map(
      (right) =>
        html`<label class="small"
          >Who may ${DEEDS[right]}
          <select @change=${(event: Event) => this.#setRule(rules, right, (event.target as HTMLSelectElement).value)}>
            <option value="all" ?selected=${rules[right] === 'all'}>all</option>
            <option value="owner" ?selected=${rules[right] === 'owner'}>only I</option>
            <option value="named" ?selected=${typeof rules[right] !== 'string'}>I and those named</option>
          </select></label
        >`,
    )}`;
  }

  /** For the owner, where some right is for those named: whether this member is. */
  #naming(rules: Rules, { id, name }: Presence) {
    if (RIGHTS.every((right) => typeof rules[right] === 'string')) return '';
    const named = namedIn(rules);
    return html` <label class="small"
      ><input
        type="checkbox"
        aria-label=${`Name ${name}`}
        .checked=${named.includes(id)}
        ?disabled=${named.length >= MAX_LISTED && !named.includes(id)}
        @change=${(event: Event) => this.#tell('set-rules', withName(rules, id, (event.target as HTMLInputElement).checked))}
      />
      named</label
    >`;
  }

  #setRule(rules: Rules, right: Right, choice: string): void {
    this.#tell('set-rules', { ...rules, [right]: choice === 'named' ? namedIn(rules) : choice });
  }

  #tell(name: 'add-tab' | 'leave-room' | 'rename-tab' | 'remove-member' | 'set-rules', detail?: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  async #copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.link);
      this.copied = true;
      setTimeout(() => {
        this.copied = false;
      }, 2000);
    } catch {
      // No permission: the field is beside the button; select it for the person to copy.
      this.renderRoot.querySelector('input')?.select();
    }
  }
}

/** What somebody does in the room. */
function placeOf({ run, role, wants }: Presence): string {
  if (run) return run.phase === 'forming' ? `connects as rank ${run.rank}` : `rank ${run.rank} of ${run.size}`;
  return [role === 'observer' ? 'watches' : '', wants ? `wants to train with ${wants.worldSize}` : '']
    .filter(Boolean)
    .join(', ');
}

/** Black on white in every theme: cameras expect it. */
function qrCode(text: string) {
  const { size, data } = encode(text, { ecc: 'L', border: 3 });
  const path = data.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : ''))).join('');
  return html`<svg
    viewBox="0 0 ${size} ${size}"
    role="img"
    aria-label="QR code of the link of this room"
    shape-rendering="crispEdges"
  >
    ${svg`<path d=${path} fill="#000"></path>`}
  </svg>`;
}

customElements.define('share-panel', SharePanel);
