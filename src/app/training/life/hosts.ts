// The ranks that this page holds: those of a run on virtual devices, or its one of a room.

import type { Backend, DeviceReport } from '../../../../workers/protocol.ts';
import { RankHost } from '../rank-host.ts';

export class Hosts {
  #all: readonly RankHost[] = [];

  get all(): readonly RankHost[] {
    return this.#all;
  }
  get first(): RankHost | undefined {
    return this.#all[0];
  }

  /**
   * One host, fresh and with an open device, in place of those of before. It is held from this call on, so whoever ends
   * what this page holds ends it, though its backend may not be chosen yet.
   */
  async open(backend: Backend | Promise<Backend>): Promise<DeviceReport> {
    this.close();
    const host = new RankHost();
    this.#all = [host];
    return host.open(await backend);
  }

  /**
   * One host that can serve a run, with an open device: that of the last run, if there is one and it can. Rejects,
   * and opens nothing, once `signal` has aborted.
   */
  async serve(backend: Backend, signal: AbortSignal): Promise<RankHost> {
    const { first, all } = this;
    const serves = all.length === 1 && (await first!.ready());
    signal.throwIfAborted();
    if (!serves || this.first !== first) await this.open(backend);
    signal.throwIfAborted();
    return this.first!;
  }

  /** Holds these; those of before must be closed. */
  hold(hosts: readonly RankHost[]): void {
    this.#all = hosts;
  }

  /** The hosts, which are the caller's to end from now on. */
  take(): readonly RankHost[] {
    const hosts = this.#all;
    this.#all = [];
    return hosts;
  }

  close(): void {
    for (const host of this.take()) host.close();
  }
}
