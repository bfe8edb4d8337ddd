// Who may do what in a room. Whoever opened it is its owner: the link names the identity. The owner says the rules, a
// signed list whose number grows, and every member carries the newest that it knows in its presence, so that they hold
// while the owner reloads or is away. Without rules everybody may propose runs and act on a run that it is in; only the
// owner may remove. A removal is a statement signed by somebody who may; it is carried along in the same way, and the
// identity is refused for as long as anybody in the room remembers. A link without an owner has no rules, and nobody
// removes. A statement: base64url of public key 65 | signature 64 | JSON. The signature is over a label, the room and
// the JSON, so none holds in another room.

import { FormatError } from '../../base/errors.ts';
import { decodeUtf8, isArray, isObject, parseJson } from '../../base/json.ts';
import type { JsonObject, JsonValue } from '../../base/json.ts';
import { joinBytes, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, signerOf } from '../identity/keys.ts';
import type { Identity } from '../identity/keys.ts';
import { fromBase64Url, toBase64Url } from '../seal.ts';
import type { Bytes } from '../seal.ts';

/** Everybody, the owner alone, or the owner and these identities. */
export type Who = 'all' | 'owner' | readonly string[];

/** What rules are about. `act`: to pause, resume and stop a run. */
export type Right = 'propose' | 'act' | 'remove';
export const RIGHTS: readonly Right[] = ['propose', 'act', 'remove'];

export type Rules = Readonly<Record<Right, Who>>;

/** What every member carries in its presence. */
export interface Law {
  readonly rules?: string;
  readonly removals?: readonly string[];
}

/** Those whom the rules name, each once. */
export function namedIn(rules: Rules): readonly string[] {
  return [...new Set(RIGHTS.flatMap((right) => (typeof rules[right] === 'string' ? [] : rules[right])))];
}

/** The rules with this identity named, or not any more, wherever they name anybody. */
export function withName(rules: Rules, id: string, named: boolean): Rules {
  const list = [...namedIn(rules).filter((other) => other !== id), ...(named ? [id] : [])];
  const whoOf = (right: Right): Who => (typeof rules[right] === 'string' ? rules[right] : list);
  return { propose: whoOf('propose'), act: whoOf('act'), remove: whoOf('remove') };
}

export const OPEN_RULES: Rules = { propose: 'all', act: 'all', remove: 'owner' };
export const MAX_LISTED = 8;
/** Removals that a presence carries, the latest; each member remembers more. */
export const MAX_CARRIED = 6;
const MAX_REMEMBERED = 256;
export const MAX_STATEMENT = 1500;
const ID = /^[0-9a-f]{32}$/;

interface Statement {
  readonly by: string;
  readonly fields: JsonObject;
}

export class Laws {
  readonly owner: string | undefined;
  readonly #room: string;
  #rules: Rules = OPEN_RULES;
  #number = 0;
  #signedRules: string | undefined;
  /** By the identity that was removed. */
  readonly #removed = new Map<string, { readonly by: string; readonly statement: string }>();
  /** Statements that were judged; the same ones come with every presence. */
  readonly #judged = new Set<string>();

  constructor(room: string, owner: string | undefined) {
    this.#room = room;
    this.owner = owner;
  }

  get rules(): Rules {
    return this.#rules;
  }

