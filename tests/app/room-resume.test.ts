// Who lets a room go on after a loss, from where, and what is shown meanwhile; what the page keeps of a run that goes
// on; files by their hash.

import { describe, expect, it } from 'vitest';
import type { Presence } from '../../src/cluster/presence.ts';
import type { Wanted } from '../../src/cluster/session.ts';
import { checkJob, fetchContents, makeJob, parseJob } from '../../src/app/training/job.ts';
import type { Job } from '../../src/app/training/job.ts';
import { FileShelf } from '../../src/app/training/room/files/file-shelf.ts';
import { RoomFiles } from '../../src/app/training/room/files/room-files.ts';
import { EMPTY_STATE } from '../../src/app/training/room/page-state.ts';
import type { PageState } from '../../src/app/training/room/page-state.ts';
import { resumed, RoomResume } from '../../src/app/training/room/resume.ts';
import { createRoomParts } from '../../src/app/training/room/room-parts.ts';
import { runOfPlace } from '../../src/app/training/room/run-of-place.ts';
import { RunView } from '../../src/app/training/run-view.ts';
import { parseRunConfig } from '../../src/train/run-config.ts';
import { describeFile, parseSharedFile } from '../../src/cluster/files/shared-file.ts';
import { presence } from '../cluster/support.ts';

const HASH = 'ab'.repeat(32);
const config = parseRunConfig([
  ['layout', 'dp=2'],
  ['data', 'copy'],
  ['steps', 100],
]);
const JOB: Job = { ...makeJob(config), onLoss: 'resume' };
const keeper = (n: number, step: number, fields: Partial<Presence> = {}): Presence =>
  presence(n, { holds: { run: 9, step, hash: HASH, bytes: 1000 }, ...fields });

/** One page, tab `n`, that was in run 9. */
class Lab {
  state: PageState = { ...EMPTY_STATE, phase: 'failed' };
  members: readonly Presence[] = [];
  readonly proposed: Wanted[] = [];
  readonly resume: RoomResume;

  constructor(n: number, job = JOB) {
    const lab = this;
    this.resume = new RoomResume({
      session: () => ({
        get members() {
          return lab.members;
        },
        get me() {
          return lab.members.find(({ id }) => id === `tab-${n}`)!;
        },
      }),
      state: () => this.state,
      change: (change) => {
        this.state = { ...this.state, ...change };
      },
      propose: (wanted) => this.proposed.push(wanted),
    });
    this.resume.know({ run: 9, job, view: new RunView(config) });
  }

  see(...members: readonly Presence[]): this {
    this.members = members;
    this.resume.roster();
    return this;
  }
}

