// The libraries that can take a whole training step, each loaded only when it is asked for.

import type { Loaders, PeerBackend } from '../problem.ts';
import type { NamedStepPeer } from './step.ts';

export function stepPeers(loaders: Loaders, on: PeerBackend): readonly NamedStepPeer[] {
  return [
    {
      library: 'tfjs',
      async make(...run) {
        const [{ openTensorFlow }, { tfjsRunner }] = await Promise.all([
          import('../peers/tfjs.ts'),
          import('./tfjs-gpt2.ts'),
        ]);
        return tfjsRunner(await openTensorFlow(loaders, on), ...run);
      },
    },
    {
      library: 'jax-js',
      async make(...run) {
        const [{ openJax }, { jaxRunner }] = await Promise.all([import('../peers/jax-js.ts'), import('./jax-gpt2.ts')]);
        return jaxRunner(await openJax(loaders, on), ...run);
      },
    },
  ];
}