  get law(): Law | undefined {
    if (this.#signedRules === undefined && this.#removed.size === 0) return undefined;
    const removals = Array.from(this.#removed.values(), ({ statement }) => statement).slice(-MAX_CARRIED);
    return {
      ...(this.#signedRules === undefined ? {} : { rules: this.#signedRules }),
      ...(removals.length ? { removals } : {}),
    };
  }

  may(right: Right, id: string): boolean {
    if (this.owner === undefined) return right !== 'remove';
    const who = this.#rules[right];
    return id === this.owner || who === 'all' || (who !== 'owner' && who.includes(id));
  }

  /** All identities that were removed. */
  get removed(): readonly string[] {
    return [...this.#removed.keys()];
  }

  /** Who removed this identity; undefined: nobody. */
  removedBy(id: string): string | undefined {
    return this.#removed.get(id)?.by;
  }

  /** Whether all that a member carries was judged under the rules of now. */
  hasJudged({ rules, removals = [] }: Law): boolean {
    return [...(rules === undefined ? [] : [rules]), ...removals].every(
      (text) => text.length > MAX_STATEMENT || this.#judged.has(this.#keyOf(text)),
    );
  }

  /** Takes what a member carries. What is not signed by who may say it is nothing. */
  async learn({ rules, removals = [] }: Law): Promise<void> {
    // Rules first: they say who may remove.
    if (rules !== undefined) await this.#learnRules(rules);
    for (const statement of removals) await this.#learnRemoval(statement);
  }

  /** Only the owner's counts. */
  async decree(identity: Identity, rules: Rules): Promise<void> {
    const number = this.#number + 1;
    await this.#learnRules(await this.#sign(identity, { rules: { number, ...rules } }));
  }

  async remove(identity: Identity, id: string): Promise<void> {
    await this.#learnRemoval(await this.#sign(identity, { removed: id }));
  }

  async #learnRules(text: string): Promise<void> {
    const statement = await this.#open(text);
    if (!statement || statement.by !== this.owner) return;
    const fields = statement.fields.get('rules');
    if (!isObject(fields)) return;
    const number = fields.get('number');
    if (typeof number !== 'number' || !Number.isSafeInteger(number) || number <= this.#number) return;
    const [propose, act, remove] = RIGHTS.map((right) => whoOf(fields.get(right)));
    if (propose === undefined || act === undefined || remove === undefined) return;
    this.#rules = { propose, act, remove };
    this.#number = number;
    this.#signedRules = text;
  }

  async #learnRemoval(text: string): Promise<void> {
    const statement = await this.#open(text);
    const id = statement?.fields.get('removed');
    if (
      !statement ||
      typeof id !== 'string' ||
      !ID.test(id) ||
      id === this.owner ||
      this.#removed.has(id) ||
      !this.may('remove', statement.by)
    )
      return;
    const [oldest] = this.#removed.keys();
    if (this.#removed.size >= MAX_REMEMBERED && oldest !== undefined) this.#removed.delete(oldest);
    this.#removed.set(id, { by: statement.by, statement: text });
  }

  async #sign(identity: Identity, said: unknown): Promise<string> {
    const json = new TextEncoder().encode(JSON.stringify(said));
    return toBase64Url(joinBytes([identity.publicKey, await identity.sign(this.#signed(json)), json]));
  }

  #signed(json: Bytes): Bytes {
    return joinBytes([new TextEncoder().encode(`tabmesh law\n${this.#room}\n`), json]);
  }

  /** A removal by somebody who may not yet is judged again once rules have changed. */
  #keyOf(text: string): string {
    return `${this.#number} ${text}`;
  }

  /** undefined: it was judged before, or is no statement. */
  async #open(text: string): Promise<Statement | undefined> {
    const key = this.#keyOf(text);
    if (this.#judged.has(key) || text.length > MAX_STATEMENT) return undefined;
    if (this.#judged.size >= MAX_REMEMBERED) this.#judged.clear();
    this.#judged.add(key);
    try {
      const bytes = fromBase64Url(text);
      const head = PUBLIC_KEY_BYTES + SIGNATURE_BYTES;
      if (bytes.byteLength <= head) return undefined;
      const json = bytes.slice(head);
      const signer = await signerOf(bytes.slice(0, PUBLIC_KEY_BYTES));
      if (!(await signer.verify(bytes.slice(PUBLIC_KEY_BYTES, head), this.#signed(json)))) return undefined;
      const fields = parseJson(decodeUtf8(json, 'law'), { format: 'law' });
      return isObject(fields) ? { by: signer.id, fields } : undefined;
    } catch (error) {
      if (error instanceof FormatError) return undefined;
      throw error;
    }
  }
}

function whoOf(value: JsonValue | undefined): Who | undefined {
  if (value === 'all' || value === 'owner') return value;
  if (!isArray(value) || value.length > MAX_LISTED || !value.every((id) => typeof id === 'string' && ID.test(id)))
    return undefined;
  return value as readonly string[];
}