describe('after a loss', () => {
  const loss = { evidence: 'closed' } as const;

  it('the oldest of those who keep the latest checkpoint proposes to go on, once the run is over for all', () => {
    const at = (n: number): Lab => {
      const lab = new Lab(n);
      lab.resume.ended(loss);
      return lab;
    };
    const working = { run: { run: 9, wish: 1, view: 1, rank: 1, size: 2, phase: 'training' } } as const;
    expect(at(1).see(keeper(1, 40), keeper(2, 40, working)).proposed).toEqual([]);
    const room = [presence(0), keeper(1, 30), keeper(2, 40), keeper(3, 40)];
    expect([1, 2, 3].map((n) => at(n).see(...room).proposed.length)).toEqual([0, 1, 0]);
    const [wanted] = at(2).see(...room).proposed;
    expect(wanted).toMatchObject({
      worldSize: 2,
      run: 9,
      plan: {
        from: { run: 9, step: 40 },
        onLoss: 'resume',
        shared: { checkpoint: { hash: HASH, bytes: 1000, name: 'checkpoint of step 40' } },
      },
    });
    expect(parseJob(JSON.stringify(wanted!.plan))).toEqual(wanted!.plan);
    // Somebody wants it already.
    const wish = { wants: { wish: 5, run: 9, worldSize: 2, plan: wanted!.plan } };
    expect(at(2).see(presence(0, wish), ...room.slice(1)).proposed).toEqual([]);
  });

  it('who did not train the run cannot hold it up with a later checkpoint that nobody has', () => {
    const lie = keeper(7, 99, { holds: { run: 9, step: 99, hash: 'cd'.repeat(32), bytes: 1000 } });
    const at = (n: number, ...group: readonly string[]): Lab => {
      const lab = new Lab(n);
      lab.resume.know({ run: 9, job: JOB, view: new RunView(config), group });
      // What a watcher hears of the same run takes no member from it.
      lab.resume.know({ run: 9, job: JOB, view: new RunView(config) });
      lab.resume.ended(loss);
      return lab;
    };
    expect(at(2, 'tab-1', 'tab-2').see(presence(0), keeper(1, 30), keeper(2, 40), lie).proposed).toMatchObject([
      { plan: { from: { run: 9, step: 40 }, shared: { checkpoint: { hash: HASH } } } },
    ]);
    // The group that formed it again may be another.
    const again = at(2, 'tab-1', 'tab-2');
    again.resume.know({ run: 9, job: JOB, view: new RunView(config), group: ['tab-2', 'tab-3'] });
    again.resume.ended(loss);
    expect(again.see(keeper(1, 40), keeper(2, 30), lie).state.goOn).toBe(40);
    // Who only heard of the run has nobody to believe.
    expect(new Lab(5).see(keeper(1, 40), presence(5), lie).state.goOn).toBe(99);
  });

  it('nobody does once somebody has stopped the run that went on, also before its first step', () => {
    const proposed: Wanted[] = [];
    let members: readonly Presence[] = [];
    const session = (): never => ({ members, me: members.find(({ id }) => id === 'tab-2'), tell: () => {} }) as never;
    const none = (): never[] => [];
    const parts = createRoomParts({
      state: () => ({ ...EMPTY_STATE, phase: 'failed' }),
      change: () => {},
      moved: () => {},
      closeTransfer: () => {},
      session,
      hosts: none,
      takeHosts: none,
      propose: (wanted) => proposed.push(wanted),
    });
    const room = [presence(0), keeper(2, 40)];
    const lose = (): void => {
      parts.resume.know({ run: 9, job: JOB, view: new RunView(config), group: ['tab-0', 'tab-2'] });
      parts.resume.ended(loss);
    };
    lose();
    members = room;
    parts.acts.heard(9, 'stop', room[0]!);
    parts.roster(room, room[1]!);
    expect(proposed).toEqual([]);
    lose();
    parts.acts.heard(9, 'pause', room[0]!);
    // A stop of another run is none of this one's.
    parts.acts.heard(8, 'stop', room[0]!);
    parts.roster(room, room[1]!);
    expect(proposed).toHaveLength(1);
  });

  it('nobody does when the job does not say so, when a tab did wrong, when it was stopped or when there is nothing left', () => {
    const quiet = (how: Parameters<RoomResume['ended']>[0], job = JOB, step = 40): [number, number | undefined] => {
      const lab = new Lab(1, job);
      lab.resume.ended(how);
      lab.see(keeper(1, step));
      return [lab.proposed.length, lab.state.goOn];
    };
    expect(quiet(loss)).toEqual([1, 40]);
    expect(quiet(loss, makeJob(config))).toEqual([0, 40]);
    for (const evidence of ['corrupt', 'non-finite', 'wrong-signature', 'version', undefined] as const)
      expect(quiet({ evidence })).toEqual([0, 40]);
    expect(quiet(loss, JOB, 100)).toEqual([0, undefined]);
  });

  it('it tries three times from one step and then waits for a person; a later checkpoint counts anew', () => {
    const lab = new Lab(1);
    for (let i = 0; i < 5; i++) {
      lab.resume.ended(loss);
      lab.see(keeper(1, 40));
    }
    expect(lab.proposed).toHaveLength(3);
    expect(lab.state.status).toBe('the run was lost 3 times since step 40, so it does not go on by itself any more');
    lab.resume.ended(loss);
    lab.see(keeper(1, 50));
    expect(lab.proposed).toHaveLength(4);
  });

  it('the others hear for how many tabs it waits, and a person may take it back', () => {
    const lab = new Lab(2);
    lab.resume.ended(loss);
    lab.see(keeper(1, 40, { wants: { wish: 5, run: 9, worldSize: 3, plan: null } }), keeper(2, 40));
    expect(lab.state.status).toBe('Tab 1 goes on from step 40 when 1 more tab is here');
    lab.resume.declined();
    expect(lab.see(keeper(2, 40)).proposed).toEqual([]);
    lab.resume.goOn();
    expect(lab.proposed).toHaveLength(1);
  });
});

describe('a run that goes on', () => {
  it('keeps its curve and samples up to the step from which it goes on, and none twice', () => {
    const before = new RunView(config);
    for (let step = 1; step <= 47; step++) before.loss.push(step, 100 - step);
    before.samples = [
      { step: 20, text: 'a' },
      { step: 45, text: 'b' },
    ];
    const job = resumed(JOB, { run: 9, step: 40, hash: HASH, bytes: 1000 });
    const run = runOfPlace(job, { members: [presence(1), presence(2)] }, before);
    expect(run.loss.x).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
    expect(run.loss.last).toBe(60);
    expect([run.step, run.samples]).toEqual([40, [{ step: 20, text: 'a' }]]);
    expect(runOfPlace(JOB, { members: [] }, before).loss.length).toBe(0);
  });

  it('takes weights and tokenizer from its checkpoint, and the text from whoever has it', () => {
    const file = { name: 'x', bytes: 5, hash: HASH };
    const job = resumed(
      { ...JOB, files: { tokens: 'tokens.safetensors', weights: 'a' }, shared: { text: file, weights: file } },
      { run: 9, step: 40, hash: HASH, bytes: 1000 },
    );
    expect([job.files, Object.keys(job.shared!)]).toEqual([{ tokens: 'tokens.safetensors' }, ['text', 'checkpoint']]);
  });
});

