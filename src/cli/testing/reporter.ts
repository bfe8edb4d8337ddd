// vitest's own report, with a message to the test command for each file and test: what it shows as progress, and the
// sign that the run still lives.

import { relative } from 'node:path';
import { DefaultReporter } from 'vitest/node';
import type { TestCase, TestModule, TestSpecification } from 'vitest/node';

export type TestMessage =
  | { readonly kind: 'planned'; readonly files: readonly string[] }
  | { readonly kind: 'began' | 'finished'; readonly file: string }
  | { readonly kind: 'test' };

function tell(message: TestMessage): void {
  process.send?.(message);
}

export default class ProgressReporter extends DefaultReporter {
  // The command prints lines of its own; two that redraw one terminal would spoil it.
  constructor() {
    super({ summary: false });
  }

  #path(file: string): string {
    return relative(this.ctx.config.root, file).replaceAll('\\', '/');
  }

  override onTestRunStart(specifications: readonly TestSpecification[]): void {
    super.onTestRunStart(specifications);
    tell({ kind: 'planned', files: specifications.map(({ moduleId }) => this.#path(moduleId)) });
  }

  override onTestModuleQueued(module: TestModule): void {
    super.onTestModuleQueued(module);
    tell({ kind: 'began', file: this.#path(module.moduleId) });
  }

  override onTestCaseResult(test: TestCase): void {
    super.onTestCaseResult(test);
    tell({ kind: 'test' });
  }

  override onTestModuleEnd(module: TestModule): void {
    super.onTestModuleEnd(module);
    tell({ kind: 'finished', file: this.#path(module.moduleId) });
  }
}
