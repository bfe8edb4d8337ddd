// What a session makes of the law of its room: learns what members carry, in the order in which it came, keeps its own
// presence at the newest, tells what has changed, and says in words why somebody may not do something.

import type { Identity } from '../identity/keys.ts';
import type { Act } from '../messages.ts';
import type { Presence } from '../presence.ts';
import { Laws } from './laws.ts';
import type { Law, Right, Rules } from './laws.ts';

export interface RightsOptions {
  readonly room: string;
  readonly owner: string | undefined;
  readonly identity: Identity;
  readonly present: () => readonly Presence[];
  readonly onStatus: (text: string) => void;
  /** The rules are others, or these identities are removed now. */
  readonly onLaw: (rules: boolean, removed: readonly string[], law: Law | undefined) => void;
}

const DEEDS: Readonly<Record<Right, string>> = {
  propose: 'ask for runs',
  act: 'pause, resume and stop runs',
  remove: 'remove others',
};

export class Rights {
  readonly #options: RightsOptions;
  readonly #laws: Laws;
  #learning: Promise<void> = Promise.resolve();
  /** Changes that have begun and not ended. */
  #changing = 0;

  constructor(options: RightsOptions) {
    this.#options = options;
    this.#laws = new Laws(options.room, options.owner);
  }

  get rules(): Rules {
    return this.#laws.rules;
  }

  may(right: Right, id = this.#options.identity.id): boolean {
    return this.#laws.may(right, id);
  }

  /** To save and to sample take nothing from anybody. */
  mayDo(act: Act, id = this.#options.identity.id): boolean {
    return act === 'save' || act === 'sample' || this.may('act', id);
  }

  /** Whether everybody may. */
  isOpen(right: Right): boolean {
    return this.#laws.owner === undefined || this.rules[right] === 'all';
  }

  isRemoved(id: string): boolean {
    return this.#laws.removedBy(id) !== undefined;
  }

  /** Who removed this identity, if they are here. */
  remover(id: string): Presence | undefined {
    return this.#present(this.#laws.removedBy(id));
  }

  forbidden(right: Right): string {
    const { owner, rules } = this.#laws;
    if (owner === undefined) return 'this room was opened without an owner, and nobody removes others from it';
    const name = this.#present(owner)?.name;
    return `only the owner of this room${name === undefined ? '' : ` (${name})`}${rules[right] === 'owner' ? '' : ' and those whom it named'} may ${DEEDS[right]}`;
  }

  /** Whether nothing is left to judge of what these members carry. */
  hasJudged(roster: readonly Presence[]): boolean {
    return this.#changing === 0 && roster.every(({ law }) => !law || this.#laws.hasJudged(law));
  }

  /** Resolves when all of it was judged. */
  learn(roster: readonly Presence[]): Promise<void> {
    const laws = roster.flatMap(({ law }) => law ?? []);
    return laws.length === 0
      ? this.#learning
      : this.#change(async () => {
          for (const law of laws) await this.#laws.learn(law);
        });
  }

  decree(rules: Rules): void {
    const { identity, onStatus } = this.#options;
    if (identity.id !== this.#laws.owner) onStatus('only the owner of this room says its rules');
    else void this.#change(() => this.#laws.decree(identity, rules));
  }

  remove(address: string): void {
    const { identity, onStatus, present } = this.#options;
    const who = present().find((member) => member.address === address);
    if (!who) return;
    if (!this.may('remove')) onStatus(this.forbidden('remove'));
    else if (who.id === this.#laws.owner || who.id === identity.id)
      onStatus('neither the owner of a room nor oneself can be removed; leave the room instead');
    else void this.#change(() => this.#laws.remove(identity, who.id));
  }

  #present(id: string | undefined): Presence | undefined {
    return this.#options.present().find((member) => member.id === id);
  }

  #change(change: () => Promise<void>): Promise<void> {
    this.#changing++;
    this.#learning = this.#learning
      .then(async () => {
        const { rules } = this.#laws;
        const before = new Set(this.#laws.removed);
        await change();
        const removed = this.#laws.removed.filter((id) => !before.has(id));
        if (rules !== this.#laws.rules || removed.length > 0)
          this.#options.onLaw(rules !== this.#laws.rules, removed, this.#laws.law);
      })
      .catch((error: unknown) => this.#options.onStatus(error instanceof Error ? error.message : String(error)))
      .finally(() => this.#changing--);
    return this.#learning;
  }
}