describe('shared files of a job', () => {
  const file = { name: 'map.txt', bytes: 5, hash: HASH };
  const own = makeJob(
    parseRunConfig([
      ['layout', 'dp=2'],
      ['data', 'map.txt'],
    ]),
  );

  it('are read strictly, and count as the files that a run needs', async () => {
    const job = { ...own, shared: { text: file } };
    expect(parseJob(JSON.stringify(job))).toEqual(job);
    const page = 'http://localhost/';
    expect(checkJob({ worldSize: 2, plan: job }, page)).toBeUndefined();
    expect(checkJob({ worldSize: 2, plan: own }, page)).toMatch(
      /^data: the job has no file for "map.txt"; drop that text file/,
    );
    await expect(fetchContents(job, page, {}, () => {})).resolves.toEqual({});
    for (const [bad, sentence] of [
      [{ shared: { texts: file } }, 'job.shared: unknown file "texts"'],
      [{ shared: { text: { ...file, hash: 'x' } } }, 'job.shared.text: expected a hash of 64 hex digits'],
      [{ shared: { text: file }, files: { text: 'a.txt' } }, 'job.shared.text: has an address too'],
      [{ shared: { text: { ...file, bytes: 2 ** 31 + 1 } } }, 'files: expected at most 2.1 GB in all'],
      [{ from: { run: 1 } }, 'job.from: expected the numbers'],
      [{ onLoss: 'stop' }, "job.onLoss: expected 'resume'"],
    ] as const)
      expect(() => parseJob({ ...own, ...bad })).toThrow(sentence);
  });

  it('are described when a page gives them, and found again by their hash', async () => {
    const files = new RoomFiles({ change: () => {}, moved: () => {}, answer: () => {} });
    const text = new TextEncoder().encode('there she blows');
    const job = await files.share(own, { text, tokenizer: '{}' });
    expect(job.shared).toMatchObject({
      text: { name: 'map.txt', bytes: 15 },
      tokenizer: { name: 'tokenizer.json', bytes: 2 },
    });
    const { files: listed, held } = files.of(job, ['a', 'b'])!;
    expect(listed.map(({ field }) => field)).toEqual(['text', 'tokenizer']);
    expect(held.get(job.shared!.text!.hash)).toBe(text);
    expect(files.of(own, [])).toBeUndefined();
    // A job that lies about the size of a file that we have does not get it.
    expect(files.of({ ...job, shared: { text: { ...job.shared!.text!, bytes: 16 } } }, [])!.held.size).toBe(0);
  });

  it('ask before a large download, and remember a refusal', () => {
    const changes: Partial<PageState>[] = [];
    const answers: boolean[] = [];
    const files = new RoomFiles({
      change: (change) => changes.push(change),
      moved: () => {},
      answer: (agreed) => answers.push(agreed),
    });
    files.begin('Ada');
    expect(files.took({ kind: 'download', files: ['text.txt', 'model.safetensors'], total: 63_000_000 })).toBe(true);
    expect(changes.at(-1)!.question).toBe(
      "Ada's run needs 63 MB that other tabs have: text.txt, model.safetensors. Download?",
    );
    files.answer(false);
    expect([answers, changes.at(-1)!.question, files.declined]).toEqual([[false], undefined, true]);
    files.begin('Ada');
    expect(files.declined).toBe(false);
    expect(files.took({ kind: 'status', text: 'x' })).toBe(false);
  });

  it('stay in memory as long as the job needs them; of others what was used longest ago goes first', () => {
    const shelf = new FileShelf(25);
    const names = ['a', 'b', 'c'];
    for (const name of names) shelf.put(name, new Uint8Array(10));
    const here = (): string[] => names.filter((name) => shelf.get(name));
    expect(here()).toEqual(['b', 'c']);
    shelf.need(['b']);
    shelf.put('a', new Uint8Array(20));
    expect(here()).toEqual(['b']);
    shelf.keep('a', new Uint8Array(20));
    expect(here()).toEqual(['a', 'b']);
    shelf.need([]);
    expect(here()).toEqual(['a']);
    shelf.drop('a');
    expect(here()).toEqual([]);
  });
});

it('a shared file is called by what can be seen, and another name is refused', async () => {
  const file = await describeFile(' a\u202eb\n.txt', new Uint8Array(1));
  expect(file.name).toBe('ab .txt');
  expect((await describeFile('\u200b', new Uint8Array(1))).name).toBe('file');
  expect(parseSharedFile(file, 'text')).toEqual(file);
  for (const name of ['a\u202eb', 'a\u001b[2J', ' a']) {
    expect(() => parseSharedFile({ ...file, name }, 'text')).toThrow('expected a name of visible characters');
  }
});
