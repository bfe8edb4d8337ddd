// Which checkpoints a page of a room keeps in memory: the one that its room was told of, and none besides.

import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Holds } from '../../src/cluster/presence.ts';
import { CheckpointKeeper } from '../../src/app/training/room/checkpoint-keeper.ts';
import { FileShelf } from '../../src/app/training/room/files/file-shelf.ts';
import { RoomFiles } from '../../src/app/training/room/files/room-files.ts';
import { withMoved } from '../../src/app/training/files/transfers.ts';
import { EMPTY_STATE, roomAt } from '../../src/app/training/room/page-state.ts';
import type { PageState } from '../../src/app/training/room/page-state.ts';

beforeEach(() => {
  vi.stubGlobal('sessionStorage', { getItem: () => null, setItem: () => {}, removeItem: () => {} });
  // A browser that stores nothing.
  vi.stubGlobal('navigator', {});
});
afterEach(() => {
  vi.unstubAllGlobals();
});

/** A page in a room, in run 9. */
class Lab {
  state: PageState = { ...EMPTY_STATE, room: roomAt({ room: 'test', key: 'key' }) };
  readonly told: (Holds | undefined)[] = [];
  readonly identified: (readonly [number, string])[] = [];
  readonly pinned = new Set<string>();
  readonly keeper: CheckpointKeeper;

  constructor() {
    const change = (change: Partial<PageState>): void => {
      this.state = { ...this.state, ...change };
    };
    const files = new RoomFiles({ change, moved: () => {}, answer: () => {} }, new FileShelf(0));
    this.keeper = new CheckpointKeeper({
      state: () => this.state,
      change,
      moved: (news) => change({ transfers: withMoved(this.state.transfers, news, 0) }),
      closeTransfer: (key) => change({ transfers: this.state.transfers.filter((one) => one.key !== key) }),
      identify: (step, hash) => this.identified.push([step, hash]),
      announce: (holds) => this.told.push(holds),
      files: {
        keep: async (name, bytes) => {
          const file = await files.keep(name, bytes);
          this.pinned.add(file.hash);
          return file;
        },
        drop: (hash) => {
          this.pinned.delete(hash);
          files.drop(hash);
        },
      },
    });
  }

  /** A checkpoint of this step reaches the page. */
  takes(step: number): void {
    this.keeper.took({ kind: 'checkpoint', step, bytes: new Uint8Array(10).fill(step), last: false }, 9);
  }

  /** When all that was begun is over: the hashes that stay. */
  async kept(): Promise<readonly string[]> {
    await new Promise((resolve) => {
      setTimeout(resolve);
    });
    return [...this.pinned];
  }
}

it('a later checkpoint takes the place of one, also of one that is not hashed yet', async () => {
  const lab = new Lab();
  lab.takes(1);
  expect(await lab.kept()).toEqual([lab.told[0]!.hash]);
  lab.takes(2);
  lab.takes(3);
  const kept = await lab.kept();
  expect(lab.told.map((holds) => holds?.step)).toEqual([1, 3]);
  expect(kept).toEqual([lab.told[1]!.hash]);
  // Our rank hears the hash of each, and whether it is the last that it has told of is for it to see.
  expect(lab.identified.map(([step]) => step)).toEqual([1, 2, 3]);
  expect(lab.identified[2]![1]).toBe(kept[0]);
});

it('the same again stays', async () => {
  const lab = new Lab();
  lab.takes(1);
  lab.takes(1);
  expect(await lab.kept()).toEqual([lab.told[0]!.hash]);
  lab.takes(1);
  expect(await lab.kept()).toEqual([lab.told[0]!.hash]);
});

it('nothing stays of a room that was left, also not what was hashed meanwhile', async () => {
  const lab = new Lab();
  lab.takes(1);
  await lab.kept();
  lab.keeper.left();
  expect(await lab.kept()).toEqual([]);
  lab.takes(2);
  lab.keeper.left();
  expect(await lab.kept()).toEqual([]);
  expect(lab.told.map((holds) => holds?.step)).toEqual([1]);
});

it('a file that was asked for is shown until it is written, or the wish is taken back', () => {
  const lab = new Lab();
  lab.keeper.wantFile();
  expect(lab.state.transfers).toMatchObject([{ key: 'save', name: 'the checkpoint', moved: 0, whole: undefined }]);
  lab.keeper.wantFile(false);
  expect(lab.state.transfers).toEqual([]);
  // Of a checkpoint that nobody asked for there is no file.
  lab.takes(3);
  expect(lab.state.transfers).toEqual([]);
});

it('a checkpoint is the status while its run goes on, and takes the place of no other', () => {
  const lab = new Lab();
  lab.state = { ...lab.state, phase: 'training', status: 'training' };
  lab.takes(1);
  expect(lab.state.status).toBe('checkpoint of step 1: 10 B');
  expect(lab.keeper.isPassing(lab.state.status)).toBe(true);
  for (const phase of ['paused', 'done', 'failed', 'idle'] as const) {
    lab.state = { ...lab.state, phase, status: 'stopped after 66 steps' };
    lab.takes(2);
    expect(lab.state.status, phase).toBe('stopped after 66 steps');
  }
});
