// The streams of messages between the stages of one trainer, one per direction, each with numbers of its own. Several
// trainers may share a mesh: each has a scope of it (mesh.scope), and its streams in that.

import type { Group } from '../../collectives/group.ts';
import type { Mesh, Scope } from '../../collectives/mesh.ts';

export class PipelineStreams {
  /** Point-to-point groups over the pp axis. */
  readonly forward: Group;
  readonly backward: Group;
  /** Evaluations number their messages apart from training steps. */
  readonly evaluation: Group;
  readonly #scopes: Scope[] = [];

  /** Throws InternalError while another trainer has the streams of this mesh or scope. */
  constructor(mesh: Mesh) {
    const open = (name: string): Group => {
      const scope = mesh.scope(name);
      this.#scopes.push(scope);
      return scope.axis('pp');
    };
    this.forward = open('pipeline forward');
    this.backward = open('pipeline backward');
    this.evaluation = open('evaluation');
  }

  close(): void {
    for (const scope of this.#scopes.splice(0)) scope.close();
  }
}
