// All kernels of shaders/, found by name: shaders/reduce/column-sum.ts exports `columnSum`.

import type { Kernel } from '../../src/device/kernel.ts';

const modules = import.meta.glob<Record<string, unknown>>(['../../shaders/**/*.ts', '!**/*.as.ts'], { eager: true });

/** All WGSL files of shaders/: file name to text. */
export const wgslFiles: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(
    import.meta.glob<string>('../../shaders/**/*.wgsl', { eager: true, query: '?raw', import: 'default' }),
  ).map(([path, text]) => [path.split('/').at(-1)!, text]),
);

export const kernels: readonly Kernel[] = Object.entries(modules).map(([path, module]) => {
  const name = path
    .split('/')
    .at(-1)!
    .replace('.ts', '')
    .replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
  const kernel = module[name] as Kernel | undefined;
  if (kernel?.name !== name) throw new Error(`${path} must export a kernel named ${name}`);
  return kernel;
});
