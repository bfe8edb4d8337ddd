// Which tensors of a program have a buffer per slot, and of which slots. A slot holds one microbatch in flight. Tensors
// that live between different plans may have slots of different classes, so that what dies early is held by fewer: with
// plans F, B and W, what only F and B use need not wait for W.

import { InternalError } from '../../base/errors.ts';

/** One slot of each class that is held; a number is that slot of every class. */
export type Slot = number | Readonly<Partial<Record<string, number>>>;

export interface SlotClass {
  readonly name: string;
  /** The plans from the first that uses its tensors to the last, in that order. */
  readonly plans: readonly string[];
  readonly count: number;
}

export interface SlotClasses {
  readonly classes: readonly SlotClass[];
  /** By plan: the slots that it runs in. Other plans use no tensor that has slots, or run in slot 0 of every class. */
  readonly sets: ReadonlyMap<string, readonly Slot[]>;
}

export class SlotTable {
  readonly #classes: readonly SlotClass[];
  readonly #sets: (plan: string) => readonly Slot[];

  /** A number: that many slots of one class for all plans. */
  constructor(given: number | SlotClasses) {
    if (typeof given === 'number') {
      const all = Array.from({ length: given }, (_, slot) => slot);
      this.#classes = [{ name: 'slot', plans: [], count: given }];
      this.#sets = () => all;
    } else {
      this.#classes = given.classes;
      this.#sets = (plan) => given.sets.get(plan) ?? [0];
    }
  }

  /** The class of a tensor that these plans use: of those that live long enough the one with the fewest plans. */
  classFor(users: ReadonlySet<string>): SlotClass {
    const [only] = this.#classes;
    if (this.#classes.length === 1 && only!.plans.length === 0) return only!;
    const fitting = this.#classes.filter(({ plans }) => [...users].every((plan) => plans.includes(plan)));
    const [best] = fitting.sort((a, b) => a.plans.length - b.plans.length);
    if (!best) throw new InternalError(`no class of slots lives through the plans ${[...users].join(', ')}`);
    return best;
  }

  /** The slots that `plan` runs in, once for each that differs in `classes`, by their key. */
  distinct(plan: string, classes: ReadonlySet<string>): ReadonlyMap<string, Slot> {
    const found = new Map<string, Slot>();
    for (const slot of this.#sets(plan)) {
      const key = slotKey(slot, classes);
      if (!found.has(key)) found.set(key, slot);
    }
    return found;
  }
}

export function slotIn(slot: Slot, name: string): number {
  const index = typeof slot === 'number' ? slot : slot[name];
  if (index === undefined) throw new InternalError(`a tensor of class ${name} is used where no slot of it is held`);
  return index;
}

/** Equal for slots that are the same in `classes`. */
export function slotKey(slot: Slot, classes: ReadonlySet<string>): string {
  return [...classes].map((name) => `${name} ${slotIn(slot, name)}`).join(', ');
}
