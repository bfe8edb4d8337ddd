// Launches that can be given another variant while plans hold them. The variants of a kernel have the same bindings, so
// a bind group stays as it is: a swap changes pipeline and grid, between two submits. It compiles nothing: that was
// done before, beside the training.

import type { Later } from '../device.ts';
import type { Kernel, Params } from '../kernel.ts';
import type { ChosenVariant } from '../variant.ts';

type Grid = readonly [number, number, number];
export interface SwappableLaunch {
  variant: string;
  pipeline: GPUComputePipeline;
  grid: Grid;
}
/** All launches of one kind, which run the same. */
interface Kind {
  readonly kernel: Kernel;
  readonly params: Params;
  readonly launches: SwappableLaunch[];
  running: string;
}
interface Next {
  readonly key: string;
  readonly variant: string;
  readonly pipeline: GPUComputePipeline;
  readonly grid: Grid;
}

export interface SwapOptions {
  /** A slice of checking and measuring; true when nothing is left. */
  improve(): Promise<boolean>;
  /** Another number whenever `choose` may say something else. */
  slices(): number;
  /** What a launch should run with then. */
  choose(kernel: Kernel, params: Params): ChosenVariant;
  /** Rejects with LimitError where the adapter cannot run so many workgroups. */
  compile(kernel: Kernel, choice: ChosenVariant, grid: Grid): Promise<GPUComputePipeline>;
  /** Hears of a variant that could not be compiled; what runs goes on to run. */
  onProblem(text: string): void;
}

export class LaunchSwap implements Later {
  readonly #options: SwapOptions;
  readonly #kinds = new Map<string, Kind>();
  readonly #next = new Map<Kind, Next>();
  /** What cannot run. */
  readonly #failed = new Set<string>();
  #state: 'working' | 'compiling' | 'settled' = 'working';
  /** What the last choices were made of. */
  #seen = '';

  constructor(options: SwapOptions) {
    this.#options = options;
  }

  track(kernel: Kernel, params: Params, choice: ChosenVariant, launch: SwappableLaunch): void {
    const key = `${kernel.name} ${JSON.stringify(params)} ${keyOf(choice)}`;
    const known = this.#kinds.get(key);
    // One that is kept under this key may run something else by now.
    if (known?.running === keyOf(choice)) known.launches.push(launch);
    else
      this.#kinds.set(known ? `${key} ${this.#kinds.size}` : key, {
        kernel,
        params,
        launches: [launch],
        running: keyOf(choice),
      });
  }

  async work(): Promise<void> {
    if (this.#state === 'compiling') return;
    const improved = await this.#options.improve();
    const due = improved && this.#hasNews() ? this.#due() : [];
    this.#state = !improved ? 'working' : due.length ? 'compiling' : 'settled';
    // The training goes on meanwhile.
    if (due.length)
      void this.#compile(due).then(() => {
        this.#state = 'settled';
      });
  }

  get settled(): boolean {
    return this.#state === 'settled';
  }

  swap(): number {
    const swapped = this.#next.size;
    for (const [kind, { key, variant, pipeline, grid }] of this.#next) {
      kind.running = key;
      for (const launch of kind.launches) Object.assign(launch, { variant, pipeline, grid });
    }
    this.#next.clear();
    return swapped;
  }

  /**
   * A run that has found everything asks at every step; another rank may have found something since, or launches are
   * new.
   */
  #hasNews(): boolean {
    const seen = `${this.#options.slices()} ${this.#kinds.size}`;
    const news = seen !== this.#seen;
    this.#seen = seen;
    return news;
  }

  /** What should run something that is not compiled yet. */
  #due(): readonly (readonly [Kind, ChosenVariant])[] {
    return [...this.#kinds.values()].flatMap((kind) => {
      const choice = this.#options.choose(kind.kernel, kind.params);
      const key = keyOf(choice);
      if (key === kind.running) this.#next.delete(kind);
      return key === kind.running || this.#next.get(kind)?.key === key || this.#failed.has(failedKey(kind, choice))
        ? []
        : [[kind, choice] as const];
    });
  }

  /** Never rejects. */
  async #compile(due: readonly (readonly [Kind, ChosenVariant])[]): Promise<void> {
    await Promise.all(
      due.map(async ([kind, choice]) => {
        const { kernel, params } = kind;
        try {
          const grid = choice.variant.grid(params, choice.constants);
          const pipeline = await this.#options.compile(kernel, choice, grid);
          this.#next.set(kind, { key: keyOf(choice), variant: choice.variant.name, pipeline, grid });
        } catch (error) {
          this.#failed.add(failedKey(kind, choice));
          this.#options.onProblem(
            `${kernel.name} goes on as it began: ${error instanceof Error ? error.message : String(error)}`,
          );
        }
      }),
    );
  }
}

function keyOf({ variant, constants }: ChosenVariant): string {
  return `${variant.name} ${JSON.stringify(constants)}`;
}

/** A grid can be too large for these params alone. */
function failedKey({ kernel, params }: Kind, choice: ChosenVariant): string {
  return `${kernel.name} ${JSON.stringify(params)} ${keyOf(choice)}`;
}
