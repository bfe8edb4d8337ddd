// A tied embedding on a pipeline: the first stage owns it, the last stage holds a copy for the head. Each step the
// copy's gradient goes to the owner, which adds it to its own, and after the update the owner's bytes come back. Per
// step and (dp, sp, ep, tp) place: V/tp * hidden * 4 bytes each way.

import type { Group } from '../../collectives/group.ts';
import type { Mesh, Scope } from '../../collectives/mesh.ts';
import { InternalError } from '../../base/errors.ts';
import { elements } from '../../base/shape.ts';
import type { Device, DeviceBuffer, Launch, Range } from '../../device/device.ts';
import type { Traffic } from '../../device/recorder.ts';
import type { Param } from '../../device/tensor.ts';
import type { Stage } from '../../model/stage.ts';
import { add } from '../../../shaders/elementwise/add.ts';
import { copyColumns } from '../../../shaders/layout/copy-columns.ts';
import { hostsOf } from '../pipeline/placement.ts';
import type { PipelineShape, Schedule } from '../pipeline/schedule.ts';

type F32 = Float32Array<ArrayBuffer>;

interface Owner {
  readonly table: Param;
  readonly incoming: DeviceBuffer;
  readonly sum: DeviceBuffer;
  readonly launches: readonly Launch[];
  readonly peer: number;
}
interface Copy {
  readonly head: Param;
  readonly peer: number;
}

export class TiedWeights {
  readonly #device: Device;
  readonly #scope: Scope;
  readonly #group: Group;
  readonly #owner: Owner | undefined;
  readonly #copy: Copy | undefined;

  private constructor(device: Device, scope: Scope, owner: Owner | undefined, copy: Copy | undefined) {
    this.#device = device;
    this.#scope = scope;
    this.#group = scope.axis('pp');
    this.#owner = owner;
    this.#copy = copy;
  }

  /**
   * `tied`: names of the parameters of the table on the first stage and on the last. Does nothing later if it is
   * undefined or both ends are one stage.
   */
  static async create(
    device: Device,
    mesh: Mesh,
    tied: { readonly owner: string; readonly copy: string } | undefined,
    schedule: Schedule,
    shape: PipelineShape,
    stages: ReadonlyMap<number, Stage>,
  ): Promise<TiedWeights> {
    const scope = mesh.scope('tied weights');
    const last = shape.ranks * shape.chunks - 1;
    if (!tied || last === 0) return new TiedWeights(device, scope, undefined, undefined);
    const hosts = hostsOf(schedule, shape);
    const first = stages.get(0);
    const end = stages.get(last);
    const head = end && { head: end.params.get(tied.copy), peer: hosts[0] };
    if (!first) return new TiedWeights(device, scope, undefined, head);
    const table = first.params.get(tied.owner);
    const bytes = elements(table.shape) * 4;
    const incoming = device.alloc(bytes, 'grad', 'tied gradient');
    const sum = device.alloc(bytes, 'grad', 'tied sum');
    const N = elements(table.shape);
    const own = rangeOf(table.grad);
    const whole = (buffer: DeviceBuffer): Range => ({ buffer, offset: 0, bytes });
    const [adding, copying] = [
      { N, ALPHA: 1, BETA: 1 },
      { R: 1, COLS: N, X_WIDTH: N, X_COL: 0, OUT_WIDTH: N, OUT_COL: 0 },
    ];
    await device.qualify?.([
      { kernel: add, params: adding, count: 1 },
      { kernel: copyColumns, params: copying, count: 1 },
    ]);
    const launches = [
      await device.prepare(add, adding, { a: own, b: whole(incoming), out: whole(sum) }),
      await device.prepare(copyColumns, copying, { x: whole(sum), out: own }),
    ];
    return new TiedWeights(device, scope, { table, incoming, sum, launches, peer: hosts[last] }, head);
  }

  /** Adds the copy's gradient to the owner's. */
  async collectGradients(): Promise<void> {
    await this.#move(
      this.#copy?.head.grad,
      async (data) => {
        this.#device.write(this.#owner!.incoming, 0, data);
        await this.#device.submit(this.#owner!.launches);
      },
      'towards owner',
    );
  }

  /** Brings the owner's bytes to the copy. */
  async publish(): Promise<void> {
    await this.#move(
      this.#owner?.table,
      async (data) => {
        const { buffer, offset } = rangeOf(this.#copy!.head);
        this.#device.write(buffer, offset, data);
      },
      'towards copy',
    );
  }

  /** What this rank sends in one collectGradients and one publish. */
  traffic(): readonly Traffic[] {
    const sent = (table: Param | undefined, peer: number | undefined): Traffic => ({
      kind: 'tied',
      bytes: table && peer !== this.#group.rank ? elements(table.shape) * 4 : 0,
    });
    return [sent(this.#owner?.table, this.#owner?.peer), sent(this.#copy?.head, this.#copy?.peer)];
  }

  dispose(): void {
    this.#scope.close();
    if (!this.#owner) return;
    this.#device.free(this.#owner.incoming);
    this.#device.free(this.#owner.sum);
  }

  async #move(
    from: Param | Param['grad'] | undefined,
    arrive: (data: F32) => Promise<void>,
    direction: 'towards owner' | 'towards copy',
  ): Promise<void> {
    const sender = direction === 'towards owner' ? this.#copy : this.#owner;
    const receiver = direction === 'towards owner' ? this.#owner : this.#copy;
    if (!sender && !receiver) return;
    const bytes = from && new Float32Array((await this.#device.submit([], [rangeOf(from)]))[0]);
    if (sender && receiver) {
      await arrive(bytes!);
      return;
    }
    if (sender) {
      await this.#group.beginPoint('tied', sender.peer, 'to').send(sender.peer, 0, bytes!);
      return;
    }
    const table = this.#owner ? this.#owner.table : this.#copy!.head;
    const data = new Float32Array(elements(table.shape));
    await this.#group.beginPoint('tied', receiver!.peer, 'from').recv(receiver!.peer, 0, data);
    await arrive(data);
  }
}

function rangeOf(tensor: Param | Param['grad']): Range {
  if (tensor.storage.kind !== 'fixed') throw new InternalError('parameters are fixed');
  return { buffer: tensor.storage.buffer, offset: tensor.offset, bytes: elements(tensor.shape) * 4 };
}
