// What members say of a run at work: those in it act on it, anybody may ask about it, and those who know tell. Whether
// somebody may is judged on both sides.

import type { Act, Message } from '../messages.ts';
import type { Presence } from '../presence.ts';
import type { Rights } from './rights.ts';
import type { SessionEvent } from './session-types.ts';

export interface RunTalkOptions {
  readonly me: () => Presence;
  readonly members: () => readonly Presence[];
  readonly rights: Rights;
  readonly send: (to: string, message: Message) => void;
  readonly emit: (event: SessionEvent) => void;
}

export class RunTalk {
  readonly #options: RunTalkOptions;

  constructor(options: RunTalkOptions) {
    this.#options = options;
  }

  /** Does nothing outside of a run, or where this tab may not. */
  act(act: Act): void {
    const { members, rights, send, emit } = this.#options;
    const me = this.#options.me();
    const { run } = me;
    if (!run) return;
    if (!rights.mayDo(act)) return emit({ type: 'status', text: rights.forbidden('act') });
    for (const { address } of members()) if (address !== me.address) send(address, { type: 'act', run: run.run, act });
    emit({ type: 'act', run: run.run, act, by: me });
  }

  ask(to: string, run: number): void {
    this.#options.send(to, { type: 'ask', run });
  }

  tell(to: string, run: number, body: unknown): void {
    if (knows(this.#options.me(), run)) this.#options.send(to, { type: 'news', run, body });
  }

  /** `by`: the member that says it, if it is one. */
  heard(by: Presence | undefined, message: Extract<Message, { readonly type: 'act' | 'ask' | 'news' }>): void {
    const { rights, emit } = this.#options;
    const { run } = message;
    const me = this.#options.me();
    if (!by) return;
    switch (message.type) {
      case 'act':
        // Those in a run decide about it, nobody else.
        if (by.run?.run !== run) return;
        if (!rights.mayDo(message.act, by.id)) return this.refuse(by.name, message.act);
        return emit({ type: 'act', run, act: message.act, by });
      case 'ask':
        if (knows(me, run)) emit({ type: 'asked', run, by });
        return;
      case 'news':
        if (knows(by, run) && me.run?.run !== run) emit({ type: 'news', run, body: message.body, from: by });
    }
  }

  refuse(name: string, act: Act): void {
    const { rights, emit } = this.#options;
    emit({ type: 'status', text: `'${name}' wanted to ${act} the run; ${rights.forbidden('act')}` });
  }
}

/** Of a run tells who is in it, and who keeps its checkpoint when it is over. */
function knows({ run, holds }: Presence, number: number): boolean {
  return run?.run === number || (!run && holds?.run === number);
}
